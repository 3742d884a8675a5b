//! The way back: files that are lost in every way come back by one command each, and a script that deletes everything is stopped.

use anyhow::{Context, ensure};
use futures::StreamExt as _;
use harness::{Cluster, Options, Payload, S3Client, S3Error, must, until};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Requests under way at once.
const PARALLEL: usize = 8;
/// What a file keeps, as S3 shows it.
const KEPT: [&str; 5] = ["etag", "last-modified", "content-type", "x-amz-meta-book", "content-length"];
/// How long a gateway may believe that a bucket is gone.
const FORGET_MAX: Duration = Duration::from_secs(60);

/// Files of one way into the trash.
fn per_way() -> usize {
    if harness::battery() { 834 } else { 500 }
}

fn runtime() -> anyhow::Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

fn bytes_of(n: usize) -> Vec<u8> {
    posix::sample([700, 5_000, 70_000][n % 3] + n, n as u64)
}

/// One way to lose files.
struct Way {
    prefix: &'static str,
    /// What restores them, besides the prefix.
    flags: &'static [&'static str],
    by_mount: bool,
    /// Whether other files stand under the names.
    replaced: bool,
}

const WAYS: [Way; 6] = [
    Way { prefix: "deleted/", flags: &[], by_mount: false, replaced: false },
    Way { prefix: "deleted-many/", flags: &[], by_mount: false, replaced: false },
    Way { prefix: "overwritten/", flags: &["--replace"], by_mount: false, replaced: true },
    Way { prefix: "removed/", flags: &["--reason", "unlinked"], by_mount: true, replaced: false },
    Way { prefix: "renamed-over/", flags: &["--replace"], by_mount: true, replaced: true },
    Way { prefix: "truncated/", flags: &["--replace"], by_mount: true, replaced: true },
];

struct Store<'a> {
    runtime: Runtime,
    s3: S3Client,
    bucket: &'a str,
    cluster: &'a Cluster,
}

impl<'a> Store<'a> {
    fn new(cluster: &'a Cluster) -> anyhow::Result<Self> {
        Ok(Store { runtime: runtime()?, s3: cluster.s3(), bucket: &cluster.target().bucket, cluster })
    }

    /// Calls `work` for each key, several at once.
    fn each<T, F>(&self, keys: &[String], work: impl Fn(S3Client, String, usize) -> F) -> anyhow::Result<Vec<T>>
    where
        F: Future<Output = Result<T, S3Error>>,
    {
        let calls = keys.iter().enumerate().map(|(n, key)| work(self.s3.clone(), key.clone(), n));
        let results: Vec<_> = self.runtime.block_on(futures::stream::iter(calls).buffered(PARALLEL).collect());
        results.into_iter().map(|result| Ok(result?)).collect()
    }

    fn put_all(&self, keys: &[String]) -> anyhow::Result<()> {
        let bucket = self.bucket.to_owned();
        let put = |s3: S3Client, key: String, n: usize| {
            let bucket = bucket.clone();
            async move {
                let title = format!("title-{n}");
                let headers = [("content-type", "application/epub+zip"), ("x-amz-meta-book", title.as_str())];
                s3.put_with(&bucket, &key, &Payload::new(bytes_of(n)), &headers).await
            }
        };
        self.each(keys, put).map(drop)
    }

    fn heads(&self, keys: &[String]) -> anyhow::Result<Vec<Vec<String>>> {
        let bucket = self.bucket.to_owned();
        self.each(keys, |s3, key, _| {
            let bucket = bucket.clone();
            async move { s3.head_of(&bucket, &key, &KEPT).await }
        })
    }

    fn check_bytes(&self, keys: &[String]) -> anyhow::Result<()> {
        let bucket = self.bucket.to_owned();
        let wrong = self.each(keys, |s3, key, n| {
            let bucket = bucket.clone();
            async move { Ok(s3.get(&bucket, &key).await?.as_ref() != bytes_of(n)) }
        })?;
        ensure!(!wrong.contains(&true), "{} objects have other bytes", wrong.iter().filter(|wrong| **wrong).count());
        Ok(())
    }

    /// Restores and returns what the command counted.
    fn restore(&self, prefix: &str, flags: &[&str]) -> anyhow::Result<serde_json::Value> {
        let words = [&["trash", "restore", self.bucket, "--prefix", prefix, "--json"], flags].concat();
        Ok(serde_json::from_str(&self.cluster.sago(&words)?)?)
    }
}

fn keys_of(way: &Way) -> Vec<String> {
    (0..per_way()).map(|n| format!("{}d{}/book-{n}", way.prefix, n % 10)).collect()
}

#[test]
fn files_come_back_from_every_way_into_the_trash() {
    let _turn = harness::exclusive();
    must(every_way());
}

fn every_way() -> anyhow::Result<()> {
    ensure!(Path::new("/dev/fuse").exists(), "no /dev/fuse: tools/setup.sh --for test says what is missing");
    let cluster = Cluster::start(Options { mount: true, ..Options::default() })?;
    let mount = cluster.target().mount.clone().context("sago demo told no mount")?;
    let store = Store::new(&cluster)?;
    let done = lose_and_restore(&store, &mount);
    done.with_context(|| cluster.last_words())
}

fn lose_and_restore(store: &Store<'_>, mount: &Path) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut before = BTreeMap::new();
    for way in &WAYS {
        let keys = keys_of(way);
        store.put_all(&keys)?;
        if way.by_mount {
            for key in &keys {
                fs::set_permissions(mount.join(key), fs::Permissions::from_mode(0o640))?;
            }
        }
        before.insert(way.prefix, store.heads(&keys)?);
    }
    println!("{} files made in {:.1} s", WAYS.len() * per_way(), start.elapsed().as_secs_f64());
    for way in &WAYS {
        let start = Instant::now();
        let keys = keys_of(way);
        lose(store, mount, way, &keys)?;
        let left = store.runtime.block_on(store.s3.list_all(store.bucket, way.prefix))?.len();
        ensure!(left == if way.replaced { keys.len() } else { 0 }, "{}: {left} are left", way.prefix);
        let lost = start.elapsed();

        let start = Instant::now();
        let counted = store.restore(way.prefix, way.flags)?;
        ensure!(counted["restored"] == keys.len() && counted["failed"] == 0, "{}: {counted}", way.prefix);
        let restored = start.elapsed();
        ensure!(store.heads(&keys)? == before[way.prefix], "{}: metadata has changed", way.prefix);
        store.check_bytes(&keys).context(way.prefix)?;
        if way.by_mount {
            for (n, key) in keys.iter().enumerate() {
                let path = mount.join(key);
                ensure!(fs::read(&path)? == bytes_of(n), "{key} has other bytes in the mount");
                ensure!(fs::metadata(&path)?.permissions().mode() & 0o777 == 0o640, "{key} has another mode");
            }
        }
        println!(
            "{}: {} lost in {:.1} s, restored in {:.1} s",
            way.prefix,
            keys.len(),
            lost.as_secs_f64(),
            restored.as_secs_f64()
        );
    }
    Ok(())
}

/// Loses all files of a way.
fn lose(store: &Store<'_>, mount: &Path, way: &Way, keys: &[String]) -> anyhow::Result<()> {
    let bucket = store.bucket.to_owned();
    match way.prefix {
        "deleted/" => {
            store.each(keys, |s3, key, _| {
                let bucket = bucket.clone();
                async move { s3.delete(&bucket, &key).await }
            })?;
        }
        "deleted-many/" => {
            let refused = store.runtime.block_on(store.s3.delete_many(&bucket, keys))?;
            ensure!(refused.is_empty(), "{refused:?}");
        }
        "overwritten/" => {
            store.each(keys, |s3, key, _| {
                let bucket = bucket.clone();
                async move { s3.put(&bucket, &key, &Payload::new(&b"a deploy"[..])).await }
            })?;
        }
        "removed/" => fs::remove_dir_all(mount.join("removed"))?,
        "renamed-over/" => {
            for key in keys {
                let (from, to) = (mount.join("renamed-over/new"), mount.join(key));
                fs::write(&from, b"a deploy")?;
                fs::rename(&from, &to)?;
            }
        }
        "truncated/" => {
            for (n, key) in keys.iter().enumerate() {
                let file = fs::File::create(mount.join(key))?;
                if n % 2 == 0 {
                    std::io::Write::write_all(&mut &file, b"a deploy")?;
                }
            }
        }
        other => anyhow::bail!("no way {other}"),
    }
    Ok(())
}

#[test]
fn a_scripted_mass_delete_is_stopped_and_undone() {
    let _turn = harness::exclusive();
    must(mass_delete());
}

fn mass_delete() -> anyhow::Result<()> {
    const FILES: usize = 300;
    const LIMIT: usize = 100;
    let cluster = Cluster::start(Options::default())?;
    let store = Store::new(&cluster)?;
    let bucket = store.bucket;
    let keys: Vec<String> = (0..FILES).map(|n| format!("books/{n}")).collect();
    store.put_all(&keys)?;
    let limit = LIMIT.to_string();
    let set = ["bucket", "breaker", "set", bucket, "--limit", &limit];
    let refused = cluster.sago(&set).expect_err("a client may not");
    ensure!(format!("{refused:#}").contains("operator"), "{refused:#}");
    cluster.operate(&set)?;

    // The script: goes on whatever it is told.
    let mut deleted = 0;
    for key in &keys {
        match store.runtime.block_on(store.s3.delete(bucket, key)) {
            Ok(()) => deleted += 1,
            Err(S3Error::Refused { status: 503, code, message }) => {
                ensure!(code == "SlowDown" && message.contains("breaker"), "{code}: {message}");
            }
            Err(other) => return Err(other.into()),
        }
    }
    ensure!(deleted == LIMIT, "{deleted} of {FILES} were deleted");
    let refused = store.runtime.block_on(store.s3.delete_many(bucket, &keys[LIMIT..]))?;
    ensure!(refused.len() == FILES - LIMIT && refused.iter().all(|code| code == "SlowDown"), "{refused:?}");
    let over = store.runtime.block_on(store.s3.put(bucket, &keys[LIMIT], &Payload::new(&b"x"[..])));
    ensure!(matches!(over, Err(S3Error::Refused { status: 503, .. })), "an overwrite: {over:?}");
    store.runtime.block_on(store.s3.put(bucket, "new", &Payload::new(&b"x"[..])))?;
    let stat: serde_json::Value = serde_json::from_str(&cluster.sago(&["bucket", "stat", bucket, "--json"])?)?;
    ensure!(stat["trash_files"] == LIMIT && stat["breaker_open_until"].is_string(), "{stat}");

    let counted = store.restore("books/", &[])?;
    ensure!(counted["restored"] == LIMIT, "{counted}");
    store.check_bytes(&keys)?;
    let again = store.restore("books/", &[])?;
    ensure!(again["restored"] == 0 && again["failed"] == 0, "{again}");

    let lift = ["bucket", "breaker", "lift", bucket];
    ensure!(cluster.sago(&lift).is_err(), "a client may not lift it");
    cluster.operate(&lift)?;
    store.runtime.block_on(store.s3.delete(bucket, &keys[0]))?;
    let purge = ["trash", "purge", bucket, "--yes", "--json"];
    ensure!(cluster.sago(&purge).is_err(), "a client may not purge");
    let purged: serde_json::Value = serde_json::from_str(&cluster.operate(&purge)?)?;
    ensure!(purged["purged"] == 1, "{purged}");
    ensure!(store.restore("books/", &[])?["restored"] == 0, "a purge is final");
    Ok(())
}

#[test]
fn a_deleted_bucket_comes_back_with_its_trash() {
    let _turn = harness::exclusive();
    must(deleted_bucket());
}

fn deleted_bucket() -> anyhow::Result<()> {
    let cluster = Cluster::start(Options::default())?;
    let store = Store { bucket: "library", ..Store::new(&cluster)? };
    let keys: Vec<String> = (0..30).map(|n| format!("shelf/{n}")).collect();
    store.runtime.block_on(store.s3.create_bucket("library"))?;
    store.put_all(&keys)?;
    let heads = store.heads(&keys)?;
    let refused = store.runtime.block_on(store.s3.delete_many("library", &keys))?;
    ensure!(refused.is_empty(), "{refused:?}");
    store.runtime.block_on(store.s3.delete_bucket("library"))?;
    ensure!(cluster.sago(&["trash", "list", "library"]).is_err(), "the bucket is gone");
    ensure!(cluster.sago(&["bucket", "undelete", "library"]).is_err(), "a client may not");
    cluster.operate(&["bucket", "undelete", "library"])?;
    let counted = store.restore("", &[])?;
    ensure!(counted["restored"] == keys.len(), "{counted}");
    until("the gateway sees the bucket again", FORGET_MAX, || {
        store.runtime.block_on(store.s3.head("library", &keys[0])).is_ok()
    })?;
    ensure!(store.heads(&keys)? == heads, "metadata has changed");
    store.check_bytes(&keys)
}
