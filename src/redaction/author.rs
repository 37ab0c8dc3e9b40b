//! The author's own user id in a text. It is often an e-mail address or a handle, and people sign
//! with it; it must not reach a disk this way either.

use std::cell::OnceCell;

use memchr::memchr2_iter;

use super::{Entity, Span, chars::is_boundary, view::View};

/// The shortest user id that is looked for inside the texts of events, in bytes: shorter ones are
/// mostly parts of other words.
const MIN_BYTES_IN_EVENT: usize = 4;
/// The same for the evidence of consent, which is short and written by machines.
const MIN_BYTES_IN_EVIDENCE: usize = 3;

/// What the ids that clients choose may hold besides letters and digits.
const SEPARATORS: [char; 4] = ['.', '_', ':', '-'];

/// A user id to look for, without regard to the case of ASCII letters.
pub struct Author<'a> {
    needle: Needle<'a>,
    min_bytes: usize,
    /// Filled when the first of the client's ids is looked at; `None` when there is no other form.
    slug: OnceCell<Option<Slug>>,
}

impl<'a> Author<'a> {
    /// To be looked for in the texts of an event.
    #[must_use]
    pub fn of_event(id: &'a str) -> Self {
        Self::new(id.trim(), MIN_BYTES_IN_EVENT)
    }

    /// To be looked for in the evidence and the actor of a consent change.
    pub(crate) fn of_evidence(id: &'a str) -> Self {
        Self::new(id.trim(), MIN_BYTES_IN_EVIDENCE)
    }

    fn new(id: &'a str, min_bytes: usize) -> Self {
        Self { needle: Needle::new(id), min_bytes, slug: OnceCell::new() }
    }

    pub(super) fn find(&self, view: &View<'_>, spans: &mut Vec<Span>) {
        // Nothing else has a disguise.
        let may_differ = |id: &str| !id.is_ascii() || id.contains(['%', '&']);
        if view.is_undisguised() && may_differ(self.needle.id) {
            let id = View::undisguised(self.needle.id);
            self.find_id(&Needle::new(id.text()), view.text(), spans);
        } else {
            self.find_id(&self.needle, view.text(), spans);
        }
    }

    /// An id of the client's with `replacement` for each occurrence of the user id, as it is or with
    /// another separator in the place of what such ids cannot hold; `None` when there is none.
    pub(crate) fn replaced(&self, text: &str, replacement: impl Fn() -> String) -> Option<String> {
        let id = self.needle.id;
        if let Some(without) = self.replaced_form(&self.needle, text, &replacement) {
            return Some(without);
        }
        // Where all of the user id could be part of such an id, no form but its own is likely.
        let slug = self.slug.get_or_init(|| Slug::of(id)).as_ref()?;
        if !self.may_hold_slug(slug, text) {
            return None;
        }
        SEPARATORS.into_iter().find_map(|separator| {
            let slug = id.replace(is_foreign, separator.encode_utf8(&mut [0; 4]));
            self.replaced_form(&Needle::new(&slug), text, &replacement)
        })
    }

    /// Whether a text holds the user id with any separators at all in the place of foreign characters,
    /// letters next to it or not. Most texts do not, and no form has to be written out to see it.
    fn may_hold_slug(&self, slug: &Slug, text: &str) -> bool {
        if slug.len < self.min_bytes {
            // Then only a whole text can be it.
            return text.trim().len() == slug.len;
        }
        if slug.len > text.len() {
            return false;
        }
        let Some((offset, rare)) = slug.rarest else { return true };
        let text = text.as_bytes();
        memchr2_iter(rare.to_ascii_lowercase(), rare.to_ascii_uppercase(), text).any(|at| {
            let found = at.checked_sub(offset).and_then(|start| text.get(start..start + slug.len));
            found.is_some_and(|found| {
                found.iter().zip(self.needle.id.chars()).all(|(&b, c)| {
                    if is_foreign(c) {
                        SEPARATORS.contains(&char::from(b))
                    } else {
                        c.eq_ignore_ascii_case(&char::from(b))
                    }
                })
            })
        })
    }

    fn replaced_form(
        &self,
        needle: &Needle<'_>,
        text: &str,
        replacement: &impl Fn() -> String,
    ) -> Option<String> {
        let mut spans = Vec::new();
        self.find_id(needle, text, &mut spans);
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

    fn find_id(&self, needle: &Needle<'_>, text: &str, spans: &mut Vec<Span>) {
        let id = needle.id;
        if id.len() > text.len() {
            return;
        }
        if id.len() < self.min_bytes {
            if !id.is_empty() && text.trim().eq_ignore_ascii_case(id) {
                let start = text.len() - text.trim_start().len();
                spans.push(Span { start, end: start + id.len(), entity: Entity::USER, priority: 0 });
            }
            return;
        }
        if id.len() == text.len() {
            // As with two UUIDs, of which each digit is in the other.
            if text.eq_ignore_ascii_case(id) {
                spans.push(Span { start: 0, end: id.len(), entity: Entity::USER, priority: 0 });
            }
            return;
        }
        let (id, text_bytes) = (id.as_bytes(), text.as_bytes());
        let (lower, upper) = (needle.rarest.to_ascii_lowercase(), needle.rarest.to_ascii_uppercase());
        let mut floor = 0;
        for at in memchr2_iter(lower, upper, text_bytes) {
            let Some(start) = at.checked_sub(needle.offset).filter(|&start| start >= floor) else { continue };
            let end = start + id.len();
            let Some(found) = text_bytes.get(start..end) else { continue };
            // Equal bytes of UTF-8 begin and end where characters do.
            if found.eq_ignore_ascii_case(id) && stands_alone(text, start, end) {
                spans.push(Span { start, end, entity: Entity::USER, priority: 0 });
                floor = end;
            }
        }
    }
}

/// A form of an id and the byte of it to search by: a rare one, which one makes no difference to what is
/// found.
struct Needle<'a> {
    id: &'a str,
    rarest: u8,
    offset: usize,
}

impl<'a> Needle<'a> {
    fn new(id: &'a str) -> Self {
        let (offset, rarest) = rarest_of(id.bytes().enumerate()).unwrap_or_default();
        Self { id, rarest, offset }
    }
}

/// What is the same in all forms of a user id that have a separator in the place of each foreign character.
struct Slug {
    /// In bytes.
    len: usize,
    /// Where a rare byte of the id is in them; `None` when no character is its own.
    rarest: Option<(usize, u8)>,
}

impl Slug {
    /// `None` when there is no foreign character in the id.
    fn of(id: &str) -> Option<Self> {
        if !id.contains(is_foreign) {
            return None;
        }
        let own = id.chars().enumerate().filter(|&(_, c)| !is_foreign(c));
        let rarest = rarest_of(own.filter_map(|(at, c)| Some((at, u8::try_from(c).ok()?))));
        Some(Self { len: id.chars().count(), rarest })
    }
}

/// Whether the ids that clients choose cannot hold a character.
fn is_foreign(c: char) -> bool {
    !(c.is_ascii_alphanumeric() || SEPARATORS.contains(&c))
}

/// The first byte that is rare enough to search by, or else the rarest.
fn rarest_of(bytes: impl Iterator<Item = (usize, u8)>) -> Option<(usize, u8)> {
    let mut rarest = None;
    let mut least = u8::MAX;
    for (at, b) in bytes {
        let frequency = FREQUENCIES[usize::from(b)];
        if frequency < least {
            (rarest, least) = (Some((at, b)), frequency);
            if frequency <= RARE {
                break;
            }
        }
    }
    rarest
}

fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let found = &text[start..end];
    is_boundary(text[..start].chars().next_back(), found.chars().next())
        && is_boundary(found.chars().next_back(), text[end..].chars().next())
}

/// The rank of a byte that is rare enough to look for no rarer one.
const RARE: u8 = 1;

/// The rank of each byte.
const FREQUENCIES: [u8; 256] = {
    let mut frequencies = [0; 256];
    let mut b = 0_u8;
    loop {
        frequencies[b as usize] = frequency(b);
        if b == u8::MAX {
            break frequencies;
        }
        b += 1;
    }
};

/// A rank by which the byte of an id that is rare in texts is chosen to search by.
const fn frequency(b: u8) -> u8 {
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

#[cfg(test)]
mod tests;
