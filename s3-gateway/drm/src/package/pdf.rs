//! Counts the pages of a PDF, and recognises an encrypted one, in one run through the file.
//!
//! The whole file is scanned for objects, also those in object streams; of an object defined twice, as updates do, the last definition counts. Neither
//! cross-reference tables nor references are followed, so damaged tables do not matter and nothing but the set of page objects is in memory. Data of other
//! streams is skipped. Where the root of the page tree is clear, its `/Count` is believed if it is no more than was seen: a deleted page stays in the file.
//!
//! Source: ISO 32000-1, sections 7.3, 7.5 and 7.7.3.

mod dictionary;
mod lexer;

use crate::deflate::Inflater;
use crate::zip::{Limits, PIECE_BYTES};
use crate::{Source, SourceError};
use dictionary::{Dictionary, Filter, ObjectType};
use lexer::{Feed, Lexer, Token};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Within so many bytes a file has to say that it is a PDF.
pub(super) const HEAD_BYTES: usize = 1_024;
/// Objects of one object stream; writers put some hundred into one.
const STREAM_OBJECTS_MAX: u64 = 100_000;
/// Lengths that are not true before none is believed any more: each sends the scan to and fro in the file.
const LENGTHS_LIED_MAX: usize = 1_000;
/// What is looked at at once.
const READ_BYTES: u64 = 4 << 10;
const END_OF_STREAM: &[u8] = b"endstream";

/// The PDF is refused.
#[derive(Debug, thiserror::Error)]
pub enum PdfError {
    /// The source failed; the PDF may be good.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It is encrypted by PDF's own means.
    #[error("the PDF is encrypted")]
    Encrypted,
    /// No page was found.
    #[error("the PDF has no pages")]
    NoPages,
    /// More pages than [`Limits::pages`].
    #[error("the PDF has more than {0} pages")]
    TooManyPages(usize),
    /// Object streams larger than [`Limits::pdf_object_bytes`].
    #[error("the objects of the PDF inflate to more than {0} bytes")]
    ObjectsTooLarge(u64),
}

/// Whether the first bytes are those of a PDF.
pub(super) fn is_pdf(head: &[u8]) -> bool {
    head[..head.len().min(HEAD_BYTES)].windows(5).any(|window| window == b"%PDF-")
}

/// How many pages a PDF has.
pub(super) fn count_pages(source: &dyn Source, limits: &Limits) -> Result<u64, PdfError> {
    let blocks = Blocks { source, block: RefCell::default() };
    let mut scan =
        Scan { source: &blocks, limits, pages: BTreeSet::new(), roots: BTreeMap::new(), inflated: 0, lies: 0 };
    scan.file()?;
    let seen = scan.pages.len() as u64;
    let says = scan.roots.values().next().filter(|_| scan.roots.len() == 1).copied();
    match says.flatten().filter(|says| (1..=seen).contains(says)).unwrap_or(seen) {
        0 => Err(PdfError::NoPages),
        pages => Ok(pages),
    }
}

struct Scan<'a> {
    source: &'a Blocks<'a>,
    limits: &'a Limits,
    /// Numbers of page objects.
    pages: BTreeSet<u64>,
    /// Numbers of page tree nodes that have no parent, and how many pages they say to have.
    roots: BTreeMap<u64, Option<u64>>,
    /// Bytes of object streams so far.
    inflated: u64,
    /// Streams that were not as long as they said.
    lies: usize,
}

impl<'a> Scan<'a> {
    fn file(&mut self) -> Result<(), PdfError> {
        let mut lexer = self.lexer(0);
        let (mut numbers, mut object, mut dictionary) = ([0; 2], None, Dictionary::default());
        while let Some((_, token)) = lexer.token()? {
            match &token {
                Token::Word(word) if matches!(word.as_slice(), b"obj" | b"trailer" | b"endobj") => {
                    // Whatever was open is left: a damaged object does not swallow the next one.
                    object = (word == b"obj").then_some(numbers[0]);
                    object.inspect(|number| self.forget(*number));
                    dictionary = Dictionary::default();
                }
                Token::Word(word) if word == b"stream" && dictionary.depth == 0 && object.is_some() => {
                    let next = self.stream(&mut lexer, &dictionary)?;
                    lexer = self.lexer(next);
                }
                token => {
                    if let Token::Number(number) = token {
                        numbers = [numbers[1], *number];
                    }
                    dictionary.see(token);
                    if *token == Token::DictClose && dictionary.depth == 0 {
                        self.defined(object, &dictionary)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn lexer(&self, at: u64) -> Lexer<FileFeed<'a>> {
        Lexer::new(FileFeed { source: self.source, at }, at)
    }

    fn forget(&mut self, object: u64) {
        self.pages.remove(&object);
        self.roots.remove(&object);
    }

    /// Takes the dictionary of an object, or that of a trailer, which has no number.
    fn defined(&mut self, object: Option<u64>, dictionary: &Dictionary) -> Result<(), PdfError> {
        let is_trailer = object.is_none() || dictionary.object_type == Some(ObjectType::CrossReference);
        if is_trailer && dictionary.encrypt {
            return Err(PdfError::Encrypted);
        }
        let Some(object) = object else { return Ok(()) };
        match dictionary.object_type {
            Some(ObjectType::Page) => drop(self.pages.insert(object)),
            Some(ObjectType::Pages) if !dictionary.parent => drop(self.roots.insert(object, dictionary.count)),
            _ => {}
        }
        let most = self.limits.pages;
        if self.pages.len().max(self.roots.len()) > most { Err(PdfError::TooManyPages(most)) } else { Ok(()) }
    }

    /// Skips the data of a stream, and looks into it if it has objects. Returns where the scan goes on.
    fn stream(&mut self, lexer: &mut Lexer<FileFeed<'a>>, dictionary: &Dictionary) -> Result<u64, PdfError> {
        if lexer.peek()? == Some(b'\r') {
            lexer.take()?;
        }
        if lexer.peek()? == Some(b'\n') {
            lexer.take()?;
        }
        let begins = lexer.position();
        let ends = self.end_of_stream(begins, dictionary.length)?;
        if dictionary.object_type == Some(ObjectType::ObjectStream) {
            self.object_stream(begins..ends, dictionary)?;
        }
        Ok(ends)
    }

    /// Where the data ends: as the dictionary says, if it says so truly, or else at the word that ends it.
    fn end_of_stream(&mut self, begins: u64, length: Option<u64>) -> Result<u64, PdfError> {
        if let Some(ends) = length.and_then(|length| begins.checked_add(length))
            && self.lies < LENGTHS_LIED_MAX
        {
            if self.ends_at(ends)? {
                return Ok(ends);
            }
            self.lies += 1;
        }
        self.find(begins, END_OF_STREAM)
    }

    /// Whether the word that ends a stream is there, behind the end of a line.
    fn ends_at(&self, at: u64) -> Result<bool, PdfError> {
        let mut there = vec![0; self.source.len().saturating_sub(at).min(END_OF_STREAM.len() as u64 + 2) as usize];
        self.source.read_at(at.min(self.source.len()), &mut there)?;
        Ok((0..3).any(|spaces| there.get(spaces..).is_some_and(|rest| rest.starts_with(END_OF_STREAM))))
    }

    /// Where `word` stands first, or the end of the file.
    fn find(&self, from: u64, word: &[u8]) -> Result<u64, PdfError> {
        let len = self.source.len();
        let (mut at, mut piece) = (from, Vec::new());
        while at < len {
            piece.resize((len - at).min(READ_BYTES) as usize, 0);
            self.source.read_at(at, &mut piece)?;
            if let Some(found) = piece.windows(word.len()).position(|window| window == word) {
                return Ok(at + found as u64);
            }
            // The word may begin at the end of this piece.
            let overlap = if at + piece.len() as u64 == len { 0 } else { word.len() - 1 };
            at += (piece.len() - overlap) as u64;
        }
        Ok(len)
    }

    fn object_stream(&mut self, data: Range<u64>, dictionary: &Dictionary) -> Result<(), PdfError> {
        let (Some(count), Some(first)) = (dictionary.objects, dictionary.first) else { return Ok(()) };
        let inflater = match dictionary.filter {
            Filter::None => None,
            Filter::Flate => Some(Inflater::zlib()),
            Filter::Other => return Ok(()),
        };
        if count > STREAM_OBJECTS_MAX {
            return Ok(());
        }
        let left = self.limits.pdf_object_bytes.saturating_sub(self.inflated);
        let most = self.limits.pdf_object_bytes;
        let feed = StreamFeed { source: self.source, data, inflater, input: Vec::new(), used: 0, left, most };
        let mut lexer = Lexer::new(feed, 0);
        self.objects_of_stream(&mut lexer, count, first)?;
        self.inflated = most - lexer.feed.left;
        Ok(())
    }

    fn objects_of_stream(&mut self, lexer: &mut Lexer<StreamFeed<'_>>, count: u64, first: u64) -> Result<(), PdfError> {
        let mut objects = BTreeMap::new();
        for _ in 0..count {
            let (Some((_, Token::Number(number))), Some((_, Token::Number(offset)))) = (lexer.token()?, lexer.token()?)
            else {
                return Ok(());
            };
            self.forget(number);
            objects.insert(first.saturating_add(offset), number);
        }
        let (mut object, mut dictionary) = (None, Dictionary::default());
        while let Some((at, token)) = lexer.token()? {
            if dictionary.depth == 0 {
                object = objects.get(&at).copied();
                dictionary = Dictionary::default();
            }
            dictionary.see(&token);
            if token == Token::DictClose && dictionary.depth == 0 && object.is_some() {
                self.defined(object, &dictionary)?;
            }
        }
        Ok(())
    }
}

/// A source of which the last block that was read is kept: small reads close to each other cost one.
struct Blocks<'a> {
    source: &'a dyn Source,
    block: RefCell<(u64, Vec<u8>)>,
}

impl Blocks<'_> {
    fn len(&self) -> u64 {
        self.source.len()
    }

    fn read_at(&self, mut offset: u64, mut out: &mut [u8]) -> Result<(), SourceError> {
        let (begins, block) = &mut *self.block.borrow_mut();
        while !out.is_empty() {
            if offset < *begins || offset >= *begins + block.len() as u64 {
                *begins = offset - offset % PIECE_BYTES as u64;
                block.resize(self.source.len().saturating_sub(*begins).min(PIECE_BYTES as u64) as usize, 0);
                self.source.read_at(*begins, block)?;
            }
            let there = block.get((offset - *begins) as usize..).filter(|there| !there.is_empty());
            let there = there.ok_or_else(|| SourceError::new("read past the end"))?;
            let bytes = there.len().min(out.len());
            let (now, later) = out.split_at_mut(bytes);
            now.copy_from_slice(&there[..bytes]);
            (out, offset) = (later, offset + bytes as u64);
        }
        Ok(())
    }
}

struct FileFeed<'a> {
    source: &'a Blocks<'a>,
    at: u64,
}

impl Feed for FileFeed<'_> {
    fn next(&mut self, piece: &mut Vec<u8>) -> Result<(), PdfError> {
        let bytes = self.source.len().saturating_sub(self.at).min(READ_BYTES);
        piece.resize(bytes as usize, 0);
        self.source.read_at(self.at, piece)?;
        self.at += bytes;
        Ok(())
    }
}

/// The data of an object stream. Ends where the data is damaged.
struct StreamFeed<'a> {
    source: &'a Blocks<'a>,
    data: Range<u64>,
    inflater: Option<Inflater>,
    input: Vec<u8>,
    used: usize,
    left: u64,
    most: u64,
}

impl Feed for StreamFeed<'_> {
    fn next(&mut self, piece: &mut Vec<u8>) -> Result<(), PdfError> {
        loop {
            self.fill()?;
            let input = &self.input[self.used..];
            let (used, filled) = match &mut self.inflater {
                None => {
                    piece.clear();
                    piece.extend_from_slice(input);
                    (input.len(), input.len())
                }
                Some(inflater) => {
                    piece.resize(READ_BYTES as usize, 0);
                    inflater.inflate(input, piece).map_or((0, 0), |step| (step.used, step.filled))
                }
            };
            piece.truncate(filled);
            self.used += used;
            // Of some input, as of a header, nothing comes yet.
            if filled > 0 || used == 0 {
                self.left = self.left.checked_sub(filled as u64).ok_or(PdfError::ObjectsTooLarge(self.most))?;
                return Ok(());
            }
        }
    }
}

impl StreamFeed<'_> {
    fn fill(&mut self) -> Result<(), PdfError> {
        if self.used == self.input.len() {
            let bytes = (self.data.end - self.data.start).min(READ_BYTES);
            self.input.resize(bytes as usize, 0);
            self.source.read_at(self.data.start, &mut self.input)?;
            self.data.start += bytes;
            self.used = 0;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests;
