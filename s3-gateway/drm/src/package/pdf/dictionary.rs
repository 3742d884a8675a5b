//! What the dictionary of an object says about the pages, seen token by token.

use super::lexer::Token;

/// What an object is by its `/Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ObjectType {
    Page,
    /// A node of the tree of pages.
    Pages,
    ObjectStream,
    CrossReference,
}

/// How the data of a stream is encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Filter {
    #[default]
    None,
    Flate,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Type,
    Length,
    Filter,
    Count,
    Objects,
    First,
    Other,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dictionary {
    /// Arrays and dictionaries around the next token.
    pub(super) depth: usize,
    key: Option<Key>,
    valued: bool,
    pub(super) object_type: Option<ObjectType>,
    /// Unless it is another object's to say.
    pub(super) length: Option<u64>,
    pub(super) filter: Filter,
    pub(super) count: Option<u64>,
    pub(super) objects: Option<u64>,
    pub(super) first: Option<u64>,
    pub(super) parent: bool,
    pub(super) encrypt: bool,
}

impl Dictionary {
    /// Takes the next token, the brackets of the dictionary itself among them.
    pub(super) fn see(&mut self, token: &Token) {
        match token {
            Token::DictOpen | Token::ArrayOpen => {
                self.valued = true;
                self.depth += 1;
            }
            Token::DictClose | Token::ArrayClose => self.depth = self.depth.saturating_sub(1),
            Token::Name(name) if self.depth == 1 => self.name(name),
            Token::Name(name) if self.depth == 2 && self.key == Some(Key::Filter) => self.filter(name),
            Token::Number(number) if self.depth == 1 && !self.valued => self.number(*number),
            // `12 0 R`: what was taken for the value is the number of an object.
            Token::Word(word) if self.depth == 1 && word == b"R" => self.forget(),
            _ => self.valued |= self.depth == 1,
        }
    }

    fn name(&mut self, name: &[u8]) {
        if let Some(key) = self.key.filter(|_| !self.valued) {
            self.valued = true;
            return match key {
                Key::Type => self.object_type = object_type(name),
                Key::Filter => self.filter(name),
                _ => {}
            };
        }
        self.valued = false;
        self.key = Some(match name {
            b"Type" => Key::Type,
            b"Length" => Key::Length,
            b"Filter" => Key::Filter,
            b"Count" => Key::Count,
            b"N" => Key::Objects,
            b"First" => Key::First,
            _ => Key::Other,
        });
        self.parent |= name == b"Parent";
        self.encrypt |= name == b"Encrypt";
    }

    fn number(&mut self, number: u64) {
        self.valued = true;
        *match self.key {
            Some(Key::Length) => &mut self.length,
            Some(Key::Count) => &mut self.count,
            Some(Key::Objects) => &mut self.objects,
            Some(Key::First) => &mut self.first,
            _ => return,
        } = Some(number);
    }

    fn forget(&mut self) {
        match self.key {
            Some(Key::Length) => self.length = None,
            Some(Key::Count) => self.count = None,
            Some(Key::Filter) => self.filter = Filter::Other,
            _ => {}
        }
    }

    fn filter(&mut self, name: &[u8]) {
        self.filter = match (self.filter, name) {
            (Filter::None, b"FlateDecode" | b"Fl") => Filter::Flate,
            _ => Filter::Other,
        };
    }
}

fn object_type(name: &[u8]) -> Option<ObjectType> {
    match name {
        b"Page" => Some(ObjectType::Page),
        b"Pages" => Some(ObjectType::Pages),
        b"ObjStm" => Some(ObjectType::ObjectStream),
        b"XRef" => Some(ObjectType::CrossReference),
        _ => None,
    }
}
