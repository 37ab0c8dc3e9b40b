//! Words as they are looked up: in lower case, and without marks, so that `Nováková` and `NOVAKOVA` are one.

use std::sync::LazyLock;

use super::chars::is_address_letter;

/// The longest word that is looked up, in bytes. Names are shorter.
const MAX_BYTES: usize = 48;

/// Latin letters from U+00C0 to U+017F without their marks; `*` where two letters take the place.
const LATIN: &[u8; 192] = b"aaaaaa*ceeeeiiiidnooooo ouuuuy**aaaaaa*ceeeeiiiidnooooo ouuuuy*y\
    aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiii**jjkkklllllll\
    lllnnnnnnnnnoooooo**rrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs";

/// A word in lower case without marks.
pub(super) struct Folded {
    bytes: [u8; MAX_BYTES],
    len: usize,
}

impl Folded {
    /// `None` for what is too long.
    pub(super) fn of(word: &str) -> Option<Self> {
        let mut folded = Self { bytes: [0; MAX_BYTES], len: 0 };
        if word.len() > MAX_BYTES {
            return None;
        }
        if word.is_ascii() {
            let target = folded.bytes.get_mut(..word.len())?;
            target.copy_from_slice(word.as_bytes());
            target.make_ascii_lowercase();
            folded.len = word.len();
            return Some(folded);
        }
        let letters = Letter::all();
        let bytes = word.as_bytes();
        let mut at = 0;
        while let Some(&b) = bytes.get(at) {
            match (b, bytes.get(at + 1)) {
                (0..0x80, _) => {
                    folded.push_byte(b.to_ascii_lowercase())?;
                    at += 1;
                }
                (0xC2..=0xDF, Some(&next)) => {
                    let letter = letters[Letter::index(b, next)];
                    for &b in &letter.folded[..usize::from(letter.len)] {
                        folded.push_byte(b)?;
                    }
                    at += 2;
                }
                _ if is_caseless(&bytes[at..]) => {
                    folded.bytes.get_mut(folded.len..folded.len + 3)?.copy_from_slice(&bytes[at..at + 3]);
                    folded.len += 3;
                    at += 3;
                }
                _ => {
                    let c = word.get(at..)?.chars().next()?;
                    folded.push(c)?;
                    at += c.len_utf8();
                }
            }
        }
        Some(folded)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// A hash of which all bits are good.
    pub(super) fn hash(&self) -> u64 {
        hash(self.as_bytes())
    }

    fn push(&mut self, c: char) -> Option<()> {
        let two = match c {
            'ß' | 'ẞ' => "ss",
            'Æ' | 'æ' => "ae",
            'Œ' | 'œ' => "oe",
            'Þ' | 'þ' => "th",
            'Ĳ' | 'ĳ' => "ij",
            _ => "",
        };
        if !two.is_empty() {
            return two.bytes().try_for_each(|b| self.push_byte(b));
        }
        match without_marks(c) {
            None => Some(()),
            Some(c) => {
                let len = c.len_utf8();
                let target = self.bytes.get_mut(self.len..self.len + len)?;
                c.encode_utf8(target);
                self.len += len;
                Some(())
            }
        }
    }

    fn push_byte(&mut self, b: u8) -> Option<()> {
        *self.bytes.get_mut(self.len)? = b;
        self.len += 1;
        Some(())
    }
}

/// What is known of a character of two bytes in UTF-8, U+0080 to U+07FF: asked for again and again in texts of most
/// languages, and slow to find out.
#[derive(Clone, Copy, Default)]
pub(super) struct Letter {
    /// In lower case without its mark, as UTF-8.
    folded: [u8; 3],
    /// How many bytes of `folded` count.
    len: u8,
    /// Whether it can be in a word ([`is_address_letter`]).
    pub(super) is_letter: bool,
    pub(super) is_upper: bool,
}

impl Letter {
    /// How many there are.
    const COUNT: usize = 0x800 - 0x80;

    /// All of them, in order.
    pub(super) fn all() -> &'static [Self; Self::COUNT] {
        static ALL: LazyLock<[Letter; Letter::COUNT]> = LazyLock::new(|| {
            let mut all = [Letter::default(); Letter::COUNT];
            for (letter, c) in all.iter_mut().zip('\u{80}'..'\u{800}') {
                let mut folded = Folded { bytes: [0; MAX_BYTES], len: 0 };
                // None of them becomes longer than three bytes, a test says.
                let fits = folded.push(c).is_some() && folded.len <= 3;
                letter.len = if fits { folded.len as u8 } else { 0 };
                letter.folded.copy_from_slice(&folded.bytes[..3]);
                letter.is_letter = is_address_letter(c);
                letter.is_upper = c.is_uppercase();
            }
            all
        });
        &ALL
    }

    /// Where the character of two bytes is.
    #[inline]
    pub(super) const fn index(first: u8, second: u8) -> usize {
        ((first as usize & 0x1F) << 6 | second as usize & 0x3F) - 0x80
    }
}

/// Whether a text begins with a letter of three bytes that has neither a case nor, for look-ups, a mark: kana, Chinese
/// characters, Hangul and the scripts of India and its neighbours, as far as it is seen at once.
#[inline]
pub(super) const fn is_caseless(text: &[u8]) -> bool {
    match *text {
        // Not the danda.
        [0xE0, 0xA5, last, ..] => last != 0xA4 && last != 0xA5,
        // Not the middle dot of Katakana.
        [0xE3, 0x83, last, ..] => last != 0xBB,
        [0xE0, 0xA4..=0xBF, _, ..] | [0xE3, 0x81..=0xBF, _, ..] | [0xE4..=0xE9 | 0xEB | 0xEC, _, _, ..] => {
            true
        }
        _ => false,
    }
}

/// A character in lower case without its mark; `None` for a mark that stands alone.
fn without_marks(c: char) -> Option<char> {
    match u32::from(c) {
        0..0x80 => Some(c.to_ascii_lowercase()),
        at @ 0xC0..0x180 => Some(char::from(LATIN[at as usize - 0xC0])),
        0x300..0x370 => None,
        0x1A0..=0x1A1 => Some('o'),
        0x1AF..=0x1B0 => Some('u'),
        // Romanian letters with a comma below.
        0x218..=0x219 => Some('s'),
        0x21A..=0x21B => Some('t'),
        0x1E00..0x1F00 => Some(additional(c)),
        _ => Some(match lower(c) {
            'ё' => 'е',
            'ά' => 'α',
            'έ' => 'ε',
            'ή' => 'η',
            'ί' | 'ϊ' | 'ΐ' => 'ι',
            'ό' => 'ο',
            'ύ' | 'ϋ' | 'ΰ' => 'υ',
            'ώ' => 'ω',
            // Capitals don't tell the two apart.
            'ς' => 'σ',
            other => other,
        }),
    }
}

/// The letters of Vietnamese and Welsh; others of their block are left.
fn additional(c: char) -> char {
    match u32::from(c) {
        0x1EA0..=0x1EB7 => 'a',
        0x1EB8..=0x1EC7 => 'e',
        0x1EC8..=0x1ECB => 'i',
        0x1ECC..=0x1EE3 => 'o',
        0x1EE4..=0x1EF1 => 'u',
        0x1EF2..=0x1EF9 => 'y',
        0x1E80..=0x1E89 => 'w',
        _ => lower(c),
    }
}

fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// The hash of a word of ASCII letters alone that begins at a place in a text; `None` when it is too long, or the text
/// too short, to be read in one step. The same as [`Folded::hash`], without a copy.
#[inline]
pub(super) fn hash_in_place(text: &[u8], start: usize, len: usize) -> Option<u64> {
    const CASE: u64 = 0x2020_2020_2020_2020;
    if len > BLOCK_BYTES {
        return None;
    }
    let block = match text.get(start..start + BLOCK_BYTES) {
        Some(block) => u128::from_le_bytes(block.try_into().ok()?),
        // The last bytes of the text, without those before the word.
        None => u128::from_le_bytes(*text.last_chunk()?) >> (8 * (start + BLOCK_BYTES - text.len())),
    };
    let [low, high] = halves(block);
    let (low_mask, high_mask) = FIRST_BYTES[len];
    Some(mix(len as u64, (low | CASE) & low_mask, (high | CASE) & high_mask))
}

/// How many bytes are hashed at a time.
const BLOCK_BYTES: usize = 16;

const fn halves(block: u128) -> [u64; 2] {
    [block as u64, (block >> 64) as u64]
}

/// Masks of the first bytes of sixteen, in two halves.
const FIRST_BYTES: [(u64, u64); BLOCK_BYTES + 1] = {
    let mut masks = [(0, 0); BLOCK_BYTES + 1];
    let mut len = 1;
    while len <= BLOCK_BYTES {
        let [low, high] = halves(u128::MAX >> (8 * (BLOCK_BYTES - len)));
        masks[len] = (low, high);
        len += 1;
    }
    masks
};

/// It is no secret: a text made to collide costs a few more looks into the table.
fn hash(bytes: &[u8]) -> u64 {
    let mut hash = bytes.len() as u64;
    for chunk in bytes.chunks(BLOCK_BYTES) {
        let mut block = [0; BLOCK_BYTES];
        block[..chunk.len()].copy_from_slice(chunk);
        let [low, high] = halves(u128::from_le_bytes(block));
        hash = mix(hash, low, high);
    }
    hash
}

const fn mix(hash: u64, low: u64, high: u64) -> u64 {
    let product = (hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ low ^ 0x2D35_8DCC_AA6C_78A5) as u128
        * (high ^ 0x8BB8_4B93_962E_ACC9) as u128;
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_marks_are_gone() {
        for (word, expected) in [
            ("Anna", "anna"),
            ("NOVÁKOVÁ", "novakova"),
            ("Ingþór", "ingthor"),
            ("Weiß", "weiss"),
            ("Sørensen", "sorensen"),
            ("Łódź", "lodz"),
            ("Nguyễn", "nguyen"),
            ("Hương", "huong"),
            ("Ștefan", "stefan"),
            ("e\u{301}te\u{301}", "ete"),
            ("Ærø", "aero"),
            ("Žižek", "zizek"),
            ("Ñuñez", "nunez"),
            ("İbrahim", "ibrahim"),
            ("Öğretmen", "ogretmen"),
            ("Алёна", "алена"),
            ("ΝΊΚΟΣ", "νικοσ"),
            ("日本", "日本"),
        ] {
            let folded = Folded::of(word).unwrap();
            assert_eq!(str::from_utf8(folded.as_bytes()).unwrap(), expected);
        }
        assert!(Folded::of(&"x".repeat(49)).is_none());
    }

    #[test]
    fn every_character_is_folded_as_it_is_alone() {
        for c in '\u{80}'..=char::MAX {
            let mut folded = Folded { bytes: [0; MAX_BYTES], len: 0 };
            folded.push(c).unwrap();
            let text = String::from(c);
            assert_eq!(Folded::of(&text).unwrap().as_bytes(), folded.as_bytes(), "{c:?}");
            if is_caseless(text.as_bytes()) {
                assert!(is_address_letter(c) && !c.is_uppercase(), "{c:?}");
            }
        }
    }

    #[test]
    fn in_place_or_copied_is_one_hash() {
        let text = "Ab anna MARIA Abcdefgh abcdefghi abcdefghijklmnop abcdefghijklmnopq and some more";
        let mut start = 0;
        for word in text.split(' ') {
            let hash = hash_in_place(text.as_bytes(), start, word.len());
            assert_eq!(hash.is_some(), word.len() <= 16, "{word}");
            if hash.is_some() {
                assert_eq!(hash, Folded::of(word).map(|folded| folded.hash()), "{word}");
            }
            start += word.len() + 1;
        }
        assert_eq!(hash_in_place(b"Anna", 0, 4), None);
    }
}
