//! The attacks.

mod away;
mod clickhouse;
mod full_disk;
pub(crate) mod kills;
pub(crate) mod replies;
mod sigterm;
mod token_without_rows;
mod twice;
