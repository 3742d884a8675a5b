//! What protecting a book of text costs, against deflating the same text, which is the least that it takes.
//!
//! Protecting inflates the source, deflates it anew, encrypts, hashes, writes. The aim says how much dearer than the one deflating all of that may be.

use super::licences::System;
use crate::usage::thread_cpu;
use anyhow::Context;
use drm::package::{Book, Options, protect};
use drm::zip::{Method, NewEntry, Writer};
use drm::{ContentKey, Sink, SinkError};
use flate2::{Compress, Compression, FlushCompress, Status};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;
use std::time::Duration;

/// How many times the processor time of deflating alone protecting may take.
pub const RATIO_AIM: f64 = 1.2;
/// Bytes of a chapter.
const CHAPTER_BYTES: usize = 100 << 10;
/// Different words of the book.
const WORDS: usize = 6_000;
/// The level at which books are deflated.
const LEVEL: u32 = 6;

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    /// Bytes of plain text.
    pub plain_bytes: u64,
    /// Bytes of the book as it came.
    pub book_bytes: u64,
    /// Bytes of the package.
    pub package_bytes: u64,
    /// Processor time of deflating the text alone, s; the best of all rounds.
    pub deflate_cpu_seconds: f64,
    /// Processor time of protecting the book, s; the best of all rounds.
    pub protect_cpu_seconds: f64,
    /// How many times as much.
    pub ratio: f64,
    /// What is aimed at, at most.
    pub aim_ratio: f64,
    /// Whether it is reached.
    pub aim_met: bool,
}

/// What the text is.
#[derive(Clone, Copy, Debug)]
pub enum Text<'a> {
    /// Words by this seed.
    Words(u64),
    /// This, over and over.
    Of(&'a [u8]),
}

/// Protects a book of so many bytes of text in every round, and deflates its text in between.
///
/// # Errors
/// The book that was made up is refused, or the machine's clock says that nothing took any time.
pub fn measure(plain_bytes: usize, text: Text<'_>, rounds: usize) -> anyhow::Result<Cost> {
    let chapters = match text {
        Text::Words(seed) => words(plain_bytes, &mut StdRng::seed_from_u64(seed)),
        Text::Of(text) => cut(plain_bytes, text)?,
    };
    let book = epub(&chapters)?;
    let (mut deflating, mut protecting, mut package_bytes) = (Duration::MAX, Duration::MAX, 0);
    for _ in 0..rounds.max(1) {
        // In turn, since a machine that others use too changes by the second.
        deflating = deflating.min(timed(|| chapters.iter().try_for_each(|text| deflate(text).map(|_| ())))?);
        protecting = protecting.min(timed(|| {
            let mut counted = Counted(0);
            let key = ContentKey::random(&mut System);
            protect(&Book::Epub(&book), &Options::default(), &key, &mut System, &mut counted)?;
            package_bytes = counted.0;
            Ok(())
        })?);
    }
    let ratio = protecting.as_secs_f64() / deflating.as_secs_f64();
    anyhow::ensure!(ratio.is_finite(), "too little to measure");
    Ok(Cost {
        plain_bytes: chapters.iter().map(|text| text.len() as u64).sum(),
        book_bytes: book.len() as u64,
        package_bytes,
        deflate_cpu_seconds: deflating.as_secs_f64(),
        protect_cpu_seconds: protecting.as_secs_f64(),
        ratio,
        aim_ratio: RATIO_AIM,
        aim_met: ratio <= RATIO_AIM,
    })
}

fn timed(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let before = thread_cpu();
    work()?;
    Ok(thread_cpu().saturating_sub(before))
}

/// Where a package goes when only its making counts.
struct Counted(u64);

impl Sink for Counted {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.0 += bytes.len() as u64;
        Ok(())
    }
}

/// A text in chapters, from its beginning again wherever it ends. Each is a stream of its own, so no repetition is found.
fn cut(bytes: usize, text: &[u8]) -> anyhow::Result<Vec<Vec<u8>>> {
    anyhow::ensure!(!text.is_empty(), "no text");
    let mut endless = text.iter().copied().cycle();
    let chapter = |_| endless.by_ref().take(CHAPTER_BYTES.min(text.len())).collect::<Vec<u8>>();
    Ok((0..bytes.div_ceil(CHAPTER_BYTES.min(text.len())).max(1)).map(chapter).collect())
}

/// Text of words of which a few are frequent. It becomes about as small as prose does, in four fifths of the time.
fn words(bytes: usize, rng: &mut StdRng) -> Vec<Vec<u8>> {
    let letter =
        |rng: &mut StdRng| char::from(b"etaoinshrdlucmfwypvbgk"[(rng.random::<f64>().powi(2) * 22.0) as usize]);
    let word = |rng: &mut StdRng| (0..rng.random_range(2..11)).map(|_| letter(rng)).collect::<String>();
    let words: Vec<String> = (0..WORDS).map(|_| word(rng)).collect();
    let count = bytes.div_ceil(CHAPTER_BYTES).max(1);
    let chapter = |_| {
        let mut text = String::with_capacity(CHAPTER_BYTES + 200);
        text.push_str("<html xmlns=\"http://www.w3.org/1999/xhtml\"><body>");
        while text.len() < CHAPTER_BYTES {
            text.push_str("<p>");
            for _ in 0..rng.random_range(20..120) {
                text.push_str(&words[(rng.random::<f64>().powi(3) * WORDS as f64) as usize]);
                text.push(' ');
            }
            text.push_str("</p>\n");
        }
        text.push_str("</body></html>");
        text.into_bytes()
    };
    (0..count).map(chapter).collect()
}

fn epub(chapters: &[Vec<u8>]) -> anyhow::Result<Vec<u8>> {
    let container = r#"<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>
<rootfile full-path="OPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>"#;
    let item = |at: usize| format!(r#"<item id="c{at}" href="c{at}.xhtml" media-type="application/xhtml+xml"/>"#);
    let items: String = (0..chapters.len()).map(item).collect();
    let opf = format!(
        r#"<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>Words</dc:title>
</metadata><manifest>{items}</manifest></package>"#
    );
    let mut archive = Vec::new();
    let mut writer = Writer::new(&mut archive);
    for (name, text) in
        [("mimetype", "application/epub+zip"), ("META-INF/container.xml", container), ("OPS/book.opf", &opf)]
    {
        writer.add(&NewEntry::stored(name, text.as_bytes()), text.as_bytes())?;
    }
    for (at, text) in chapters.iter().enumerate() {
        let (name, deflated) = (format!("OPS/c{at}.xhtml"), deflate(text)?);
        let stored = NewEntry::stored(&name, text);
        let entry = NewEntry { method: Method::Deflated, compressed: deflated.len() as u64, ..stored };
        writer.add(&entry, &deflated)?;
    }
    writer.finish()?;
    Ok(archive)
}

fn deflate(text: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut deflated = Vec::with_capacity(text.len() + 1_024);
    let status = Compress::new(Compression::new(LEVEL), false).compress_vec(text, &mut deflated, FlushCompress::Finish);
    let done = status.context("deflating failed")? == Status::StreamEnd;
    anyhow::ensure!(done, "text that deflating makes longer");
    Ok(deflated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_book_is_made_up_and_protected() {
        let cost = measure(300 << 10, Text::Words(1), 1).expect("measured");
        assert!(cost.plain_bytes >= 300 << 10 && cost.package_bytes > 0 && cost.ratio > 0.0);
        let share = cost.book_bytes as f64 / cost.plain_bytes as f64;
        assert!((0.25..0.55).contains(&share), "it deflates as prose does: {share}");
    }

    #[test]
    fn a_text_is_cut_into_chapters() {
        let text: Vec<u8> = (0..250_000_u32).map(|at| (at % 251) as u8).collect();
        let chapters = cut(300 << 10, &text).expect("a text");
        assert_eq!((chapters.len(), chapters[2].len()), (3, CHAPTER_BYTES));
        assert_eq!(chapters.concat()[..250_000], text);
        assert!(cut(1, &[]).is_err() && measure(1_000, Text::Of(&text), 1).is_ok());
    }
}
