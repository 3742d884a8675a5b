//! A mount's process is killed in the middle of writing: the file holds what was written before the last fsync, of later writes each one whole
//! or not at all, and nothing else; another mount uses it at once. T23 of the battery.
//!
//! ```text
//! file = slots of 64 KiB; each write fills one slot with a body that tells its number, and so which write it was
//! writer: overwrites slots at random, appends slots, calls fsync now and then, notes what it has done ── until its mount is killed
//! judge:  each slot shows one body whole: the last one before the last fsync, or one written after that
//! ```

use anyhow::{Context, bail, ensure};
use harness::{Body, Cluster, Mount, OpId, Options, must, schedule, until, within};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of a slot: what the kernel hands over in one request, and never across the border of two chunks.
const SLOT: usize = 64 << 10;
/// Slots of the file at first, so that it has several chunks.
const SLOTS: usize = 160;
/// Slots that may come on.
const APPENDED_MAX: usize = 200;
/// Writes before the mount may be killed, so that there is something to lose.
const WRITES: usize = 60;
/// Longest time for them.
const WRITES_MAX: Duration = Duration::from_secs(120);
/// The mount is killed up to so long after that.
const LATER_MAX: u64 = 1500;
/// Longest time until another mount has read the file and written to it: a deadline of the cluster's own calls. The session of the dead mount
/// lives on for minutes, and nobody has to wait for its end.
const USABLE_MAX: Duration = Duration::from_secs(10);

#[test]
fn a_killed_mount_leaves_whole_writes_and_a_file_that_others_use_at_once() {
    let _turn = harness::exclusive();
    must(run());
}

fn run() -> anyhow::Result<()> {
    ensure!(Path::new("/dev/fuse").exists(), "no /dev/fuse: tools/setup.sh --for test says what is missing");
    let seed = harness::seed();
    let cluster = Cluster::start(Options { mount: true, ..Options::default() })?;
    let rounds = if harness::battery() { 40 } else { 4 };
    for round in 0..rounds {
        one_round(&cluster, round, StdRng::seed_from_u64(seed + round))
            .with_context(|| format!("seed {seed}, round {round}: {}", cluster.last_words()))?;
    }
    Ok(())
}

/// What one slot may show: the number of each write to it, in order.
#[derive(Clone, Debug, Default)]
struct Slot {
    written: Vec<u64>,
    /// How many of them an fsync has made sure of; the last of these is the oldest that may be seen.
    synced: usize,
}

#[derive(Debug, Default)]
struct Written {
    slots: Vec<Slot>,
    /// Slots that an fsync has made sure of.
    synced: usize,
    /// Since the file was made.
    writes: usize,
    syncs: usize,
}

fn key(slot: usize) -> String {
    format!("slot/{slot}")
}

fn body(slot: usize, op: u64) -> Vec<u8> {
    Body::new(OpId(op), &key(slot), SLOT as u64).bytes()
}

/// Writes until the mount is gone. `notes` always say at least what was handed to the kernel, and at most what an fsync has answered for.
fn write(path: &Path, mut rng: StdRng, notes: &Mutex<Written>) -> anyhow::Result<io::Error> {
    let lock = || notes.lock().unwrap_or_else(PoisonError::into_inner);
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    let mut op = 0;
    let mut one = |slot: usize| {
        op += 1;
        {
            let mut notes = lock();
            if slot == notes.slots.len() {
                notes.slots.push(Slot::default());
            }
            notes.slots[slot].written.push(op);
        }
        file.write_all_at(&body(slot, op), (slot * SLOT) as u64)?;
        lock().writes += 1;
        io::Result::Ok(())
    };
    let sync = || {
        let before: Vec<usize> = lock().slots.iter().map(|slot| slot.written.len()).collect();
        file.sync_all()?;
        let mut notes = lock();
        notes.synced = before.len();
        notes.syncs += 1;
        for (slot, count) in notes.slots.iter_mut().zip(before) {
            slot.synced = count;
        }
        io::Result::Ok(())
    };
    (0..SLOTS).try_for_each(&mut one)?;
    sync()?;
    // The name is durable when it stands there; the first content from the fsync on.
    lock().writes = 0;
    loop {
        let slots = lock().slots.len();
        let append = slots < SLOTS + APPENDED_MAX && rng.random_range(0..4) == 0;
        let done = one(if append { slots } else { rng.random_range(0..slots) });
        let synced = if rng.random_range(0..12) == 0 { sync() } else { Ok(()) };
        if let Err(error) = done.and(synced) {
            return Ok(error);
        }
    }
}

fn one_round(cluster: &Cluster, round: u64, mut rng: StdRng) -> anyhow::Result<()> {
    let name = format!("dies-{round}");
    // The same folder each time: what the dead mount leaves there is cleared.
    let mut mount = Mount::start(cluster, "mount-2")?;
    let notes = Arc::new(Mutex::new(Written::default()));
    let writer = {
        let (path, rng, notes) = (mount.path().join(&name), StdRng::seed_from_u64(rng.random()), notes.clone());
        std::thread::spawn(move || write(&path, rng, &notes))
    };
    let lock = || notes.lock().unwrap_or_else(PoisonError::into_inner);
    let begun = || {
        let notes = lock();
        notes.syncs > 0 && notes.writes >= WRITES
    };
    until("the writer has written enough", WRITES_MAX, || writer.is_finished() || begun())?;
    schedule(Instant::now() + Duration::from_millis(rng.random_range(0..LATER_MAX)));
    if writer.is_finished() {
        bail!("the writer has ended by itself: {:?}", writer.join());
    }
    mount.kill()?;
    let killed = Instant::now();
    let ended = writer.join().expect("the writer does not panic")?;
    drop(mount);

    // Another mount, which had the bucket mounted all the time, reads and writes at once.
    let other = cluster.target().mount.clone().context("sago demo told no mount")?.join(&name);
    let (bytes, _) = within("another mount reads the file", USABLE_MAX, || fs::read(&other).ok())?;
    let notes = lock();
    let (newer, kept) = judge(&bytes, &notes)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let target = cluster.target();
    judge(&runtime.block_on(cluster.s3().get(&target.bucket, &name))?, &notes).context("through S3")?;
    use_it(&other)?;
    println!(
        "round {round}: killed after {} writes and {} fsyncs ({ended}); {} slots, {newer} writes after the last fsync, {kept} of them are there; \
         used by another mount {:.1} s after",
        notes.writes,
        notes.syncs,
        bytes.len() / SLOT,
        killed.elapsed().as_secs_f64()
    );
    ensure!(killed.elapsed() <= USABLE_MAX, "used only after {:?}", killed.elapsed());
    Ok(())
}

/// What is wrong with the bytes. Writes behind the last fsync, and how many of them are seen.
fn judge(bytes: &[u8], notes: &Written) -> anyhow::Result<(usize, usize)> {
    ensure!(bytes.len().is_multiple_of(SLOT), "the file ends within a write: {} bytes", bytes.len());
    let slots = bytes.len() / SLOT;
    ensure!(slots >= notes.synced, "{slots} slots of {} that an fsync had answered for", notes.synced);
    ensure!(slots <= notes.slots.len(), "{slots} slots, {} were ever written", notes.slots.len());
    let (mut newer, mut kept) = (0, 0);
    for (number, slot) in notes.slots.iter().enumerate() {
        newer += slot.written.len() - slot.synced;
        let Some(seen) = bytes.get(number * SLOT..(number + 1) * SLOT) else { continue };
        // A slot behind one that was written and not committed is a hole.
        if slot.synced == 0 && seen.iter().all(|byte| *byte == 0) {
            continue;
        }
        let body = Body::parse(&key(number), seen).map_err(|fault| anyhow::anyhow!("slot {number}: {fault}"))?;
        let at = slot.written.iter().position(|op| *op == body.op.0);
        let at = at.with_context(|| format!("slot {number} shows {:?}, which nobody has written there", body.op))?;
        ensure!(at + 1 >= slot.synced, "slot {number} shows write {at} of {} before its last fsync", slot.synced);
        kept += usize::from(at >= slot.synced);
    }
    Ok((newer, kept))
}

/// Writes through a mount to a file that another one had open when it died.
fn use_it(path: &Path) -> anyhow::Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let mine = body(0, u64::MAX);
    file.write_all_at(&mine, 0)?;
    file.sync_all()?;
    let moved = path.with_extension("moved");
    fs::rename(path, &moved)?;
    let mut first = vec![0; SLOT];
    File::open(&moved)?.read_exact_at(&mut first, 0)?;
    ensure!(first == mine, "what was written just now is not there");
    Ok(fs::remove_file(&moved)?)
}
