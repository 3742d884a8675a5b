//! The store of one group.

use crate::batch::StateBatch;
use crate::error::{Fatal, Fenced, NoCheckpoint, OpenError, PointGoesBack};
use crate::install;
use crate::options::SharedCache;
use crate::point::AppliedPoint;
use crate::rows::{HASH_KEY, MEMBERS_KEY, POINT_KEY, stored_key};
use crate::view::StateView;
use parking_lot::RwLock;
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{DB, Options, WriteBatch, WriteOptions};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use types::LogIndex;

/// The store of one group. One thread applies (`batch`, `commit`); any number may read through views.
pub struct StateStore {
    db: Arc<DB>,
    path: PathBuf,
    applied: RwLock<AppliedPoint>,
    /// As of `applied`.
    hash: RwLock<[u8; 32]>,
    /// The first failure. What a failed write left is unknown, so nothing is written after it.
    failure: OnceLock<String>,
}

impl StateStore {
    /// Opens or creates the store in the folder `path`, finishing or undoing an interrupted [`StateStore::install`].
    ///
    /// After an unclean stop it may come back older than it was: read [`StateStore::applied`].
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path, cache: &SharedCache) -> Result<StateStore, OpenError> {
        let folder = |source| OpenError::Folder { path: path.to_owned(), source };
        let database = |source| OpenError::Database { path: path.to_owned(), source };
        install::settle(path).map_err(folder)?;
        path.parent().map_or(Ok(()), fs::create_dir_all).map_err(folder)?;
        rocks_check::check_folder(path).map_err(|source| OpenError::Rotten { path: path.to_owned(), source })?;
        let db = DB::open(&cache.options(), path).map_err(database)?;
        let applied = match read_point(&db).map_err(database)? {
            Some(point) => point.map_err(|NoCheckpoint| OpenError::Point { path: path.to_owned() })?,
            None => AppliedPoint::default(),
        };
        let hash = match db.get(HASH_KEY).map_err(database)? {
            Some(hash) => hash.try_into().map_err(|_| OpenError::Point { path: path.to_owned() })?,
            None => [0; 32],
        };
        let (failure, hash) = (OnceLock::new(), RwLock::new(hash));
        Ok(StateStore { db: Arc::new(db), path: path.to_owned(), applied: RwLock::new(applied), hash, failure })
    }

    /// How far the state is, as of the last commit. All zero for a new store.
    #[must_use]
    pub fn applied(&self) -> AppliedPoint {
        *self.applied.read()
    }

    /// The rolling hash of everything that was changed up to [`StateStore::applied`]; see [`StateBatch::fold`].
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        *self.hash.read()
    }

    /// The members of the group as of [`StateStore::applied`], as they were given to [`StateStore::commit`]; `None` before the first.
    ///
    /// # Errors
    /// [`Fatal`]: the row cannot be read.
    pub fn members(&self) -> Result<Option<Vec<u8>>, Fatal> {
        self.db.get(MEMBERS_KEY).map_err(|error| Fatal::new(&self.path, "read the members", error))
    }

    /// Begins a set of changes.
    #[must_use]
    pub fn batch(&self) -> StateBatch<'_> {
        StateBatch::new(&self.db, *self.hash.read())
    }

    /// Makes the changes of a batch visible, all at once and together with `applied`, and with `members` if these have changed.
    ///
    /// A crash of the process loses nothing of it. A power cut may take it back, but only with everything committed
    /// later, unless [`StateStore::sync`] has returned since.
    ///
    /// # Errors
    /// [`Fatal`]: whether it was made is not known, stop. Also if `applied` is before what was applied.
    pub fn commit(&self, batch: StateBatch<'_>, applied: AppliedPoint, members: Option<&[u8]>) -> Result<(), Fatal> {
        const DOING: &str = "commit";
        self.check_fence(DOING)?;
        let now = self.applied().index;
        if applied.index < now {
            return Err(self.fatal(DOING, PointGoesBack { now, next: applied.index }));
        }
        let mut write = WriteBatch::default();
        let (changes, hash) = batch.into_changes();
        for (key, change) in changes {
            match change {
                Some(value) => write.put(stored_key(&key), value),
                None => write.delete(stored_key(&key)),
            }
        }
        write.put(POINT_KEY, applied.encode());
        write.put(HASH_KEY, hash);
        if let Some(members) = members {
            write.put(MEMBERS_KEY, members);
        }
        let mut options = WriteOptions::default();
        options.set_sync(false);
        self.db.write_opt(write, &options).map_err(|error| self.fatal(DOING, error))?;
        *self.applied.write() = applied;
        *self.hash.write() = hash;
        Ok(())
    }

    /// The state as it is now, to be read from any thread.
    #[must_use]
    pub fn view(&self) -> StateView {
        StateView::new(Arc::clone(&self.db))
    }

    /// Makes everything committed so far durable and returns how far that is: up to there the Raft log may be cut.
    ///
    /// # Errors
    /// [`Fatal`]: stop; what is durable is not known.
    pub fn sync(&self) -> Result<LogIndex, Fatal> {
        const DOING: &str = "flush";
        self.check_fence(DOING)?;
        let applied = self.applied().index;
        self.db.flush_wal(true).map_err(|error| self.fatal(DOING, error))?;
        Ok(applied)
    }

    /// Makes a checkpoint in `dir`, which must not exist while its parent must, and returns how far it is.
    ///
    /// Commits may go on meanwhile. The files are links to the store's own where the file system allows it; they are
    /// never changed, all of them belong to the checkpoint, and they have plain names. Not durable here: the
    /// receiver's [`StateStore::install`] flushes its copy.
    ///
    /// # Errors
    /// [`Fatal`]: the checkpoint could not be made; what is in `dir` is of no use. The store itself is not fenced by that.
    pub fn checkpoint(&self, dir: &Path) -> Result<AppliedPoint, Fatal> {
        const DOING: &str = "make a checkpoint";
        self.check_fence(DOING)?;
        Checkpoint::new(&self.db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(dir))
            .map_err(|error| Fatal::new(dir, DOING, error))?;
        point_of(dir).map_err(|error| Fatal::new(dir, DOING, error))
    }

    /// How far the checkpoint in `dir` is, which nobody has open, and the members of the group in it.
    ///
    /// # Errors
    /// [`Fatal`]: `dir` holds no readable checkpoint.
    pub fn inspect(dir: &Path) -> Result<(AppliedPoint, Option<Vec<u8>>), Fatal> {
        point_of_checkpoint(dir).map_err(|error| Fatal::new(dir, "read a checkpoint", error))
    }

    /// Replaces the store in `path`, which nobody has open, by the checkpoint in `dir`, which is used up.
    ///
    /// `dir` holds verified copies of all files of a checkpoint and lies on the same file system as `path`. After `Ok` the
    /// new store is in place, durably. A crash on the way leaves the old or the new one, settled by the next
    /// [`StateStore::open`].
    ///
    /// # Errors
    /// [`Fatal`]: `dir` holds no readable checkpoint, and the old store stands; or the files could not be moved.
    pub fn install(dir: &Path, path: &Path) -> Result<(), Fatal> {
        const DOING: &str = "install a snapshot";
        point_of(dir).map_err(|error| Fatal::new(dir, DOING, error))?;
        install::replace(dir, path).map_err(|error| Fatal::new(path, DOING, error))
    }

    /// Removes the store in `path`, which nobody has open. No change if there is none. An interrupted removal is
    /// finished by the next open or removal.
    ///
    /// # Errors
    /// [`Fatal`]: it could not be removed.
    pub fn destroy(path: &Path) -> Result<(), Fatal> {
        install::destroy(path).map_err(|error| Fatal::new(path, "remove the store", error))
    }

    fn check_fence(&self, doing: &'static str) -> Result<(), Fatal> {
        match self.failure.get() {
            None => Ok(()),
            Some(reason) => Err(Fatal::new(&self.path, doing, Fenced(reason.clone()))),
        }
    }

    /// Closes the fence and tells why.
    fn fatal(&self, doing: &'static str, source: impl Error + Send + Sync + 'static) -> Fatal {
        let _ = self.failure.set(format!("failed to {doing}: {source}"));
        Fatal::new(&self.path, doing, source)
    }
}

/// The applied point of a database; `None` before the first commit.
pub(crate) fn read_point(db: &DB) -> Result<Option<Result<AppliedPoint, NoCheckpoint>>, rocksdb::Error> {
    let row = db.get_pinned(POINT_KEY)?;
    Ok(row.map(|row| AppliedPoint::decode(&row).ok_or(NoCheckpoint)))
}

/// Applied point and coded members.
type Inspected = (AppliedPoint, Option<Vec<u8>>);

/// The applied point of a checkpoint that nobody has open.
fn point_of(dir: &Path) -> Result<AppliedPoint, Box<dyn Error + Send + Sync>> {
    point_of_checkpoint(dir).map(|(point, _)| point)
}

/// Its applied point and its members.
fn point_of_checkpoint(dir: &Path) -> Result<Inspected, Box<dyn Error + Send + Sync>> {
    rocks_check::check_folder(dir)?;
    if !dir.join("CURRENT").try_exists()? {
        return Err(NoCheckpoint.into());
    }
    let mut options = Options::default();
    options.set_max_open_files(16);
    let db = DB::open_for_read_only(&options, dir, false)?;
    let (point, members) = (read_point(&db)?, db.get(MEMBERS_KEY)?);
    drop(db);
    // Looking inside leaves a text log behind, which is no part of the checkpoint.
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("LOG") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok((point.transpose()?.unwrap_or_default(), members))
}
