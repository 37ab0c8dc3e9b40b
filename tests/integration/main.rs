//! The product from outside: collectors are processes of the real binary, ClickHouse is the real
//! server that `assent dev` brings, events go over gRPC and faults over a TCP proxy.
//!
//! One server serves all tests of a run, each in a database of its own, so tests may run at once.

// A test that cannot go on fails; clippy.toml allows it within `#[test]` alone.
#![allow(clippy::unwrap_used)]

#[path = "../harness/mod.rs"]
mod harness;

mod blocks;
mod canary;
mod cli;
mod consent;
mod delivery;
mod dev;
mod drain;
mod durability;
mod erasure;
mod events;
mod exports;
mod ingress;
mod ledger;
mod overload;
mod policy;
mod power;
mod power_cut;
mod privacy;
mod pseudonym_keys;
mod queries;
mod readers;
mod redaction_rules;
mod retention;
mod retries;
mod roles;
mod rollups;
mod sample;
mod schema;
mod withdrawal;
