//! The text of a key file.

use super::super::{KEK_NAME_BYTES_MAX, KEY_BYTES, SecretKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Keys of a file. A key a month for twenty years; who has more has forgotten to wrap anew.
pub const KEK_COUNT_MAX: usize = 240;
/// Characters of a key in hex.
const HEX_CHARS: usize = 2 * KEY_BYTES;
/// Characters of a key in base64, with its padding.
const BASE64_CHARS: usize = KEY_BYTES.div_ceil(3) * 4;

/// What is wrong with a line. It never says what stands there: that may be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyLineFault {
    /// Not a name and a key.
    #[error("a line is a name and a key, with a space between them, or a comment after #")]
    Words,
    /// A name that cannot be one.
    #[error("a name has 1 to {KEK_NAME_BYTES_MAX} of a-z A-Z 0-9 . _ -")]
    Name,
    /// No key.
    #[error("a key has 32 bytes: 64 hex digits, or 44 characters of base64")]
    Key,
    /// A key that nobody has drawn.
    #[error("the key is the same byte over and over: a place to put one")]
    Blank,
    /// The name stands on an earlier line.
    #[error("the name is that of line {0} too")]
    SameName(usize),
    /// The key stands on an earlier line.
    #[error("the key is that of line {0} too, so that a rotation would change nothing")]
    SameKey(usize),
    /// Over [`KEK_COUNT_MAX`].
    #[error("more than {KEK_COUNT_MAX} keys")]
    Many,
}

/// Names and keys in the order of their lines, or the number of the line that is wrong.
pub(super) fn parse(text: &str) -> Result<Vec<(String, SecretKey)>, (usize, KeyLineFault)> {
    let mut keys: Vec<(usize, String, SecretKey)> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let at = |fault| (number, fault);
        let (name, key) = parse_line(line).map_err(at)?;
        if let Some((other, ..)) = keys.iter().find(|(_, known, _)| known == name) {
            return Err(at(KeyLineFault::SameName(*other)));
        }
        if let Some((other, ..)) = keys.iter().find(|(.., known)| *known == key) {
            return Err(at(KeyLineFault::SameKey(*other)));
        }
        if keys.len() == KEK_COUNT_MAX {
            return Err(at(KeyLineFault::Many));
        }
        keys.push((number, name.to_owned(), key));
    }
    Ok(keys.into_iter().map(|(_, name, key)| (name, key)).collect())
}

fn parse_line(line: &str) -> Result<(&str, SecretKey), KeyLineFault> {
    let mut words = line.split_ascii_whitespace();
    let (Some(name), Some(key), None) = (words.next(), words.next(), words.next()) else {
        return Err(KeyLineFault::Words);
    };
    check_name(name)?;
    let key = decode(key).ok_or(KeyLineFault::Key)?;
    if key.iter().all(|byte| *byte == key[0]) {
        return Err(KeyLineFault::Blank);
    }
    Ok((name, SecretKey::new(*key)))
}

/// Whether a key can be called so.
pub(super) fn check_name(name: &str) -> Result<(), KeyLineFault> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let good = (1..=KEK_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed);
    good.then_some(()).ok_or(KeyLineFault::Name)
}

fn decode(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    // As much as the decoder may ask for.
    let mut bytes = Zeroizing::new([0u8; BASE64_CHARS]);
    match text.len() {
        HEX_CHARS => hex::decode_to_slice(text, &mut bytes[..KEY_BYTES]).ok()?,
        BASE64_CHARS => {
            let decoded = STANDARD.decode_slice(text, bytes.as_mut_slice()).ok()?;
            (decoded == KEY_BYTES).then_some(())?;
        }
        _ => return None,
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    key.copy_from_slice(&bytes[..KEY_BYTES]);
    Some(key)
}

/// The line of a key, with its end.
pub(super) fn line(name: &str, key: &SecretKey) -> Zeroizing<String> {
    let mut line = Zeroizing::new(String::with_capacity(name.len() + HEX_CHARS + 2));
    line.push_str(name);
    line.push(' ');
    for byte in key.expose() {
        for digit in [byte >> 4, byte & 15] {
            line.push(char::from_digit(u32::from(digit), 16).unwrap_or_default());
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const B64_OF_A: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn key(first: u8) -> SecretKey {
        SecretKey::new(std::array::from_fn(|i| first.wrapping_add(i as u8)))
    }

    #[test]
    fn a_file_has_names_keys_and_comments() {
        let text = format!("# made by hand\r\n\n  b.1_x-Y\t{A}  \r\n#{A}\nold {}\n", "ff".repeat(31) + "00");
        let keys = parse(&text).expect("two keys");
        let last: [u8; KEY_BYTES] = std::array::from_fn(|i| if i == 31 { 0 } else { 0xff });
        assert_eq!(keys, [("b.1_x-Y".to_owned(), key(0)), ("old".to_owned(), SecretKey::new(last))]);
        assert_eq!(parse(&format!("a {B64_OF_A}")), Ok(vec![("a".to_owned(), key(0))]));
        assert_eq!(parse("# nothing\n"), Ok(Vec::new()));
    }

    #[test]
    fn a_line_that_is_no_key_is_named_by_its_number() {
        let zeros = "0".repeat(64);
        for (line, fault) in [
            ("lonely".to_owned(), KeyLineFault::Words),
            (A.to_owned(), KeyLineFault::Words),
            (format!("a {A} b"), KeyLineFault::Words),
            (format!("a:b {A}"), KeyLineFault::Name),
            (format!("책 {A}"), KeyLineFault::Name),
            (format!("{} {A}", "x".repeat(65)), KeyLineFault::Name),
            (format!("a {}", &A[..62]), KeyLineFault::Key),
            (format!("a {A}00"), KeyLineFault::Key),
            (format!("a {}g", &A[..63]), KeyLineFault::Key),
            (format!("a {}", B64_OF_A.replace('=', "A")), KeyLineFault::Key),
            (format!("a {}==", &B64_OF_A[..42]), KeyLineFault::Key),
            (format!("a {}", B64_OF_A.replace("AA", "-_")), KeyLineFault::Key),
            (format!("a {zeros}"), KeyLineFault::Blank),
            (format!("first {}", A.replace("1f", "20")), KeyLineFault::SameName(2)),
            (format!("a {B64_OF_A}"), KeyLineFault::SameKey(2)),
        ] {
            let text = format!("# head\nfirst {A}\n\n{line}\n");
            assert_eq!(parse(&text), Err((4, fault)), "{line}");
            assert!(!fault.to_string().contains(&A[..8]));
        }
        let many: String = (0..=KEK_COUNT_MAX).map(|i| format!("k{i} {A:.56}{i:08x}\n")).collect();
        assert_eq!(parse(&many), Err((KEK_COUNT_MAX + 1, KeyLineFault::Many)));
    }

    #[test]
    fn what_is_written_is_read() {
        let text = line("kek-2026-11-26-1", &key(7));
        assert_eq!(parse(&text), Ok(vec![("kek-2026-11-26-1".to_owned(), key(7))]));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-f0-9# \n\t=책]{0,200}") {
            let _ = parse(&text);
        }
    }
}
