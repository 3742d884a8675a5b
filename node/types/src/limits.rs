//! Sizes that formats and protocols agree on. Changing one is a change of format.

/// A chunk's largest size. An image is one chunk, a 50 MiB book is 13; a verified ranged read needs at
/// most 64 leaf hashes (2 KiB) beside the data.
pub const CHUNK_BYTES_MAX: usize = 4 << 20;

/// A leaf: the unit of a verified ranged read. A power of two of BLAKE3's 1 KiB blocks.
pub const LEAF_BYTES: usize = 64 << 10;

/// Files up to this size live in the metadata. Larger ones would bloat the Raft log.
pub const INLINE_BYTES_MAX: usize = 4 << 10;

/// A file's largest size: 5 TiB, as S3 has it.
pub const FILE_BYTES_MAX: u64 = 5 << 40;

/// An S3 key's largest length in bytes, and a path component's.
pub const KEY_BYTES_MAX: usize = 1024;

/// POSIX `NAME_MAX`.
pub const NAME_BYTES_MAX: usize = 255;

/// A command's largest encoded size: a Raft entry must not stall the others in the log.
pub const COMMAND_BYTES_MAX: usize = 1 << 20;

/// Extents in one command, so that it stays under the row limit of `meta-core`.
pub const COMMAND_EXTENTS_MAX: usize = 2048;

/// Parts of a multipart upload, as S3 has it.
pub const PARTS_MAX: u16 = 10_000;

/// Commands of one session in flight in one group.
pub const SESSION_WINDOW: u64 = 4096;

/// How long a session lives without being renewed, in seconds. Long: a mount in the middle of a network fault of minutes should not
/// lose what it holds; what its end costs a dead one is only that its garbage waits.
pub const SESSION_LEASE_SECONDS: u64 = 15 * 60;

/// Copies of a chunk.
pub const REPLICAS: usize = 3;

/// Disks of a node.
pub const NODE_DISKS_MAX: usize = 256;
