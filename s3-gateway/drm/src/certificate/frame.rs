//! What stands around the signed part of a certificate or list, which no signature covers.
//!
//! ```text
//! SEQUENCE { signed part, algorithm (again as inside), BIT STRING { signature } }
//! ```
//! The parser takes some other tags there too. Then one certificate would have many forms, so the frame is held against the only one that DER allows.

/// Whether `whole` is `signed` and `signature` in the frame of DER, with the algorithm as it stands in the signed part.
pub(super) fn is_der(whole: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    let value = [&header(0x03, signature.len() + 1)[..], &[0], signature].concat();
    let begin = (2..=5).map(|bytes| header(0x30, whole.len().saturating_sub(bytes)));
    let algorithm = begin
        .filter_map(|begin| whole.strip_prefix(&begin[..])?.strip_prefix(signed)?.strip_suffix(&value[..]))
        .find(|algorithm| !algorithm.is_empty());
    algorithm.is_some_and(|algorithm| signed.windows(algorithm.len()).any(|part| part == algorithm))
}

/// Tag and length, in as few bytes as possible.
fn header(tag: u8, length: usize) -> Vec<u8> {
    let Ok(short @ 0..=127) = u8::try_from(length) else {
        let bytes = length.to_be_bytes();
        let significant = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        return [&[tag, 0x80 | significant.len() as u8], significant].concat();
    };
    vec![tag, short]
}
