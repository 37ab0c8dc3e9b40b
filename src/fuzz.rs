//! What the fuzz targets in `fuzz/` call: one function for each, which takes any bytes and panics
//! when a promise is broken. It is compiled for fuzzing, and for tests, which put the corpus and
//! damaged copies of it through.

pub use crate::{delivery::fuzz::frame, ingress::fuzz::request, spool::fuzz::recovery};

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use proptest::{
        prelude::Rng as _,
        test_runner::{RngAlgorithm, TestRng},
    };

    use super::*;

    /// Damaged copies of each file of the corpus.
    const COPIES: usize = 100;

    /// Puts the corpus of a target through it, and damaged copies.
    fn put_through(name: &str, target: fn(&[u8])) {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let mut rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let mut seeds = 0;
        for file in fs::read_dir(&corpus).unwrap() {
            let seed = fs::read(file.unwrap().path()).unwrap();
            target(&seed);
            for _ in 0..COPIES {
                target(&damaged(seed.clone(), &mut rng));
            }
            seeds += 1;
        }
        assert!(seeds > 0, "{} is empty", corpus.display());
    }

    fn damaged(mut bytes: Vec<u8>, rng: &mut TestRng) -> Vec<u8> {
        let mut below = |most: usize| rng.next_u32() as usize % most;
        for _ in 0..=below(4) {
            let at = below(bytes.len() + 1);
            match below(4) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, below(256) as u8),
                2 if at < bytes.len() => drop(bytes.remove(at)),
                _ if at < bytes.len() => bytes[at] ^= 1 << below(8),
                _ => {}
            }
        }
        bytes
    }

    #[test]
    fn the_corpus_of_the_recovery_of_a_spool_passes() {
        put_through("recovery", recovery);
    }

    #[test]
    fn the_corpus_of_frames_passes() {
        put_through("frame", frame);
    }

    #[test]
    fn the_corpus_of_requests_passes() {
        put_through("request", request);
    }
}
