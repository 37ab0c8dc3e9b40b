//! Looks for words in everything that a run left behind: in files as they are and in what is compressed in them, in
//! every column of every table, and in whatever else was printed.
//!
//! No word ever goes into a query: ClickHouse would write it to its own logs, and the scan would find itself.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
};

use assent::clickhouse::compressed;
use serde::Deserialize;

use crate::harness::Database;

/// The most bytes that a compressed frame in a file may hold to be looked into; the writers' limit is 1 MiB.
const MAX_FRAME_BYTES: usize = 64 << 20;
const CHECKSUM_BYTES: usize = 16;
const HEADER_BYTES: usize = 9;
const LZ4: u8 = 0x82;

/// How a form begins: none is shorter.
const START_BYTES: usize = 8;

/// Words to look for, each in the forms in which it could lie somewhere. There are thousands, and many megabytes to look
/// through, so all are looked for at once.
pub(crate) struct Scan {
    /// A bit for each three bytes that a form begins with.
    starts: Vec<u64>,
    /// The forms, and the words that they are of, by how they begin.
    forms: HashMap<[u8; START_BYTES], Vec<(Vec<u8>, String)>>,
    /// Where which word was found, and what was around it the first time.
    pub(crate) found: BTreeMap<(String, String), String>,
    /// How many files were read.
    pub(crate) files: usize,
    /// How many compressed frames were looked into.
    pub(crate) frames: usize,
}

impl Scan {
    pub(crate) fn new(words: &[String]) -> Self {
        let mut scan = Self {
            starts: vec![0; 1 << (24 - 6)],
            forms: HashMap::new(),
            found: BTreeMap::new(),
            files: 0,
            frames: 0,
        };
        for word in words {
            for form in forms(word.as_bytes()) {
                let start = *form.first_chunk().expect("no form is shorter");
                let bit = three_bytes(&form);
                scan.starts[bit / 64] |= 1 << (bit % 64);
                scan.forms.entry(start).or_default().push((form, word.clone()));
            }
        }
        scan
    }

    /// Looks for bytes as well, as they are, under a name.
    pub(crate) fn also(&mut self, bytes: &[u8], name: &str) {
        let bit = three_bytes(bytes);
        self.starts[bit / 64] |= 1 << (bit % 64);
        let start = *bytes.first_chunk().expect("not shorter than others");
        self.forms.entry(start).or_default().push((bytes.to_owned(), name.to_owned()));
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8], wherever: &str) {
        for (at, three) in bytes.windows(3).enumerate() {
            let bit = three_bytes(three);
            if self.starts[bit / 64] >> (bit % 64) & 1 == 0 {
                continue;
            }
            let Some(start) = bytes[at..].first_chunk::<START_BYTES>() else { return };
            for (form, word) in self.forms.get(start).into_iter().flatten() {
                if bytes[at..].starts_with(form) {
                    let around = &bytes[at.saturating_sub(120)..bytes.len().min(at + 60)];
                    self.found
                        .entry((wherever.to_owned(), word.clone()))
                        .or_insert_with(|| String::from_utf8_lossy(around).into_owned());
                }
            }
        }
    }

    /// Whether anything was found in what is named like this.
    pub(crate) fn has_found_in(&self, name: &str) -> bool {
        self.found.keys().any(|(wherever, _)| wherever.contains(name))
    }

    /// All files below a folder, and what is compressed in them: the spool's blocks, quarantined rows, and those columns
    /// of ClickHouse that have its own LZ4 frames. (Its columns with another codec are read as tables.)
    pub(crate) fn folder(&mut self, folder: &Path) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.filter_map(Result::ok) {
            let path = entry.path();
            self.bytes(path.to_string_lossy().as_bytes(), "the name of a file");
            if path.is_dir() {
                self.folder(&path);
            } else if let Ok(bytes) = fs::read(&path) {
                // ClickHouse may have merged it away in between.
                self.files += 1;
                let wherever = path.display().to_string();
                self.bytes(&bytes, &wherever);
                self.compressed(&bytes, &wherever);
            }
        }
    }

    /// Looks into every frame that has a sound checksum, wherever in a file it starts.
    fn compressed(&mut self, bytes: &[u8], wherever: &str) {
        let mut from = CHECKSUM_BYTES;
        while let Some(at) = memchr::memchr(LZ4, bytes.get(from..).unwrap_or_default()) {
            let method = from + at;
            from = method + 1;
            let Some(header) = bytes.get(method..method + HEADER_BYTES) else { return };
            let size = |at: usize| u32::from_le_bytes(*header[at..].first_chunk().unwrap()) as usize;
            let (len, raw_len) = (size(1), size(5));
            if len < HEADER_BYTES
                || raw_len == 0
                || raw_len > MAX_FRAME_BYTES
                || raw_len > len.saturating_mul(256)
            {
                continue;
            }
            let start = method - CHECKSUM_BYTES;
            let Some(frame) = bytes.get(start..method + len) else { continue };
            if let Ok(raw) = compressed::decompress(frame, MAX_FRAME_BYTES) {
                self.frames += 1;
                self.bytes(&raw, &format!("what is compressed in {wherever}"));
            }
        }
    }

    /// All columns of all rows of all tables of a database, and of ClickHouse's own logs.
    pub(crate) async fn tables(&mut self, database: &Database) -> usize {
        #[derive(Deserialize)]
        struct Table {
            database: String,
            name: String,
        }
        #[derive(Deserialize)]
        struct Text {
            text: String,
        }
        let tables: Vec<Table> = database
            .rows(
                "SELECT database, name FROM system.tables
                 WHERE engine LIKE '%MergeTree' AND database = currentDatabase()
                    OR database = 'system' AND (name LIKE '%\\_log' OR name IN ('errors', 'processes', 'query_cache',
                       'mutations', 'part_moves_between_shards', 'warnings', 'detached_parts'))",
            )
            .await;
        let mut rows_read = 0;
        for Table { database: of, name } in tables {
            let rows: Vec<Text> =
                database.rows(&format!("SELECT toString(tuple(*)) AS text FROM `{of}`.`{name}`")).await;
            rows_read += rows.len();
            for row in rows {
                self.bytes(row.text.as_bytes(), &format!("the table {of}.{name}"));
            }
        }
        rows_read
    }

    /// Fails when anything was found.
    pub(crate) fn assert_clean(&self) {
        let found: Vec<_> = self
            .found
            .iter()
            .map(|((wherever, word), around)| format!("{word} in {wherever}: {around}"))
            .collect();
        assert!(found.is_empty(), "{} leaks:\n{}", found.len(), found[..found.len().min(60)].join("\n"));
    }
}

/// The first three of some, as a number.
fn three_bytes(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2])
}

/// A word as it is, in hexadecimal digits, in UTF-16, in base64 at each of the three places in a group, and as
/// bytes are printed for debugging.
fn forms(word: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = word.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = format!("{word:?}");
    let mut forms = vec![
        word.to_owned(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        word.iter().flat_map(|byte| [*byte, 0]).collect(),
        list.trim_matches(['[', ']']).as_bytes().to_owned(),
    ];
    forms.extend((0..3).map(|skipped| base64(&word[skipped..word.len() - (word.len() - skipped) % 3])));
    forms
}

/// Of whole groups of three bytes.
fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8; 3]| {
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        [18, 12, 6, 0].map(|shift| DIGITS[(bits >> shift) as usize & 63])
    };
    bytes.as_chunks().0.iter().flat_map(group).collect()
}

#[test]
fn every_form_of_a_word_is_found() {
    assert_eq!(base64(b"Man"), b"TWFu");
    let word = "qxzjkvwqplmn".to_owned();
    for (n, form) in forms(word.as_bytes()).into_iter().enumerate() {
        let mut scan = Scan::new(std::slice::from_ref(&word));
        scan.bytes(&[b"before ".as_slice(), &form, b" after"].concat(), "a text");
        assert!(!scan.found.is_empty(), "form {n}");
    }
    let mut scan = Scan::new(std::slice::from_ref(&word));
    scan.bytes(b"qxzjkvwqplm n", "a text");
    scan.assert_clean();
}
