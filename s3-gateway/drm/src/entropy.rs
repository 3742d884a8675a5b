/// Where random bytes come from: the operating system's generator, or a seeded one in tests.
pub trait Entropy {
    /// Fills `bytes`, all of them, with bytes that nobody can guess.
    fn fill(&mut self, bytes: &mut [u8]);
}
