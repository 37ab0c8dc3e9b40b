//! The country codes of ISO 3166-1 alpha-2, and the groups of countries that every policy knows.

use crate::event::Jurisdiction;

/// The codes that are assigned.
const ASSIGNED: &str = "\
     AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ \
     BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ \
     CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ \
     DE DJ DK DM DO DZ \
     EC EE EG EH ER ES ET \
     FI FJ FK FM FO FR \
     GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY \
     HK HM HN HR HT HU \
     ID IE IL IM IN IO IQ IR IS IT \
     JE JM JO JP \
     KE KG KH KI KM KN KP KR KW KY KZ \
     LA LB LC LI LK LR LS LT LU LV LY \
     MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ \
     NA NC NE NF NG NI NL NO NP NR NU NZ \
     OM \
     PA PE PF PG PH PK PL PM PN PR PS PT PW PY \
     QA \
     RE RO RS RU RW \
     SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ \
     TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ \
     UA UG UM US UY UZ \
     VA VC VE VG VI VN VU \
     WF WS \
     YE YT \
     ZA ZM ZW";

/// The members of the European Union.
const EU: &str = "\
     AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK";

/// The countries of the European Economic Area that are not in the Union.
const EEA_BEYOND_EU: &str = "IS LI NO";

/// The groups that need not be written down, with their members.
pub(super) const BUILTIN_GROUPS: [(&str, &[&str]); 2] = [("EEA", &[EU, EEA_BEYOND_EU]), ("EU", &[EU])];

/// One bit for each second letter, by first letter: looked at for every event.
const ASSIGNED_BITS: [u32; 26] = {
    let codes = ASSIGNED.as_bytes();
    let mut bits = [0; 26];
    let mut at = 0;
    while at + 1 < codes.len() {
        if codes[at].is_ascii_uppercase() {
            bits[(codes[at] - b'A') as usize] |= 1 << (codes[at + 1] - b'A');
            at += 2;
        } else {
            at += 1;
        }
    }
    bits
};

/// Whether a country's code is assigned.
pub(super) fn is_assigned(country: Jurisdiction) -> bool {
    match country.as_str().as_bytes() {
        [a @ b'A'..=b'Z', b @ b'A'..=b'Z'] => ASSIGNED_BITS[usize::from(a - b'A')] >> (b - b'A') & 1 == 1,
        _ => false,
    }
}

/// Whether a country's code is one of those that everybody may give a meaning to, such as XK for
/// Kosovo.
pub(super) fn is_user_assigned(country: Jurisdiction) -> bool {
    matches!(country.as_str().as_bytes(), b"AA" | b"ZZ" | [b'Q', b'M'..=b'Z'] | [b'X', b'A'..=b'Z'])
}

/// The code that was probably meant by one that is not assigned.
pub(super) fn meant(code: &str) -> Option<&'static str> {
    match code {
        "UK" => Some("GB"),
        "EL" => Some("GR"),
        "SU" => Some("RU"),
        "BU" => Some("MM"),
        "ZR" => Some("CD"),
        "TP" => Some("TL"),
        _ => None,
    }
}

/// The countries of a list of codes.
pub(super) fn listed<'a>(lists: &'a [&'a str]) -> impl Iterator<Item = Jurisdiction> + 'a {
    lists.iter().flat_map(|list| list.split_whitespace()).filter_map(Jurisdiction::parse)
}

/// All countries whose codes are assigned.
#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = Jurisdiction> {
    listed(&[ASSIGNED])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_whole() {
        assert_eq!(all().count(), 249);
        assert!(all().all(|country| is_assigned(country) && !is_user_assigned(country)));
        assert_eq!(ASSIGNED_BITS.iter().map(|bits| bits.count_ones()).sum::<u32>(), 249);
        let [eea, eu] = BUILTIN_GROUPS.map(|(_, lists)| listed(lists).collect::<Vec<_>>());
        assert_eq!((eea.len(), eu.len()), (30, 27));
        assert!(eu.iter().all(|country| eea.contains(country)));
        assert!(eea.iter().all(|country| is_assigned(*country)));
    }

    #[test]
    fn a_code_is_assigned_free_or_neither() {
        let place = |code| Jurisdiction::parse(code).unwrap();
        for code in ["AA", "QM", "QZ", "XA", "XK", "XZ", "ZZ"] {
            assert!(is_user_assigned(place(code)) && !is_assigned(place(code)), "{code}");
        }
        for code in ["UK", "EU", "EL", "QL", "ZY", ""] {
            assert!(!is_user_assigned(place(code)) && !is_assigned(place(code)), "{code}");
        }
    }
}
