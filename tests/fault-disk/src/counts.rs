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
    /// Sectors that a power cut would lose now.
    pub volatile: u64,
}
