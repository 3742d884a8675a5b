//! Two of three nodes are away: what the third has can be read, writes are refused in time, by both faces, and nothing that was acknowledged
//! is lost. T05 and T24 of the battery.

use anyhow::{Context, ensure};
use cluster::every_copy_is_made;
use harness::{Cluster, Options, Payload, S3Client, S3Error, must, until};
use rustix::fs::{Advice, fadvise};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest time until a write without a quorum is refused: the client's deadline of ten seconds, and something for a busy machine.
const REFUSED_MAX: Duration = Duration::from_secs(12);
/// Longest time until writes come back after the nodes did, their election and quarantine included.
const BACK_MAX: Duration = Duration::from_secs(20);
/// Bytes of the files: some chunks.
const LEN: usize = 6 << 20;

#[test]
fn without_a_quorum_reads_go_on_and_writes_are_refused_in_time() {
    let _turn = harness::exclusive();
    must(run());
}

fn run() -> anyhow::Result<()> {
    ensure!(Path::new("/dev/fuse").exists(), "no /dev/fuse: tools/setup.sh --for test says what is missing");
    let mut cluster = Cluster::start(Options { mount: true, ..Options::default() })?;
    let mount = cluster.target().mount.clone().context("sago demo told no mount")?;
    let s3 = Face::new(&cluster)?;
    let rounds = if harness::battery() { 5 } else { 1 };
    for round in 0..rounds {
        one_round(&mut cluster, &s3, &mount, round)
            .with_context(|| format!("round {round}: {}", cluster.last_words()))?;
    }
    Ok(())
}

/// S3 at hand, without retries.
struct Face {
    runtime: tokio::runtime::Runtime,
    s3: S3Client,
    bucket: String,
}

impl Face {
    fn new(cluster: &Cluster) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Face { runtime, s3: cluster.s3(), bucket: cluster.target().bucket.clone() })
    }

    fn put(&self, key: &str, bytes: &[u8]) -> Result<(), S3Error> {
        self.runtime.block_on(self.s3.put(&self.bucket, key, &Payload::new(bytes.to_vec()))).map(drop)
    }
}

fn one_round(cluster: &mut Cluster, s3: &Face, mount: &Path, round: usize) -> anyhow::Result<()> {
    let (old, new) = (posix::sample(LEN, round as u64), posix::sample(LEN, 1_000 + round as u64));
    s3.put("read", &old)?;
    s3.put("kept", &old)?;
    let dirty = mount.join("dirty");
    fs::write(&dirty, &old)?;
    every_copy_is_made(cluster)?;
    let reader = File::open(mount.join("read"))?;
    let mut writer = File::options().write(true).open(&dirty)?;
    let mut witness = File::options().write(true).open(&dirty)?;

    let left = round % cluster.nodes();
    let gone: Vec<usize> = (0..cluster.nodes()).filter(|at| *at != left).collect();
    for at in &gone {
        cluster.kill(*at)?;
    }
    read_cold(reader, &old).context("what the third node has cannot be read")?;

    let start = Instant::now();
    let refused = s3.put("kept", &new);
    let took = start.elapsed();
    ensure!(
        matches!(&refused, Err(S3Error::Refused { status: 503, .. })) && took <= REFUSED_MAX,
        "PUT without a quorum, after {took:?}: {refused:?}"
    );

    let start = Instant::now();
    let stored = writer.write_all(&new).and_then(|()| writer.sync_all());
    let synced = start.elapsed();
    ensure!(stored.is_err() && synced <= 2 * REFUSED_MAX, "fsync without a quorum, after {synced:?}: {stored:?}");
    // Another handle that was open when the data were lost hears of it as well.
    let told = witness.write_all(b"").and_then(|()| witness.sync_all());
    println!(
        "round {}: PUT refused after {:.1} s, fsync after {:.1} s ({}), another handle: {told:?}",
        round + 1,
        took.as_secs_f64(),
        synced.as_secs_f64(),
        stored.expect_err("seen above")
    );
    ensure!(told.is_err(), "a handle that was open does not hear that data were lost");
    drop((writer, witness));

    let back = Instant::now();
    for at in &gone {
        cluster.restart(*at)?;
    }
    until("writes come back", BACK_MAX, || s3.put("ready", b"ready").is_ok())?;
    println!("round {}: writes came back after {:.1} s", round + 1, back.elapsed().as_secs_f64());
    for key in ["kept", "dirty"] {
        let bytes = s3.runtime.block_on(s3.s3.get(&s3.bucket, key))?;
        ensure!(*bytes == *old || *bytes == *new, "{key} is neither what was acknowledged nor what was refused");
    }
    // What was refused may have come through; what is written now is what is there.
    let mut again = File::create(&dirty)?;
    again.write_all(&new).and_then(|()| again.sync_all()).context("the mount does not go on")?;
    let bytes = s3.runtime.block_on(s3.s3.get(&s3.bucket, "dirty"))?;
    ensure!(
        bytes.as_ref() == new,
        "of what was written last {} of {} bytes are there",
        common(&bytes, &new),
        new.len()
    );
    Ok(())
}

/// Reads a file that was opened before, from the cluster and not from this machine's memory.
fn read_cold(mut file: File, content: &[u8]) -> anyhow::Result<()> {
    fadvise(&file, 0, None, Advice::DontNeed)?;
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::with_capacity(content.len());
    file.read_to_end(&mut bytes)?;
    ensure!(bytes == content, "other bytes");
    Ok(())
}

/// Bytes up to the first that differs.
fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}
