//! The rows of a run as files, in the order in which they arrived.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use assent::clickhouse::columns::INSERT_COLUMNS;

use crate::http::Http;

/// Rows of a file, which becomes one insert.
const FILE_ROWS: u64 = 250_000;
/// Rows of a block in it: what ClickHouse itself writes and reads at a time.
const BLOCK_ROWS: u64 = 65_409;
/// Rows beyond these are left out: files of more fill a disk, and tell nothing else.
const MAX_ROWS: u64 = 5_000_000;

/// One file.
#[derive(Clone, Debug)]
pub(super) struct NativeFile {
    pub(super) path: PathBuf,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

/// Writes the files to `folder`, which is made.
pub(super) async fn export(
    http: &Http,
    clickhouse: SocketAddr,
    folder: &Path,
) -> anyhow::Result<Vec<NativeFile>> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let arrivals =
        "SELECT toUnixTimestamp64Micro(received_at) AS at, count() FROM events GROUP BY at ORDER BY at";
    let arrivals = http.read(clickhouse, "/?database=assent", arrivals.to_owned()).await?;
    let mut files = Vec::new();
    for Arrivals { first, last, rows } in ranges(&parse(&arrivals)?) {
        let path = folder.join(format!("{:03}.native", files.len()));
        // Requests that came first come first; within one, the order of ids is that of chance, as it was on the wire.
        let query = format!(
            "SELECT {} FROM events WHERE received_at BETWEEN fromUnixTimestamp64Micro({first}) AND \
             fromUnixTimestamp64Micro({last}) ORDER BY received_at, cityHash64(event_id) \
             SETTINGS max_block_size = {BLOCK_ROWS} FORMAT Native",
            INSERT_COLUMNS.trim_matches(['(', ')'])
        );
        let bytes = http
            .download(clickhouse, "/?database=assent", query, &path)
            .await
            .with_context(|| format!("the rows cannot be written to {}", path.display()))?;
        files.push(NativeFile { path, rows, bytes });
    }
    Ok(files)
}

/// Rows that were received from one microsecond to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Arrivals {
    first: u64,
    last: u64,
    rows: u64,
}

fn parse(answer: &str) -> anyhow::Result<Vec<(u64, u64)>> {
    let line =
        |line: &str| Some((line.split_once('\t')?.0.parse().ok()?, line.split_once('\t')?.1.parse().ok()?));
    let arrivals: Option<Vec<_>> = answer.lines().map(line).collect();
    let arrivals = arrivals.context("ClickHouse does not say when rows were received")?;
    ensure!(!arrivals.is_empty(), "there are no rows to export");
    Ok(arrivals)
}

/// Cuts arrivals, each a microsecond and its rows, so that a range has [`FILE_ROWS`] at most, unless one microsecond has
/// more.
fn ranges(arrivals: &[(u64, u64)]) -> Vec<Arrivals> {
    let mut ranges: Vec<Arrivals> = Vec::new();
    let mut total = 0;
    for &(at, rows) in arrivals {
        total += rows;
        if total > MAX_ROWS && !ranges.is_empty() {
            break;
        }
        match ranges.last_mut() {
            Some(range) if range.rows + rows <= FILE_ROWS => {
                range.last = at;
                range.rows += rows;
            }
            _ => ranges.push(Arrivals { first: at, last: at, rows }),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_each_other_and_leave_no_row_out() {
        let arrivals: Vec<(u64, u64)> = (0..1_300).map(|at| (at * 10, 500)).collect();
        let ranges = ranges(&arrivals);
        let rows: Vec<u64> = ranges.iter().map(|range| range.rows).collect();
        assert_eq!(rows, [250_000, 250_000, 150_000]);
        assert!(ranges.windows(2).all(|two| two[0].last < two[1].first));
        assert_eq!((ranges[0].first, ranges[0].last, ranges[2].last), (0, 4_990, 12_990));
    }

    #[test]
    fn a_moment_is_not_cut_and_the_end_is_bounded() {
        assert_eq!(ranges(&[(1, 400_000), (2, 1)]).len(), 2);
        let many: Vec<(u64, u64)> = (0..100).map(|at| (at, 200_000)).collect();
        assert_eq!(ranges(&many).iter().map(|range| range.rows).sum::<u64>(), MAX_ROWS);
    }

    #[test]
    fn arrivals_are_read() {
        assert_eq!(parse("7\t500\n9\t12\n").unwrap(), [(7, 500), (9, 12)]);
        assert!(parse("").is_err());
        assert!(parse("Code: 60").is_err());
    }
}
