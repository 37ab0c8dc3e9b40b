//! The attacks.

mod away;
mod clickhouse;
mod full_disk;
mod kills;
mod replies;
mod sigterm;
mod twice;
