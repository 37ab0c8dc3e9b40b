//! Numbers that states give to people and to businesses.

use super::{
    alphanumerics,
    checksums::{luhn, verhoeff},
    digits, exactly, is_uniform, is_varied, weighted,
};

/// The value of the first `count` digits of a text.
fn value(number: &[u32]) -> u32 {
    number.iter().fold(0, |value, digit| value * 10 + digit)
}

fn is_month_and_day(month: u32, day: u32) -> bool {
    (1..=12).contains(&month) && (1..=31).contains(&day)
}

/// The letters and digits of a text, in upper case, when there are `N` of them.
fn characters<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut all = [0; N];
    let mut from = alphanumerics(text);
    for b in &mut all {
        *b = from.next()?;
    }
    from.next().is_none().then_some(all)
}

/// A US social security number (SSA): no group of zeros, no area 666 or 900 to 999, and none that was printed in
/// advertisements.
pub(super) fn us_ssn(text: &str) -> bool {
    let Some(number) = exactly::<9>(text) else { return false };
    let (area, group, serial) = (value(&number[..3]), value(&number[3..5]), value(&number[5..]));
    area != 0 && area != 666 && area < 900 && group != 0 && serial != 0 && !is_uniform(&number)
}

/// A US individual taxpayer number (IRS): area 900 to 999, and groups that are issued.
pub(super) fn us_itin(text: &str) -> bool {
    let Some(number) = exactly::<9>(text) else { return false };
    number[0] == 9 && matches!(value(&number[3..5]), 50..=65 | 70..=88 | 90..=92 | 94..=99)
}

/// A US employer number (IRS): a prefix that is assigned.
pub(super) fn us_ein(text: &str) -> bool {
    let Some(number) = exactly::<9>(text) else { return false };
    !matches!(value(&number[..2]), 0 | 7..=9 | 17..=19 | 28 | 29 | 49 | 69 | 70 | 78 | 79 | 89 | 96 | 97)
        && !is_uniform(&number)
}

/// A UK national insurance number (HMRC NIM39110): prefixes that are not used are none.
pub(super) fn uk_nino(text: &str) -> bool {
    let mut letters = alphanumerics(text);
    let (Some(a), Some(b)) = (letters.next(), letters.next()) else { return false };
    let unused = [*b"BG", *b"GB", *b"KN", *b"NK", *b"NT", *b"TN", *b"ZZ"];
    !b"DFIQUV".contains(&a) && !b"DFIOQUV".contains(&b) && !unused.contains(&[a, b])
}

/// An NHS number: modulus 11 of ten digits (NHS Data Dictionary).
pub(super) fn uk_nhs(text: &str) -> bool {
    let Some(number) = exactly::<10>(text) else { return false };
    let sum = weighted(&number, &[10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
    !is_uniform(&number) && sum.is_multiple_of(11)
}

/// A German tax number of a person: ISO 7064, MOD 11,10, and of the first ten digits one comes twice or three times
/// (BZSt).
pub(super) fn de_tax_id(text: &str) -> bool {
    let Some(number) = exactly::<11>(text) else { return false };
    let mut counts = [0; 10];
    for &digit in &number[..10] {
        counts[digit as usize] += 1;
    }
    let repeated = counts.iter().filter(|&&count| count > 1).count();
    number[0] != 0 && repeated == 1 && counts.iter().all(|&count| count <= 3) && mod11_10(&number)
}

/// A German VAT number: ISO 7064, MOD 11,10, of nine digits.
pub(super) fn de_vat(text: &str) -> bool {
    exactly::<9>(text).is_some_and(|number| number[0] != 0 && mod11_10(&number))
}

/// ISO 7064, MOD 11,10, the last digit being the check.
fn mod11_10(number: &[u32]) -> bool {
    let Some((check, rest)) = number.split_last() else { return false };
    let product = rest.iter().fold(10, |product, digit| {
        let sum = (digit + product) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    (11 - product) % 10 == *check
}

/// A French social security number (INSEE): sex, year, month, department, …, and 97 less the remainder by 97.
/// Corsica's departments 2A and 2B count as 19 and 18.
pub(super) fn fr_nir(text: &str) -> bool {
    let Some(all) = characters::<15>(text) else { return false };
    let mut number: u64 = 0;
    for (place, b) in all[..13].iter().enumerate() {
        let digit = match b {
            b'0'..=b'9' => b - b'0',
            b'A' if place == 6 && all[5] == b'2' => {
                number = number - 2 + 1;
                9
            }
            b'B' if place == 6 && all[5] == b'2' => {
                number = number - 2 + 1;
                8
            }
            _ => return false,
        };
        number = number * 10 + u64::from(digit);
    }
    let pair = |at: usize| {
        let digit = |b: u8| b.is_ascii_digit().then(|| u64::from(b - b'0'));
        Some(digit(all[at])? * 10 + digit(all[at + 1])?)
    };
    let (Some(month), Some(key)) = (pair(3), pair(13)) else { return false };
    let is_month = matches!(month, 1..=12 | 20 | 30..=42 | 50..=99);
    b"123478".contains(&all[0]) && is_month && key == 97 - number % 97
}

/// A Spanish DNI or NIE: the remainder by 23 names the letter (Real Decreto 1553/2005).
pub(super) fn es_dni(text: &str) -> bool {
    const LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";
    let Some(all) = characters::<9>(text) else { return false };
    let [first, rest @ .., letter] = all;
    let first = match first {
        b'X' => 0,
        b'Y' => 1,
        b'Z' => 2,
        b'0'..=b'9' => u32::from(first - b'0'),
        _ => return false,
    };
    if !rest.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let number = rest.iter().fold(first, |number, b| number * 10 + u32::from(b - b'0'));
    number != 0 && LETTERS[(number % 23) as usize] == letter
}

/// An Italian codice fiscale: the 16th character is the check of the 15 before (DM 23/12/1976). Where digits were
/// replaced by letters for people with one code (omocodia) it holds too.
pub(super) fn it_codice_fiscale(text: &str) -> bool {
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let Some(all) = characters::<16>(text) else { return false };
    let ordinal = |b: u8| u32::from(if b.is_ascii_digit() { b - b'0' } else { b - b'A' });
    let sum: u32 = all[..15]
        .iter()
        .enumerate()
        .map(|(place, &b)| if place % 2 == 0 { ODD[ordinal(b) as usize] } else { ordinal(b) })
        .sum();
    u32::from(all[15]) == u32::from(b'A') + sum % 26
}

/// A Polish PESEL: a day of birth, whose month tells the century, and a weighted sum (GUS).
pub(super) fn pl_pesel(text: &str) -> bool {
    let Some(number) = exactly::<11>(text) else { return false };
    let sum = weighted(&number, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]);
    is_month_and_day(value(&number[2..4]) % 20, value(&number[4..6])) && sum.is_multiple_of(10)
}

/// An Aadhaar number (UIDAI): Verhoeff's check, no 0 or 1 at the beginning, and no part of a longer number.
pub(super) fn in_aadhaar(text: &str, start: usize, end: usize) -> bool {
    let (before, taken, after) = (&text.as_bytes()[..start], &text[start..end], &text.as_bytes()[end..]);
    let goes_on = matches!(before, [.., digit, b' ' | b'-'] if digit.is_ascii_digit())
        || matches!(after, [b' ' | b'-', digit, ..] if digit.is_ascii_digit());
    let fits = exactly::<12>(taken).is_some_and(|number| number[0] >= 2 && !is_uniform(&number));
    fits && !goes_on && verhoeff(taken)
}

/// The check digit of Brazil: 11 less the remainder by 11 of a sum, 0 for 10 and more.
const fn brazilian_check(sum: u32) -> u32 {
    match sum % 11 {
        0 | 1 => 0,
        rest => 11 - rest,
    }
}

/// A Brazilian CPF: two check digits (Receita Federal).
pub(super) fn br_cpf(text: &str) -> bool {
    let Some(number) = exactly::<11>(text) else { return false };
    let first = brazilian_check(weighted(&number[..9], &[10, 9, 8, 7, 6, 5, 4, 3, 2]));
    let second = brazilian_check(weighted(&number[..10], &[11, 10, 9, 8, 7, 6, 5, 4, 3, 2]));
    !is_uniform(&number) && number[9..] == [first, second]
}

/// A Brazilian CNPJ: two check digits, letters since 2026 in all but these (Instrução Normativa RFB 2229/2024).
pub(super) fn br_cnpj(text: &str) -> bool {
    const WEIGHTS: [u32; 13] = [6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2];
    let Some(all) = characters::<14>(text) else { return false };
    let values = all.map(|b| u32::from(b - b'0'));
    let first = brazilian_check(weighted(&values[..12], &WEIGHTS[1..]));
    let second = brazilian_check(weighted(&values[..13], &WEIGHTS));
    !is_uniform(&values) && values[12..] == [first, second]
}

/// A Canadian social insurance number: Luhn's check, and no 0 or 8 at the beginning (ESDC).
pub(super) fn ca_sin(text: &str) -> bool {
    exactly::<9>(text).is_some_and(|number| !matches!(number[0], 0 | 8) && !is_uniform(&number)) && luhn(text)
}

/// An Australian tax file number of nine digits: a weighted sum by 11 (ATO).
pub(super) fn au_tfn(text: &str) -> bool {
    let Some(number) = exactly::<9>(text) else { return false };
    !is_uniform(&number) && weighted(&number, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11)
}

/// An Australian business number: a weighted sum by 89, the first digit less one (ABR).
pub(super) fn au_abn(text: &str) -> bool {
    let Some(mut number) = exactly::<11>(text) else { return false };
    let Some(first) = number[0].checked_sub(1) else { return false };
    number[0] = first;
    weighted(&number, &[10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19]).is_multiple_of(89)
}

/// A Singaporean NRIC or FIN: a weighted sum by 11 names the last letter (ICA).
pub(super) fn sg_nric(text: &str) -> bool {
    let Some([series, rest @ .., letter]) = characters::<9>(text) else { return false };
    let Some(number) =
        rest.iter().map(|b| b.is_ascii_digit().then(|| u32::from(b - b'0'))).collect::<Option<Vec<_>>>()
    else {
        return false;
    };
    let sum = weighted(&number, &[2, 7, 6, 5, 4, 3, 2]);
    let (letters, offset) = match series {
        b'S' => (b"JZIHGFEDCBA", 0),
        b'T' => (b"JZIHGFEDCBA", 4),
        b'F' => (b"XWUTRQPNMLK", 0),
        b'G' => (b"XWUTRQPNMLK", 4),
        // The order of the letters is another for M, which is newer than the others.
        b'M' => (b"XWUTRQPNJLK", 3),
        _ => return false,
    };
    letters[((sum + offset) % 11) as usize] == letter
}

/// A Dutch BSN: the eleven test, the last digit counting minus one (RvIG).
pub(super) fn nl_bsn(text: &str) -> bool {
    let Some(number) = exactly::<9>(text) else { return false };
    // Minus one is ten, by eleven.
    !is_uniform(&number) && weighted(&number, &[9, 8, 7, 6, 5, 4, 3, 2, 10]).is_multiple_of(11)
}

/// A Belgian national number: 97 less the remainder by 97, with a 2 before it for those born since 2000 (IBZ).
pub(super) fn be_nrn(text: &str) -> bool {
    let Some(number) = exactly::<11>(text) else { return false };
    let (first, check) = (value(&number[..9]), value(&number[9..]));
    let checks = [first, first.saturating_add(2_000_000_000)].map(|first| 97 - first % 97);
    is_month_and_day(value(&number[2..4]) % 20, value(&number[4..6])) && checks.contains(&check)
}

/// A Swedish personal number of ten digits or twelve: a day of birth, and Luhn's check (Skatteverket).
pub(super) fn se_personnummer(text: &str) -> bool {
    let all: Vec<u32> = digits(text).collect();
    let number = match all.len() {
        10 => &all[..],
        12 => &all[2..],
        _ => return false,
    };
    let last: String = number.iter().filter_map(|&digit| char::from_digit(digit, 10)).collect();
    // 60 is added to the day of those who are no residents.
    is_month_and_day(value(&number[2..4]), value(&number[4..6]) % 60) && luhn(&last)
}

/// A Finnish personal code: the remainder by 31 names the last character (DVV).
pub(super) fn fi_hetu(text: &str) -> bool {
    const LETTERS: &[u8; 31] = b"0123456789ABCDEFHJKLMNPRSTUVWXY";
    let Some(&last) = text.as_bytes().last() else { return false };
    // Without the last, and without the sign between the day and the serial number.
    let number: Vec<u32> = digits(&text[..text.len() - 1]).collect();
    number.len() == 9
        && is_month_and_day(value(&number[2..4]), value(&number[..2]))
        && LETTERS[(value(&number) % 31) as usize] == last.to_ascii_uppercase()
}

/// A Portuguese NIF: a weighted sum by 11 (Autoridade Tributária).
pub(super) fn pt_nif(text: &str) -> bool {
    let Some(number) = exactly::<9>(text) else { return false };
    let check = brazilian_check(weighted(&number[..8], &[9, 8, 7, 6, 5, 4, 3, 2]));
    matches!(number[0], 1..=3 | 5 | 6 | 8 | 9) && number[8] == check
}

/// A Turkish identity number: two check digits (Nüfus ve Vatandaşlık İşleri).
pub(super) fn tr_tckn(text: &str) -> bool {
    let Some(number) = exactly::<11>(text) else { return false };
    let odd: u32 = number[..9].iter().step_by(2).sum();
    let even: u32 = number[1..8].iter().step_by(2).sum();
    let tenth = (odd * 7 + 10 * 9 - even) % 10;
    number[0] != 0 && number[9] == tenth && number[10] == number[..10].iter().sum::<u32>() % 10
}

/// A South Korean resident number: a day of birth, and a weighted sum by 11. Those given since October 2020 have no
/// check, so the day and the century decide.
pub(super) fn kr_rrn(text: &str) -> bool {
    let Some(number) = exactly::<13>(text) else { return false };
    is_month_and_day(value(&number[2..4]), value(&number[4..6])) && (1..=8).contains(&number[6])
}

/// A Chinese identity number: a day of birth, and ISO 7064, MOD 11-2 (GB 11643).
pub(super) fn cn_id(text: &str) -> bool {
    let Some(all) = characters::<18>(text) else { return false };
    let Some(number) =
        all[..17].iter().map(|b| b.is_ascii_digit().then(|| u32::from(b - b'0'))).collect::<Option<Vec<_>>>()
    else {
        return false;
    };
    let sum = weighted(&number, &[7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]);
    is_month_and_day(value(&number[10..12]), value(&number[12..14]))
        && b"10X98765432"[(sum % 11) as usize] == all[17]
}

/// A Mexican CURP: a weighted sum by 10 over an alphabet with Ñ (RENAPO).
pub(super) fn mx_curp(text: &str) -> bool {
    let Some(all) = characters::<18>(text) else { return false };
    let ordinal = |b: u8| match b {
        b'0'..=b'9' => u32::from(b - b'0'),
        b'A'..=b'N' => u32::from(b - b'A') + 10,
        // Ñ comes between.
        _ => u32::from(b - b'A') + 11,
    };
    let sum: u32 = all[..17].iter().zip((2..=18).rev()).map(|(&b, weight)| ordinal(b) * weight).sum();
    ordinal(all[17]) == (10 - sum % 10) % 10
}

/// The number of a document, after a word that says so: four digits and more, not all the same.
pub(super) fn document(text: &str) -> bool {
    is_varied(text, 4)
}
