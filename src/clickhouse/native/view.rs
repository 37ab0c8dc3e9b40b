//! A block that was written, and where its columns lie.

use super::form;

/// Bytes that are no block, or not one that was asked for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BlockError {
    /// They end too early.
    #[error("the block ends in the middle of a value")]
    Truncated,
    /// Their parts do not fit together.
    #[error("the block is malformed: {0}")]
    Malformed(&'static str),
    /// A column is of a type that is not read here.
    #[error("column {number} of the block has a type that this program does not know; a newer one does")]
    UnknownType {
        /// The column, from 1.
        number: usize,
    },
    /// A column is not there, or of another type.
    #[error("the block has no column {0} of the type that it must have")]
    NoColumn(&'static str),
    /// The rows asked for overlap, are not in order, or are not in the block.
    #[error("the rows asked for overlap, are not in order, or are not in the block")]
    Rows,
}

/// A block's columns.
#[derive(Debug)]
pub struct BlockView<'a> {
    /// How many rows it has.
    pub rows: u32,
    /// Its columns, in their order.
    pub columns: Vec<ColumnView<'a>>,
}

/// One of them.
#[derive(Debug)]
pub struct ColumnView<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its type, as ClickHouse writes it.
    pub data_type: &'a str,
    /// Where, in the block, its values start.
    pub at: usize,
    pub(super) values: Values<'a>,
}

/// The values of a column.
#[derive(Debug)]
pub(super) enum Values<'a> {
    /// Of so many bytes each.
    Fixed { width: usize, bytes: &'a [u8] },
    /// `String`s, each with its length in front.
    Strings(&'a [u8]),
    /// `LowCardinality(String)`.
    LowCardinality(Dictionary<'a>),
    /// `Map(LowCardinality(String), UInt16)`.
    CountMap { ends: &'a [u8], keys: Dictionary<'a>, values: &'a [u8] },
}

/// Distinct `String`s, and an index into them per row.
#[derive(Debug)]
pub(super) struct Dictionary<'a> {
    /// How many keys there are.
    count: usize,
    /// The keys, each with its length in front.
    keys: &'a [u8],
    index_width: usize,
    indexes: &'a [u8],
}

impl<'a> BlockView<'a> {
    /// Reads one block, which is all that there is.
    ///
    /// # Errors
    /// The bytes are no block, more than one, or one with a type that is not known here.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BlockError> {
        let (view, rest) = Self::parse_first(bytes)?;
        if rest.is_empty() {
            Ok(view)
        } else {
            Err(BlockError::Malformed("it goes on after its last column"))
        }
    }

    /// Reads the first of several blocks, and gives the bytes after it.
    ///
    /// # Errors
    /// The bytes do not begin with a block, or with one that has a type that is not known here.
    pub fn parse_first(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), BlockError> {
        let mut reader = Reader { len: bytes.len(), rest: bytes };
        let column_count = reader.varint()?;
        let rows = u32::try_from(reader.varint()?)
            .map_err(|_| BlockError::Malformed("it claims more rows than a block can have"))?;
        let mut columns = Vec::new();
        for number in 1.. {
            if number as u64 > column_count {
                break;
            }
            let name = reader.text()?;
            let data_type = reader.text()?;
            let kind = Kind::of(data_type).ok_or(BlockError::UnknownType { number })?;
            let at = reader.position();
            let values = reader.values(kind, rows as usize)?;
            columns.push(ColumnView { name, data_type, at, values });
        }
        Ok((Self { rows, columns }, reader.rest))
    }

    /// The column of that name whose values are of `N` bytes each.
    ///
    /// # Errors
    /// There is none.
    pub fn fixed<const N: usize>(&self, name: &'static str) -> Result<FixedColumn<'a, N>, BlockError> {
        let column = self.column(name)?;
        match column.values {
            Values::Fixed { width, bytes } if width == N => {
                Ok(FixedColumn { at: column.at, values: bytes.as_chunks().0 })
            }
            _ => Err(BlockError::NoColumn(name)),
        }
    }

    /// The keys of the `LowCardinality(String)` column of that name, without their lengths, and the
    /// index of each row's.
    pub(crate) fn low_cardinality(
        &self,
        name: &'static str,
    ) -> Result<(Vec<&'a [u8]>, impl Iterator<Item = usize>), BlockError> {
        match &self.column(name)?.values {
            Values::LowCardinality(dictionary) => {
                let keys = dictionary.keys().map(without_len).collect();
                Ok((keys, dictionary.indexes(0..self.rows as usize)))
            }
            _ => Err(BlockError::NoColumn(name)),
        }
    }

    fn column(&self, name: &'static str) -> Result<&ColumnView<'a>, BlockError> {
        self.columns.iter().find(|column| column.name == name).ok_or(BlockError::NoColumn(name))
    }
}

/// A column of values of `N` bytes.
#[derive(Clone, Copy, Debug)]
pub struct FixedColumn<'a, const N: usize> {
    /// Where, in the block, its values start.
    pub at: usize,
    /// A value for each row.
    pub values: &'a [[u8; N]],
}

/// What is known of a type: how its values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Fixed(usize),
    String,
    LowCardinality,
    CountMap,
}

impl Kind {
    fn of(data_type: &str) -> Option<Self> {
        let name = data_type.split_once('(').map_or(data_type, |(name, _)| name);
        Some(match (name, data_type) {
            ("UInt8" | "Int8" | "Bool" | "Enum8", _) => Self::Fixed(1),
            ("UInt16" | "Int16" | "Enum16" | "Date", _) => Self::Fixed(2),
            ("UInt32" | "Int32" | "Float32" | "DateTime" | "IPv4", _) => Self::Fixed(4),
            ("UInt64" | "Int64" | "Float64" | "DateTime64", _) => Self::Fixed(8),
            ("UUID" | "IPv6", _) => Self::Fixed(16),
            (_, "String") => Self::String,
            (_, "LowCardinality(String)") => Self::LowCardinality,
            (_, "Map(LowCardinality(String), UInt16)") => Self::CountMap,
            _ => return None,
        })
    }
}

/// Bytes, read from the front. Nothing is taken that is not there.
struct Reader<'a> {
    len: usize,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    const fn position(&self) -> usize {
        self.len - self.rest.len()
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], BlockError> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(BlockError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// `n` values of `width` bytes.
    fn take_values(&mut self, n: usize, width: usize) -> Result<&'a [u8], BlockError> {
        self.take(n.checked_mul(width).ok_or(BlockError::Truncated)?)
    }

    fn u64(&mut self) -> Result<u64, BlockError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(BlockError::Truncated)?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*head))
    }

    fn count(&mut self) -> Result<usize, BlockError> {
        usize::try_from(self.u64()?).map_err(|_| BlockError::Truncated)
    }

    fn varint(&mut self) -> Result<u64, BlockError> {
        let mut n = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.take(1)?[0];
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            n |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(n);
            }
        }
        Err(BlockError::Malformed("a number is larger than 64 bits"))
    }

    /// A `String` without its length.
    fn string(&mut self) -> Result<&'a [u8], BlockError> {
        let len = usize::try_from(self.varint()?).map_err(|_| BlockError::Truncated)?;
        self.take(len)
    }

    /// `n` of them with their lengths. Each is a byte at least, so a wrong number ends soon.
    fn strings(&mut self, n: usize) -> Result<&'a [u8], BlockError> {
        let start = self.rest;
        for _ in 0..n {
            self.string()?;
        }
        Ok(&start[..start.len() - self.rest.len()])
    }

    fn text(&mut self) -> Result<&'a str, BlockError> {
        std::str::from_utf8(self.string()?)
            .map_err(|_| BlockError::Malformed("the name or type of a column is not UTF-8"))
    }

    fn values(&mut self, kind: Kind, rows: usize) -> Result<Values<'a>, BlockError> {
        if rows > 0 && matches!(kind, Kind::LowCardinality | Kind::CountMap) && self.u64()? != form::VERSION {
            return Err(BlockError::Malformed("a LowCardinality column is of another version"));
        }
        Ok(match kind {
            Kind::Fixed(width) => Values::Fixed { width, bytes: self.take_values(rows, width)? },
            Kind::String => Values::Strings(self.strings(rows)?),
            Kind::LowCardinality => Values::LowCardinality(self.dictionary(rows)?),
            Kind::CountMap => {
                let ends = self.take_values(rows, size_of::<u64>())?;
                let entries = entries_of(ends)?;
                let keys = self.dictionary(entries)?;
                Values::CountMap { ends, keys, values: self.take_values(entries, size_of::<u16>())? }
            }
        })
    }

    fn dictionary(&mut self, rows: usize) -> Result<Dictionary<'a>, BlockError> {
        if rows == 0 {
            return Ok(Dictionary { count: 0, keys: &[], index_width: 1, indexes: &[] });
        }
        let flags = self.u64()?;
        let width = flags & form::WIDTH_MASK;
        let known = form::HAS_OWN_KEYS | form::REPLACES_KEYS;
        if width > 3 || flags & form::HAS_OWN_KEYS == 0 || flags & !form::WIDTH_MASK & !known != 0 {
            return Err(BlockError::Malformed("the flags of a LowCardinality column are unknown"));
        }
        let count = self.count()?;
        let keys = self.strings(count)?;
        if self.count()? != rows {
            return Err(BlockError::Malformed("a LowCardinality column has not the block's number of rows"));
        }
        let index_width = 1 << width;
        let dictionary =
            Dictionary { count, keys, index_width, indexes: self.take_values(rows, index_width)? };
        if dictionary.indexes(0..rows).any(|index| index >= count) {
            return Err(BlockError::Malformed("an index of a LowCardinality column has no key"));
        }
        Ok(dictionary)
    }
}

/// How many entries the rows of a map have, by where those of each row end.
fn entries_of(ends: &[u8]) -> Result<usize, BlockError> {
    let mut last = 0;
    for row in 0..ends.len() / size_of::<u64>() {
        let end = end_of(ends, row);
        if end < last {
            return Err(BlockError::Malformed("a map's row ends before it starts"));
        }
        last = end;
    }
    Ok(last)
}

/// Where the entries of a map's row end. The row is there.
pub(super) fn end_of(ends: &[u8], row: usize) -> usize {
    usize::try_from(little_endian(&ends[row * size_of::<u64>()..][..size_of::<u64>()])).unwrap_or(usize::MAX)
}

impl<'a> Dictionary<'a> {
    /// How many keys there are.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// The keys, each with its length in front.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.keys;
        std::iter::from_fn(move || (!rest.is_empty()).then(|| split_string(&mut rest)))
    }

    /// The indexes of some rows, which are there.
    pub(super) fn indexes(&self, rows: std::ops::Range<usize>) -> impl Iterator<Item = usize> + use<'a> {
        let width = self.index_width;
        // An index beyond memory has no key.
        self.indexes[rows.start * width..rows.end * width]
            .chunks_exact(width)
            .map(|bytes| usize::try_from(little_endian(bytes)).unwrap_or(usize::MAX))
    }
}

/// Splits a `String` with its length off the front of some that were checked.
pub(super) fn split_string<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let mut reader = Reader { len: rest.len(), rest };
    // It was read before.
    let len = reader.string().map_or(rest.len(), |_| reader.position());
    let (head, tail) = rest.split_at(len);
    *rest = tail;
    head
}

/// A `String` that was checked, without its length.
pub(super) fn without_len(string: &[u8]) -> &[u8] {
    Reader { len: string.len(), rest: string }.string().unwrap_or_default()
}

/// A number of 8 bytes at most.
fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, &byte| n << 8 | u64::from(byte))
}
