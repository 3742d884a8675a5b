//! The mounted bucket: its parts, how it is opened and how it ends.

use crate::block_cache::BlockCache;
use crate::budget::Budget;
use crate::chunk_buffers::ChunkBuffers;
use crate::dir_attrs::DirAttrs;
use crate::guard::{self, Guard};
use crate::handle::{FileHandle, Handles};
use crate::inode::{InodeTable, PageVersions};
use crate::readdir::DirHandle;
use crate::{ConfigError, FsConfig, FsError};
use cluster_client::{CallError, Cluster};
use parking_lot::Mutex;
use proto::control::{BucketInfo, ControlAnswer, ControlQuery};
use proto::meta::{Answer, Command, Query, Refusal};
use proto::object::Attr;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use types::{Ino, Timestamp};

/// Chunk writes of one mount under way at once: enough to keep a 10 Gbit/s link busy at 5 ms a chunk.
const PUSHES_MAX: usize = 16;

/// The number the kernel wants for the root of a mount.
const KERNEL_ROOT: u64 = 1;

/// A mounted bucket. All methods may be called at once from any task of the runtime it was opened in.
pub struct MountFs {
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) bucket: BucketInfo,
    pub(crate) root: Ino,
    pub(crate) config: FsConfig,
    pub(crate) runtime: Handle,
    pub(crate) inodes: InodeTable,
    pub(crate) files: Handles<FileHandle>,
    pub(crate) dirs: Handles<DirHandle>,
    pub(crate) pages: PageVersions,
    /// What commands brought back of directories.
    pub(crate) dir_attrs: DirAttrs,
    pub(crate) cache: BlockCache,
    pub(crate) budget: Budget,
    pub(crate) pushes: Semaphore,
    pub(crate) chunk_buffers: Arc<ChunkBuffers>,
    /// Directories whose set-group-id bit is set, with their group, as far as the kernel has seen them.
    pub(crate) setgid_dirs: Mutex<HashMap<Ino, u32>>,
    pub(crate) guard: Guard,
    mutations: AtomicU64,
}

/// The bucket cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenBucketError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is none of that name.
    #[error("there is no bucket {0:?}")]
    NoSuchBucket(String),
    /// Its content is encrypted, or it is the cluster's own: only gateways read and write it.
    #[error("the bucket {0:?} is protected")]
    Protected(String),
    /// The cluster did not answer.
    #[error("the cluster does not answer")]
    Call(#[from] CallError),
    /// The bucket's group refused.
    #[error("the bucket's metadata group refused")]
    Refused(#[from] Refusal),
    /// The cluster answered something that makes no sense.
    #[error("unexpected answer of the cluster: {0}")]
    Protocol(String),
}

impl MountFs {
    /// Opens a bucket by name. Must be called inside a tokio runtime, which then runs all background work.
    ///
    /// # Errors
    /// [`OpenBucketError`]; nothing was changed, except that the root directory of a new bucket may have been made.
    pub async fn open_bucket(
        cluster: Arc<dyn Cluster>,
        name: &str,
        config: FsConfig,
    ) -> Result<Arc<Self>, OpenBucketError> {
        config.validate()?;
        let bucket = find_bucket(&*cluster, name).await?;
        guard::refuse_protected(&*cluster, &bucket).await?;
        let root = bucket_root(&*cluster, &bucket).await?;
        let fs = Arc::new(MountFs {
            runtime: Handle::current(),
            inodes: InodeTable::default(),
            files: Handles::default(),
            dirs: Handles::default(),
            pages: PageVersions::default(),
            dir_attrs: DirAttrs::default(),
            cache: BlockCache::new(config.cache_bytes),
            budget: Budget::new(config.write_buffer_bytes),
            pushes: Semaphore::new(PUSHES_MAX),
            chunk_buffers: Arc::default(),
            setgid_dirs: Mutex::default(),
            guard: Guard::default(),
            mutations: AtomicU64::new(0),
            root: root.ino,
            cluster,
            bucket,
            config,
        });
        fs.note_setgid(&root);
        fs.runtime.spawn(write_back(Arc::downgrade(&fs), fs.config.writeback_after));
        fs.runtime.spawn(guard::watch(Arc::downgrade(&fs)));
        Ok(fs)
    }

    /// Writes and commits everything that is buffered. For the end of a mount; what fails is logged and lost.
    pub async fn flush_all(self: &Arc<Self>) {
        for inode in self.inodes.all() {
            if let Err(error) = self.flush_inode(&inode).await {
                tracing::error!(ino = %inode.ino, %error, "buffered data was lost");
            }
        }
    }

    /// The settings it was opened with.
    #[must_use]
    pub fn config(&self) -> &FsConfig {
        &self.config
    }

    /// The number by which the kernel knows an inode: the root is 1, all others have their own.
    #[must_use]
    pub fn kernel_number(&self, ino: Ino) -> u64 {
        if ino == self.root { KERNEL_ROOT } else { ino.0 }
    }

    /// The inode that the kernel means by a number.
    #[must_use]
    pub fn ino_of(&self, kernel_number: u64) -> Ino {
        if kernel_number == KERNEL_ROOT { self.root } else { Ino(kernel_number) }
    }

    /// Bytes of dirty data and of cached data held now.
    #[must_use]
    pub fn memory_used(&self) -> (usize, usize) {
        (self.budget.used(), self.cache.used())
    }

    /// Files and directories open now.
    #[must_use]
    pub fn open_handles(&self) -> usize {
        self.files.len() + self.dirs.len()
    }

    /// The kernel has dropped an inode, and its pages with it.
    pub fn forget(&self, ino: Ino) {
        self.pages.forget(ino);
        self.setgid_dirs.lock().remove(&ino);
    }

    /// Attributes fit for programs on this machine: with what is buffered here and the configured owner. Remembers what later
    /// calls need of them.
    #[must_use]
    pub fn present(&self, attr: Attr) -> Attr {
        self.note_setgid(&attr);
        let mut attr = match self.inodes.get(attr.ino) {
            None => attr,
            Some(inode) => {
                let mut state = inode.state.lock();
                state.observe(&attr);
                state.merged()
            }
        };
        attr.uid = self.config.uid.unwrap_or(attr.uid);
        attr.gid = self.config.gid.unwrap_or(attr.gid);
        attr
    }

    fn note_setgid(&self, attr: &Attr) {
        const SETGID: u32 = 0o2000;
        if attr.kind != proto::object::FileKind::Directory {
            return;
        }
        let mut dirs = self.setgid_dirs.lock();
        if attr.mode & SETGID != 0 {
            dirs.insert(attr.ino, attr.gid);
        } else {
            dirs.remove(&attr.ino);
        }
    }

    /// How many commands this mount has sent; attributes fetched before the last one may be older than what the kernel knows.
    pub(crate) fn mutations(&self) -> u64 {
        self.mutations.load(Ordering::Acquire)
    }

    pub(crate) fn count_mutation(&self) {
        self.mutations.fetch_add(1, Ordering::AcqRel);
    }
}

async fn find_bucket(cluster: &dyn Cluster, name: &str) -> Result<BucketInfo, OpenBucketError> {
    match cluster.control_query(ControlQuery::Bucket { name: name.to_owned() }).await? {
        ControlAnswer::Bucket(Some(bucket)) => Ok(bucket),
        ControlAnswer::Bucket(None) => Err(OpenBucketError::NoSuchBucket(name.to_owned())),
        other => Err(OpenBucketError::Protocol(format!("{other:?}"))),
    }
}

/// The root of a bucket. Its maker may have died between the control group and the bucket's own: then it is made here.
async fn bucket_root(cluster: &dyn Cluster, bucket: &BucketInfo) -> Result<Attr, OpenBucketError> {
    let query = Query::BucketRoot { bucket: bucket.id };
    let answer = match cluster.query(bucket.group, query.clone()).await? {
        Err(Refusal::NoSuchBucket) => {
            cluster.command(bucket.group, Command::EnsureBucket { bucket: bucket.id }).await??;
            cluster.query(bucket.group, query).await?
        }
        answer => answer,
    };
    match answer? {
        Answer::Attr(attr) => Ok(attr),
        other => Err(OpenBucketError::Protocol(format!("{other:?}"))),
    }
}

/// Commits data that has been dirty for long, so that a file that is kept open reaches the cluster, and other machines, in time.
async fn write_back(fs: Weak<MountFs>, age: Duration) {
    loop {
        tokio::time::sleep(age / 4).await;
        let Some(fs) = fs.upgrade() else { return };
        let mut inodes = fs.inodes.all();
        inodes.retain(|inode| inode.state.lock().dirty_since.is_some_and(|since| since.elapsed() >= age));
        let commits = inodes.iter().map(async |inode| {
            if let Err(error) = fs.flush_inode(inode).await {
                tracing::warn!(ino = %inode.ino, %error, "buffered data was lost; its handles will report it");
            }
        });
        futures::future::join_all(commits).await;
    }
}

/// Wall time now.
pub(crate) fn wall_time() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_secs(since.as_secs() as i64, since.subsec_nanos())
}

/// Names as the kernel gives them, checked once more: at most 255 bytes, no slash, not `.` or `..`.
pub(crate) fn check_name(name: &[u8]) -> Result<(), FsError> {
    match name {
        b"" | b"." | b".." => Err(FsError::Invalid),
        name if name.len() > types::NAME_BYTES_MAX => Err(FsError::NameTooLong),
        name if name.contains(&b'/') || name.contains(&0) => Err(FsError::Invalid),
        _ => Ok(()),
    }
}
