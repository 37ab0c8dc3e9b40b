//! What the scanners need to know of Unicode.

/// What a character stands for in a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Folded {
    /// Itself.
    Same,
    /// Nothing: it cannot be seen.
    Nothing,
    /// An ASCII character.
    Ascii(u8),
}

/// The zeros of the decimal digits of other scripts; nine more follow each.
const ZEROS: [u32; 25] = [
    0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66, 0x0E50,
    0x0ED0, 0x0F20, 0x1040, 0x17E0, 0x1810, 0xFF10, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1FBF0,
];

/// Letters of Greek and Cyrillic that look like ASCII ones, in order (Unicode Technical Standard 39, confusables).
const LOOKALIKES: [(char, u8); 59] = [
    ('\u{391}', b'A'),
    ('\u{392}', b'B'),
    ('\u{395}', b'E'),
    ('\u{396}', b'Z'),
    ('\u{397}', b'H'),
    ('\u{399}', b'I'),
    ('\u{39A}', b'K'),
    ('\u{39C}', b'M'),
    ('\u{39D}', b'N'),
    ('\u{39F}', b'O'),
    ('\u{3A1}', b'P'),
    ('\u{3A4}', b'T'),
    ('\u{3A5}', b'Y'),
    ('\u{3A7}', b'X'),
    ('\u{3B1}', b'a'),
    ('\u{3B9}', b'i'),
    ('\u{3BA}', b'k'),
    ('\u{3BD}', b'v'),
    ('\u{3BF}', b'o'),
    ('\u{3C1}', b'p'),
    ('\u{3C5}', b'u'),
    ('\u{3F2}', b'c'),
    ('\u{3F3}', b'j'),
    ('\u{3F9}', b'C'),
    ('\u{405}', b'S'),
    ('\u{406}', b'I'),
    ('\u{408}', b'J'),
    ('\u{410}', b'A'),
    ('\u{412}', b'B'),
    ('\u{415}', b'E'),
    ('\u{41A}', b'K'),
    ('\u{41C}', b'M'),
    ('\u{41D}', b'H'),
    ('\u{41E}', b'O'),
    ('\u{420}', b'P'),
    ('\u{421}', b'C'),
    ('\u{422}', b'T'),
    ('\u{423}', b'Y'),
    ('\u{425}', b'X'),
    ('\u{430}', b'a'),
    ('\u{435}', b'e'),
    ('\u{43A}', b'k'),
    ('\u{43E}', b'o'),
    ('\u{440}', b'p'),
    ('\u{441}', b'c'),
    ('\u{443}', b'y'),
    ('\u{445}', b'x'),
    ('\u{455}', b's'),
    ('\u{456}', b'i'),
    ('\u{458}', b'j'),
    ('\u{4AE}', b'Y'),
    ('\u{4BB}', b'h'),
    ('\u{4CF}', b'l'),
    ('\u{501}', b'd'),
    ('\u{50C}', b'G'),
    ('\u{51A}', b'Q'),
    ('\u{51B}', b'q'),
    ('\u{51C}', b'W'),
    ('\u{51D}', b'w'),
];

/// Whether a character is of the blocks in which [`lookalike`]s are: Greek, Coptic and Cyrillic.
pub(super) const fn is_greek_or_cyrillic(c: char) -> bool {
    matches!(c, '\u{370}'..='\u{52F}')
}

/// The ASCII letter that a Greek or Cyrillic one looks like. It stands for that only next to ASCII letters or
/// digits; see [`super::view`].
pub(super) fn lookalike(c: char) -> Option<u8> {
    LOOKALIKES.binary_search_by_key(&c, |&(c, _)| c).ok().map(|at| LOOKALIKES[at].1)
}

/// Undoes one character's disguise.
pub(super) fn fold(c: char) -> Folded {
    let code = u32::from(c);
    match code {
        0..=0x9F => Folded::Same,
        0xAD
        | 0x034F
        | 0x061C
        | 0x180B..=0x180E
        | 0x200B..=0x200F
        | 0x202A..=0x202E
        | 0x2060..=0x206F
        | 0xFE00..=0xFE0F
        | 0xFEFF
        | 0xE0000..=0xE01EF => Folded::Nothing,
        0xA0 | 0x2000..=0x200A | 0x202F | 0x205F | 0x3000 => Folded::Ascii(b' '),
        0x2010..=0x2015 | 0x2043 | 0x2212 | 0xFE58 | 0xFE63 => Folded::Ascii(b'-'),
        0xB7 | 0x2024 | 0x2027 | 0x2219 | 0xFE52 | 0xFF61 => Folded::Ascii(b'.'),
        0x2044 | 0x2215 => Folded::Ascii(b'/'),
        0xFE62 => Folded::Ascii(b'+'),
        0xFE6B => Folded::Ascii(b'@'),
        0xFF01..=0xFF5E => u8::try_from(code - 0xFEE0).map_or(Folded::Same, Folded::Ascii),
        0x0660..=0x1810 | 0x1D7CE..=0x1FBF9 => digit(code).map_or(Folded::Same, Folded::Ascii),
        _ => Folded::Same,
    }
}

fn digit(code: u32) -> Option<u8> {
    let after = ZEROS.partition_point(|&zero| zero <= code);
    let value = code - ZEROS.get(after.checked_sub(1)?)?;
    if value > 9 {
        return None;
    }
    u8::try_from(value).ok().map(|value| b'0' + value)
}

/// Whether a character belongs to a script that is written without spaces, or glues particles to
/// foreign words: an address next to it ends where it begins.
pub(super) fn is_spaceless(c: char) -> bool {
    matches!(u32::from(c),
        0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1100..=0x11FF | 0x1780..=0x17FF | 0x3005..=0x3007
        | 0x3040..=0x312F | 0x31F0..=0x31FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xAC00..=0xD7AF
        | 0xF900..=0xFAFF | 0xFF66..=0xFF9F | 0x20000..=0x3FFFF)
}

/// Whether a character is a letter, a mark on one or a digit of an internationalised address.
/// Marks are not alphanumeric for the standard library, so this leaves out what is surely not one.
pub(super) fn is_address_letter(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric();
    }
    let other = matches!(u32::from(c),
        0x80..=0xBF | 0xD7 | 0xF7 | 0x2000..=0x2BFF | 0x3000..=0x3004 | 0x3008..=0x303F | 0x30FB
        | 0xE000..=0xF8FF | 0xFD3E..=0xFD3F | 0xFE10..=0xFE6F | 0xFF00..=0xFF0F | 0xFF1A..=0xFF20
        | 0xFF3B..=0xFF40 | 0xFF5B..=0xFF65 | 0xFFE0..=0xFFFF | 0x1F000..=0x1FAFF | 0x060C | 0x061B | 0x061F
        | 0x06D4 | 0x0964..=0x0965);
    !other && !c.is_whitespace()
}

/// Whether a word ends between two characters.
pub(super) fn is_boundary(before: Option<char>, after: Option<char>) -> bool {
    let (Some(before), Some(after)) = (before, after) else { return true };
    let is_word = |c: char| c.is_alphanumeric();
    !is_word(before) || !is_word(after) || is_spaceless(before) || is_spaceless(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disguises_are_undone() {
        for (c, expected) in [
            ('a', Folded::Same),
            ('é', Folded::Same),
            ('日', Folded::Same),
            ('\u{200B}', Folded::Nothing),
            ('\u{AD}', Folded::Nothing),
            ('\u{FE0F}', Folded::Nothing),
            ('＠', Folded::Ascii(b'@')),
            ('．', Folded::Ascii(b'.')),
            ('ｚ', Folded::Ascii(b'z')),
            ('\u{A0}', Folded::Ascii(b' ')),
            ('–', Folded::Ascii(b'-')),
            ('４', Folded::Ascii(b'4')),
            ('٣', Folded::Ascii(b'3')),
            ('۹', Folded::Ascii(b'9')),
            ('७', Folded::Ascii(b'7')),
            ('𝟜', Folded::Ascii(b'4')),
            ('𝟿', Folded::Ascii(b'9')),
            ('٪', Folded::Same),
            ('א', Folded::Same),
        ] {
            assert_eq!(fold(c), expected, "{c:?}");
        }
        assert!(ZEROS.is_sorted() && LOOKALIKES.is_sorted());
        assert_eq!((lookalike('\u{430}'), lookalike('\u{436}')), (Some(b'a'), None));
    }

    #[test]
    fn boundaries() {
        for (before, after, expected) in
            [('a', 'b', false), ('a', '1', false), ('a', '_', true), ('は', 't', true), (' ', 'x', true)]
        {
            assert_eq!(is_boundary(Some(before), Some(after)), expected, "{before}{after}");
        }
        assert!(is_boundary(None, Some('a')) && is_boundary(Some('a'), None));
    }
}
