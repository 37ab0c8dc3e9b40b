//! Sealing: the second decision on a row, against a view of consent that is newer than its receipt.

use crate::{
    consent::{self, Decision},
    delivery::{
        frame::{Block, SealRecord},
        state::Narrowed,
    },
};

/// The rows of a block that get a narrower scope than at receipt, numbered from `first_row`.
///
/// Rows that were not eligible at receipt have no seal record and stay as they are: sealing never
/// widens.
#[must_use]
pub fn seal(block: &Block, first_row: u32, decide: impl Fn(&SealRecord<'_>) -> Decision) -> Vec<Narrowed> {
    block
        .seal
        .iter()
        .filter_map(|record| {
            let received = (record.training_scope, record.reason);
            let sealed = consent::seal(received, &decide(&record));
            (sealed != received).then_some(Narrowed(first_row + record.row, sealed.0 as i8, sealed.1 as i8))
        })
        .collect()
}
