//! What people may ask of what is stored about them.
//!
//! - [`withdrawal`] takes rows out of the eligible partitions when their author has taken consent back.

pub mod withdrawal;
