//! Rows that ClickHouse refuses for good: kept on disk, with the reason beside them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::spool::fs::write_atomically;

/// Why rows are in quarantine.
#[derive(Debug, Serialize)]
struct Reason<'a> {
    /// Where in the spool the rows were.
    start: u64,
    end: u64,
    rows: u64,
    table: &'a str,
    columns: &'a str,
    clickhouse_code: Option<u32>,
    message: &'a str,
}

/// What is put aside.
pub(super) struct Refused<'a> {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) rows: u64,
    /// The insert's body, in ClickHouse's Native format.
    pub(super) body: &'a [u8],
    pub(super) table: &'a str,
    pub(super) columns: &'a str,
    pub(super) code: Option<u32>,
    pub(super) message: &'a str,
}

/// Writes the rows as `delivery-START-END.native` and the reason as `.json`, durably. The reason
/// comes last: without it the rows are those of a try that was cut short and is made again.
pub(super) fn keep(dir: &Path, refused: &Refused<'_>) -> io::Result<PathBuf> {
    fs::create_dir_all(dir)?;
    let name = format!("delivery-{:020}-{:020}", refused.start, refused.end);
    let rows = dir.join(format!("{name}.native"));
    write_atomically(&rows, refused.body)?;
    let reason = Reason {
        start: refused.start,
        end: refused.end,
        rows: refused.rows,
        table: refused.table,
        columns: refused.columns,
        clickhouse_code: refused.code,
        message: refused.message,
    };
    write_atomically(&dir.join(format!("{name}.json")), &serde_json::to_vec_pretty(&reason)?)?;
    Ok(rows)
}
