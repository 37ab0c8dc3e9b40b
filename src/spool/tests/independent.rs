//! A reader written from the format's documentation alone, with nothing of the crate's own: what it
//! finds must be what the program wrote, and around damage what the program's own readers find.

use std::{collections::BTreeMap, fs};

use super::*;
use crate::spool::{inspect, open as open_real};

/// The reader. Nothing in here may use the crate.
mod from_the_documentation {
    use std::{collections::BTreeMap, fs, ops::Range, path::Path};

    #[derive(Debug, PartialEq, Eq)]
    pub(super) struct Frame {
        pub(super) position: u64,
        pub(super) number: u64,
        pub(super) payload: Vec<u8>,
    }

    #[derive(Debug, PartialEq, Eq)]
    pub(super) enum Refused {
        Version(u32),
        OtherSpool,
    }

    #[derive(Debug, Default, PartialEq, Eq)]
    pub(super) struct Contents {
        pub(super) frames: Vec<Frame>,
        pub(super) damaged: Vec<Range<u64>>,
        pub(super) missing: u64,
    }

    pub(super) fn crc32c(parts: &[&[u8]]) -> u32 {
        let mut crc = 0xffff_ffff_u32;
        for byte in parts.iter().flat_map(|it| it.iter()) {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            }
        }
        !crc
    }

    fn number(bytes: &[u8]) -> u64 {
        bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn number32(bytes: &[u8]) -> u32 {
        u32::try_from(number(&bytes[..4])).unwrap()
    }

    fn id_in_its_file(dir: &Path) -> Option<[u8; 16]> {
        let text = fs::read(dir.join("spool.id")).ok()?;
        let (id, sum) = (text.get(..36)?, text.get(36..)?);
        if format!(" {:08x}", crc32c(&[id])).as_bytes() != sum {
            return None;
        }
        let digits: String = std::str::from_utf8(id).ok()?.chars().filter(|it| *it != '-').collect();
        Some(u128::from_str_radix(&digits, 16).ok()?.to_be_bytes())
    }

    /// The id and the first frame's number in a segment's header, if that is valid.
    fn header(bytes: &[u8], base: u64) -> Result<Option<([u8; 16], u64)>, Refused> {
        if bytes.len() < 64
            || !bytes.starts_with(b"ASSENTSP")
            || number32(&bytes[60..]) != crc32c(&[&bytes[..60]])
        {
            return Ok(None);
        }
        match number32(&bytes[8..]) {
            1 => {}
            other => return Err(Refused::Version(other)),
        }
        let id = bytes[16..32].try_into().unwrap();
        Ok((number(&bytes[32..40]) == base).then_some((id, number(&bytes[40..48]))))
    }

    enum Found {
        Frame(Frame),
        /// Its length is known and its payload does not match.
        Altered(u64),
        Nothing,
    }

    fn look(segment: &[u8], base: u64, offset: usize, id: &[u8; 16]) -> Found {
        let Some(head) = segment.get(offset..offset + 32) else { return Found::Nothing };
        let len = number32(&head[4..]);
        if !head.starts_with(b"AFRM")
            || len > 1 << 28
            || number(&head[8..16]) != base + offset as u64
            || number32(&head[28..]) != crc32c(&[id, &head[..28]])
        {
            return Found::Nothing;
        }
        let Some(payload) = segment.get(offset + 32..offset + 32 + len as usize) else {
            return Found::Nothing;
        };
        if number32(&head[24..]) != crc32c(&[payload]) {
            return Found::Altered(32 + u64::from(len));
        }
        Found::Frame(Frame {
            position: base + offset as u64,
            number: number(&head[16..24]),
            payload: payload.to_vec(),
        })
    }

    pub(super) fn read(dir: &Path) -> Result<Contents, Refused> {
        let mut segments = BTreeMap::new();
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let Some(digits) = name.strip_suffix(".seg") else { continue };
            if digits.len() == 20 && digits.bytes().all(|it| it.is_ascii_digit()) {
                segments.insert(digits.parse::<u64>().unwrap(), fs::read(entry.path()).unwrap());
            }
        }
        let mut id = id_in_its_file(dir);
        for (base, bytes) in &segments {
            if let Some((found, _)) = header(bytes, *base)?
                && *id.get_or_insert(found) != found
            {
                return Err(Refused::OtherSpool);
            }
        }
        let mut contents = Contents::default();
        let Some(id) = id else { return Ok(contents) };
        let bases: Vec<u64> = segments.keys().copied().collect();
        let mut expected = None;
        let mut missing = 0;
        for (base, bytes) in &segments {
            let next = bases.iter().find(|it| *it > base);
            let end = next.map_or(bytes.len(), |next| bytes.len().min(usize::try_from(next - base).unwrap()));
            let segment = &bytes[..end];
            if let Some((_, first)) = header(bytes, *base)? {
                missing += expected.map_or(0, |expected| first - expected);
                expected = Some(first);
            }
            let mut offset = 64;
            let mut damage: Option<usize> = None;
            while offset < segment.len() {
                let step = match look(segment, *base, offset, &id) {
                    Found::Frame(frame) => {
                        let len = 32 + frame.payload.len();
                        if let Some(start) = damage.take() {
                            contents.damaged.push(base + start as u64..base + offset as u64);
                        }
                        missing += expected.map_or(0, |expected| frame.number - expected);
                        expected = Some(frame.number + 1);
                        contents.frames.push(frame);
                        len
                    }
                    // Only where a frame was expected, and not in the middle of a search.
                    Found::Altered(len) if damage.is_none() => {
                        damage = Some(offset);
                        usize::try_from(len).unwrap()
                    }
                    _ => {
                        damage.get_or_insert(offset);
                        1
                    }
                };
                offset += step;
            }
            if let Some(start) = damage {
                contents.damaged.push(base + start as u64..base + segment.len() as u64);
            }
        }
        contents.missing = missing;
        Ok(contents)
    }
}

use from_the_documentation::{Contents, Refused, crc32c, read};

fn options_in(dir: &Path) -> Options {
    Options { dir: dir.to_owned(), segment_bytes: 600, ..options() }
}

/// A spool of several segments, with a gap of positions between two of them; says where it ends.
fn write(dir: &Path) -> u64 {
    let open = |at| open_real(options_in(dir), TestEncoder::default(), Position(at)).unwrap();
    let spool = open(0);
    append_each(&spool, numbered(0..40));
    let end = spool.reader.durable_end();
    drop(spool);
    let spool = open(end.0 + 12_345);
    append_each(&spool, [vec![], vec![0; 500], b"AFRM".repeat(30)]);
    append_each(&spool, numbered(40..60));
    spool.reader.durable_end().0
}

/// What the program's own reader gives, with what it says is damaged.
fn read_by_the_program(dir: &Path, min_next: u64) -> Contents {
    let seen = inspect(dir).unwrap();
    let spool = open_real(options_in(dir), TestEncoder::default(), Position(min_next)).unwrap();
    let frames = frames_from(&spool.reader, 0)
        .into_iter()
        .map(|it| from_the_documentation::Frame {
            position: it.position.0,
            number: it.seq,
            payload: it.payload.to_vec(),
        })
        .collect();
    let torn = seen.torn_tail.map(|(start, len)| start.0..start.0 + len);
    let damaged = seen.damaged.iter().map(|it| it.start.0..it.end.0).chain(torn);
    Contents {
        frames,
        // It calls a segment's header damaged too.
        damaged: damaged.filter(|it| !is_header(dir, it.start)).collect(),
        missing: spool.recovery.missing_frames,
    }
}

fn is_header(dir: &Path, start: u64) -> bool {
    let name = format!("{start:020}.seg");
    dir.join(&name).exists() || dir.join("quarantine").join(name).exists()
}

fn segment_files(dir: &Path) -> BTreeMap<u64, PathBuf> {
    fs::read_dir(dir)
        .unwrap()
        .map(|it| it.unwrap().path())
        .filter_map(|it| {
            let base = it.file_name()?.to_str()?.strip_suffix(".seg")?.parse().ok()?;
            Some((base, it))
        })
        .collect()
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn the_documented_checksum_is_the_documented_one() {
    assert_eq!(crc32c(&[b"123456789"]), 0xe306_9283);
}

#[test]
fn what_the_program_wrote_is_read_from_the_documentation_alone() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    fs::write(dir.path().join("unfinished.tmp"), b"AFRM").unwrap();
    let contents = read(dir.path()).unwrap();
    let mut expected = numbered(0..40);
    expected.extend([vec![], vec![0; 500], b"AFRM".repeat(30)]);
    expected.extend(numbered(40..60));
    let found: Vec<_> = contents.frames.iter().flat_map(|it| items(&it.payload)).collect();
    assert_eq!(found, expected);
    assert_eq!((contents.damaged, contents.missing), (vec![], 0));
    assert_eq!(contents.frames.iter().map(|it| it.number).collect::<Vec<_>>(), (0..63).collect::<Vec<_>>());
}

#[test]
fn damage_is_where_the_program_says_it_is() {
    let mut random = fastrand::Rng::with_seed(4);
    let original = tempfile::tempdir().unwrap();
    let end = write(original.path());
    for case in 0..100 {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        for entry in fs::read_dir(original.path()).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), dir.join(entry.file_name())).unwrap();
        }
        let files = segment_files(dir);
        for _ in 0..random.usize(1..6) {
            let path = files.values().nth(random.usize(..files.len())).unwrap();
            match random.u8(..12) {
                0 => fs::write(dir.join("spool.id"), b"lost").unwrap(),
                1 => change(files.last_key_value().unwrap().1, |it| it.truncate(random.usize(64..=it.len()))),
                2 => change(path, |it| {
                    let at = random.usize(64.min(it.len() - 1)..it.len());
                    let len = random.usize(..200).min(it.len() - at);
                    it[at..at + len].fill(0);
                }),
                3 => change(path, |it| {
                    let at = random.usize(..64);
                    it[at] ^= 1;
                }),
                _ => change(path, |it| {
                    let at = random.usize(64.min(it.len() - 1)..it.len());
                    it[at] ^= 1 << random.u8(..8);
                }),
            }
        }
        let ours = read(dir).unwrap();
        let theirs = read_by_the_program(dir, end);
        assert_eq!(ours, theirs, "case {case}");
        assert!(ours.frames.len() > 10, "case {case}");
    }
}

#[test]
fn what_must_be_left_alone_is() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write(dir);
    let (_, path) = segment_files(dir).pop_first().unwrap();
    let original = fs::read(&path).unwrap();
    for (at, refused) in [(8, Refused::Version(3)), (16, Refused::OtherSpool)] {
        change(&path, |it| {
            it.clone_from(&original);
            it[at] ^= 2;
            let sum = crc32c(&[&it[..60]]).to_le_bytes();
            it[60..64].copy_from_slice(&sum);
        });
        assert_eq!(read(dir), Err(refused));
        assert!(open_real(options_in(dir), TestEncoder::default(), Position(0)).is_err());
    }
    // What is not looked at may be anything.
    change(&path, |it| {
        it.clone_from(&original);
        it[12..16].fill(7);
        it[48..60].fill(7);
        let sum = crc32c(&[&it[..60]]).to_le_bytes();
        it[60..64].copy_from_slice(&sum);
    });
    let contents = read(dir).unwrap();
    assert_eq!((contents.frames.len(), contents.damaged.len()), (63, 0));
    assert_eq!(read_by_the_program(dir, 0), contents);
}
