//! A real tree of files, copied with the system's own tools.

use std::path::Path;
use std::process::Command;

/// Where a tree of documentation lies on a Debian machine. `SAGO_TEST_TREE` names another.
const TREE: &str = "/usr/share/doc";

/// `cp -r` of a tree, and `diff -r` against it.
///
/// # Panics
/// The tools fail or find a difference.
pub fn copied_tree(root: &Path) {
    let tree = std::env::var("SAGO_TEST_TREE").unwrap_or_else(|_| TREE.to_owned());
    assert!(Path::new(&tree).is_dir(), "no tree at {tree}: name one with SAGO_TEST_TREE");
    let copy = root.join("copy");
    run(Command::new("cp").args(["-r", "--no-dereference"]).arg(&tree).arg(&copy));
    run(Command::new("diff").args(["-r", "--no-dereference"]).arg(&tree).arg(&copy));
}

fn run(command: &mut Command) {
    let output = command.output().expect("the tool is installed");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said[..said.len().min(4000)]));
}
