//! A request for `Collect` as it came in.

use std::fmt;

use bytes::Bytes;

use super::decode::{self, DecodeError};
use crate::event::Received;

/// The bytes of a `CollectRequest`, in the buffer that they arrived in. Events are borrowed from it.
#[derive(Clone, Default)]
pub struct CollectRequest(Bytes);

impl CollectRequest {
    /// Takes a message that may be one.
    #[must_use]
    pub const fn new(message: Bytes) -> Self {
        Self(message)
    }

    /// Its events, in their order.
    ///
    /// # Errors
    /// It is no such message.
    pub fn events(&self) -> Result<Vec<Received<'_>>, DecodeError> {
        decode::events(&self.0)
    }
}

impl fmt::Debug for CollectRequest {
    /// It holds what people typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CollectRequest({} bytes)", self.0.len())
    }
}
