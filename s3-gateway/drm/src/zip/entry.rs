//! An entry as the central directory has it.

/// How an entry is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// As it is.
    Stored,
    /// As a raw Deflate stream.
    Deflated,
}

impl Method {
    /// By its number.
    #[must_use]
    pub const fn of(number: u16) -> Option<Method> {
        match number {
            0 => Some(Method::Stored),
            8 => Some(Method::Deflated),
            _ => None,
        }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Method::Stored => 0,
            Method::Deflated => 8,
        }
    }
}

/// An entry of an archive that was opened: its name is a good one, and no other entry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub(super) name: String,
    /// The name as it is written, if that is no UTF-8.
    pub(super) raw: Option<Vec<u8>>,
    pub(super) method: Method,
    pub(super) crc32: u32,
    pub(super) compressed: u64,
    pub(super) size: u64,
    pub(super) header_at: u64,
    /// Where whatever lies behind it in the archive begins.
    pub(super) fence: u64,
    pub(super) descriptor: bool,
}

impl Entry {
    /// Its path from the root of the archive; that of a folder ends in a slash.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its name is written in UTF-8. Of another one only the ASCII can be relied on.
    #[must_use]
    pub fn name_is_utf8(&self) -> bool {
        self.raw.is_none()
    }

    /// Whether it stands for a folder.
    #[must_use]
    pub fn is_folder(&self) -> bool {
        self.name.ends_with('/')
    }

    /// How it is kept.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// CRC-32 of its data, as it claims.
    #[must_use]
    pub fn crc32(&self) -> u32 {
        self.crc32
    }

    /// Bytes of its data as they are kept.
    #[must_use]
    pub fn compressed(&self) -> u64 {
        self.compressed
    }

    /// Bytes of its data, as it claims.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn raw_name(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or(self.name.as_bytes())
    }
}
