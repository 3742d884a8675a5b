//! The compiled RocksDB that `tools/rocksdb.sh` keeps for the machine.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What makes cargo link it: nothing where it was not compiled, or where somebody has said otherwise.
pub fn environment(root: &Path) -> Vec<(&'static str, String)> {
    let said = ["ROCKSDB_LIB_DIR", "ROCKSDB_COMPILE"].iter().any(|name| std::env::var_os(name).is_some());
    match folder(root).filter(|folder| !said && folder.join("librocksdb.a").exists()) {
        Some(folder) => vec![("ROCKSDB_LIB_DIR", folder.display().to_string()), ("ROCKSDB_STATIC", "1".to_owned())],
        None => Vec::new(),
    }
}

/// Where it is, or would be.
fn folder(root: &Path) -> Option<PathBuf> {
    let asked = Command::new("sh").args(["tools/rocksdb.sh", "--where"]).current_dir(root).output().ok()?;
    let said = String::from_utf8(asked.stdout).ok()?;
    asked.status.success().then(|| PathBuf::from(said.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_named_for_the_version_of_the_lock_file() {
        let root = Path::new("../..");
        let folder = folder(root).expect("the script tells");
        let version = folder.file_name().and_then(|name| name.to_str()).expect("a version");
        let lock = std::fs::read_to_string(root.join("Cargo.lock")).expect("a lock file");
        assert!(lock.contains(&format!("name = \"librocksdb-sys\"\nversion = \"{version}\"")), "{version}");
    }
}
