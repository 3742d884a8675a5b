//! A disk in memory: what programs see, what a power cut would leave, and a trace of all that was done.

use crate::files::{Files, SegmentFile, Space};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// One operation on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Create { name: String, len: u64 },
    Write { name: String, offset: u64, bytes: Vec<u8> },
    Sync { name: String },
    Truncate { name: String, len: u64 },
    Remove { name: String },
    SyncFolder,
}

/// Which operation fails; all operations of the kind are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A flush fails and the kernel forgets that the pages are dirty.
    Sync(usize),
    /// The same, and the error says that the file system is full.
    SyncFull(usize),
    /// A write fails half way.
    Write(usize, io::ErrorKind),
    /// A flush of the folder fails.
    SyncFolder(usize),
}

/// A file: as programs see it, and as the medium has it.
#[derive(Clone, Default)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Written and not flushed.
    dirty: Vec<(u64, Vec<u8>)>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Content>,
    ops: Vec<Op>,
    fault: Option<Fault>,
    failed_at: Option<usize>,
    counts: [usize; 3],
    free: Option<u64>,
    /// So many reads still to come show a flipped bit; the medium is right.
    misreads: usize,
    before_op: Option<Box<dyn FnMut(usize) + Send>>,
    before_removal: Option<Box<dyn FnMut(usize) + Send>>,
}

/// The disk. Clones are the same disk.
#[derive(Clone, Default)]
pub(super) struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

impl MemoryDisk {
    /// A disk with these files, all durable.
    pub(super) fn with(files: BTreeMap<String, Vec<u8>>) -> Self {
        let disk = MemoryDisk::default();
        let content = |bytes: Vec<u8>| Content { seen: bytes.clone(), durable: bytes, dirty: Vec::new() };
        disk.state.lock().files = files.into_iter().map(|(name, bytes)| (name, content(bytes))).collect();
        disk
    }

    pub(super) fn set_fault(&self, fault: Option<Fault>) {
        self.state.lock().fault = fault;
    }

    pub(super) fn set_free(&self, free: u64) {
        self.state.lock().free = Some(free);
    }

    /// Called with the number of operations so far, before each.
    pub(super) fn before_op(&self, hook: impl FnMut(usize) + Send + 'static) {
        self.state.lock().before_op = Some(Box::new(hook));
    }

    /// Called with the number of operations so far, before a file is removed or cut off.
    pub(super) fn before_removal(&self, hook: impl FnMut(usize) + Send + 'static) {
        self.state.lock().before_removal = Some(Box::new(hook));
    }

    pub(super) fn ops(&self) -> Vec<Op> {
        self.state.lock().ops.clone()
    }

    /// How many operations there were when the fault struck.
    pub(super) fn failed_at(&self) -> Option<usize> {
        self.state.lock().failed_at
    }

    /// The disk as it is once the power was off. (Creations are kept; the cuts of the trace drop them too.)
    pub(super) fn after_power_cut(&self) -> MemoryDisk {
        let files = &self.state.lock().files;
        MemoryDisk::with(files.iter().map(|(name, content)| (name.clone(), content.durable.clone())).collect())
    }

    /// The disk as another process finds it: the page cache is still there.
    pub(super) fn after_process_crash(&self) -> MemoryDisk {
        let disk = MemoryDisk::default();
        disk.state.lock().files.clone_from(&self.state.lock().files);
        disk
    }

    /// All files as programs see them.
    pub(super) fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        self.state.lock().files.iter().map(|(name, content)| (name.clone(), content.seen.clone())).collect()
    }

    /// Flips a bit on the medium.
    pub(super) fn flip(&self, name: &str, offset: u64) {
        let mut state = self.state.lock();
        let content = state.files.get_mut(name).expect("the file exists");
        content.seen[offset as usize] ^= 0x10;
        content.durable[offset as usize] ^= 0x10;
    }

    /// Has the next reads, so many, show a flipped bit of what is right on the medium.
    pub(super) fn misread(&self, reads: usize) {
        self.state.lock().misreads = reads;
    }

    /// Takes a file away.
    pub(super) fn lose(&self, name: &str) {
        self.state.lock().files.remove(name);
    }

    fn file(&self, name: &str) -> Arc<dyn SegmentFile> {
        Arc::new(MemoryFile { disk: self.clone(), name: name.to_owned() })
    }
}

impl State {
    fn begin(&mut self) {
        let count = self.ops.len();
        if let Some(hook) = &mut self.before_op {
            hook(count);
        }
    }

    fn begin_removal(&mut self) {
        self.begin();
        let count = self.ops.len();
        if let Some(hook) = &mut self.before_removal {
            hook(count);
        }
    }

    /// Counts an operation of a kind and says whether it is to fail.
    fn fails(&mut self, kind: usize, is: impl Fn(Fault) -> Option<usize>) -> bool {
        let number = self.counts[kind];
        self.counts[kind] += 1;
        let fails = self.fault.and_then(is) == Some(number);
        if fails {
            self.failed_at = Some(self.ops.len());
        }
        fails
    }

    fn content(&mut self, name: &str) -> io::Result<&mut Content> {
        self.files.get_mut(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Content {
    fn write(&mut self, offset: u64, bytes: &[u8]) {
        let offset = offset as usize;
        self.seen[offset..offset + bytes.len()].copy_from_slice(bytes);
        self.dirty.push((offset as u64, bytes.to_vec()));
    }
}

impl Files for MemoryDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state.lock().files.keys().cloned().collect())
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn SegmentFile>> {
        let mut state = self.state.lock();
        state.begin();
        if state.files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if let Some(free) = state.free {
            state.free = Some(free.checked_sub(bytes).ok_or(io::ErrorKind::StorageFull)?);
        }
        let zeros = vec![0; bytes as usize];
        let content = Content { seen: zeros.clone(), durable: zeros, dirty: Vec::new() };
        state.files.insert(name.to_owned(), content);
        state.ops.push(Op::Create { name: name.to_owned(), len: bytes });
        Ok(self.file(name))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn SegmentFile>> {
        self.state.lock().content(name)?;
        Ok(self.file(name))
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        Ok(self.state.lock().content(name)?.seen.len() as u64)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.begin_removal();
        let removed = state.files.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.free = state.free.map(|free| free.saturating_add(removed.seen.len() as u64));
        state.ops.push(Op::Remove { name: name.to_owned() });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.begin();
        let number = |fault| if let Fault::SyncFolder(n) = fault { Some(n) } else { None };
        if state.fails(2, number) {
            return Err(io::ErrorKind::Other.into());
        }
        state.ops.push(Op::SyncFolder);
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        let free = self.state.lock().free.unwrap_or(1 << 40);
        Ok(Space { free, total: 1 << 40 })
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    name: String,
}

impl SegmentFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state.lock().content(&self.name)?.seen.len() as u64)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        let seen = &state.content(&self.name)?.seen;
        let from = seen.get(offset as usize..).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(from.get(..out.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        if state.misreads > 0 {
            state.misreads -= 1;
            out[0] ^= 0x10;
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let aligned = [offset as usize, bytes.len(), bytes.as_ptr().addr()].iter().all(|at| at.is_multiple_of(4096));
        assert!(aligned, "direct I/O would refuse this");
        let mut state = self.disk.state.lock();
        state.begin();
        let mut kind = None;
        let number = |fault| if let Fault::Write(n, _) = fault { Some(n) } else { None };
        if state.fails(1, number)
            && let Some(Fault::Write(_, error)) = state.fault
        {
            kind = Some(error);
        }
        let bytes = if kind.is_some() { &bytes[..bytes.len() / 1024 * 512] } else { bytes };
        state.content(&self.name)?.write(offset, bytes);
        state.ops.push(Op::Write { name: self.name.clone(), offset, bytes: bytes.to_vec() });
        kind.map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        state.begin();
        let number = |fault| if let Fault::Sync(n) | Fault::SyncFull(n) = fault { Some(n) } else { None };
        let fails = state.fails(0, number);
        let kind = match state.fault {
            Some(Fault::SyncFull(_)) => io::ErrorKind::StorageFull,
            _ => io::ErrorKind::Other,
        };
        let content = state.content(&self.name)?;
        let dirty = std::mem::take(&mut content.dirty);
        if fails {
            return Err(kind.into());
        }
        for (offset, bytes) in dirty {
            let offset = offset as usize;
            content.durable[offset..offset + bytes.len()].copy_from_slice(&bytes);
        }
        state.ops.push(Op::Sync { name: self.name.clone() });
        Ok(())
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        let mut state = self.disk.state.lock();
        let seen = &state.content(&self.name)?.seen;
        let found = seen.iter().skip(offset as usize).position(|byte| *byte != 0);
        Ok(found.map(|at| at as u64 + offset))
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        state.begin_removal();
        let content = state.content(&self.name)?;
        let given_back = (content.seen.len() as u64).saturating_sub(len);
        content.seen.truncate(len as usize);
        content.durable.truncate(len as usize);
        state.free = state.free.map(|free| free.saturating_add(given_back));
        state.ops.push(Op::Truncate { name: self.name.clone(), len });
        Ok(())
    }
}
