//! Power cuts and rot at every point of a small log.
//!
//! A seeded workload writes to a log and, beside it, to a plain model. Its folder is then cut, flipped or mixed in every
//! way the tests below name, opened again and compared with the model: the log is a prefix of what was written, that
//! prefix holds everything flushed, and whatever falls short of an acknowledgement is reported as amnesia.

use bytes::Bytes;
use raft_core::{Entry, EntryKind, HardState, LogStart};
use raft_log::{GroupLog, GroupWrite, LogConfig, Mark, OpenError, RaftLog, Recovery, Replacement, replace_voters};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use types::{GroupId, LogIndex, NodeId, ReplicaId, Term};

const NODE: NodeId = NodeId(1);
const GROUPS: RangeInclusive<u32> = 0..=2;

/// A group as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct Model {
    hard_state: HardState,
    start: LogStart,
    entries: Vec<(Term, Bytes)>,
    /// Counts what makes a log another one, so that two logs of equal length are told apart.
    rewrites: u64,
}

impl Model {
    fn last(&self) -> u64 {
        self.start.index.0 + self.entries.len() as u64
    }

    fn last_term(&self) -> Term {
        self.entries.last().map_or(self.start.term, |(term, _)| *term)
    }

    /// What a message sent now promises.
    fn promise(&self) -> (Term, ReplicaId, u64, u64) {
        (self.hard_state.term, self.hard_state.vote, self.rewrites, self.last())
    }
}

type Models = BTreeMap<GroupId, Model>;

/// The files of a folder.
type Image = BTreeMap<PathBuf, Vec<u8>>;

/// What was there after one step of the workload.
struct Moment {
    models: Models,
    /// Length of the write-ahead log, all of it and the part that was flushed.
    wal: usize,
    synced: usize,
    /// Groups and the step that had made all of their promises true when they were last acknowledged.
    acknowledged: BTreeMap<GroupId, usize>,
    image: Image,
}

/// Tests of durability run on memory where there is some: they cut files themselves and need no slow flush.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.expect("a temporary folder")
}

fn read_image(root: &Path) -> Image {
    let mut image = Image::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("folder") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).expect("below the root").to_owned();
                // RocksDB may remove a file of its own meanwhile; see `still_image`.
                image.extend(fs::read(&path).ok().map(|bytes| (name, bytes)));
            }
        }
    }
    image
}

/// The files once RocksDB's background work has ended: two looks at them see the same.
fn still_image(root: &Path) -> Image {
    let mut image = read_image(root);
    for _ in 0..1000 {
        let next = read_image(root);
        if next == image {
            return image;
        }
        image = next;
    }
    panic!("the folder never came to rest");
}

fn write_image(image: &Image, root: &Path) {
    for (name, bytes) in image {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("folder");
        fs::write(path, bytes).expect("file");
    }
}

fn wal_name(image: &Image) -> PathBuf {
    let wals: Vec<_> = image.keys().filter(|name| name.extension().is_some_and(|ext| ext == "log")).collect();
    assert_eq!(wals.len(), 1, "the workload fits into one write-ahead log");
    wals[0].clone()
}

fn open(root: &Path) -> Result<(Arc<RaftLog>, Recovery), OpenError> {
    // Small memtables: RocksDB takes disk space ahead for as much log, and thousands of logs are opened here.
    let config = LogConfig { memtable_bytes: 64 << 10, ..LogConfig::default() };
    RaftLog::open_with(root, NODE, &config).map(|(log, recovery)| (Arc::new(log), recovery))
}

/// One step: changes the log and the model alike. `true` if it was flushed.
fn step(log: &RaftLog, models: &mut Models, rng: &mut ChaCha8Rng) -> bool {
    let group = GroupId(rng.random_range(GROUPS));
    let Some(model) = models.get_mut(&group) else {
        log.create_group(group).expect("created");
        models.insert(group, Model::default());
        return true;
    };
    match rng.random_range(0..10) {
        0 if model.hard_state.commit > model.start.index => {
            let index = rng.random_range(model.start.index.0 + 1..=model.hard_state.commit.0);
            let at = (index - model.start.index.0) as usize;
            let to = LogStart { index: LogIndex(index), term: model.entries[at - 1].0 };
            log.truncate(group, to).expect("truncated");
            model.entries.drain(..at);
            model.start = to;
            false
        }
        1 if rng.random_bool(0.3) => {
            let term = Term(model.hard_state.term.0 + 1);
            let to = LogStart { index: LogIndex(model.last() + rng.random_range(1..4)), term };
            let hard_state = HardState { term, vote: ReplicaId(0), commit: to.index };
            log.reset(group, hard_state, to).expect("reset");
            *model = Model { hard_state, start: to, entries: Vec::new(), rewrites: model.rewrites + 1 };
            true
        }
        _ => {
            let writes: Vec<_> = models.iter_mut().filter_map(|(group, model)| write(*group, model, rng)).collect();
            log.write(&writes).expect("written");
            writes.iter().any(|write| write.must_sync)
        }
    }
}

/// What one loop might write for a group.
fn write(group: GroupId, model: &mut Model, rng: &mut ChaCha8Rng) -> Option<GroupWrite> {
    let (mut entries, mut must_sync) = (Vec::new(), false);
    let before = model.hard_state;
    if rng.random_bool(0.3) {
        model.hard_state.term.0 += 1;
        model.hard_state.vote = ReplicaId(rng.random_range(0..4));
        must_sync = true;
    }
    if rng.random_bool(0.4) && model.hard_state.term > Term(0) {
        if rng.random_bool(0.3) && model.last() > model.hard_state.commit.0 && model.last_term() < model.hard_state.term
        {
            let keep = rng.random_range(model.hard_state.commit.0..model.last());
            model.entries.truncate((keep - model.start.index.0) as usize);
            model.rewrites += 1;
        }
        for _ in 0..rng.random_range(1..4) {
            let (term, index) = (model.hard_state.term, LogIndex(model.last() + 1));
            let kind = if index.0.is_multiple_of(3) { EntryKind::ConfChange } else { EntryKind::Normal };
            let data = Bytes::from(vec![rng.random(); rng.random_range(0..24)]);
            model.entries.push((term, data.clone()));
            entries.push(Entry { term, index, kind, data });
        }
        must_sync = true;
    }
    model.hard_state.commit = LogIndex(rng.random_range(model.hard_state.commit.0..=model.last()));
    let hard_state = (model.hard_state != before).then_some(model.hard_state);
    (hard_state.is_some() || !entries.is_empty()).then_some(GroupWrite { group, entries, hard_state, must_sync })
}

/// Runs a workload and keeps every moment of it; the last one has everything acknowledged.
fn run(seed: u64, steps: usize) -> Vec<Moment> {
    let dir = folder();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (log, _) = open(dir.path()).expect("a new log");
    let (mut models, mut acknowledged, mut moments) = (Models::new(), BTreeMap::new(), Vec::<Moment>::new());
    for number in 0..=steps {
        let flushed = number > 0 && step(&log, &mut models, &mut rng);
        for (group, model) in &models {
            if flushed && (number == steps || rng.random_bool(0.8)) {
                let HardState { term, vote, .. } = model.hard_state;
                log.acknowledged(&[(*group, Mark { term, vote, last: LogIndex(model.last()) })]);
                let same = |moment: &Moment| moment.models.get(group).map(Model::promise) == Some(model.promise());
                acknowledged.insert(*group, moments.iter().position(same).unwrap_or(number));
            }
        }
        log.settle().expect("settled");
        let image = read_image(dir.path());
        let wal = image[&wal_name(&image)].len();
        let synced = if flushed { wal } else { moments.last().map_or(0, |moment| moment.synced) };
        moments.push(Moment { models: models.clone(), wal, synced, acknowledged: acknowledged.clone(), image });
    }
    moments
}

/// What a log holds, in the model's terms; the count of rewrites is not visible.
fn contents(log: &Arc<RaftLog>) -> Models {
    let content = |group: GroupId| {
        let loaded = log.load(group).expect("listed");
        let (from, to) = (LogIndex(loaded.start.index.0 + 1), LogIndex(loaded.last.0 + 1));
        let entries = log.reader(group).entries(from, to, u64::MAX).expect("readable");
        assert_eq!(entries.len() as u64, to.0 - from.0);
        assert_eq!(loaded.last_term, entries.last().map_or(loaded.start.term, |entry| entry.term));
        for entry in &entries {
            assert_eq!(log.term(group, entry.index).expect("known"), Some(entry.term));
            assert_eq!(entry.kind == EntryKind::ConfChange, entry.index.0.is_multiple_of(3));
        }
        let entries = entries.into_iter().map(|entry| (entry.term, entry.data)).collect();
        Model { hard_state: loaded.hard_state, start: loaded.start, entries, rewrites: 0 }
    };
    log.groups().into_iter().map(|group| (group, content(group))).collect()
}

fn visible(models: &Models) -> Models {
    models.iter().map(|(group, model)| (*group, Model { rewrites: 0, ..model.clone() })).collect()
}

/// The groups that promised something later than step `reached`.
fn forgotten(moment: &Moment, reached: usize) -> Vec<GroupId> {
    moment.acknowledged.iter().filter(|(_, step)| **step > reached).map(|(group, _)| *group).collect()
}

fn cut(image: &Image, len: usize) -> Image {
    let mut image = image.clone();
    image.get_mut(&wal_name(&image)).expect("present").truncate(len);
    image
}

/// Cuts the write-ahead log of the last moment at every byte and returns what came back, line by line.
fn cut_everywhere(seed: u64, steps: usize) -> Vec<String> {
    let moments = run(seed, steps);
    let end = &moments[steps];
    let mut trace = Vec::new();
    for len in 0..=end.wal {
        let reached = moments.iter().rposition(|moment| moment.wal <= len).unwrap_or(0);
        let dir = folder();
        write_image(&cut(&end.image, len), dir.path());
        let (log, recovery) = open(dir.path()).unwrap_or_else(|error| panic!("seed {seed}, cut at {len}: {error}"));
        assert!(recovery.unclean);
        assert_eq!(contents(&log), visible(&moments[reached].models), "seed {seed}, cut at {len}, step {reached}");
        assert_eq!(recovery.amnesia, forgotten(end, reached), "seed {seed}, cut at {len}, step {reached}");
        if len % 64 == 0 {
            crash_again(log, dir.path(), &recovery);
        }
        trace.push(format!("cut {len}: step {reached}, amnesia {:?}", recovery.amnesia));
    }
    trace
}

/// A second crash right after the first recovery finds the same.
fn crash_again(log: Arc<RaftLog>, root: &Path, recovery: &Recovery) {
    let (found, dir) = (contents(&log), folder());
    write_image(&read_image(root), dir.path());
    let (again, second) = open(dir.path()).expect("opens again");
    assert_eq!((contents(&again), &second), (found, recovery));
}

#[test]
fn a_log_cut_at_any_byte_is_a_prefix_and_says_what_it_forgot() {
    let trace = cut_everywhere(1, 24);
    assert!(trace.iter().any(|line| line.ends_with("amnesia []")));
    assert!(trace.iter().any(|line| line.ends_with("amnesia [group-0, group-1, group-2]")));
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    assert_eq!(cut_everywhere(2, 8), cut_everywhere(2, 8));
}

#[test]
fn a_power_cut_at_any_step_loses_nothing_that_was_flushed_and_accuses_nobody() {
    for seed in 10..14 {
        let moments = run(seed, 30);
        for (number, moment) in moments.iter().enumerate() {
            let unflushed =
                moments.iter().map(|moment| moment.wal).filter(|wal| (moment.synced..=moment.wal).contains(wal));
            let cuts: BTreeSet<_> = unflushed.flat_map(|wal| [wal, moment.wal.min(wal + 5)]).collect();
            for len in cuts {
                let reached = moments[..=number].iter().rposition(|moment| moment.wal <= len).unwrap_or(0);
                let dir = folder();
                write_image(&cut(&moment.image, len), dir.path());
                let (log, recovery) = open(dir.path()).expect("opens");
                assert_eq!(recovery.amnesia, [], "seed {seed}, step {number}, cut at {len}");
                assert_eq!(
                    contents(&log),
                    visible(&moments[reached].models),
                    "seed {seed}, step {number}, cut at {len}"
                );
            }
        }
    }
}

/// A changed file must never give a shorter log without a word.
fn check_flipped(image: &Image, expected: &Models, what: &str) -> &'static str {
    let dir = folder();
    write_image(image, dir.path());
    match open(dir.path()) {
        Err(_) => "refused",
        Ok((_, recovery)) if !recovery.amnesia.is_empty() => "amnesia",
        Ok((log, _)) => {
            assert_eq!(&contents(&log), expected, "{what}");
            "unharmed"
        }
    }
}

#[test]
fn a_flipped_byte_of_the_write_ahead_log_is_refused_or_reported() {
    let moments = run(3, 24);
    let end = &moments[24];
    let mut seen = BTreeSet::new();
    for at in 0..end.wal {
        let mut image = end.image.clone();
        image.get_mut(&wal_name(&end.image)).expect("present")[at] ^= 1 << (at % 8);
        let outcome = check_flipped(&image, &visible(&end.models), &format!("flip at {at}"));
        assert_ne!(outcome, "unharmed", "flip at {at}");
        seen.insert(outcome);
    }
    assert!(seen.contains("refused"));
}

#[test]
fn a_flipped_byte_of_any_other_file_is_refused_reported_or_harmless() {
    let moments = run(4, 24);
    let end = &moments[24];
    let dir = folder();
    write_image(&end.image, dir.path());
    // Recovery moves everything into a sorted table.
    drop(open(dir.path()).expect("opens"));
    let image = read_image(dir.path());
    let mut seen = BTreeMap::<_, BTreeSet<_>>::new();
    for (name, bytes) in &image {
        let text = name.to_string_lossy();
        let Some(kind) =
            ["sst", "MANIFEST", "CURRENT", "WATERMARK", "IDENTITY"].into_iter().find(|kind| text.contains(kind))
        else {
            continue;
        };
        for at in (0..bytes.len()).step_by(bytes.len().div_ceil(150)) {
            let mut image = image.clone();
            image.get_mut(name).expect("present")[at] ^= 1 << (at % 8);
            let what = format!("{text}: flip at {at}");
            seen.entry(kind).or_default().insert(check_flipped(&image, &visible(&end.models), &what));
        }
    }
    assert!(seen["sst"].contains("refused") && seen["MANIFEST"].contains("refused"));
    assert_eq!(seen["WATERMARK"], BTreeSet::from(["unharmed"]), "the other slot says the same");
}

#[test]
fn a_cut_behind_memtables_already_written_out_is_a_prefix_too() {
    const LAST: u64 = 40;
    let dir = folder();
    let (log, _) = open(dir.path()).expect("a new log");
    let group = GroupId(1);
    log.create_group(group).expect("created");
    let payload = Bytes::from(vec![7; 16 << 10]);
    let entry = |index| Entry { term: Term(1), index: LogIndex(index), kind: EntryKind::Normal, data: payload.clone() };
    for index in 1..=LAST {
        let hard_state = Some(HardState { term: Term(1), vote: ReplicaId(1), commit: LogIndex(index - 1) });
        log.write(&[GroupWrite { group, entries: vec![entry(index)], hard_state, must_sync: true }]).expect("written");
    }
    log.acknowledged(&[(group, Mark { term: Term(1), vote: ReplicaId(1), last: LogIndex(LAST) })]);
    log.settle().expect("settled");
    let image = still_image(dir.path());
    let wals: Vec<_> = image.keys().filter(|name| name.extension().is_some_and(|ext| ext == "log")).cloned().collect();
    let newest = wals.last().expect("a write-ahead log");
    let len = image[newest].len();
    for len in (0..=len).step_by(len.div_ceil(24)).chain([len]) {
        let mut image = image.clone();
        image.get_mut(newest).expect("present").truncate(len);
        let dir = folder();
        write_image(&image, dir.path());
        let (log, recovery) = open(dir.path()).expect("opens");
        let loaded = log.load(group).expect("the group");
        assert_eq!(recovery.amnesia.is_empty(), loaded.last == LogIndex(LAST), "cut at {len}");
        let entries = log.reader(group).entries(LogIndex(1), LogIndex(loaded.last.0 + 1), u64::MAX).expect("readable");
        assert!(entries.iter().zip(1..).all(|(found, index)| *found == entry(index)), "cut at {len}");
    }
}

/// Everything a log says of its groups.
fn whole(log: &Arc<RaftLog>) -> BTreeMap<GroupId, (GroupLog, Vec<Entry>)> {
    let of = |group: GroupId| {
        let loaded = log.load(group).expect("listed");
        let (from, to) = (LogIndex(loaded.start.index.0 + 1), LogIndex(loaded.last.0 + 1));
        (loaded, log.reader(group).entries(from, to, u64::MAX).expect("readable"))
    };
    log.groups().into_iter().map(|group| (group, of(group))).collect()
}

fn replacement(group: GroupId, loaded: &GroupLog) -> Replacement {
    let first = LogIndex(loaded.last.0 + 1);
    let entry = |index: u64, kind| Entry {
        term: Term(1_000),
        index: LogIndex(index),
        kind,
        data: Bytes::from(vec![7; 30 + index as usize]),
    };
    let entries = vec![entry(first.0, EntryKind::ConfChange), entry(first.0 + 1, EntryKind::Normal)];
    Replacement { group, replica: ReplicaId::new(NODE, first), entries }
}

#[test]
fn a_cut_at_any_byte_while_voters_are_replaced_leaves_the_old_ones_or_the_new_ones_in_all_groups() {
    for seed in 5..7 {
        let moments = run(seed, 24);
        let dir = folder();
        write_image(&moments[24].image, dir.path());
        let (log, _) = open(dir.path()).expect("opens");
        let before = whole(&log);
        drop(log);
        let replacements: Vec<_> = before.iter().map(|(group, (loaded, _))| replacement(*group, loaded)).collect();
        assert!(replacements.len() > 1, "seed {seed} made too few groups");
        replace_voters(dir.path(), NODE, &replacements).expect("replaced");
        let mut image = still_image(dir.path());
        let (log, recovery) = open(dir.path()).expect("opens");
        assert_eq!(recovery, Recovery::default());
        let after = whole(&log);
        drop(log);
        for Replacement { group, replica, entries } in &replacements {
            let (loaded, kept) = &after[group];
            assert_eq!(loaded.replica, Some(*replica));
            assert_eq!(*kept, [&before[group].1[..], &entries[..]].concat());
            assert_eq!(loaded.hard_state.commit, loaded.last);
        }
        // The process died: there is no mark of an orderly end.
        image.remove(Path::new("CLEAN"));
        let newest = image.keys().rfind(|name| name.extension().is_some_and(|ext| ext == "log"));
        let newest = newest.expect("a write-ahead log").clone();
        let full = image[&newest].len();
        for len in 0..=full {
            let mut cut = image.clone();
            cut.get_mut(&newest).expect("present").truncate(len);
            let dir = folder();
            write_image(&cut, dir.path());
            let (log, recovery) = open(dir.path()).unwrap_or_else(|error| panic!("cut at {len}: {error}"));
            assert_eq!(recovery.amnesia, [], "seed {seed}, cut at {len}");
            let expected = if len == full { &after } else { &before };
            assert!(whole(&log) == *expected, "seed {seed}, cut at {len} of {full}: neither the old nor the new ones");
        }
    }
}
