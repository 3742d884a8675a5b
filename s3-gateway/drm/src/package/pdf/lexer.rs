//! The tokens of a PDF, from bytes that come in pieces. Forgiving: what makes no sense is a token of its own.
//!
//! Source: ISO 32000-1, section 7.2.

use super::PdfError;

/// Longer words and names are cut: none that counts is longer.
const WORD_BYTES_MAX: usize = 32;

/// Where bytes come from.
pub(super) trait Feed {
    /// Puts the next bytes into `piece`, in place of what is there; none at the end.
    fn next(&mut self, piece: &mut Vec<u8>) -> Result<(), PdfError>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// Without its slash, and decoded.
    Name(Vec<u8>),
    Number(u64),
    Word(Vec<u8>),
    DictOpen,
    DictClose,
    ArrayOpen,
    ArrayClose,
    /// A string, a fraction, or nonsense.
    Other,
}

pub(super) struct Lexer<F> {
    pub(super) feed: F,
    piece: Vec<u8>,
    at: usize,
    /// Where the piece begins.
    begins: u64,
    ended: bool,
}

impl<F: Feed> Lexer<F> {
    /// Of bytes of which the first one is at `begins`.
    pub(super) fn new(feed: F, begins: u64) -> Self {
        Lexer { feed, piece: Vec::new(), at: 0, begins, ended: false }
    }

    /// Where the next byte is.
    pub(super) fn position(&self) -> u64 {
        self.begins + self.at as u64
    }

    pub(super) fn peek(&mut self) -> Result<Option<u8>, PdfError> {
        if self.at == self.piece.len() && !self.ended {
            self.begins += self.piece.len() as u64;
            self.at = 0;
            self.piece.clear();
            self.feed.next(&mut self.piece)?;
            self.ended = self.piece.is_empty();
        }
        Ok(self.piece.get(self.at).copied())
    }

    pub(super) fn take(&mut self) -> Result<Option<u8>, PdfError> {
        let byte = self.peek()?;
        self.at += usize::from(byte.is_some());
        Ok(byte)
    }

    /// The next token and where it begins; `None` at the end.
    pub(super) fn token(&mut self) -> Result<Option<(u64, Token)>, PdfError> {
        self.skip_space()?;
        let begins = self.position();
        let Some(first) = self.take()? else { return Ok(None) };
        let token = match first {
            b'/' => Token::Name(decode_name(&self.regular(None)?)),
            b'[' => Token::ArrayOpen,
            b']' => Token::ArrayClose,
            b'(' => self.string()?,
            b'<' => self.angle()?,
            b'>' if self.peek()? == Some(b'>') => {
                self.take()?;
                Token::DictClose
            }
            b'>' | b')' | b'{' | b'}' => Token::Other,
            first => word_or_number(self.regular(Some(first))?),
        };
        Ok(Some((begins, token)))
    }

    fn skip_space(&mut self) -> Result<(), PdfError> {
        while let Some(byte) = self.peek()? {
            if byte == b'%' {
                while !matches!(self.take()?, None | Some(b'\r' | b'\n')) {}
            } else if is_space(byte) {
                self.take()?;
            } else {
                break;
            }
        }
        Ok(())
    }

    fn regular(&mut self, first: Option<u8>) -> Result<Vec<u8>, PdfError> {
        let mut word: Vec<u8> = first.into_iter().collect();
        while let Some(byte) = self.peek()? {
            if is_space(byte) || is_delimiter(byte) {
                break;
            }
            if word.len() < WORD_BYTES_MAX {
                word.push(byte);
            }
            self.take()?;
        }
        Ok(word)
    }

    fn string(&mut self) -> Result<Token, PdfError> {
        let mut depth = 1u64;
        while depth > 0 {
            match self.take()? {
                None => break,
                Some(b'\\') => drop(self.take()?),
                Some(b'(') => depth += 1,
                Some(b')') => depth -= 1,
                Some(_) => {}
            }
        }
        Ok(Token::Other)
    }

    fn angle(&mut self) -> Result<Token, PdfError> {
        if self.peek()? == Some(b'<') {
            self.take()?;
            return Ok(Token::DictOpen);
        }
        while !matches!(self.take()?, None | Some(b'>')) {}
        Ok(Token::Other)
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, 0 | b'\t' | b'\n' | 0x0c | b'\r' | b' ')
}

fn is_delimiter(byte: u8) -> bool {
    matches!(byte, b'(' | b')' | b'<' | b'>' | b'[' | b']' | b'{' | b'}' | b'/' | b'%')
}

fn word_or_number(word: Vec<u8>) -> Token {
    let digits = word.strip_prefix(b"+").unwrap_or(&word);
    if digits.iter().all(u8::is_ascii_digit)
        && let Some(number) = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok())
    {
        return Token::Number(number);
    }
    if word.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+')) {
        Token::Other
    } else {
        Token::Word(word)
    }
}

/// `#50age` is `Page`.
fn decode_name(name: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name;
    while let [first, others @ ..] = rest {
        let code = others.get(..2).filter(|_| *first == b'#').and_then(|code| {
            let digit = |at: usize| char::from(code[at]).to_digit(16);
            Some((digit(0)? * 16 + digit(1)?) as u8)
        });
        decoded.push(code.unwrap_or(*first));
        rest = if code.is_some() { &others[2..] } else { others };
    }
    decoded
}
