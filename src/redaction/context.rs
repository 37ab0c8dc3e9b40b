//! What the words around a number say about it.

/// The most words before a number that are looked at.
const MAX_WORDS: usize = 4;
/// How far before a number is looked, in bytes.
const MAX_BYTES: usize = 64;

/// A verdict on a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    /// Somebody can be called there.
    Phone,
    /// An order, a version, an account: surely not a phone.
    Reference,
    /// Nothing.
    Unknown,
}

/// Words that begin so speak of a phone.
const PHONE_STEMS: [&str; 42] = [
    "phone",
    "telephone",
    "telef",
    "télé",
    "telé",
    "fax",
    "mobile",
    "mobil",
    "móvil",
    "movil",
    "cell",
    "celular",
    "handy",
    "whatsapp",
    "call",
    "dial",
    "reach",
    "contact",
    "answering",
    "hotline",
    "rufe",
    "ruft",
    "anruf",
    "erreich",
    "appel",
    "appelle",
    "portable",
    "joindre",
    "llám",
    "llam",
    "ligue",
    "ligar",
    "ligu",
    "chiam",
    "recapito",
    "zadzwo",
    "komór",
    "тел",
    "звон",
    "позвон",
    "मोबाइल",
    "هاتف",
];
/// Words that are these speak of a phone.
const PHONE_WORDS: [&str; 8] = ["tel", "ring", "sms", "gsm", "mob", "ph", "rufnummer", "फोन"];
/// Words in scripts without spaces hold these when they speak of a phone.
const PHONE_PARTS: [&str; 8] = ["电话", "電話", "手机", "手機", "携帯", "전화", "휴대폰", "โทร"];
/// Words that begin so speak of something else.
const REFERENCE_STEMS: [&str; 34] = [
    "order",
    "invoice",
    "ticket",
    "serial",
    "version",
    "build",
    "commit",
    "tracking",
    "parcel",
    "customer",
    "member",
    "booking",
    "reserv",
    "patent",
    "referenc",
    "référenc",
    "referenz",
    "bestell",
    "auftrag",
    "rechnung",
    "artikel",
    "kunden",
    "sendung",
    "vorgang",
    "commande",
    "facture",
    "dossier",
    "pedido",
    "factura",
    "fatura",
    "ordine",
    "fattura",
    "timestamp",
    "revision",
];
/// Words that are these speak of something else.
const REFERENCE_WORDS: [&str; 31] = [
    "ups", "fedex", "dhl", "usps", "awb", "ref", "sku", "isbn", "issn", "id", "ids", "part", "model", "ver",
    "v", "rev", "case", "claim", "account", "acct", "konto", "batch", "lot", "item", "product", "code",
    "pin", "zip", "plz", "page", "iban",
];
/// "my number is …" speaks of a phone, "number" alone of nothing.
const NUMBER_STEMS: [&str; 6] = ["number", "nummer", "numer", "númer", "numér", "num"];
const MY_WORDS: [&str; 14] = [
    "my", "her", "his", "our", "their", "meine", "mon", "mi", "meu", "mio", "sua", "ihre", "seine", "unsere",
];
/// Words after a number that speak of a phone.
const AFTER_WORDS: [&str; 8] = ["fax", "office", "mobile", "cell", "phone", "tel", "mobil", "handy"];

/// Judges by the words on the same line before `start`, the nearest first. `last_phone_end` is where
/// the phone before it ends, so that "call A or B" counts for both.
pub(super) fn judge_before(text: &str, start: usize, last_phone_end: usize) -> Context {
    let mut reach = start.saturating_sub(MAX_BYTES);
    while !text.is_char_boundary(reach) {
        reach += 1;
    }
    let line = text[reach..start].rsplit('\n').next().unwrap_or_default();
    let mut rest = line;
    if rest.trim_end().ends_with('#') {
        return Context::Reference;
    }
    let mut saw_number = false;
    for _ in 0..MAX_WORDS {
        rest = rest.trim_end_matches(|c| !is_word_char(c) && c != '>');
        if let Some(open) = rest.strip_suffix('>') {
            // A placeholder. A phone next to it is one of several; what is before is not about it.
            let name = open.rsplit('<').next().unwrap_or_default();
            return if name.starts_with("PHONE_") { Context::Phone } else { Context::Unknown };
        }
        let word_start = rest.trim_end_matches(is_word_char).len();
        let word = &rest[word_start..];
        if word.is_empty() {
            break;
        }
        rest = &rest[..word_start];
        if start - line.len() + word_start < last_phone_end {
            return Context::Phone;
        }
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        if speaks_of_phone(word) || (saw_number && is_one_of(word, &MY_WORDS)) {
            return Context::Phone;
        }
        if starts_as_one_of(word, &REFERENCE_STEMS) || is_one_of(word, &REFERENCE_WORDS) {
            return Context::Reference;
        }
        saw_number |= starts_as_one_of(word, &NUMBER_STEMS);
    }
    Context::Unknown
}

/// Whether the words after a number say that it is a phone: "fax", "is my mobile".
pub(super) fn is_named_after(after: &str) -> bool {
    const IS_WORDS: [&str; 6] = ["is", "ist", "est", "es", "è", "é"];
    let rest = after.trim_start_matches([' ', '-', ',', '(']);
    let mut words = rest.split(' ').map(|word| word.trim_end_matches(|c| !is_word_char(c)));
    let first = &rest[..rest.len() - rest.trim_start_matches(is_word_char).len()];
    if is_one_of(first, &AFTER_WORDS) {
        return true;
    }
    // "è il mio cellulare".
    is_one_of(first, &IS_WORDS)
        && words.by_ref().skip(1).take(2).any(|word| is_one_of(word, &MY_WORDS))
        && words.take(2).any(speaks_of_phone)
}

fn speaks_of_phone(word: &str) -> bool {
    starts_as_one_of(word, &PHONE_STEMS)
        || is_one_of(word, &PHONE_WORDS)
        || (!word.is_ascii() && PHONE_PARTS.iter().any(|part| word.contains(part)))
}

fn starts_as_one_of(word: &str, stems: &[&str]) -> bool {
    let word = word.as_bytes();
    let starts = |stem: &[u8]| word.get(..stem.len()).is_some_and(|start| start.eq_ignore_ascii_case(stem));
    stems.iter().map(|stem| stem.as_bytes()).any(|stem| have_one_initial(stem, word) && starts(stem))
}

fn is_one_of(word: &str, words: &[&str]) -> bool {
    words
        .iter()
        .any(|other| have_one_initial(other.as_bytes(), word.as_bytes()) && word.eq_ignore_ascii_case(other))
}

/// Whether a word may be one of a list, which is in lower case. It spares most of the comparisons.
fn have_one_initial(listed: &[u8], word: &[u8]) -> bool {
    listed.first().copied() == word.first().map(u8::to_ascii_lowercase)
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || (!c.is_ascii() && super::chars::is_address_letter(c))
}
