use super::*;

fn passes(name: &str, text: &str) -> bool {
    validator(name).unwrap().passes(text, 0, text.len())
}

/// Numbers that those who give them, or the standards, print as examples.
const VALID: [(&str, &str); 47] = [
    ("luhn", "79927398713"),
    ("verhoeff", "2363"),
    ("verhoeff", "123451"),
    ("iban", "GB82 WEST 1234 5698 7654 32"),
    ("iban", "DE89370400440532013000"),
    ("iban", "fr14 2004 1010 0505 0001 3m02 606"),
    ("iban", "NO9386011117947"),
    ("iban", "MT84MALT011000012345MTLCAST001S"),
    ("aba", "021000021"),
    ("aba", "011401533"),
    ("bic", "DEUTDEFF500"),
    ("base58check", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
    ("base58check", "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy"),
    ("bech32", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
    ("bech32", "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4"),
    ("bech32", "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0"),
    ("us_ssn", "536-90-4399"),
    ("us_itin", "900-70-0001"),
    ("us_ein", "12-3456789"),
    ("uk_nino", "AA 12 34 56 C"),
    ("uk_nhs", "943 476 5919"),
    ("de_tax_id", "86095742719"),
    ("de_tax_id", "47036892816"),
    ("de_vat", "DE136695976"),
    ("fr_nir", "2 55 08 14 168 025 38"),
    ("es_dni", "12345678Z"),
    ("es_dni", "X1234567L"),
    ("it_codice_fiscale", "RSSMRA85T10A562S"),
    ("pl_pesel", "44051401359"),
    ("in_aadhaar", "2341 2341 2346"),
    ("br_cpf", "111.444.777-35"),
    ("br_cnpj", "11.222.333/0001-81"),
    ("br_cnpj", "12.ABC.345/01DE-35"),
    ("ca_sin", "130 692 544"),
    ("au_tfn", "123 456 782"),
    ("au_abn", "51 824 753 556"),
    ("sg_nric", "S1234567D"),
    ("nl_bsn", "111222333"),
    ("be_nrn", "85.07.30-033.28"),
    ("se_personnummer", "811218-9876"),
    ("fi_hetu", "131052-308T"),
    ("pt_nif", "501964843"),
    ("tr_tckn", "10000000146"),
    ("kr_rrn", "800101-1234567"),
    ("cn_id", "11010519491231002X"),
    ("mx_curp", "HEGG560427MVZRRL04"),
    ("document", "C01X00T47"),
];

#[test]
fn printed_examples_pass() {
    let wrong: Vec<_> = VALID.iter().filter(|(name, text)| !passes(name, text)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// Checks that tell every change of one digit.
#[test]
fn no_check_misses_a_changed_digit() {
    let tells = [
        "luhn",
        "verhoeff",
        "iban",
        "aba",
        "base58check",
        "bech32",
        "uk_nhs",
        "de_vat",
        "fr_nir",
        "es_dni",
        "pl_pesel",
        "in_aadhaar",
        "br_cpf",
        "ca_sin",
        "au_tfn",
        "au_abn",
        "sg_nric",
        "nl_bsn",
        "be_nrn",
        "se_personnummer",
        "fi_hetu",
        "tr_tckn",
        "cn_id",
        "it_codice_fiscale",
    ];
    let mut missed = Vec::new();
    for (name, text) in VALID.iter().filter(|(name, _)| tells.contains(name)) {
        for (at, _) in text.bytes().enumerate().filter(|(_, b)| b.is_ascii_digit()) {
            for digit in '0'..='9' {
                let mut changed = (*text).to_owned();
                changed.replace_range(at..=at, &digit.to_string());
                if changed != *text && passes(name, &changed) {
                    missed.push((name, changed));
                }
            }
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn what_is_never_given_is_refused() {
    for (name, text) in [
        ("us_ssn", "000-12-3456"),
        ("us_ssn", "666-12-3456"),
        ("us_ssn", "900-12-3456"),
        ("us_ssn", "123-00-4567"),
        ("us_ssn", "123-45-0000"),
        ("us_itin", "900-69-0001"),
        ("us_ein", "07-3456789"),
        ("uk_nino", "BG123456C"),
        ("uk_nino", "QQ123456C"),
        ("br_cpf", "111.111.111-11"),
        ("ca_sin", "046 454 286"),
        ("iban", "GB82WEST1234569876543"),
        ("iban", "ZZ89370400440532013000"),
        ("bech32", "Bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
        ("kr_rrn", "801301-1234567"),
        ("document", "1111111"),
        ("account", "0000000"),
    ] {
        assert!(!passes(name, text), "{name}: {text}");
    }
}

#[test]
fn addresses_of_networks() {
    for address in [
        "::1",
        "2001:db8::8a2e:370:7334",
        "fe80::1%eth0",
        "::ffff:192.0.2.128",
        "1:2:3:4:5:6:7:8",
        "2001:db8::1",
    ] {
        assert!(passes("ipv6", address), "{address}");
    }
    for other in ["::", "12:30:45", "a::b", "std::vec", "1::", "dead::beef"] {
        assert!(!passes("ipv6", other), "{other}");
    }
    for other in ["0.0.0.0", "127.0.0.1", "255.255.255.0", "256.1.1.1", "1.2.3", "01.2.3.4", "2.0.0.0"] {
        assert!(!passes("ipv4", other), "{other}");
    }
    assert!(
        passes("ipv4", "192.0.2.1")
            && passes("mac", "00:1B:44:11:3A:B7")
            && !passes("mac", "00:00:00:00:00:00")
    );
}

#[test]
fn dates_that_exist() {
    for text in
        ["2/16/1962", "16.2.62", "1985-03-12", "12 March 1985", "March 12, 1985", "12 de marzo", "19850312"]
    {
        assert!(passes("date", text), "{text}");
    }
    for text in ["13/13/1985", "32.1.1985", "1985-13-12", "12/12/1585", "1.2.3", "41 March 1985"] {
        assert!(!passes("date", text), "{text}");
    }
}

#[test]
fn secrets_are_no_words_of_a_form() {
    for text in ["hunter2", "S3cr3t!pass", "correct-horse-battery", "Tr0ub4dor&3", "letmein", "1234"] {
        assert!(passes("secret", text), "{text}");
    }
    for text in [
        "required",
        "DB_PASSWORD",
        "<password>",
        "${PASSWORD}",
        "********",
        "os.environ[\"X\"]",
        "config.password",
        "get_token()",
        "null,",
        "{{pw}}",
    ] {
        assert!(!passes("secret", text), "{text}");
    }
}
