//! How much of anything a book may have.

/// What a source may ask of the machine. A book that asks for more is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries of an archive, folders among them. Default 100,000: the largest image sets seen have a tenth of that, and each takes some hundred bytes
    /// of memory.
    pub entries: u64,
    /// Bytes of the central directory, which is held in memory. Default 64 MiB.
    pub directory_bytes: u64,
    /// Bytes of a name. Default 1,024; file systems end at 255 a segment.
    pub name_bytes: usize,
    /// Bytes of one entry, inflated. Default 8 GiB.
    pub entry_bytes: u64,
    /// Bytes of all entries, inflated. Default 32 GiB.
    pub total_bytes: u64,
    /// How many times larger than the source all entries may be, inflated; judged above [`Limits::RATIO_FLOOR_BYTES`]. Default 200: text gets to 20,
    /// a bomb to 1,000.
    pub ratio: u64,
    /// Bytes of an XML or JSON document that has to be understood, which is held in memory. Default 16 MiB; the package document of a book of ten
    /// thousand files has two.
    pub document_bytes: u64,
    /// How deep elements of such a document may nest. Default 128.
    pub document_depth: usize,
    /// Attributes of one element. Default 64.
    pub attributes: usize,
    /// Bytes that all object streams of a PDF may have, inflated. Default 1 GiB.
    pub pdf_object_bytes: u64,
    /// Pages of a PDF, or of a set of images. Default 1,000,000.
    pub pages: usize,
}

impl Limits {
    /// Below so many inflated bytes no ratio is judged: a small archive of blank pages is no bomb.
    pub const RATIO_FLOOR_BYTES: u64 = 64 << 20;
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            entries: 100_000,
            directory_bytes: 64 << 20,
            name_bytes: 1_024,
            entry_bytes: 8 << 30,
            total_bytes: 32 << 30,
            ratio: 200,
            document_bytes: 16 << 20,
            document_depth: 128,
            attributes: 64,
            pdf_object_bytes: 1 << 30,
            pages: 1_000_000,
        }
    }
}
