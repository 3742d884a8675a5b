//! Random bytes that are the same in every run.

use drm::Entropy;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Random bytes that are the same for the same seed.
#[derive(Debug)]
pub struct Seeded(ChaCha8Rng);

impl Seeded {
    /// Begins a sequence.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Seeded(ChaCha8Rng::seed_from_u64(seed))
    }
}

impl Entropy for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}
