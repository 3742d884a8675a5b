//! Entity tags: read from a client's text, made for a multipart upload.

use md5::{Digest as _, Md5};
use proto::object::ETag;

/// The MD5 a client names, with or without quotes; `None` if the text is not 32 hexadecimal digits.
#[must_use]
pub fn parse_md5(text: &str) -> Option<[u8; 16]> {
    let mut md5 = [0; 16];
    hex::decode_to_slice(text.trim_matches('"'), &mut md5).ok()?;
    Some(md5)
}

/// The entity tag of an object made of parts: the MD5 of their MD5s and their number.
#[must_use]
pub fn of_parts(parts: &[(u16, [u8; 16])]) -> ETag {
    let mut md5 = Md5::new();
    parts.iter().for_each(|(_, part)| md5.update(part));
    ETag::Multipart(md5.finalize().into(), parts.len() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::Ino;

    #[test]
    fn quotes_do_not_matter_and_anything_else_is_no_md5() {
        let text = "d41d8cd98f00b204e9800998ecf8427e";
        assert_eq!(parse_md5(text), parse_md5(&format!("\"{text}\"")));
        assert!(parse_md5(text).is_some());
        assert_eq!(parse_md5(&text[1..]), None);
        assert_eq!(parse_md5("d41d8cd98f00b204e9800998ecf8427e-2"), None);
    }

    #[test]
    fn the_tag_of_parts_names_their_number() {
        let tag = of_parts(&[(1, [0; 16]), (3, [1; 16])]).render(Ino(1), 1);
        assert!(tag.ends_with("-2"), "{tag}");
        assert_eq!(tag.len(), 34);
    }
}
