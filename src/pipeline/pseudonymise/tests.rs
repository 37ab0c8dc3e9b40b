//! Known answers were computed with Python's `hmac` and `hashlib`:
//! `uuid.UUID(hex=hmac.new(key, tenant + b"\0" + user, "sha256").hexdigest()[:32])`.

use super::*;

const COUNTING: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const ONES: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

fn key(hex: &str) -> PseudonymKey {
    PseudonymKey::new(Zeroizing::new(bytes_of_hex(hex).unwrap()))
}

fn subject(hex: &str, tenant: &str, user: &str) -> String {
    let subjects = Pseudonymiser::new(&key(hex)).subjects(&Tenant::new(tenant), RawUserId::new(user));
    assert_eq!(subjects.as_slice(), [subjects.current()]);
    subjects.current().to_string()
}

#[test]
fn known_answers() {
    for (hex, tenant, user, expected) in [
        (COUNTING, "local", "u-1", "e80d0be3-d314-6e21-4df5-b23dff441491"),
        (COUNTING, "local", "anna@example.com", "4de940b9-eecc-452a-952e-8b432b14e272"),
        (COUNTING, "acme", "u-1", "8d941baa-68c1-3d63-ceb6-4369395c4cea"),
        (COUNTING, "local", "日本", "68c2c326-3c8b-8de0-6009-42fb7cb59832"),
        (ONES, "local", "u-1", "c47c0fd2-0520-035d-8d2e-0300c4d65953"),
        (ONES, "local", "anna@example.com", "af8a5274-5d08-9739-cd4b-1fc3395f5f6b"),
        (ONES, "acme", "u-1", "3ad70e14-1a2a-b0d3-cd67-28a04274d3c9"),
        (ONES, "local", "日本", "bed7bf86-e1ed-5e71-5fa0-71ca0bc53230"),
    ] {
        assert_eq!(subject(hex, tenant, user), expected, "{tenant} {user}");
    }
    assert_eq!(key(COUNTING).id(), "6af9ecb8");
    assert_eq!(key(ONES).id(), "99a518a2");
}

#[test]
fn tenants_do_not_share_pseudonyms() {
    assert_ne!(subject(ONES, "ab", "c"), subject(ONES, "a", "bc"));
    assert_ne!(subject(ONES, "a", "c"), subject(ONES, "b", "c"));
}

#[test]
fn a_person_has_a_pseudonym_under_each_key_in_the_order_of_the_ring() {
    let (counting, ones) = (key(COUNTING), key(ONES));
    for keys in [[&counting, &ones], [&ones, &counting]] {
        let text: String = keys.iter().map(|key| key.to_text().to_string()).collect();
        let pseudonymiser = Pseudonymiser::of_ring(&KeyRing::from_text(&text).unwrap());
        assert_eq!(&**pseudonymiser.key_id(), keys[0].id());
        assert!(pseudonymiser.key_ids().iter().map(|id| &**id).eq(keys.map(PseudonymKey::id)));
        let (tenant, ann, ben) = (Tenant::new("acme"), RawUserId::new("ann"), RawUserId::new("ben"));
        let subjects = pseudonymiser.subjects(&tenant, ann);
        let of_each = keys.map(|key| Pseudonymiser::new(key).subjects(&tenant, ann).current());
        assert_eq!(subjects.as_slice(), of_each);
        assert_eq!(subjects.current(), of_each[0]);
        assert!(pseudonymiser.subjects(&tenant, ben).iter().all(|other| !of_each.contains(other)));
    }
}

#[test]
fn text_form_is_read_back() {
    let made = PseudonymKey::generate().unwrap();
    let text = made.to_text();
    assert_eq!(text.lines().count(), 1);
    assert_eq!(PseudonymKey::from_text(&text).unwrap(), made);
    assert_ne!(PseudonymKey::generate().unwrap(), made);
    let counting = key(COUNTING).to_text();
    assert_eq!(*counting, format!("assent-pseudonym-v1 6af9ecb8 {COUNTING}\n"));
    let upper = format!("  assent-pseudonym-v1 6af9ecb8 {}\r\n", COUNTING.to_uppercase());
    assert_eq!(PseudonymKey::from_text(&upper).unwrap(), key(COUNTING));
}

#[test]
fn other_texts_are_refused_and_not_repeated() {
    for (text, error) in [
        (String::new(), KeyError::Malformed),
        (COUNTING.to_owned(), KeyError::Malformed),
        (format!("assent-pseudonym-v2 6af9ecb8 {COUNTING}"), KeyError::Malformed),
        (format!("assent-pseudonym-v1 6af9ecb8 {COUNTING} more"), KeyError::Malformed),
        (format!("assent-pseudonym-v1 6af9ecb8 {}", &COUNTING[1..]), KeyError::Malformed),
        (format!("assent-pseudonym-v1 6af9ecb8 g{}", &COUNTING[1..]), KeyError::Malformed),
        (format!("assent-pseudonym-v1 99a518a2 {COUNTING}"), KeyError::WrongId),
    ] {
        let refused = PseudonymKey::from_text(&text).unwrap_err();
        assert_eq!(refused, error);
        assert!(!refused.to_string().contains(&COUNTING[..16]));
    }
}

#[test]
fn debug_hides_the_key() {
    let key = key(COUNTING);
    for shown in [format!("{key:?}"), format!("{:?}", Pseudonymiser::new(&key))] {
        assert!(shown.contains("6af9ecb8") && !shown.contains("0001"), "{shown}");
    }
}
