//! ClickHouse: the client, its errors, rows as `Native` blocks, the schema, and a local server.
//!
//! - [`client`] sends queries and inserts over HTTP, [`external`] queries that bring a file along; [`error`] says what a failure means for a retry;
//! - [`native`] writes columns in the `Native` format and takes rows out of blocks, [`columns`] is the
//!   only place that names the columns of `events`, [`compressed`] is the form that bodies of inserts are sent in;
//! - [`migrations`] brings a database's schema up to date, [`durability`] what its tables do before they
//!   confirm an insert, [`retention`] how long they keep rows;
//! - [`local`] runs a real server with nothing to install.

pub mod client;
pub mod columns;
pub mod compressed;
pub mod durability;
pub mod error;
pub mod external;
pub mod local;
pub mod migrations;
pub mod native;
pub mod retention;

pub use client::{Client, Options};
pub use durability::{Durability, InsertQuorum};
pub use error::{Error, ErrorClass};
pub use external::{ExternalClient, ExternalError, ExternalTable};
