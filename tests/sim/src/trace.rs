//! A fingerprint of everything that happened, cheap enough to be taken of every event.

/// Equal for equal runs; two different runs agree by a chance of one in 2^64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Trace(pub u64);

impl Trace {
    /// Adds a number.
    pub fn add(&mut self, number: u64) -> &mut Self {
        self.0 = (self.0 ^ number).wrapping_mul(0x9FB2_1C65_1E98_DF25).rotate_left(29) ^ number.rotate_left(17);
        self
    }

    /// Adds bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.add(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_length_count() {
        let of = |parts: &[&[u8]]| parts.iter().fold(Trace::default(), |mut trace, part| *trace.bytes(part)).0;
        assert_eq!(of(&[b"a", b"b"]), of(&[b"a", b"b"]));
        assert_ne!(of(&[b"a", b"b"]), of(&[b"b", b"a"]));
        assert_ne!(of(&[b"ab"]), of(&[b"a", b"b"]));
        assert_ne!(of(&[b"a"]), of(&[b"a\0"]));
    }
}
