//! Every case of the crate as a test of its own.

use posix::{CASES, blocking_case};

fn case(name: &str) {
    let (_, case) = CASES.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no case {name:?}"));
    blocking_case(*case);
}

macro_rules! cases {
    ($($test:ident: $name:literal,)*) => {
        $(#[test] fn $test() { case($name); })*

        #[test]
        fn every_case_is_a_test() {
            let here = [$($name),*];
            assert_eq!(here.to_vec(), CASES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        }
    };
}

cases! {
    copied_tree: "a copied tree is the same",
    big_file: "a big file keeps its hash",
    sizes: "files of every size keep their bytes",
    write_in_the_middle: "a write in the middle leaves the rest",
    append_from_two_handles: "appends from two handles follow each other",
    truncate: "truncate cuts and leaves holes",
    sparse: "a sparse file reads as zeros",
    unlink_while_open: "an unlinked file lives while it is open",
    mapped: "a mapped file shows its bytes",
    mapped_shared: "a shared mapping is written back",
    open_truncate: "open with truncate empties the file",
    seen_through_another_handle: "a write is seen through another handle",
    many_threads: "many threads write many files",
    random_operations: "random operations equal a model",
    random_operations_while_committing: "random operations under constant commits equal a model",
    rename_over: "rename replaces atomically",
    rename_directories: "rename of directories follows the rules",
    hard_links: "hard links share one file",
    symbolic_links: "symbolic links are kept",
    directory_errors: "mkdir and rmdir fail as they should",
    two_thousand_names: "two thousand names are listed",
    remove_tree: "a tree can be removed",
    odd_names: "odd names are kept",
    exclusive_and_special: "exclusive create and devices",
    xattrs: "extended attributes are kept",
    modes_and_times: "modes, owners and times are kept",
    time_set_before_close: "a set time survives the close",
    setgid_directory: "set-group-id directories hand down their group",
    statfs: "statfs answers",
}
