//! `DATA_DIR/endpoints.json`: the addresses in use, for scripts and for the other subcommands.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::spool::fs::write_atomically;

/// The addresses in use; what does not run is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// The gRPC listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<SocketAddr>,
    /// Health and metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<SocketAddr>,
    /// The local ClickHouse's HTTP interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clickhouse_http: Option<SocketAddr>,
    /// The local ClickHouse's native interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clickhouse_tcp: Option<SocketAddr>,
}

impl Endpoints {
    fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("endpoints.json")
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, data_dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(data_dir)?;
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        write_atomically(&Self::path(data_dir), &text)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// It is not there, or is not what was written.
    pub fn read(data_dir: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(Self::path(data_dir))?)?)
    }

    /// Removes the file, since nothing answers at its addresses any more.
    ///
    /// # Errors
    /// It is there and cannot be removed.
    pub fn remove(data_dir: &Path) -> io::Result<()> {
        match std::fs::remove_file(Self::path(data_dir)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
