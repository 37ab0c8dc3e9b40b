//! Checks of what a pattern matched: checksums and ranges that a regular expression cannot tell.
//!
//! All of them take what people put between digits (spaces, hyphens, dots, slashes) as nothing.

mod checksums;
mod dates;
mod finance;
mod national;
mod network;
mod secret;
mod social;

/// Says whether what matched is what it looks like.
#[derive(Clone, Copy, Debug)]
pub(super) enum Validator {
    /// By what matched alone.
    Alone(fn(&str) -> bool),
    /// By what stands around it too: the text, and where in it the match begins and ends.
    Around(fn(&str, usize, usize) -> bool),
}

impl Validator {
    /// Whether bytes `start..end` of a text pass.
    pub(super) fn passes(self, text: &str, start: usize, end: usize) -> bool {
        match self {
            Self::Alone(is_valid) => is_valid(&text[start..end]),
            Self::Around(is_valid) => is_valid(text, start, end),
        }
    }
}

/// All checks, by the names that rules give.
const VALIDATORS: [(&str, Validator); 48] = {
    use Validator::{Alone, Around};
    [
        ("luhn", Alone(checksums::luhn)),
        ("verhoeff", Alone(checksums::verhoeff)),
        ("mod97", Alone(finance::mod97)),
        ("iban", Alone(finance::iban)),
        ("aba", Alone(finance::aba)),
        ("bic", Alone(finance::bic)),
        ("base58check", Alone(finance::base58check)),
        ("bech32", Alone(finance::bech32)),
        ("account", Alone(finance::account)),
        ("us_ssn", Alone(national::us_ssn)),
        ("us_itin", Alone(national::us_itin)),
        ("us_ein", Alone(national::us_ein)),
        ("uk_nino", Alone(national::uk_nino)),
        ("uk_nhs", Alone(national::uk_nhs)),
        ("de_tax_id", Alone(national::de_tax_id)),
        ("de_vat", Alone(national::de_vat)),
        ("fr_nir", Alone(national::fr_nir)),
        ("es_dni", Alone(national::es_dni)),
        ("it_codice_fiscale", Alone(national::it_codice_fiscale)),
        ("pl_pesel", Alone(national::pl_pesel)),
        ("in_aadhaar", Around(national::in_aadhaar)),
        ("br_cpf", Alone(national::br_cpf)),
        ("br_cnpj", Alone(national::br_cnpj)),
        ("ca_sin", Alone(national::ca_sin)),
        ("au_tfn", Alone(national::au_tfn)),
        ("au_abn", Alone(national::au_abn)),
        ("sg_nric", Alone(national::sg_nric)),
        ("nl_bsn", Alone(national::nl_bsn)),
        ("be_nrn", Alone(national::be_nrn)),
        ("se_personnummer", Alone(national::se_personnummer)),
        ("fi_hetu", Alone(national::fi_hetu)),
        ("pt_nif", Alone(national::pt_nif)),
        ("tr_tckn", Alone(national::tr_tckn)),
        ("kr_rrn", Alone(national::kr_rrn)),
        ("cn_id", Alone(national::cn_id)),
        ("mx_curp", Alone(national::mx_curp)),
        ("document", Alone(national::document)),
        ("ipv4", Around(network::ipv4)),
        ("ipv6", Around(network::ipv6)),
        ("mac", Around(network::mac)),
        ("profile", Around(social::profile)),
        ("handle", Alone(social::handle)),
        ("reddit_user", Around(social::reddit_user)),
        ("date", Alone(dates::date)),
        ("secret", Around(secret::secret)),
        ("strong", Alone(secret::strong)),
        ("passphrase", Alone(secret::passphrase)),
        ("mixed", Alone(secret::mixed)),
    ]
};

/// The check of a name.
pub(super) fn validator(name: &str) -> Option<Validator> {
    VALIDATORS.iter().find(|(known, _)| *known == name).map(|&(_, validator)| validator)
}

/// The names of all checks.
pub(super) fn names() -> Vec<&'static str> {
    VALIDATORS.iter().map(|(name, _)| *name).collect()
}

/// The digits of a text, as numbers.
fn digits(text: &str) -> impl DoubleEndedIterator<Item = u32> + '_ {
    text.bytes().filter(u8::is_ascii_digit).map(|b| u32::from(b - b'0'))
}

/// Whether a text has so many digits, not all the same.
fn is_varied(text: &str, least: usize) -> bool {
    let first = digits(text).next();
    digits(text).nth(least - 1).is_some() && digits(text).any(|digit| Some(digit) != first)
}

/// The digits of a text when there are `N` of them.
fn exactly<const N: usize>(text: &str) -> Option<[u32; N]> {
    let mut all = [0; N];
    let mut from = digits(text);
    for digit in &mut all {
        *digit = from.next()?;
    }
    from.next().is_none().then_some(all)
}

/// The ASCII letters and digits of a text, in upper case.
fn alphanumerics(text: &str) -> impl Iterator<Item = u8> + '_ {
    text.bytes().filter(u8::is_ascii_alphanumeric).map(|b| b.to_ascii_uppercase())
}

/// The sum of digits, each times its weight.
fn weighted(digits: &[u32], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| digit * weight).sum()
}

/// Whether all digits are the same: what people write for "any number".
fn is_uniform(digits: &[u32]) -> bool {
    digits.windows(2).all(|pair| pair[0] == pair[1])
}

#[cfg(test)]
mod tests;
