//! The body of an insert, compressed once for all of its tries.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::spawn_blocking;

use crate::clickhouse::{
    compressed::{self, CompressedError},
    native::BlockError,
};

/// A body that cannot be made, or not be read again.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// A block is not what was compressed.
    #[error(transparent)]
    Compressed(#[from] CompressedError),
    /// A block cannot be taken apart.
    #[error(transparent)]
    Block(#[from] BlockError),
}

/// `Native` blocks as compressed frames, which ClickHouse takes one after the other. Clones share the bytes.
#[derive(Clone, Debug)]
pub(super) struct Body(Arc<[Bytes]>);

impl Body {
    pub(super) fn new(pieces: Vec<Bytes>) -> Self {
        Self(pieces.into())
    }

    /// What is sent.
    pub(super) fn pieces(&self) -> &[Bytes] {
        &self.0
    }

    /// The blocks as they are without compression, for those who look into them. Takes as much memory as they
    /// have.
    ///
    /// # Errors
    /// They are not what was compressed.
    pub(super) fn native(&self) -> Result<Vec<u8>, CompressedError> {
        let mut native = Vec::new();
        for piece in &*self.0 {
            native.append(&mut compressed::decompress(piece, usize::MAX)?);
        }
        Ok(native)
    }

    /// The same, on a thread that may block.
    ///
    /// # Errors
    /// They are not what was compressed.
    pub(super) async fn read(&self) -> Result<Vec<u8>, CompressedError> {
        let body = self.clone();
        aside(move || body.native()).await
    }

    /// Of blocks that are not compressed yet, compressed on a thread that may block.
    pub(super) async fn compress(native: Vec<u8>) -> Self {
        aside(move || Self::new(vec![compressed::compress(&native).into()])).await
    }
}

async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        // It is never aborted, so it panicked, and so does who waits for it.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
