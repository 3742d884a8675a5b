//! A disk with a file system on it, mounted; and everything that can be done to it.

use crate::counts::Counts;
use crate::device::{DISK, Device, Shared};
use crate::faults::{Faults, FlippedReads, Kind, Stray, StrayWrites, SyncFault};
use crate::leftovers;
use crate::medium::{Kept, Lost, Medium};
use anyhow::{Context, bail, ensure};
use fuser::{Config, MountOption, Session};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Requests that are served at once: reads go on while a flush is slow.
const THREADS: usize = 4;
/// Inodes of the file system. A node has some hundred files; fewer inodes are fewer sectors to make.
const INODES: &str = "16384";
/// How long the kernel may take to let go of a loop device whose disk is dead.
const LET_GO_MAX: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(10);

/// A disk that fails on command. Its file system is made with it, and mounted where it is told.
///
/// Dropping it unmounts, detaches and removes everything, whatever the disk is doing.
pub struct FaultDisk {
    shared: Arc<Shared>,
    /// Where the FUSE file is.
    device_dir: PathBuf,
    mountpoint: PathBuf,
    loop_device: Option<PathBuf>,
    session: Option<JoinHandle<()>>,
}

impl FaultDisk {
    /// Makes a disk of `bytes` with an empty ext4, its files below `dir` (an empty folder of its own), and mounts it at `mountpoint`.
    ///
    /// # Errors
    /// A step failed; nothing stays behind.
    pub fn new(dir: &Path, bytes: u64, mountpoint: &Path) -> anyhow::Result<Self> {
        let medium_path = dir.join("medium");
        let device_dir = dir.join("device");
        std::fs::create_dir_all(&device_dir)?;
        std::fs::create_dir_all(mountpoint)?;
        File::create(&medium_path)?.set_len(bytes)?;
        format(&medium_path)?;
        let medium = File::options().read(true).write(true).open(&medium_path)?;
        let shared = Shared::new(Medium::new(medium)?);
        let session = serve(&shared, &device_dir)?;
        let mountpoint = mountpoint.canonicalize()?;
        let mut disk = Self { shared, device_dir, mountpoint, loop_device: None, session: Some(session) };
        disk.attach()?;
        Ok(disk)
    }

    /// Where its file system is mounted.
    #[must_use]
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// Cuts the power, at once. Every later request of what has it open fails; [`Self::power_on`] brings it back.
    ///
    /// # Errors
    /// The medium's file cannot be written.
    pub fn cut(&self, kept: Kept) -> anyhow::Result<Lost> {
        Ok(self.shared.change(|medium| medium.cut(kept))?)
    }

    /// After a cut: takes the dead file system away and mounts what the disk holds now. Every process that used it must have ended.
    ///
    /// # Errors
    /// The kernel does not let go of the old one, or the file system cannot be mounted.
    pub fn power_on(&mut self) -> anyhow::Result<()> {
        self.detach()?;
        self.attach()
    }

    /// Reads that touch these bytes of the disk fail; none = no more errors.
    pub fn fail_reads(&self, ranges: Vec<Range<u64>>) {
        self.shared.change(|medium| medium.faults.read_errors = ranges);
    }

    /// Writes that touch these bytes of the disk fail; none = no more errors.
    pub fn fail_writes(&self, ranges: Vec<Range<u64>>) {
        self.shared.change(|medium| medium.faults.write_errors = ranges);
    }

    /// How flushes go from now on.
    pub fn set_sync(&self, fault: SyncFault) {
        self.shared.change(|medium| medium.faults.sync = fault);
    }

    /// The next `count` writes that lie in one of these places of the disk are answered with success, and go astray. None leaves its place.
    pub fn stray_writes(&self, places: Vec<Range<u64>>, count: u32, fate: Stray) {
        let strays = StrayWrites { places, left: count, fate };
        self.shared.change(|medium| medium.faults.strays = Some(strays));
    }

    /// Of reads that touch these places of the disk this share shows a flipped bit there, as the seed decides; the medium stays right.
    pub fn flip_reads(&self, places: Vec<Range<u64>>, percent: u8, seed: u64) {
        let flipped = FlippedReads { places, percent, rng: StdRng::seed_from_u64(seed) };
        self.shared.change(|medium| medium.faults.flipped = Some(flipped));
    }

    /// Every request of that kind takes so much longer.
    pub fn delay(&self, kind: Kind, by: Duration) {
        self.shared.change(|medium| medium.faults.delays[kind as usize] = by);
    }

    /// Ends everything that was set and not yet used up; rot stays.
    pub fn mend(&self) {
        self.shared.change(|medium| medium.faults = Faults::default());
    }

    /// Whether the disk answers nothing at all. Processes with requests in it cannot even be killed.
    pub fn hang(&self, hung: bool) {
        self.shared.change(|medium| medium.faults.hung = hung);
    }

    /// Changes the byte at `at` as it is read, until [`Self::unflip`]; the medium stays right.
    pub fn flip(&self, at: u64, mask: u8) {
        self.shared.change(|medium| medium.faults.flips.insert(at, mask));
    }

    /// Ends all flips.
    pub fn unflip(&self) {
        self.shared.change(|medium| medium.faults.flips.clear());
    }

    /// Changes a byte on the medium for good.
    ///
    /// # Errors
    /// The medium's file cannot be used.
    pub fn rot(&self, at: u64, mask: u8) -> anyhow::Result<()> {
        Ok(self.shared.change(|medium| medium.rot(at, mask))?)
    }

    /// What the disk has been asked for.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.change(|medium| medium.counts())
    }

    /// Which bytes of the disk hold a file of the mounted file system. What was written only now may have none yet: flush it first.
    ///
    /// # Errors
    /// `filefrag` (e2fsprogs) cannot tell.
    pub fn places(&self, file: &Path) -> anyhow::Result<Vec<Range<u64>>> {
        let output = Command::new("filefrag").args(["-v", "-b1"]).arg(file).output().context("cannot run filefrag")?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "filefrag {}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
        Ok(said.lines().filter_map(extent).collect())
    }

    /// Has the kernel forget the pages of one file, so that the next read asks the disk. Dirty pages are written first.
    ///
    /// # Errors
    /// The file cannot be opened or flushed.
    pub fn forget_cached(&self, file: &Path) -> anyhow::Result<()> {
        let file = File::open(file)?;
        file.sync_all()?;
        Ok(rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?)
    }

    fn attach(&mut self) -> anyhow::Result<()> {
        let device = loop_device(&self.device_dir.join(DISK))?;
        self.loop_device = Some(device.clone());
        mount(&device, &self.mountpoint, c"ext4", MountFlags::NOATIME, c"noinit_itable")
            .with_context(|| format!("cannot mount {}", device.display()))
    }

    fn detach(&mut self) -> anyhow::Result<()> {
        match unmount(&self.mountpoint, UnmountFlags::DETACH) {
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot unmount {}", self.mountpoint.display())),
        }
        let Some(device) = self.loop_device.take() else { return Ok(()) };
        release(&device)?;
        // The path may already be the loop device of somebody else; what counts is that it is not ours any more.
        let start = Instant::now();
        while leftovers::backing(&device).is_some_and(|file| file.starts_with(&self.device_dir)) {
            ensure!(start.elapsed() < LET_GO_MAX, "{} is still in use", device.display());
            // wait-ok: between two looks at a condition with a bound
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

impl Drop for FaultDisk {
    fn drop(&mut self) {
        // Whatever hangs gets its error now, so that nothing below waits for it.
        let _ = self.cut(Kept::Nothing);
        if let Err(error) = self.detach() {
            eprintln!("fault-disk: {error:#}");
        }
        let _ = unmount(&self.device_dir, UnmountFlags::DETACH);
        if let Some(session) = self.session.take() {
            let _ = session.join();
        }
    }
}

impl std::fmt::Debug for FaultDisk {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("FaultDisk").field("mountpoint", &self.mountpoint).field("counts", &self.counts()).finish()
    }
}

/// An empty file system, made on the medium before there is a disk.
fn format(medium: &Path) -> anyhow::Result<()> {
    let output = Command::new("mkfs.ext4")
        .args(["-q", "-F", "-m", "0", "-N", INODES, "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1"])
        .arg(medium)
        .output()
        .context("cannot run mkfs.ext4")?;
    ensure!(output.status.success(), "mkfs.ext4: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Mounts the FUSE file and serves it until it is unmounted.
fn serve(shared: &Arc<Shared>, dir: &Path) -> anyhow::Result<JoinHandle<()>> {
    let mut options = Config::default();
    options.mount_options = vec![MountOption::FSName(leftovers::own_mark()), MountOption::RW];
    options.n_threads = Some(THREADS);
    options.clone_fd = true;
    let session = Session::new(Device(shared.clone()), dir, &options).context("cannot mount the disk's file")?;
    let run = move || {
        if let Err(error) = session.run() {
            eprintln!("fault-disk: {error}");
        }
    };
    Ok(std::thread::Builder::new().name("fault-disk".into()).spawn(run)?)
}

/// A loop device over a file. Where the kernel has one and nobody has made its node (a bare root folder), it is made.
fn loop_device(file: &Path) -> anyhow::Result<PathBuf> {
    const TRIES: usize = 3;
    for _ in 0..TRIES {
        let free = Command::new("losetup").arg("-f").output().context("cannot run losetup")?;
        let device = PathBuf::from(String::from_utf8_lossy(&free.stdout).trim());
        ensure!(free.status.success(), "losetup -f: {}", String::from_utf8_lossy(&free.stderr));
        make_node(&device)?;
        // Between the two commands somebody else may have taken it.
        let attached = Command::new("losetup").arg(&device).arg(file).output()?;
        if attached.status.success() {
            return Ok(device);
        }
    }
    bail!("no loop device for {}", file.display())
}

fn make_node(device: &Path) -> anyhow::Result<()> {
    const LOOP_MAJOR: u32 = 7;
    if device.exists() {
        return Ok(());
    }
    let number = device.to_str().and_then(|path| path.strip_prefix("/dev/loop")).and_then(|text| text.parse().ok());
    let number: u32 = number.with_context(|| format!("{} is no loop device", device.display()))?;
    let (kind, mode) = (rustix::fs::FileType::BlockDevice, rustix::fs::Mode::from_raw_mode(0o600));
    Ok(rustix::fs::mknodat(rustix::fs::CWD, device, kind, mode, rustix::fs::makedev(LOOP_MAJOR, number))?)
}

/// Tells the kernel to let go of a loop device, at the latest when its last user does.
pub(crate) fn release(device: &Path) -> anyhow::Result<()> {
    let output = Command::new("losetup").arg("-d").arg(device).output().context("cannot run losetup")?;
    ensure!(output.status.success(), "losetup -d: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// One line of `filefrag -v -b1`: ` 0: 0.. 4095: 34816.. 38911: 4096: last,eof`.
fn extent(line: &str) -> Option<Range<u64>> {
    let mut fields = line.split(':');
    fields.next()?.trim().parse::<u64>().ok()?;
    let physical = fields.nth(1)?;
    let (start, end) = physical.split_once("..")?;
    Some(start.trim().parse().ok()?..end.trim().parse::<u64>().ok()? + 1)
}

#[cfg(test)]
mod tests;
