//! What may be a password or a key, after a word that says so.

/// What stands after "password:" in forms, documentation and code, and is none.
const NONE_WORDS: [&str; 58] = [
    "required",
    "optional",
    "incorrect",
    "invalid",
    "wrong",
    "expired",
    "reset",
    "change",
    "changed",
    "forgotten",
    "none",
    "null",
    "nil",
    "true",
    "false",
    "undefined",
    "string",
    "str",
    "text",
    "varchar",
    "password",
    "secret",
    "token",
    "here",
    "hidden",
    "redacted",
    "removed",
    "empty",
    "missing",
    "unknown",
    "protected",
    "manager",
    "policy",
    "must",
    "should",
    "the",
    "your",
    "my",
    "for",
    "not",
    "and",
    "with",
    "about",
    "that",
    "this",
    "what",
    "when",
    "too",
    "erforderlich",
    "falsch",
    "vergessen",
    "obligatoire",
    "oublié",
    "requerida",
    "incorrecta",
    "obrigatória",
    "self",
    "process",
];

/// Whether what stands after "password:" may be one: [`is_secret`], and no word that a sentence goes on after.
pub(super) fn secret(text: &str, start: usize, end: usize) -> bool {
    let (taken, after) = (&text[start..end], &text[end..]);
    // `hash(password)`, `config[...]`.
    let is_call = after.starts_with(['(', '[']);
    let is_plain = taken.chars().all(|c| c.is_lowercase() || matches!(c, '-' | '\''));
    let goes_on = after
        .strip_prefix(' ')
        .is_some_and(|rest| rest.starts_with(char::is_alphanumeric) && !rest.starts_with(char::is_uppercase));
    is_secret(taken) && !is_call && !(is_plain && goes_on)
}

/// Whether a text may be a secret: not a placeholder, not a call or a variable, and not a plain word.
fn is_secret(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    // `<password>`, `${PASSWORD}`, `{{token}}`, `%s`, `********`, `get_token()`, `[…]`.
    if b"<{[(%*$".contains(first) && b">}])%*s".contains(last)
        || bytes.starts_with(b"${")
        || bytes.starts_with(b"$(")
    {
        return false;
    }
    if text.ends_with("()") || text.contains("...") || text.contains('…') || text.contains("://") {
        return false;
    }
    let uniform =
        text.chars().next().is_some_and(|c| matches!(c, '*' | 'x' | 'X' | '.' | '_' | '-' | '•' | '#'));
    if uniform && text.chars().collect::<std::collections::HashSet<_>>().len() == 1 {
        return false;
    }
    if text.strip_prefix('$').is_some_and(|name| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')) {
        return false;
    }
    // `DB_PASSWORD`: a name of a variable.
    if text.contains('_') && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_') {
        return false;
    }
    // `user_password`: a name of a field.
    if text.ends_with("_password")
        || text.ends_with("_token")
        || text.ends_with("_secret")
        || text.starts_with("$2")
    {
        return false;
    }
    let lower = text.to_lowercase();
    let bare = lower.trim_end_matches(['.', ',', ';', '!', '?']);
    if NONE_WORDS.contains(&bare) {
        return false;
    }
    // `os.environ["X"]`, `config.password`, `process.env.KEY`: names of code.
    let is_name = |part: &str| {
        part.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_' || b == b'$')
            && part.starts_with(|c: char| c.is_ascii_lowercase() || c == '$')
    };
    if text.contains('.')
        && !text.bytes().any(|b| b.is_ascii_digit())
        && bare.split('.').count() > 1
        && text.trim_end_matches('.').split('.').all(is_name)
    {
        return false;
    }
    if text.contains(['(', '['])
        && text.split(['(', '[']).next().is_some_and(|name| name.split('.').all(is_name))
    {
        return false;
    }
    true
}

/// Whether a text may be a secret and is no word of a language: there is a digit in it, or a sign with letters of
/// both cases.
pub(super) fn strong(text: &str) -> bool {
    let bare = text.trim_end_matches(['.', ',', ';', '!', '?', ')']);
    let has = |is: fn(&u8) -> bool| bare.bytes().any(|b| is(&b));
    let digits = bare.bytes().filter(u8::is_ascii_digit).count();
    let letters = bare.chars().filter(|c| c.is_alphabetic()).count();
    let signs = has(|b| b"!@#$%^&*+=?~".contains(b));
    let is_assignment = bare.split_once('=').is_some_and(|(name, value)| {
        !value.trim_matches('=').is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
    });
    let both_cases = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
    is_secret(text)
        && !is_assignment
        && ((digits > 0 && letters > 0)
            || (digits >= 6)
            || (signs && letters > 3)
            || (both_cases && bare.len() >= 20))
}

/// Whether a token has letters and digits, as random ones have.
pub(super) fn mixed(text: &str) -> bool {
    let has = |is: fn(&u8) -> bool| text.bytes().any(|b| is(&b));
    has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic)
}

/// Whether words may be a passphrase: none of those that sentences about one are made of.
pub(super) fn passphrase(text: &str) -> bool {
    const WORDS: [&str; 12] =
        ["the", "for", "this", "with", "your", "and", "required", "that", "must", "should", "not", "when"];
    !text.split([' ', '-']).any(|word| WORDS.contains(&word))
}
