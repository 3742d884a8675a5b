use super::*;
use crate::source::tests::Watched;
use crate::zip::tests::deflate;
use proptest::prelude::*;

/// The data with the header and checksum of zlib.
fn zlib(plain: &[u8]) -> Vec<u8> {
    let (mut a, mut b) = (1u32, 0u32);
    for byte in plain {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    [&[0x78, 0x9c], deflate(plain).as_slice(), &(b << 16 | a).to_be_bytes()].concat()
}

/// A PDF of that many pages, each an object of its own.
pub(crate) fn pages(count: usize) -> Vec<u8> {
    let mut pdf =
        "%PDF-1.4\n%\u{e2}\u{e3}\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n".to_owned().into_bytes();
    pdf.extend_from_slice(format!("2 0 obj\n<</Type/Pages/Kids[]/Count {count}>>\nendobj\n").as_bytes());
    for i in 0..count {
        let page = format!(
            "{} 0 obj\n<</Type/Page/Parent 2 0 R/Resources<</Font<</Type/Font>>>>/Contents {} 0 R>>\nendobj\n",
            2 * i + 3,
            2 * i + 4
        );
        let content = format!(
            "{} 0 obj\n<</Length 31>>\nstream\n9 0 obj <</Type /Page>> endobj \nendstream\nendobj\n",
            2 * i + 4
        );
        pdf.extend_from_slice(page.as_bytes());
        pdf.extend_from_slice(content.as_bytes());
    }
    pdf.extend_from_slice(b"xref\n0 1\n0000000000 65535 f \ntrailer\n<</Size 9/Root 1 0 R>>\nstartxref\n9\n%%EOF\n");
    pdf
}

/// A PDF of one object stream.
fn object_stream(extra: &str, objects: &[(u64, &str)], encode: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let (mut head, mut body) = (String::new(), String::new());
    for (number, object) in objects {
        head += &format!("{number} {} ", body.len());
        body += &format!("{object} ");
    }
    let data = encode(format!("{head}{body}").as_bytes());
    let dictionary = format!("<</Type/ObjStm/N {}/First {}/Length {}{extra}>>", objects.len(), head.len(), data.len());
    [b"%PDF-1.5\n9 0 obj\n", dictionary.as_bytes(), b"stream\r\n", &data, b"\nendstream endobj\n"].concat()
}

fn count(pdf: &[u8]) -> Result<u64, String> {
    count_pages(&pdf, &Limits::default()).map_err(|error| format!("{error:?}"))
}

const STREAM: [(u64, &str); 4] = [
    (1, "<</Type/Catalog/Pages 2 0 R>>"),
    (2, "<</Type/Pages/Kids[3 0 R 4 0 R]/Count 2>>"),
    (3, "<</Parent 2 0 R/Type/#50age/MediaBox[0 0 9 9]>>"),
    (4, "<< /Type /Page /Annots [ << /Type /Annot >> ] >>"),
];

#[test]
fn pages_are_counted_and_what_streams_hold_is_not() {
    for n in [1, 2, 300] {
        assert_eq!(count(&pages(n)), Ok(n as u64));
    }
    // Lengths that are not there, not true, or another object's to say.
    for length in ["", "/Length 5", "/Length 99999999", "/Length 18446744073709551615", "/Length 30 0 R"] {
        let pdf = String::from_utf8_lossy(&pages(3)).replace("/Length 31", length);
        assert_eq!(count(pdf.as_bytes()), Ok(3), "{length:?}");
    }
}

#[test]
fn pages_in_object_streams_are_counted() {
    assert_eq!(count(&object_stream("/Filter/FlateDecode", &STREAM, zlib)), Ok(2));
    assert_eq!(count(&object_stream("/Filter [ /FlateDecode ]", &STREAM, zlib)), Ok(2));
    assert_eq!(count(&object_stream("", &STREAM, <[u8]>::to_vec)), Ok(2));
    assert_eq!(count(&object_stream("/Filter[/ASCII85Decode/FlateDecode]", &STREAM, zlib)), Err("NoPages".into()));
    let damaged = object_stream("/Filter/FlateDecode", &STREAM, |plain| zlib(plain)[..40].to_vec());
    assert!(count(&damaged).is_ok_and(|pages| pages <= 2) || count(&damaged) == Err("NoPages".into()));
}

#[test]
fn an_update_counts_once() {
    let again = b"3 0 obj <</Type/Page/Rotate 90>> endobj";
    assert_eq!(count(&[pages(2).as_slice(), again].concat()), Ok(2));
    let away = b"3 0 obj null endobj";
    assert_eq!(count(&[pages(2).as_slice(), away].concat()), Ok(1));
    let stream = object_stream("/Filter/FlateDecode", &STREAM, zlib);
    assert_eq!(count(&[stream.as_slice(), b"4 0 obj <</Type/Null>> endobj"].concat()), Ok(1));
    assert_eq!(count(&[stream.as_slice(), &stream].concat()), Ok(2));
    // A page that was taken out of the tree and left in the file.
    let tree = b"2 0 obj <</Type/Pages/Count 1>> endobj";
    assert_eq!(count(&[pages(2).as_slice(), tree].concat()), Ok(1));
    // A tree that says more than there is.
    let tree = b"2 0 obj <</Type/Pages/Count 7>> endobj";
    assert_eq!(count(&[pages(2).as_slice(), tree].concat()), Ok(2));
}

#[test]
fn an_encrypted_pdf_is_refused() {
    let pdf = String::from_utf8_lossy(&pages(1)).replace("/Root", "/Encrypt 7 0 R/Root");
    assert_eq!(count(pdf.as_bytes()), Err("Encrypted".into()));
    let stream = b"%PDF-1.5\n7 0 obj<</Type/XRef/Encrypt<</Filter/Standard>>/Length 3>>stream\nabc\nendstream endobj";
    assert_eq!(count(&[pages(1).as_slice(), stream].concat()), Err("Encrypted".into()));
    // The word alone means nothing.
    let text = b"7 0 obj<</Title(a \\( /Encrypt trailer <</Encrypt 1>>)/Encrypt 1>> endobj";
    assert_eq!(count(&[pages(1).as_slice(), text].concat()), Ok(1));
}

#[test]
fn a_pdf_without_pages_is_refused() {
    assert_eq!(count(b"%PDF-1.4\n"), Err("NoPages".into()));
    assert_eq!(count(&pages(0)), Err("NoPages".into()));
    assert_eq!(count(b""), Err("NoPages".into()));
}

#[test]
fn limits_are_kept() {
    let refused = |pdf: &[u8], limits: &Limits| format!("{:?}", count_pages(&pdf, limits).expect_err("over the limit"));
    assert_eq!(refused(&pages(3), &Limits { pages: 2, ..Limits::default() }), "TooManyPages(2)");
    let bomb = object_stream("/Filter/FlateDecode", &[(1, &" ".repeat(1 << 20))], zlib);
    let limits = Limits { pdf_object_bytes: 1 << 20, ..Limits::default() };
    assert_eq!(refused(&bomb, &limits), "ObjectsTooLarge(1048576)");
    let twice = object_stream("/Filter/FlateDecode", &[(1, &" ".repeat(600 << 10))], zlib);
    assert_eq!(refused(&[twice.as_slice(), &twice].concat(), &limits), "ObjectsTooLarge(1048576)");
}

#[test]
fn a_file_is_read_in_blocks_and_hardly_more_than_once() {
    let mut pdf = pages(200);
    pdf.extend_from_slice(format!("999 0 obj<</Length {}>>stream\n", 3 << 20).as_bytes());
    pdf.extend_from_slice(&vec![b'('; 3 << 20]);
    pdf.extend_from_slice(b"\nendstream endobj 1000 0 obj <</Type/Page>> endobj");
    let watched = Watched::new(&pdf);
    assert_eq!(count_pages(&watched, &Limits::default()).expect("pages"), 200);
    assert!(watched.longest.get() <= PIECE_BYTES);
    assert_eq!(count(&pdf), Ok(200), "the tree says so");
}

proptest! {
    #[test]
    fn anything_is_counted_or_refused(pdf in proptest::collection::vec(any::<u8>(), 0..300), tokens in proptest::collection::vec(0usize..16, 0..40)) {
        let words = ["<<", ">>", "[", "]", "/Type", "/Page", "/Pages", "/ObjStm", "1 0 obj", "stream\n", "endstream", "(", ")", "/N 1 /First 4", "/Length 9", "trailer"];
        let _ = count(&pdf);
        let text: Vec<&str> = tokens.into_iter().map(|token| words[token]).collect();
        let _ = count(text.join(" ").as_bytes());
    }
}
