//! The model test: random operations of several sessions, through both faces, with retries, against a naive model; equal
//! after every step.
//!
//! A failure prints the seed of the world it happened in. `SAGO_MODEL_SEED` runs one world with that seed alone.

mod collect;
mod compare;
mod hostile;
mod random;
mod rng;
mod trash;
mod world;

use bytes::Bytes;
use meta_core::audit::audit;
use meta_core::{Applied, apply, invariants, memory::MemoryKv};
use proto::log::{LogBatch, LogCommand};
use proto::meta::{Answer, Command, Outcome, Query, Refusal};
use proto::object::Attr;
use random::Random;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use types::{BucketId, Findings, RequestId, SESSION_WINDOW, SessionId, Timestamp};
use world::{Expected, GROUP, World};

const STEPS_PER_WORLD: u32 = 2_000;
const WORLDS: u64 = 50;
/// Steps between two looks at everything.
const WHOLE_EVERY: u32 = 250;

/// Ids that an audit counts at once: few, so that it takes several walks.
const AUDIT_ITEMS: usize = 200;

type Answered = Result<Outcome, Refusal>;

/// One session as its client sees it.
#[derive(Default)]
struct Session {
    seq: u64,
    low: u64,
    sent: BTreeMap<u64, (Command, Answered)>,
}

struct Run {
    kv: MemoryKv,
    world: World,
    random: Random,
    sessions: BTreeMap<SessionId, Session>,
    /// Sessions that are not over; those that end are replaced.
    live: Vec<SessionId>,
    trace: blake3::Hasher,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut run = Run {
            kv: MemoryKv::new(),
            world: World::default(),
            random: Random::new(seed),
            sessions: BTreeMap::new(),
            live: [1, 2, 3].map(SessionId).to_vec(),
            trace: blake3::Hasher::new(),
        };
        for bucket in [BucketId(1), BucketId(2)] {
            run.send(SessionId(1), Command::EnsureBucket { bucket });
            let Ok(Answer::Attr(root)) = compare::ask(&run.kv, Query::BucketRoot { bucket }) else {
                panic!("the bucket is there")
            };
            run.world.learn(run.world.buckets[&bucket].root, root.ino);
        }
        run
    }

    /// Applies a log entry and returns the result of its only command.
    fn entry(&mut self, id: RequestId, command: &Command) -> Answered {
        self.apply(Some(id), command)
    }

    fn apply(&mut self, id: Option<RequestId>, command: &Command) -> Answered {
        // Proposers disagree about the time; the group's never runs backwards.
        let stamp = Timestamp(self.world.now.0 + self.random.time_passes());
        let forward = stamp.0 - self.world.now.0;
        if forward > 3600 * Timestamp::SECOND || forward > 0 && self.world.held {
            self.world.leap = stamp;
        }
        self.world.held = forward < -60 * Timestamp::SECOND || forward <= 0 && self.world.held;
        self.world.now = self.world.now.max(stamp);
        let batch = LogBatch { time: stamp, commands: vec![LogCommand::Meta(id, command.clone())] };
        let applied = apply(&mut self.kv, GROUP, &batch).expect("memory does not fail");
        let [Applied::Meta(answer)] = applied.as_slice() else { panic!("one result for one command") };
        self.trace.update(format!("{answer:?}").as_bytes());
        answer.clone()
    }

    /// Sends a new command and compares its result with the model's.
    fn send(&mut self, session: SessionId, command: Command) {
        self.world.session = session;
        let client = self.sessions.entry(session).or_default();
        client.seq += 1;
        client.low = client.low.max(1);
        let id = RequestId { session, seq: client.seq, low: client.low };
        let answer = self.entry(id, &command);
        let expected = self.world.apply(&command);
        self.judge(&command, &answer, expected);
        self.sessions.get_mut(&session).expect("there").sent.insert(id.seq, (command, answer));
    }

    fn judge(&mut self, command: &Command, answer: &Answered, expected: Result<Expected, Refusal>) {
        let world = &mut self.world;
        match (answer, expected) {
            (Err(refusal), Err(expected)) => assert_eq!(*refusal, expected, "{command:?}"),
            (Ok(Outcome::Done), Ok(Expected::Done)) => {}
            (Ok(Outcome::Deleted(deleted)), Ok(Expected::Deleted(expected))) => {
                assert_eq!(*deleted, expected, "{command:?}");
            }
            (Ok(Outcome::Restored(restored)), Ok(Expected::Restored(expected))) => {
                assert_eq!(*restored, expected, "{command:?}");
            }
            (Ok(Outcome::Purged(purged)), Ok(Expected::Purged(expected))) => {
                assert_eq!(*purged, expected, "{command:?}");
            }
            (Ok(Outcome::Object(attr)), Ok(Expected::Object(id))) => {
                world.learn(id, attr.ino);
                assert_eq!(*attr, world.object_attr(id, attr), "{command:?}");
            }
            (Ok(Outcome::Attr(attr)), Ok(Expected::Attr(id))) => {
                world.learn(id, attr.ino);
                assert_eq!(*attr, world.attr(id, attr), "{command:?}");
            }
            (Ok(Outcome::Created { attr, parent }), Ok(Expected::Attr(id))) => {
                world.learn(id, attr.ino);
                assert_eq!(*attr, world.attr(id, attr), "{command:?}");
                judge_parent(world, command, parent);
            }
            (Ok(Outcome::Attr(parent)), Ok(Expected::Done)) => judge_parent(world, command, parent),
            (answer, Ok(_)) => panic!("{command:?} came to {answer:?}, the model took it"),
            (answer, Err(expected)) => panic!("{command:?} came to {answer:?}, not to {expected:?}"),
        }
    }

    /// Sends an old request again, or one outside the window.
    fn resend(&mut self, session: SessionId) {
        let client = self.sessions.entry(session).or_default();
        let low = client.low.max(1);
        if self.random.rng.chance(10) {
            let id = RequestId { session, seq: low + SESSION_WINDOW + self.random.rng.below(3), low };
            let answer = self.entry(id, &Command::SealBucket { bucket: BucketId(1) });
            assert_eq!(answer, Err(Refusal::WindowFull));
            return;
        }
        if client.seq == 0 {
            return;
        }
        let seq = 1 + self.random.rng.below(client.seq);
        let (command, before) = client.sent[&seq].clone();
        let answer = self.entry(RequestId { session, seq, low: low.min(seq) }, &command);
        if seq < low {
            assert_eq!(answer, Err(Refusal::StaleRequest));
        } else {
            assert_eq!(answer, before, "the stored result");
        }
    }

    fn step(&mut self) {
        if self.random.rng.chance(4) {
            self.collect();
            return;
        }
        let session = *self.random.rng.pick(&self.live);
        if self.random.rng.chance(5) {
            self.resend(session);
            return;
        }
        if self.random.rng.chance(10) {
            let client = self.sessions.entry(session).or_default();
            client.low = client.low.max(client.seq.saturating_sub(self.random.rng.below(20)));
        }
        self.world.session = session;
        let command = self.random.command(&mut self.world);
        self.learn_tags(&command);
        self.send(session, command.clone());
        self.look(&command);
    }

    /// A precondition needs the entity tags as they are now.
    fn learn_tags(&mut self, command: &Command) {
        for (bucket, key) in keys_of(command) {
            compare::object(&self.kv, &mut self.world, bucket, &key, &mut self.random.rng);
        }
    }

    /// Compares what the command was about, and a random page.
    fn look(&mut self, command: &Command) {
        let (kv, world, rng) = (&self.kv, &mut self.world, &mut self.random.rng);
        for (bucket, key) in keys_of(command) {
            compare::object(kv, world, bucket, &key, rng);
        }
        for (parent, name) in names_of(command) {
            compare::lookup(kv, world, parent, &name, rng);
        }
        if let Command::Write { ino, .. } | Command::SetAttr { ino, .. } | Command::Link { ino, .. } = command
            && let Some(id) = world.ids.get(ino).copied().filter(|id| world.nodes.contains_key(id))
        {
            compare::node(kv, world, id, rng);
            // Content that was replaced has got an inode of its own.
            let now = world.now;
            for bucket in [BucketId(1), BucketId(2)] {
                compare::trash(kv, world, bucket, Some(now), rng);
            }
        }
        let (bucket, key, after) = (self.random.bucket(), self.random.key(), self.random.key());
        compare::any_listing(&self.kv, &self.world, bucket, &key, &after, &mut self.random.rng);
    }

    fn whole(&mut self) {
        compare::whole(&self.kv, &mut self.world, &mut self.random.rng);
        let broken = invariants::check(&self.kv, GROUP).expect("memory does not fail");
        assert_eq!(broken, Vec::<String>::new());
        // The same relations as they are held over a state that does not fit into memory.
        let mut findings = Findings::default();
        audit(&self.kv, GROUP, AUDIT_ITEMS, &mut findings, &mut |_| {}).expect("memory does not fail");
        assert_eq!(findings, Findings::default());
    }
}

/// A command that makes or removes a name answers with the directory as well.
fn judge_parent(world: &World, command: &Command, attr: &Attr) {
    let (Command::Create { parent, .. } | Command::Unlink { parent, .. } | Command::Rmdir { parent, .. }) = command
    else {
        panic!("{command:?} came to a directory")
    };
    assert_eq!(attr.ino, *parent);
    assert_eq!(*attr, world.attr(world.ids[parent], attr), "{command:?}");
}

fn keys_of(command: &Command) -> Vec<(BucketId, Bytes)> {
    match command {
        Command::PutObject { bucket, key, .. } | Command::CompleteUpload { bucket, key, .. } => {
            vec![(*bucket, key.clone())]
        }
        Command::DeleteObjects { bucket, keys, .. } => keys.iter().map(|key| (*bucket, key.clone())).collect(),
        Command::CopyObject { source_bucket, source_key, bucket, key, .. } => {
            vec![(*source_bucket, source_key.clone()), (*bucket, key.clone())]
        }
        _ => Vec::new(),
    }
}

fn names_of(command: &Command) -> Vec<(types::Ino, Bytes)> {
    match command {
        Command::Create { parent, name, .. }
        | Command::Link { parent, name, .. }
        | Command::Unlink { parent, name }
        | Command::Rmdir { parent, name } => vec![(*parent, name.clone())],
        Command::Rename { parent, name, new_parent, new_name, .. } => {
            vec![(*parent, name.clone()), (*new_parent, new_name.clone())]
        }
        _ => Vec::new(),
    }
}

/// Runs one world and returns a hash of all its results and of its final state.
fn run(seed: u64, steps: u32) -> [u8; 32] {
    let mut run = Run::new(seed);
    let mut at = 0;
    let result = catch_unwind(AssertUnwindSafe(|| {
        while at < steps {
            at += 1;
            run.step();
            if at % WHOLE_EVERY == 0 || at == steps {
                run.whole();
            }
        }
        run.finish();
    }));
    if let Err(panic) = result {
        eprintln!("step {at} of SAGO_MODEL_SEED={seed}");
        std::panic::resume_unwind(panic);
    }
    run.trace.update(&run.kv.digest());
    *run.trace.finalize().as_bytes()
}

/// 100,000 steps in worlds of their own, so that no world's trash grows without end.
#[allow(clippy::disallowed_methods, reason = "a test may be told which seed to run")]
#[test]
fn the_state_machine_equals_the_model_after_every_step() {
    if let Some(seed) = std::env::var("SAGO_MODEL_SEED").ok().and_then(|seed| seed.parse().ok()) {
        run(seed, STEPS_PER_WORLD);
        return;
    }
    let half = |from: u64| {
        for seed in (from..WORLDS).step_by(2) {
            run(seed, STEPS_PER_WORLD);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| half(1));
        half(0);
    });
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let (one, other) = (run(4711, 1_000), run(4711, 1_000));
    assert_eq!(one, other);
    assert_ne!(one, run(4712, 1_000));
}
