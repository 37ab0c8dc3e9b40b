//! Columns in ClickHouse's `Native` format, as HTTP carries it.
//!
//! A block is the number of columns and of rows, then each column as name, type and values, one
//! column after the other; without rows there are no values. Numbers in front of lengths are LEB128;
//! values are little-endian. See "Native" in ClickHouse's documentation of formats, and
//! `NativeReader.cpp` for what it leaves out:
//!
//! - `LowCardinality(String)`: the version of the form (1); flags (the width of an index, and that the
//!   keys come with the block and replace those before); the number of keys, and the keys as
//!   `String`s; the number of rows, and the indexes. Nothing after the version when there are no rows.
//! - `Map(LowCardinality(String), UInt16)`: the version of the keys' form; where each row's entries
//!   end; the keys of all rows in the form above, without the version; the values of all rows.
//!
//! [`encode`] gathers columns and writes them. [`view`] finds the columns of a block that was written,
//! [`take`] makes a block of some of its rows, and [`join`](mod@join) one of several. All of them read what lies on disks, so they trust no
//! length: bytes that are no block are an error, and never take more memory than their own length is
//! reason for.

pub mod encode;
mod join;
mod take;
pub mod view;

pub use encode::{Column, CountMap, LowCardinality, Plain, put_string, put_varint, uuid_bytes};
pub use join::join;
pub use take::take_rows;
pub use view::{BlockError, BlockView, ColumnView};

/// How a `LowCardinality` column begins.
mod form {
    /// The version of its form.
    pub(super) const VERSION: u64 = 1;
    /// The flag for keys that come with the block.
    pub(super) const HAS_OWN_KEYS: u64 = 1 << 9;
    /// The flag for keys that replace those of blocks before.
    pub(super) const REPLACES_KEYS: u64 = 1 << 10;
    /// The part of the flags that says how wide an index is: 1, 2, 4 or 8 bytes.
    pub(super) const WIDTH_MASK: u64 = 0xff;
}

#[cfg(test)]
mod tests;
