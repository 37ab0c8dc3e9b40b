//! Private keys in PEM (RFC 7468) and OpenPGP armour (RFC 9580), the whole block; without its end, as far as there
//! are characters of one.

use std::sync::LazyLock;

use memchr::memmem;

use super::{Entity, Span};

/// The longest label, such as `RSA PRIVATE KEY`, in bytes.
const MAX_LABEL_BYTES: usize = 64;
const PRIORITY: u8 = 95;

static BEGIN: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new("-----BEGIN "));
static END: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new("-----END "));

/// Adds the private keys of a text.
pub(super) fn find(text: &str, spans: &mut Vec<Span>) {
    let bytes = text.as_bytes();
    let mut from = 0;
    // Without one there is none for any block after it.
    let mut has_end = true;
    while let Some(found) = BEGIN.find(&bytes[from..]) {
        let start = from + found;
        from = start + BEGIN.needle().len();
        let reach = text.floor_char_boundary(text.len().min(from + MAX_LABEL_BYTES));
        let Some(label) =
            text[from..reach].split("-----").next().filter(|label| label.contains("PRIVATE KEY"))
        else {
            continue;
        };
        from = text.len().min(from + label.len() + 5);
        let end = if has_end { END.find(&bytes[from..]).map(|end| from + end) } else { None };
        has_end = end.is_some();
        let end = match end {
            Some(end) => {
                let reach = text.floor_char_boundary(text.len().min(end + 5 + MAX_LABEL_BYTES));
                text[end + 5..reach].find("-----").map_or(reach, |close| end + 10 + close)
            }
            None => {
                let is_body = |b: &u8| b.is_ascii_alphanumeric() || b"+/=\\:,-. \r\n\t".contains(b);
                from + bytes[from..].iter().position(|b| !is_body(b)).unwrap_or(bytes.len() - from)
            }
        };
        spans.push(Span { start, end, entity: Entity::SECRET, priority: PRIORITY });
        from = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        let mut spans = Vec::new();
        find(text, &mut spans);
        spans.into_iter().map(|span| &text[span.start..span.end]).collect()
    }

    #[test]
    fn blocks_are_taken_whole() {
        let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIB\nab+/=\n-----END RSA PRIVATE KEY-----";
        assert_eq!(found(&format!("x {key} y {key}")), [key, key]);
        let key = "-----BEGIN PRIVATE KEY-----\\nMIIB\\n-----END PRIVATE KEY-----\\n";
        assert_eq!(found(key), [key.trim_end_matches("\\n")]);
        assert_eq!(
            found("a -----BEGIN EC PRIVATE KEY-----\nMIIB\nabcd (cut)"),
            ["-----BEGIN EC PRIVATE KEY-----\nMIIB\nabcd "]
        );
        assert_eq!(found("-----BEGIN PRIVATE KEY-----"), ["-----BEGIN PRIVATE KEY-----"]);
    }

    #[test]
    fn public_keys_stay() {
        assert!(found("-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----").is_empty());
        assert!(found("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----").is_empty());
        assert_eq!(found(&"-----BEGIN PRIVATE KEY-----(".repeat(50_000)).len(), 50_000);
    }
}
