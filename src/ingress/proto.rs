//! The wire contract, generated from `proto/assent/v1`.

#![allow(missing_docs, clippy::all, unreachable_pub)]

tonic::include_proto!("assent.v1");
// The services, whose `Collect` takes a request as it came in.
include!(concat!(env!("OUT_DIR"), "/services/assent.v1.rs"));

/// The contract's descriptor set, which server reflection serves.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("assent_descriptor");
