//! The suites of the faces and the files they share, on a cluster of real processes.
//!
//! The S3 programs and the mount's cases also run over a cluster in memory, where they find most mistakes sooner; here the same ones
//! cross every process, socket and disk. Between a write through one face and the read through the other nothing waits.

use anyhow::{Context, ensure};
use harness::{Cluster, Options, Payload, S3Client, S3Error, must};
use proto::control::AccessKey;
use s3_compat::Server;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A cluster with a mount; these tests are about the mount, so a machine without one is a failure of the set-up, not a skip.
fn mounted() -> anyhow::Result<(Cluster, PathBuf)> {
    ensure!(Path::new("/dev/fuse").exists(), "no /dev/fuse: tools/setup.sh --for test says what is missing");
    let cluster = Cluster::start(Options { mount: true, ..Options::default() })?;
    let mount = cluster.target().mount.clone().context("sago demo told no mount")?;
    Ok((cluster, mount))
}

#[test]
fn the_s3_programs_pass_on_real_nodes() {
    let _turn = harness::exclusive();
    must(s3_programs());
}

fn s3_programs() -> anyhow::Result<()> {
    let cluster = Cluster::start(Options::default())?;
    let user = |name: &str| -> anyhow::Result<AccessKey> {
        Ok(serde_json::from_str(&cluster.sago(&["user", "create", name, "--json"])?)?)
    };
    let server = Server { endpoint: cluster.target().endpoint.clone(), key: user("alice")?, other: user("bob")? };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for program in ["objects.py", "listing.py", "multipart.py", "auth.py", "bad_input.py", "cli.py"] {
        let start = Instant::now();
        runtime.block_on(s3_compat::python(program, &server)).with_context(|| cluster.last_words())?;
        println!("{program}: {:.1} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

#[test]
fn the_mounts_cases_pass_on_real_nodes() {
    let _turn = harness::exclusive();
    let (_cluster, mount) = must(mounted());
    for (name, case) in posix::CASES {
        let root = tempfile::Builder::new().prefix("case-").tempdir_in(&mount).expect("a directory in the mount");
        let start = Instant::now();
        case(root.path());
        println!("{name}: {:.1} s", start.elapsed().as_secs_f64());
    }
}

#[test]
fn both_faces_show_the_same_files_at_once() {
    let _turn = harness::exclusive();
    must(both_faces());
}

/// One test with the tools of both faces at hand.
struct Faces<'a> {
    runtime: tokio::runtime::Runtime,
    s3: S3Client,
    bucket: &'a str,
    mount: &'a Path,
}

impl Faces<'_> {
    fn put(&self, key: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let payload = Payload::new(bytes.to_vec());
        self.runtime.block_on(self.s3.put(self.bucket, key, &payload)).map(drop).with_context(|| format!("PUT {key}"))
    }

    /// The object, none if there is no such key.
    fn get(&self, key: &str) -> anyhow::Result<Option<Vec<u8>>> {
        absent(self.runtime.block_on(self.s3.get(self.bucket, key)).map(|bytes| bytes.to_vec()))
    }

    fn head(&self, key: &str) -> anyhow::Result<Option<u64>> {
        absent(self.runtime.block_on(self.s3.head(self.bucket, key)))
    }

    fn delete(&self, key: &str) -> anyhow::Result<()> {
        Ok(self.runtime.block_on(self.s3.delete(self.bucket, key))?)
    }

    fn path(&self, key: &str) -> PathBuf {
        self.mount.join(key)
    }
}

fn absent<T>(answer: Result<T, S3Error>) -> anyhow::Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Content of version `n`: inline, one chunk, several chunks in turn.
fn version(n: usize) -> Vec<u8> {
    posix::sample([1_000, 70_000, 300_001, 5 << 20][n % 4] + n, n as u64)
}

fn both_faces() -> anyhow::Result<()> {
    let (cluster, mount) = mounted()?;
    let target = cluster.target();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let faces = Faces { runtime, s3: cluster.s3(), bucket: &target.bucket, mount: &mount };
    let done = written_by_s3(&faces).and_then(|()| written_by_the_mount(&faces)).and_then(|()| changed_by_both(&faces));
    done.with_context(|| cluster.last_words())
}

fn written_by_s3(faces: &Faces<'_>) -> anyhow::Result<()> {
    for n in 0..40 {
        // The same name over and over: an open shows the newest content whatever is cached.
        faces.put("s3/same", &version(n))?;
        ensure!(fs::read(faces.path("s3/same"))? == version(n), "overwrite {n} is not seen by an open");
        // A name that nobody has asked for yet, in a directory that a PUT makes.
        let key = format!("s3/new{n}/leaf");
        faces.put(&key, &version(n))?;
        ensure!(fs::read(faces.path(&key))? == version(n), "new name {n} is not seen by an open");
        faces.delete(&key)?;
        ensure!(File::open(faces.path(&key)).is_err(), "a deleted object {n} can be opened");
    }
    Ok(())
}

fn written_by_the_mount(faces: &Faces<'_>) -> anyhow::Result<()> {
    fs::create_dir(faces.path("mount"))?;
    for n in 0..40 {
        let (old, new) = (format!("mount/old{n}"), format!("mount/new{n}"));
        fs::write(faces.path(&old), version(n))?;
        ensure!(faces.head(&old)? == Some(version(n).len() as u64), "HEAD after close of {n}");
        ensure!(faces.get(&old)? == Some(version(n)), "GET after close of {n}");
        fs::rename(faces.path(&old), faces.path(&new))?;
        ensure!(faces.get(&old)?.is_none() && faces.get(&new)? == Some(version(n)), "S3 after rename of {n}");
        fs::remove_file(faces.path(&new))?;
        ensure!(faces.head(&new)?.is_none(), "HEAD after unlink of {n}");
    }
    Ok(())
}

fn changed_by_both(faces: &Faces<'_>) -> anyhow::Result<()> {
    for n in 0..10 {
        // S3 writes, the mount appends, S3 reads both.
        let key = format!("both/{n}");
        faces.put(&key, &version(n))?;
        File::options().append(true).open(faces.path(&key))?.write_all(b"appended")?;
        ensure!(faces.get(&key)? == Some([version(n), b"appended".to_vec()].concat()), "append to {n} is not in S3");
        // A file that is open while S3 replaces it is read to its end unmixed.
        faces.put(&key, &version(n))?;
        let mut file = File::open(faces.path(&key))?;
        let mut head = vec![0; 500];
        file.read_exact(&mut head)?;
        faces.put(&key, &version(n + 1))?;
        let mut rest = Vec::new();
        file.read_to_end(&mut rest)?;
        ensure!([head, rest].concat() == version(n), "the open file {n} is mixed");
        ensure!(fs::read(faces.path(&key))? == version(n + 1), "the next open of {n} shows the old one");
    }
    Ok(())
}

#[test]
fn a_gibibyte_keeps_its_hash_through_both_faces() {
    let _turn = harness::exclusive();
    must(gibibyte());
}

fn gibibyte() -> anyhow::Result<()> {
    const MIB: usize = 1 << 20;
    let (cluster, mount) = mounted()?;
    let path = mount.join("gibibyte");
    let start = Instant::now();
    let mut written = Sha256::new();
    let mut block = posix::sample(MIB, 7);
    let mut file = File::create(&path)?;
    for n in 0..1024_u64 {
        // No two blocks alike, so that a block in the wrong place is noticed.
        block[..8].copy_from_slice(&n.to_le_bytes());
        written.update(&block);
        file.write_all(&block)?;
    }
    file.sync_all()?;
    let written = written.finalize();
    let wrote = start.elapsed();
    posix::drop_pages(&file);
    drop(file);

    let start = Instant::now();
    let (mut read, mut file) = (Sha256::new(), File::open(&path)?);
    loop {
        let n = file.read(&mut block)?;
        if n == 0 {
            break;
        }
        read.update(&block[..n]);
    }
    ensure!(read.finalize() == written, "the mount gives other bytes back");
    let read_back = start.elapsed();

    let start = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (s3, mut fetched) = (cluster.s3(), Sha256::new());
    for n in 0..16 {
        let piece = s3.get_range(&cluster.target().bucket, "gibibyte", n * (64 << 20), 64 << 20);
        fetched.update(runtime.block_on(piece)?);
    }
    ensure!(fetched.finalize() == written, "S3 gives other bytes back");
    let seconds = |time: std::time::Duration| time.as_secs_f64();
    println!(
        "1 GiB: written in {:.1} s, read in {:.1} s, read by S3 in {:.1} s",
        seconds(wrote),
        seconds(read_back),
        seconds(start.elapsed())
    );
    Ok(())
}
