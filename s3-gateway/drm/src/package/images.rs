//! Images: what type they are, which of an archive's entries are some, and in which order they are read.

use std::cmp::Ordering;

/// How many first bytes tell the type.
pub(super) const HEAD_BYTES: usize = 64;

/// Bytes that begin like no image of a known type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither JPEG, PNG, GIF, WebP, AVIF, HEIC, JPEG XL, BMP nor TIFF")]
pub struct NotAnImage;

/// Extensions of names that images have in archives.
const EXTENSIONS: [&str; 13] =
    ["jpg", "jpeg", "jpe", "png", "gif", "webp", "avif", "heic", "heif", "jxl", "bmp", "tif", "tiff"];

/// The media type and the usual extension, by the first bytes. What the name says is not asked: a PNG named `.jpg` is opened everywhere.
pub(super) fn type_of(head: &[u8]) -> Result<(&'static str, &'static str), NotAnImage> {
    let is = |magic: &[u8]| head.starts_with(magic);
    let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    if is(b"\xff\xd8\xff") {
        Ok(("image/jpeg", "jpg"))
    } else if is(b"\x89PNG\r\n\x1a\n") {
        Ok(("image/png", "png"))
    } else if is(b"GIF87a") || is(b"GIF89a") {
        Ok(("image/gif", "gif"))
    } else if is(b"RIFF") && at(8, b"WEBP") {
        Ok(("image/webp", "webp"))
    } else if at(4, b"ftyp") {
        brand_of(head)
    } else if is(b"\xff\x0a") || is(b"\0\0\0\x0cJXL \r\n\x87\n") {
        Ok(("image/jxl", "jxl"))
    } else if is(b"BM") && head.len() > 26 && at(6, &[0; 4]) {
        Ok(("image/bmp", "bmp"))
    } else if is(b"II*\0") || is(b"MM\0*") {
        Ok(("image/tiff", "tif"))
    } else {
        Err(NotAnImage)
    }
}

/// By the brands of an ISO file, of which the first may be a general one.
fn brand_of(head: &[u8]) -> Result<(&'static str, &'static str), NotAnImage> {
    let brands = || head.get(8..).unwrap_or_default().chunks_exact(4);
    if brands().any(|brand| matches!(brand, b"avif" | b"avis")) {
        Ok(("image/avif", "avif"))
    } else if brands().take(1).any(|brand| matches!(brand, b"heic" | b"heix" | b"mif1" | b"msf1")) {
        Ok(("image/heic", "heic"))
    } else {
        Err(NotAnImage)
    }
}

/// Whether an entry of an archive is a page by its name. What systems leave behind (`__MACOSX`, hidden files) is none.
pub(super) fn is_page(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or_default();
    let extension = file.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
    let hidden = file.starts_with('.') || name.split('/').any(|segment| segment == "__MACOSX");
    !hidden && EXTENSIONS.contains(&extension.as_str())
}

/// The order in which people read: numbers by their value, letters without regard to case, folder by folder. Equal are only equal names.
pub(super) fn natural_order(a: &str, b: &str) -> Ordering {
    let mut segments = (a.split('/'), b.split('/'));
    loop {
        let order = match (segments.0.next(), segments.1.next()) {
            (Some(a), Some(b)) => segment_order(a, b),
            (None, None) => return a.cmp(b),
            (a, b) => a.is_some().cmp(&b.is_some()),
        };
        if order.is_ne() {
            return order;
        }
    }
}

fn segment_order(mut a: &str, mut b: &str) -> Ordering {
    loop {
        let (Some(x), Some(y)) = (a.chars().next(), b.chars().next()) else { return a.len().cmp(&b.len()) };
        let order = if x.is_ascii_digit() && y.is_ascii_digit() {
            let (number_a, rest_a) = split_number(a);
            let (number_b, rest_b) = split_number(b);
            (a, b) = (rest_a, rest_b);
            number_a.len().cmp(&number_b.len()).then_with(|| number_a.cmp(number_b))
        } else {
            (a, b) = (&a[x.len_utf8()..], &b[y.len_utf8()..]);
            x.to_lowercase().cmp(y.to_lowercase())
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// The digits that `text` begins with, without leading zeros, and what follows.
fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    (digits.trim_start_matches('0'), rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn types_are_told_by_the_first_bytes() {
        for (head, media_type) in [
            (&b"\xff\xd8\xff\xe0"[..], "image/jpeg"),
            (b"\x89PNG\r\n\x1a\n", "image/png"),
            (b"GIF89a", "image/gif"),
            (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
            (b"\0\0\0\x1cftypavif\0\0\0\0", "image/avif"),
            (b"\0\0\0\x1cftypmif1\0\0\0\0avif", "image/avif"),
            (b"\0\0\0\x18ftypheic\0\0\0\0", "image/heic"),
            (b"\xff\x0a", "image/jxl"),
            (b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\0\0\0\0\0\0\0\0\x01\0", "image/bmp"),
            (b"II*\0", "image/tiff"),
        ] {
            assert_eq!(type_of(head).map(|(media_type, _)| media_type), Ok(media_type));
        }
        for head in
            [&b""[..], b"%PDF-1.7", b"PK\x03\x04", b"BM", b"RIFF\0\0\0\0WAVE", b"\0\0\0\x18ftypisom\0\0\0\0mp42"]
        {
            assert_eq!(type_of(head), Err(NotAnImage));
        }
    }

    #[test]
    fn pages_are_known_by_their_names() {
        for name in ["1.jpg", "a/표지.PNG", "x.y.webp"] {
            assert!(is_page(name), "{name}");
        }
        for name in ["ComicInfo.xml", "__MACOSX/1.jpg", "a/._1.jpg", "Thumbs.db", "jpg", ".jpg", "a.jpg/b"] {
            assert!(!is_page(name), "{name}");
        }
    }

    #[test]
    fn numbers_are_ordered_by_their_value() {
        let ordered = [
            "1.jpg",
            "01.jpg",
            "2.jpg",
            "10.jpg",
            "010.jpg",
            "99999999999999999999999.jpg",
            "a/2",
            "A/10",
            "a1/1",
            "b",
            "제1화/2",
            "제1화/10",
            "제10화/1",
        ];
        let mut shuffled = ordered;
        shuffled.reverse();
        shuffled.sort_by(|a, b| natural_order(a, b));
        let same_value = |list: [&'static str; 13]| list.map(|name| name.replace("010", "10").replace("01.", "1."));
        assert_eq!(same_value(shuffled), same_value(ordered));
        assert_eq!(natural_order("x", "x"), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn the_order_is_one(a in "[aA01/가]{0,6}", b in "[aA01/가]{0,6}", c in "[aA01/가]{0,6}") {
            prop_assert_eq!(natural_order(&a, &b), natural_order(&b, &a).reverse());
            prop_assert_eq!(natural_order(&a, &b).is_eq(), a == b);
            if natural_order(&a, &b).is_le() && natural_order(&b, &c).is_le() {
                prop_assert!(natural_order(&a, &c).is_le());
            }
        }
    }
}
