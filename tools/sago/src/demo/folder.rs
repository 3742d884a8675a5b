//! The folder of a demo: where everything is, and what is remembered from one start to the next.

use super::resolved;
use super::{ports, shop};
use crate::cli::DemoArgs;
use crate::cluster::{NewCluster, NewNode, make, node_folder};
use crate::config::{ClusterFile, GatewaySection, NodeFile, Size, StoreSection, beside, load, save_private};
use crate::exit::{Done, Failure, Kind};
use crate::user::new_key;
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Nodes of a new demo.
const NODES: u16 = 3;
/// Small segments: three nodes on one small disk preallocate them.
const SEGMENT: Size = Size(64 << 20);
const RESERVE: Size = Size(256 << 20);
const USER: &str = "demo";

/// `demo.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DemoFile {
    s3_port: u16,
    user: String,
    access_key: String,
    secret_key: String,
    /// Where it was mounted last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mount: Option<PathBuf>,
    /// Buckets that have the sample files, or had them.
    sampled: Vec<String>,
}

/// A demo's folder, held by this process alone.
pub struct Folder {
    dir: PathBuf,
    program: PathBuf,
    cluster: ClusterFile,
    file: DemoFile,
    _lock: File,
}

impl Folder {
    /// Takes the folder; makes it first if it is empty or missing.
    ///
    /// # Errors
    /// [`Failure`]: another demo runs on it, it holds something else, or the arguments contradict it.
    pub fn open(args: &DemoArgs) -> Done<Self> {
        std::fs::create_dir_all(&args.dir)?;
        let dir = args.dir.canonicalize()?;
        let lock = lock(&dir)?;
        let program = std::env::current_exe()?;
        if dir.join("cluster.toml").exists() {
            return Folder::reopen(args, dir, program, lock);
        }
        refuse_strangers(&dir)?;
        let file = new_file(args)?;
        // Before the cluster, whose last file says that everything is there.
        save(&dir, &file)?;
        let cluster = make(&dir, &new_cluster(args, &dir, file.s3_port)?)?;
        Ok(Folder { dir, program, cluster, file, _lock: lock })
    }

    fn reopen(args: &DemoArgs, dir: PathBuf, program: PathBuf, lock: File) -> Done<Self> {
        let cluster = ClusterFile::load(&dir.join("cluster.toml"))?;
        let mut file: DemoFile = load(&dir.join("demo.toml"))?;
        let nodes = cluster.map.nodes.len();
        if args.nodes.is_some_and(|asked| usize::from(asked) != nodes) {
            return Err(Failure::new(
                Kind::Usage,
                format!("{} has {nodes} nodes; that cannot be changed", dir.display()),
            ));
        }
        file.s3_port = args.s3_port.unwrap_or(file.s3_port);
        save(&dir, &file)?;
        Ok(Folder { dir, program, cluster, file, _lock: lock })
    }

    /// Ids of its nodes.
    #[must_use]
    pub fn node_ids(&self) -> Vec<u64> {
        self.cluster.map.nodes.iter().map(|node| node.id.0).collect()
    }

    /// The folder of logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// The log of a process.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.logs().join(format!("{name}.log"))
    }

    /// The folder of the client's settings.
    #[must_use]
    pub fn client(&self) -> PathBuf {
        self.dir.join("client")
    }

    /// The folder of keys and certificates for books.
    #[must_use]
    pub fn drm(&self) -> Option<PathBuf> {
        Some(self.dir.join(shop::FOLDER)).filter(|folder| folder.exists())
    }

    /// The folder itself.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What starts a node.
    #[must_use]
    pub fn node_command(&self, id: u64) -> Vec<String> {
        self.command(&["node", "--config", &self.node_file(id).to_string_lossy()])
    }

    /// What starts the gateway.
    #[must_use]
    pub fn gateway_command(&self) -> Vec<String> {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, self.file.s3_port)).to_string();
        self.command(&["gateway", "--config", &self.client_file(), "--listen", &listen])
    }

    /// What starts the mount.
    #[must_use]
    pub fn mount_command(&self, bucket: &str, dir: &Path) -> Vec<String> {
        self.command(&["mount", bucket, &dir.to_string_lossy(), "--config", &self.client_file()])
    }

    /// The values of `--config` that tell a process of this folder.
    #[must_use]
    pub fn configs(&self) -> Vec<String> {
        let nodes = self.node_ids().into_iter().map(|id| self.node_file(id).to_string_lossy().into_owned());
        nodes.chain([self.client_file()]).collect()
    }

    fn command(&self, arguments: &[&str]) -> Vec<String> {
        let program = self.program.to_string_lossy().into_owned();
        std::iter::once(program).chain(arguments.iter().map(|argument| (*argument).to_owned())).collect()
    }

    fn node_file(&self, id: u64) -> PathBuf {
        node_folder(&self.dir, id).join("node.toml")
    }

    fn client_file(&self) -> String {
        self.client().join("client.toml").to_string_lossy().into_owned()
    }

    /// Where a node keeps its data.
    ///
    /// # Errors
    /// Its settings cannot be read.
    pub fn node_dirs(&self, id: u64) -> Done<Vec<PathBuf>> {
        let path = self.node_file(id);
        let node: NodeFile = load(&path)?;
        Ok(std::iter::once(&node.meta).chain(&node.disks).map(|dir| beside(&path, dir)).collect())
    }

    /// The URL of a node's admin pages.
    ///
    /// # Errors
    /// Its settings cannot be read.
    pub fn admin(&self, id: u64) -> Done<String> {
        let node: NodeFile = load(&self.node_file(id))?;
        Ok(format!("http://{}", node.admin))
    }

    /// The URL of S3.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.file.s3_port)
    }

    /// User, access key and secret key.
    #[must_use]
    pub fn user(&self) -> (&str, &str, &str) {
        (&self.file.user, &self.file.access_key, &self.file.secret_key)
    }

    /// Where it was or is to be mounted.
    #[must_use]
    pub fn mount(&self) -> Option<&Path> {
        self.file.mount.as_deref()
    }

    /// Where it is mounted if nothing else is said.
    #[must_use]
    pub fn default_mount(&self) -> PathBuf {
        self.dir.join("mnt")
    }

    /// Makes the folder for the mount and remembers it, so that a later start can clear a stale mount there.
    ///
    /// # Errors
    /// It cannot be made, or nothing can be written.
    pub fn set_mount(&mut self, dir: &Path) -> Done<PathBuf> {
        let dir = resolved(dir)?;
        // A mount of ours there was cleared before; one whose process is gone for another reason is cleared now.
        super::mounts::clear(&dir)?;
        std::fs::create_dir_all(&dir)?;
        self.file.mount = Some(dir.clone());
        save(&self.dir, &self.file)?;
        Ok(dir)
    }

    /// Whether a bucket has the sample files, or had them.
    #[must_use]
    pub fn is_sampled(&self, bucket: &str) -> bool {
        self.file.sampled.iter().any(|sampled| sampled == bucket)
    }

    /// Remembers that a bucket has the sample files.
    ///
    /// # Errors
    /// Nothing can be written.
    pub fn set_sampled(&mut self, bucket: &str) -> Done {
        self.file.sampled.push(bucket.to_owned());
        save(&self.dir, &self.file)
    }
}

fn lock(dir: &Path) -> Done<File> {
    let lock = File::options().create(true).truncate(false).write(true).open(dir.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            Err(Failure::new(Kind::Failed, format!("another demo runs on {}", dir.display())))
        }
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// A folder whose making was cut short holds no data yet; anything else in it is not ours.
fn refuse_strangers(dir: &Path) -> Done {
    const OURS: [&str; 8] =
        [shop::FOLDER, "lock", "demo.toml", "demo.new", "ca.pem", "ca.key.pem", "client", "operator"];
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !OURS.contains(&name.as_str()) && !name.starts_with("node-") {
            let message = format!("{} holds {name}, which is no demo's; choose an empty folder", dir.display());
            return Err(Failure::new(Kind::Usage, message));
        }
    }
    Ok(())
}

fn new_file(args: &DemoArgs) -> Done<DemoFile> {
    let s3_port = match args.s3_port {
        Some(port) => port,
        None => ports::tcp(1)?[0],
    };
    let key = new_key(USER);
    let (access_key, secret_key) = (key.access_key, key.secret_key);
    Ok(DemoFile { s3_port, user: key.user, access_key, secret_key, mount: None, sampled: Vec::new() })
}

fn save(dir: &Path, file: &DemoFile) -> Done {
    let text = toml::to_string(file).map_err(Failure::failed)?;
    Ok(save_private(&dir.join("demo.toml"), &format!("# What `sago demo` remembers of this folder.\n{text}"))?)
}

fn new_cluster(args: &DemoArgs, dir: &Path, s3_port: u16) -> Done<NewCluster> {
    let count = args.nodes.unwrap_or(NODES);
    // One more than are needed: the port of S3 is not listened on yet, so it may be found again.
    let (udp, tcp) = (ports::udp(count)?, ports::tcp(count.saturating_add(1))?);
    let tcp = tcp.into_iter().filter(|port| *port != s3_port);
    let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let nodes = (1..=count).zip(udp.into_iter().zip(tcp)).map(|(id, (quic, admin))| NewNode {
        id: u64::from(id),
        addr: local(quic).to_string(),
        domain: format!("node-{id}"),
        listen: Some(local(quic)),
        admin: local(admin),
    });
    Ok(NewCluster {
        nodes: nodes.collect(),
        disks: 1,
        meta_groups: 4,
        store: StoreSection { segment: SEGMENT, reserve: RESERVE, ..StoreSection::default() },
        gateway: GatewaySection {
            listen: local(s3_port),
            lcp: Some(shop::make(dir, s3_port)?),
            ..GatewaySection::default()
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(dir: &Path, nodes: Option<u16>, s3_port: Option<u16>) -> DemoArgs {
        let (bucket, mount) = ("books".to_owned(), None);
        DemoArgs { dir: dir.to_owned(), nodes, s3_port, bucket, mount, no_mount: true, no_sample: true }
    }

    #[test]
    fn a_folder_brings_the_same_cluster_back() {
        let temporary = tempfile::tempdir().expect("a folder");
        let dir = temporary.path().join("demo");
        let first = Folder::open(&args(&dir, Some(4), None)).expect("a new demo");
        assert!(Folder::open(&args(&dir, None, None)).is_err_and(|failure| failure.message.contains("another demo")));
        let (cluster, endpoint, key) = (first.cluster.clone(), first.endpoint(), first.user().2.to_owned());
        let admin = first.admin(4).expect("an admin page");
        drop(first);
        let again = Folder::open(&args(&dir, None, None)).expect("the same demo");
        assert_eq!((&again.cluster, again.endpoint(), again.user().2), (&cluster, endpoint, key.as_str()));
        assert_eq!(again.admin(4).ok(), Some(admin));
        assert!(again.node_dirs(1).is_ok_and(|dirs| dirs.len() == 2));
        drop(again);
        assert!(Folder::open(&args(&dir, Some(3), None)).is_err_and(|failure| failure.kind == Kind::Usage));
        let moved = Folder::open(&args(&dir, Some(4), Some(1234))).expect("another port");
        assert_eq!(moved.endpoint(), "http://127.0.0.1:1234");
    }

    #[test]
    fn a_folder_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("thesis.tex"), "").expect("a file");
        assert!(Folder::open(&args(folder.path(), None, None)).is_err_and(|failure| failure.kind == Kind::Usage));
        assert!(!folder.path().join("cluster.toml").exists());
    }

    #[test]
    fn a_start_that_was_cut_short_is_begun_again() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(Folder::open(&args(folder.path(), None, None)).expect("a new demo"));
        std::fs::remove_file(folder.path().join("cluster.toml")).expect("cut short");
        Folder::open(&args(folder.path(), None, None)).expect("the demo that was cut short");
    }
}
