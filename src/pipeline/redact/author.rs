//! The author's own user id in a text. It is often an e-mail address or a handle, and people sign
//! with it; it must not reach a disk this way either.

use memchr::memchr2_iter;

use crate::event::RawUserId;

use super::{Entity, Span, chars::is_boundary, view::View};

/// The shortest user id that is looked for inside the texts of events, in bytes: shorter ones are
/// mostly parts of other words.
const MIN_BYTES_IN_EVENT: usize = 4;
/// The same for the evidence of consent, which is short and written by machines.
const MIN_BYTES_IN_EVIDENCE: usize = 3;

/// What the ids that clients choose may hold besides letters and digits.
const SEPARATORS: &str = "._:-";

/// A user id to look for, without regard to the case of ASCII letters.
pub(in crate::pipeline) struct Author<'a> {
    id: &'a str,
    min_bytes: usize,
}

impl<'a> Author<'a> {
    /// To be looked for in the texts of an event.
    pub(in crate::pipeline) fn of_event(id: RawUserId<'a>) -> Self {
        Self { id: id.expose().trim(), min_bytes: MIN_BYTES_IN_EVENT }
    }

    /// To be looked for in the evidence and the actor of a consent change.
    pub(super) fn of_evidence(id: RawUserId<'a>) -> Self {
        Self { id: id.expose().trim(), min_bytes: MIN_BYTES_IN_EVIDENCE }
    }

    pub(super) fn find(&self, view: &View<'_>, spans: &mut Vec<Span>) {
        if view.is_undisguised() {
            let id = View::undisguised(self.id);
            self.find_id(id.text(), view.text(), spans);
        } else {
            self.find_id(self.id, view.text(), spans);
        }
    }

    /// An id of the client's with `replacement` for each occurrence of the user id, as it is or with
    /// another separator in the place of what such ids cannot hold; `None` when there is none.
    pub(in crate::pipeline) fn replaced(
        &self,
        text: &str,
        replacement: impl Fn() -> String,
    ) -> Option<String> {
        if let Some(without) = self.replaced_form(self.id, text, &replacement) {
            return Some(without);
        }
        // Where all of the user id could be part of such an id, no form but its own is likely.
        let is_foreign = |c: char| !(c.is_ascii_alphanumeric() || SEPARATORS.contains(c));
        if text.is_empty() || !self.id.contains(is_foreign) {
            return None;
        }
        SEPARATORS.chars().find_map(|separator| {
            let slug = self.id.replace(is_foreign, separator.encode_utf8(&mut [0; 4]));
            self.replaced_form(&slug, text, &replacement)
        })
    }

    fn replaced_form(&self, id: &str, text: &str, replacement: &impl Fn() -> String) -> Option<String> {
        let mut spans = Vec::new();
        self.find_id(id, text, &mut spans);
        if spans.is_empty() {
            return None;
        }
        let replacement = replacement();
        let mut replaced = String::new();
        let mut copied = 0;
        for Span { start, end, .. } in spans {
            replaced.push_str(&text[copied..start]);
            replaced.push_str(&replacement);
            copied = end;
        }
        replaced.push_str(&text[copied..]);
        Some(replaced)
    }

    fn find_id(&self, id: &str, text: &str, spans: &mut Vec<Span>) {
        if id.len() < self.min_bytes {
            if !id.is_empty() && text.trim().eq_ignore_ascii_case(id) {
                let start = text.len() - text.trim_start().len();
                spans.push(Span { start, end: start + id.len(), entity: Entity::User });
            }
            return;
        }
        let (id, text_bytes) = (id.as_bytes(), text.as_bytes());
        let Some((offset, &rare)) = id.iter().enumerate().min_by_key(|&(_, &b)| frequency(b)) else { return };
        let mut floor = 0;
        for at in memchr2_iter(rare.to_ascii_lowercase(), rare.to_ascii_uppercase(), text_bytes) {
            let Some(start) = at.checked_sub(offset).filter(|&start| start >= floor) else { continue };
            let end = start + id.len();
            let Some(found) = text_bytes.get(start..end) else { continue };
            // Equal bytes of UTF-8 begin and end where characters do.
            if found.eq_ignore_ascii_case(id) && stands_alone(text, start, end) {
                spans.push(Span { start, end, entity: Entity::User });
                floor = end;
            }
        }
    }
}

fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let found = &text[start..end];
    is_boundary(text[..start].chars().next_back(), found.chars().next())
        && is_boundary(found.chars().next_back(), text[end..].chars().next())
}

/// A rank by which the byte of an id that is rarest in texts is chosen to search by.
fn frequency(b: u8) -> u8 {
    match b.to_ascii_lowercase() {
        b'@' | b'_' | b'|' | b'#' | b'+' => 0,
        b'0'..=b'9' => 1,
        b'q' | b'x' | b'z' | b'j' => 2,
        b'k' | b'v' | b'w' | b'y' => 3,
        b'b' | b'f' | b'g' | b'p' | b'm' => 4,
        0x80.. => 5,
        b' ' | b'e' | b't' | b'a' | b'o' | b'i' | b'n' => 7,
        _ => 6,
    }
}
