//! Names of entries: what they may be, and what they are when they are not UTF-8.

use super::NameFault;

/// What the length of a name has room for in a header.
pub(crate) const NAME_BYTES_MAX: usize = 0xffff;

/// The upper half of code page 437, in which a name is written that does not say it is UTF-8.
const CODE_PAGE_437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐\
└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// The name that `raw` stands for, and whether it was UTF-8.
///
/// Many writers write UTF-8 and do not say so; what is UTF-8 by its form is taken for it.
pub(super) fn decode(raw: Vec<u8>, says_utf8: bool) -> Result<(String, Option<Vec<u8>>), String> {
    match String::from_utf8(raw) {
        Ok(name) => Ok((name, None)),
        Err(error) if says_utf8 => Err(String::from_utf8_lossy(error.as_bytes()).into_owned()),
        Err(error) => {
            let raw = error.into_bytes();
            Ok((raw.iter().map(|byte| code_page_437(*byte)).collect(), Some(raw)))
        }
    }
}

fn code_page_437(byte: u8) -> char {
    match byte.checked_sub(128) {
        None => char::from(byte),
        Some(upper) => CODE_PAGE_437.chars().nth(usize::from(upper)).unwrap_or(char::REPLACEMENT_CHARACTER),
    }
}

/// Whether an entry may be named so. A slash at the end makes it a folder.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_name(name: &str) -> Result<(), NameFault> {
    let path = name.strip_suffix('/').unwrap_or(name);
    let mut letters = name.chars();
    if name.is_empty() {
        Err(NameFault::Empty)
    } else if name.contains('\\') {
        Err(NameFault::Backslash)
    } else if name.chars().any(char::is_control) {
        Err(NameFault::Control)
    } else if name.starts_with('/')
        || (letters.next().is_some_and(|letter| letter.is_ascii_alphabetic()) && letters.next() == Some(':'))
    {
        Err(NameFault::Absolute)
    } else if path.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        Err(NameFault::Traversal)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_archive_are_refused() {
        for (name, fault) in [
            ("", NameFault::Empty),
            ("/etc/passwd", NameFault::Absolute),
            ("/", NameFault::Absolute),
            ("C:/x", NameFault::Absolute),
            ("c:x", NameFault::Absolute),
            ("a/../b", NameFault::Traversal),
            ("..", NameFault::Traversal),
            ("./a", NameFault::Traversal),
            ("a//b", NameFault::Traversal),
            ("a//", NameFault::Traversal),
            ("a\\b", NameFault::Backslash),
            ("a\0b", NameFault::Control),
            ("a\u{7f}", NameFault::Control),
        ] {
            assert_eq!(check_name(name), Err(fault), "{name:?}");
        }
        for name in ["a", "a/", "a/b", "책/제 1 장.xhtml", "..a", "a..", "100% & #1.png", "가:나"] {
            assert_eq!(check_name(name), Ok(()), "{name:?}");
        }
    }

    #[test]
    fn what_is_no_utf_8_is_code_page_437() {
        assert_eq!(CODE_PAGE_437.chars().count(), 128);
        assert_eq!(
            decode(b"a\x80\xff.png".to_vec(), false),
            Ok(("aÇ\u{a0}.png".into(), Some(b"a\x80\xff.png".to_vec())))
        );
        assert_eq!(decode("책".as_bytes().to_vec(), false), Ok(("책".into(), None)));
        assert!(decode(vec![0xff], true).is_err());
    }
}
