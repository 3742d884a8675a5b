//! What a mount must do, as functions over a mounted directory.
//!
//! Every case takes the path of an empty directory inside a mount and panics when the mount does not behave. [`CASES`] lists them
//! all, so that they run against any mount: the tests of this crate use one over a cluster in memory, or, with
//! `SAGO_TEST_MOUNT=/some/dir`, whatever is mounted there.
//!
//! Nothing is skipped: where a mount cannot be made (no /dev/fuse, not root), a test fails and says what it needs.

mod attrs;
mod data;
mod fsx;
mod names;
mod target;
mod tree;

pub use fsx::{random_operations, random_operations_while_committing};
pub use target::{BUCKET, MemoryMount, Target, blocking_case, make_bucket};
pub use tree::copied_tree;

use std::path::Path;

/// A case: panics when the mount at the path misbehaves.
pub type Case = fn(&Path);

/// All cases by name.
pub const CASES: &[(&str, Case)] = &[
    ("a copied tree is the same", tree::copied_tree),
    ("a big file keeps its hash", data::big_file),
    ("files of every size keep their bytes", data::sizes),
    ("a write in the middle leaves the rest", data::write_in_the_middle),
    ("appends from two handles follow each other", data::append_from_two_handles),
    ("truncate cuts and leaves holes", data::truncate_up_and_down),
    ("a sparse file reads as zeros", data::sparse),
    ("an unlinked file lives while it is open", data::unlink_while_open),
    ("a mapped file shows its bytes", data::mapped),
    ("a shared mapping is written back", data::written_through_a_mapping),
    ("open with truncate empties the file", data::open_truncate),
    ("a write is seen through another handle", data::seen_through_another_handle),
    ("many threads write many files", data::many_threads),
    ("random operations equal a model", fsx::random_operations),
    ("random operations under constant commits equal a model", fsx::random_operations_while_committing),
    ("rename replaces atomically", names::rename_over),
    ("rename of directories follows the rules", names::rename_directories),
    ("hard links share one file", names::hard_links),
    ("symbolic links are kept", names::symbolic_links),
    ("mkdir and rmdir fail as they should", names::directory_errors),
    ("two thousand names are listed", names::two_thousand_names),
    ("a tree can be removed", names::remove_tree),
    ("odd names are kept", names::odd_names),
    ("exclusive create and devices", names::exclusive_and_special),
    ("extended attributes are kept", attrs::xattrs),
    ("modes, owners and times are kept", attrs::modes_and_times),
    ("a set time survives the close", attrs::time_set_before_close),
    ("set-group-id directories hand down their group", attrs::setgid_directory),
    ("statfs answers", attrs::statfs),
];

/// The error number of a result that must be an error.
///
/// # Panics
/// It is none.
#[must_use]
pub fn errno_of<T: std::fmt::Debug>(result: std::io::Result<T>) -> i32 {
    result.expect_err("an error").raw_os_error().expect("an error of the system")
}

/// Bytes that differ from place to place.
#[must_use]
pub fn sample(len: usize, seed: u64) -> Vec<u8> {
    use rand::{RngCore, SeedableRng};
    let mut bytes = vec![0; len];
    rand::rngs::StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// Makes the kernel drop its pages of a file, so that the next read comes to the mount.
///
/// # Panics
/// The file cannot be advised.
pub fn drop_pages(file: &std::fs::File) {
    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).expect("fadvise");
}
