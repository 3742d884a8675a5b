//! How often this node was started: a number that tells its lives apart, durable before anybody hears of it.
//!
//! `META/incarnation` is a decimal number and a newline, replaced atomically. Its presence also says that the metadata folder is this
//! node's and has been in use.

use crate::error::StartError;
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use types::{Findings, Incarnation};

const NAME: &str = "incarnation";
const LOCK: &str = "LOCK";
/// There as long as the folder is being made from an export: what else is in it is not whole.
const IMPORT: &str = "import-unfinished";

/// A metadata folder that this process has to itself.
pub(crate) struct MetaFolder {
    pub(crate) incarnation: Incarnation,
    _lock: File,
}

/// Takes the folder and counts one more start of it.
///
/// # Errors
/// In use; empty although it must not be; or not usable.
pub(crate) fn begin(folder: &Path, create: bool) -> Result<MetaFolder, StartError> {
    let failed = |path: PathBuf| |source| StartError::Meta { path, source };
    let file = folder.join(NAME);
    if folder.join(IMPORT).exists() {
        // Begun anew, it would be a stranger among nodes that have their metadata back.
        return Err(StartError::ImportUnfinished(folder.to_owned()));
    }
    if create {
        std::fs::create_dir_all(folder).map_err(failed(folder.to_owned()))?;
    } else if !file.exists() {
        return Err(StartError::MetaMissing(folder.to_owned()));
    }
    let lock = lock(folder)?;
    let last = read(&file).map_err(failed(file.clone()))?;
    let incarnation = Incarnation(last.map_or(0, |last| last.0) + 1);
    write(folder, incarnation).map_err(failed(file))?;
    Ok(MetaFolder { incarnation, _lock: lock })
}

/// A metadata folder that is being made from an export. If the value is dropped before it is finished, no node starts on it, and the next import
/// begins anew.
pub struct ImportFolder {
    folder: PathBuf,
    _lock: File,
}

/// Whether a folder may be made from an export: it is missing, empty, or half of one.
///
/// # Errors
/// [`StartError::MetaThere`]: it holds metadata, which may be newer; or it cannot be read.
pub fn may_import(folder: &Path) -> Result<(), StartError> {
    if folder.join(IMPORT).exists() || contents(folder)?.is_empty() {
        return Ok(());
    }
    Err(StartError::MetaThere(folder.to_owned()))
}

/// Takes a folder for an import, and throws away what one before has left.
///
/// # Errors
/// As [`may_import`]; or it is in use.
pub fn begin_import(folder: &Path) -> Result<ImportFolder, StartError> {
    let failed = |source| StartError::Meta { path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let lock = lock(folder)?;
    may_import(folder)?;
    for path in contents(folder)?.into_iter().map(|name| folder.join(name)).filter(|path| !path.ends_with(IMPORT)) {
        let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.map_err(failed)?;
    }
    let mark = || -> io::Result<()> {
        File::create(folder.join(IMPORT))?.sync_all()?;
        File::open(folder)?.sync_all()?;
        folder
            .parent()
            .filter(|around| !around.as_os_str().is_empty())
            .map_or(Ok(()), |around| File::open(around)?.sync_all())
    };
    mark().map_err(failed)?;
    Ok(ImportFolder { folder: folder.to_owned(), _lock: lock })
}

impl ImportFolder {
    /// Everything else is in the folder and flushed: from now on a node may start on it, its starts counted on from `incarnation`.
    ///
    /// # Errors
    /// The folder could not be written.
    pub fn finish(self, incarnation: Incarnation) -> Result<(), StartError> {
        let finish = || -> io::Result<()> {
            write(&self.folder, incarnation)?;
            std::fs::remove_file(self.folder.join(IMPORT))?;
            File::open(&self.folder)?.sync_all()
        };
        finish().map_err(|source| StartError::Meta { path: self.folder.clone(), source })
    }
}

/// Names in a folder but those that are there before anything is; none if it is missing.
fn contents(folder: &Path) -> Result<Vec<std::ffi::OsString>, StartError> {
    let failed = |source| StartError::Meta { path: folder.to_owned(), source };
    match std::fs::read_dir(folder) {
        Ok(entries) => {
            let names = entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>().map_err(failed)?;
            Ok(names.into_iter().filter(|name| name != LOCK && name != "lost+found").collect())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed(error)),
    }
}

/// A metadata folder that was looked at. It stays locked as long as the value lives, so that no node starts on it meanwhile.
pub struct CheckedFolder {
    /// How often the node was started; `None` if that is not known.
    pub incarnation: Option<Incarnation>,
    _lock: Option<File>,
}

/// Looks at the metadata folder of a node that is stopped: that it is there, how often it was started, names that do not belong there. Changes
/// nothing. What lies in `raft` and `state` is looked at by those who own it.
///
/// | code | found |
/// | --- | --- |
/// | `meta-missing` | the folder is missing or empty |
/// | `meta-count-missing`, `meta-count-damaged` | the number of starts is gone; a node refuses to start |
/// | `meta-import-unfinished` | half an import of metadata; a node refuses to start |
/// | `meta-stranger` | a name that Sago does not use |
///
/// # Errors
/// It is in use by a node, or cannot be read.
pub fn check_folder(folder: &Path, findings: &mut Findings) -> Result<CheckedFolder, StartError> {
    const KNOWN: [&str; 10] =
        [NAME, LOCK, IMPORT, "incarnation.new", "raft", "state", "snapshots", "boot-id", "map", "map.new"];
    const IMPORT_AGAIN: &str = "do `sago meta import` again before the node is started";
    const REPLACE: &str = "look whether the right file system is mounted; if it is, join an empty node under a new id and remove this one";
    const COUNT: &str =
        "write a number above every one this node ever had into it, and a newline; the log of its last start names it";
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| StartError::Meta { path, source }
    };
    let mut names = match std::fs::read_dir(folder) {
        Ok(entries) => entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<_>>>()
            .map_err(failed(folder))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(failed(folder)(error)),
    };
    names.sort_unstable();
    if names.iter().all(|name| name == LOCK || name == "lost+found") {
        findings.damage("meta-missing", folder.display(), "there is no metadata of this node", REPLACE);
        return Ok(CheckedFolder { incarnation: None, _lock: None });
    }
    let path = folder.join(LOCK);
    let lock = match File::open(&path) {
        Ok(file) => Some(try_lock(file, folder)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(&path)(error)),
    };
    if names.iter().any(|name| name == IMPORT) {
        findings.damage("meta-import-unfinished", folder.display(), "half an import of metadata", IMPORT_AGAIN);
    }
    // What a group's log was like before it was recovered.
    let before = |name: &str| name.starts_with("recovered-") && name.ends_with(".before");
    let known = |name: &str| KNOWN.contains(&name) || before(name) || name == "lost+found";
    for name in names.iter().filter(|name| !known(name)) {
        let what = "not a file of a node";
        findings.note("meta-stranger", folder.join(name).display(), what, "look what it is; Sago does not use it");
    }
    let file = folder.join(NAME);
    let incarnation = match read(&file) {
        Ok(Some(incarnation)) => Some(incarnation),
        Ok(None) => {
            findings.damage("meta-count-missing", file.display(), "the number of starts is missing", COUNT);
            None
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            findings.damage("meta-count-damaged", file.display(), error, COUNT);
            None
        }
        Err(error) => return Err(failed(&file)(error)),
    };
    Ok(CheckedFolder { incarnation, _lock: lock })
}

fn lock(folder: &Path) -> Result<File, StartError> {
    let path = folder.join(LOCK);
    let open = File::options().create(true).truncate(false).write(true).open(&path);
    let lock = open.map_err(|source| StartError::Meta { path: path.clone(), source })?;
    try_lock(lock, folder)
}

fn try_lock(lock: File, folder: &Path) -> Result<File, StartError> {
    let path = folder.join(LOCK);
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StartError::Locked(folder.to_owned())),
        Err(TryLockError::Error(source)) => Err(StartError::Meta { path, source }),
    }
}

fn read(path: &Path) -> io::Result<Option<Incarnation>> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(text) => match text.strip_suffix('\n').and_then(|number| number.parse().ok()) {
            Some(count) => Ok(Some(Incarnation(count))),
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "not a number of starts")),
        },
    }
}

fn write(folder: &Path, incarnation: Incarnation) -> io::Result<()> {
    let beside = folder.join(format!("{NAME}.new"));
    let mut file = File::create(&beside)?;
    writeln!(file, "{}", incarnation.0)?;
    file.sync_all()?;
    std::fs::rename(&beside, folder.join(NAME))?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_start_counts_and_only_one_runs_at_a_time() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = temporary.path().join("meta");
        let first = begin(&folder, true).expect("the first start");
        assert_eq!(first.incarnation, Incarnation(1));
        assert!(matches!(begin(&folder, false), Err(StartError::Locked(_))));
        drop(first);
        assert_eq!(begin(&folder, false).expect("the second start").incarnation, Incarnation(2));
    }

    #[test]
    fn a_node_does_not_start_on_half_an_import_and_the_next_one_begins_anew() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = temporary.path().join("meta");
        let half = begin_import(&folder).expect("an empty folder");
        assert!(matches!(begin_import(&folder).err(), Some(StartError::Locked(_))));
        std::fs::create_dir(folder.join("state")).expect("a folder");
        std::fs::write(folder.join(NAME), "7\n").expect("a count");
        // The process died.
        drop(half);
        for create in [true, false] {
            assert!(matches!(begin(&folder, create), Err(StartError::ImportUnfinished(_))));
        }
        let mut findings = Findings::default();
        drop(check_folder(&folder, &mut findings).expect("it can be looked at"));
        assert_eq!(findings.count("meta-import-unfinished"), 1);

        let again = begin_import(&folder).expect("what was begun is thrown away");
        assert!(!folder.join("state").exists() && !folder.join(NAME).exists());
        again.finish(Incarnation(41)).expect("finished");
        assert_eq!(begin(&folder, false).expect("a start").incarnation, Incarnation(42));
        assert!(matches!(begin_import(&folder).err(), Some(StartError::MetaThere(_))));
        assert!(folder.join(NAME).exists());
    }

    #[test]
    fn a_look_names_what_is_wrong_and_changes_nothing() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = temporary.path().join("meta");
        let look = || {
            let mut findings = Findings::default();
            let looked = check_folder(&folder, &mut findings).expect("it can be looked at");
            let codes: Vec<_> = findings.counts().map(|(code, ..)| code).collect();
            (looked.incarnation, codes)
        };
        assert_eq!(look(), (None, vec!["meta-missing"]));
        assert!(!folder.exists());
        let running = begin(&folder, true).expect("the first start");
        assert!(matches!(check_folder(&folder, &mut Findings::default()), Err(StartError::Locked(_))));
        drop(running);
        assert_eq!(look(), (Some(Incarnation(1)), vec![]));
        let held = check_folder(&folder, &mut Findings::default()).expect("it can be looked at");
        assert!(matches!(begin(&folder, false), Err(StartError::Locked(_))));
        drop(held);
        std::fs::write(folder.join("notes"), "mine").expect("a file");
        std::fs::write(folder.join(NAME), "many\n").expect("a file");
        assert_eq!(look(), (None, vec!["meta-count-damaged", "meta-stranger"]));
        std::fs::remove_file(folder.join(NAME)).expect("removed");
        assert_eq!(look(), (None, vec!["meta-count-missing", "meta-stranger"]));
    }

    #[test]
    fn an_empty_folder_is_only_taken_when_allowed_and_a_damaged_count_never() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(matches!(begin(folder.path(), false), Err(StartError::MetaMissing(_))));
        assert!(begin(folder.path(), true).is_ok());
        for text in ["", "7", "x\n", "-1\n"] {
            std::fs::write(folder.path().join(NAME), text).expect("a file");
            assert!(matches!(begin(folder.path(), true), Err(StartError::Meta { .. })), "{text:?}");
        }
    }
}
