//! What a disk has been asked for.

/// Requests since the disk was made, refused ones included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Flushes.
    pub syncs: u64,
    /// Requests of any kind that were answered with an error by command.
    pub errors: u64,
    /// Writes that were answered with success and went astray by command.
    pub strays: u64,
    /// Reads that showed a flipped bit.
    pub flipped: u64,
    /// Sectors that a power cut would lose now.
    pub volatile: u64,
}
