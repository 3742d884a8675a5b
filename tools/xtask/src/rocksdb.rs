//! The compiled RocksDB that `tools/rocksdb.sh` keeps for the machine.

use std::path::{Path, PathBuf};

/// What makes cargo link it: nothing where it was not compiled, or where somebody has said otherwise.
pub fn environment(root: &Path) -> Vec<(&'static str, String)> {
    let said = ["ROCKSDB_LIB_DIR", "ROCKSDB_COMPILE"].iter().any(|name| std::env::var_os(name).is_some());
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    let folder = cache().zip(version(&lock)).map(|(cache, version)| cache.join("rocksdb").join(version));
    let made = folder.filter(|folder| !said && folder.join("librocksdb.a").exists());
    let linked = made.map(|folder| [("ROCKSDB_LIB_DIR", folder.display().to_string()), ("ROCKSDB_STATIC", "1".into())]);
    linked.into_iter().flatten().collect()
}

/// As the Makefile has it.
fn cache() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    folder("SAGO_CACHE")
        .or_else(|| Some(folder("XDG_CACHE_HOME")?.join("sago")))
        .or_else(|| Some(folder("HOME")?.join(".cache/sago")))
}

/// The version of its crate in a lock file.
fn version(lock: &str) -> Option<&str> {
    let (_, after) = lock.split_once("\nname = \"librocksdb-sys\"\nversion = \"")?;
    after.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found() {
        let lock = "[[package]]\nname = \"librocksdb-sys\"\nversion = \"0.1.0+1.2.3\"\nsource = \"x\"\n";
        assert_eq!(version(lock), Some("0.1.0+1.2.3"));
        assert_eq!(version("[[package]]\nname = \"other\"\nversion = \"1\"\n"), None);
    }
}
