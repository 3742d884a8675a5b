//! What must hold after every step, judged by one who sees everything.
//!
//! The committed log is the truth: the first replica that applies an entry defines it, and what it comes to; all others must agree, row
//! by row. A plain model of the namespace is kept beside it, one state for each entry. Every answer to a client names the entry
//! it was given at, and so its place in the order: it must say what the model says there, and stand behind all that was known when the
//! call began. That is linearizability, over all names and both faces at once, found without a search.

mod content;
mod copies;
mod evidence;
mod model;
mod rewind;

pub use content::value_bytes;
use copies::Copies;
use evidence::Evidence;
use model::Model;

use crate::event::Millis;
use crate::marks::{Mark, Marks};
use crate::replica::AppliedEntry;
use bytes::Bytes;
use meta_core::Applied;
use proto::log::{LogBatch, LogCommand};
use proto::meta::{Answer, Command, Outcome, Query, Refusal};
use proto::object::{NewContent, NewExtent};
use raft_core::{EntryKind, HardState, MessageKind, RaftMessage};
use std::collections::{BTreeMap, BTreeSet};
use types::{
    ChunkId, ChunkRef, GroupId, LogIndex, Member, NodeId, PgEpoch, REPLICAS, ReplicaId, RequestId, SessionId, Term,
    UploadId,
};

/// What was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// One leader a term, votes for good, one committed log.
    Raft,
    /// All replicas have the same rows, and the rows agree with each other and with the model.
    Rows,
    /// An operation takes effect at most once, and an answered one stands in the log.
    Command,
    /// Answers are linearizable, bytes those that were written.
    Read,
    /// A chunk that was acknowledged is there; in the end three times.
    Chunk,
    /// What anything refers to or may still refer to is not deleted; in the end nothing else is left.
    Garbage,
    /// Copies move only when that is safe; in the end they are where the map says, and nowhere else.
    Move,
    /// After the last fault all is served, and everything comes to rest.
    Rest,
    /// Nothing stops by itself.
    Panic,
    /// Shells talk as they should.
    Shell,
}

/// Something that must not happen has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule it breaks: a script is shrunk as long as it breaks the same.
    pub rule: Rule,
    /// What was seen.
    pub text: String,
}

impl Violation {
    /// A violation of a rule.
    #[must_use]
    pub fn new(rule: Rule, text: impl Into<String>) -> Self {
        Violation { rule, text: text.into() }
    }
}

/// What a request came to: at which entry, and how.
type Settled = (LogIndex, Result<Outcome, Refusal>);

/// One step of one operation: what takes effect at most once, however often it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StepId {
    /// The operation's number.
    pub operation: u64,
    /// Counted within it.
    pub step: u64,
}

/// An entry as it was applied first.
struct Seen {
    term: Term,
    hash: blake3::Hash,
    fingerprint: u64,
}

/// What is known of a group.
#[derive(Default)]
struct Consensus {
    leaders: BTreeMap<Term, NodeId>,
    votes: BTreeMap<(ReplicaId, Term), ReplicaId>,
    /// The last vote of each replica since it may have forgotten any.
    last_votes: BTreeMap<ReplicaId, (Term, ReplicaId)>,
    /// Replicas that were let go and removed.
    let_go: BTreeSet<ReplicaId>,
    log: Vec<Seen>,
    /// What the one voter that a group was recovered from had in its log beyond what was known to be committed: it has to stay.
    promised: BTreeMap<usize, (Term, blake3::Hash)>,
}

/// The one who sees everything.
#[derive(Default)]
pub struct Judge {
    groups: BTreeMap<GroupId, Consensus>,
    /// The state before the first entry, and after each.
    models: Vec<Model>,
    settled: BTreeMap<(SessionId, u64), Settled>,
    steps: BTreeMap<(SessionId, u64), StepId>,
    effects: BTreeMap<StepId, u64>,
    /// Known to whoever asks next: the newest entry that an answer was given at.
    reached: LogIndex,
    /// What a chunk holds, as its writer said.
    chunks: BTreeMap<ChunkId, Bytes>,
    /// Chunks that metadata refers or referred to, the newest last.
    committed: Vec<ChunkRef>,
    /// By which entry each of them was first.
    claimed_by: Vec<LogIndex>,
    /// The same, by id.
    claimed: BTreeSet<ChunkId>,
    copies: Copies,
    evidence: Evidence,
    /// Rare branches that show in the log.
    pub marks: Marks,
}

impl Judge {
    /// Before anything has happened.
    #[must_use]
    pub fn new() -> Self {
        let mut judge = Judge { models: vec![Model::default()], ..Judge::default() };
        judge.evidence.entry_ends();
        judge
    }

    /// A node leads in a term: nobody else may have.
    ///
    /// # Errors
    /// Two leaders of one term.
    pub fn leads(&mut self, group: GroupId, node: NodeId, term: Term) -> Result<(), Violation> {
        match *self.groups.entry(group).or_default().leaders.entry(term).or_insert(node) {
            other if other == node => Ok(()),
            other => Err(Violation::new(Rule::Raft, format!("{node} and {other} both lead term {}", term.0))),
        }
    }

    /// Terms that had a leader.
    #[must_use]
    pub fn terms_led(&self) -> u64 {
        self.groups.values().map(|group| group.leaders.len() as u64).sum()
    }

    /// A replica sends a message: a vote in it is given for good.
    ///
    /// # Errors
    /// It has voted for somebody else in that term, or was let go.
    pub fn sends(&mut self, group: GroupId, message: &RaftMessage) -> Result<(), Violation> {
        let from = message.from;
        let group = self.groups.entry(group).or_default();
        if group.let_go.contains(&from) {
            return Err(Violation::new(Rule::Raft, format!("{from} was let go and sends {:?}", message.kind)));
        }
        let vote = match message.kind {
            MessageKind::Vote => from,
            MessageKind::VoteResponse if !message.reject => message.to,
            _ => return Ok(()),
        };
        group.last_votes.insert(from, (message.term, vote));
        match *group.votes.entry((from, message.term)).or_insert(vote) {
            before if before == vote => Ok(()),
            before => {
                Err(Violation::new(Rule::Raft, format!("{from} voted for {before} and {vote} in {}", message.term)))
            }
        }
    }

    /// A replica was let go by its group and removed from its node: it never says a word again.
    pub fn lets_replica_go(&mut self, group: GroupId, replica: ReplicaId) {
        self.groups.entry(group).or_default().let_go.insert(replica);
    }

    /// A replica starts from what is on an honest disk: a vote it has given is there.
    ///
    /// # Errors
    /// It has forgotten one.
    pub fn starts(&self, group: GroupId, replica: ReplicaId, found: HardState) -> Result<(), Violation> {
        let Some(group) = self.groups.get(&group) else { return Ok(()) };
        match group.last_votes.get(&replica) {
            Some((term, vote)) if (found.term, found.vote) < (*term, *vote) && found.vote != *vote => {
                Err(Violation::new(
                    Rule::Raft,
                    format!("{replica} has forgotten its vote for {vote} in {term}: it finds {found:?}"),
                ))
            }
            _ => Ok(()),
        }
    }

    /// A node starts from a disk that may have lied: which votes it has given it need not know, for it votes in no term in which it may
    /// have voted for another, or been elected. What it gave itself in an election that it never won binds nobody any more.
    pub fn forgets(&mut self, node: NodeId) {
        for Consensus { last_votes, votes, leaders, .. } in self.groups.values_mut() {
            last_votes.retain(|replica, _| replica.node() != node);
            votes.retain(|(replica, term), vote| {
                replica.node() != node || vote != replica || leaders.get(term) == Some(&node)
            });
        }
    }

    /// A node has applied an entry.
    ///
    /// # Errors
    /// Another entry was applied there before, one before it never was, or it came to something else.
    pub fn applied(&mut self, group: GroupId, node: NodeId, applied: &AppliedEntry) -> Result<(), Violation> {
        let AppliedEntry { entry, results, fingerprint, map: _ } = applied;
        let place = entry.index.0 as usize;
        let hash = blake3::hash(&entry.data);
        let Consensus { log, promised, .. } = self.groups.entry(group).or_default();
        match log.get(place - 1) {
            Some(there) if there.term != entry.term || there.hash != hash => {
                return Err(Violation::new(
                    Rule::Raft,
                    format!("{node} applied another entry {place} than was committed"),
                ));
            }
            Some(there) if there.fingerprint != *fingerprint => {
                return Err(Violation::new(
                    Rule::Rows,
                    format!("{node} has other rows after entry {place} than the first to apply it"),
                ));
            }
            Some(_) => return Ok(()),
            None if log.len() + 1 == place => {}
            None => {
                return Err(Violation::new(
                    Rule::Raft,
                    format!("{node} applied entry {place}, {} are known", log.len()),
                ));
            }
        }
        if promised.remove(&place).is_some_and(|there| there != (entry.term, hash)) {
            let text = format!("{node} has another entry {place} than the voter had that its group was recovered from");
            return Err(Violation::new(Rule::Raft, text));
        }
        log.push(Seen { term: entry.term, hash, fingerprint: *fingerprint });
        if group == GroupId::CONTROL {
            // There is no model of it: its replicas judge each other.
            return Ok(());
        }
        let mut model = self.models.last().expect("the first is there").clone();
        if !entry.data.is_empty() && entry.kind == EntryKind::Normal {
            let batch: LogBatch =
                proto::decode(&entry.data).map_err(|error| Violation::new(Rule::Raft, error.to_string()))?;
            model.entry(batch.time);
            for (command, result) in batch.commands.iter().zip(results) {
                match (command, result) {
                    (LogCommand::Meta(Some(id), command), Applied::Meta(result)) => {
                        self.command(entry.index, &mut model, *id, command, result)?;
                    }
                    (LogCommand::Meta(None, command), Applied::Meta(result)) => {
                        self.carry_out(entry.index, &mut model, SessionId::default(), command, result)?;
                        self.mark(command, result);
                    }
                    (LogCommand::Recover(_), _) => model.recovers(),
                    _ => {}
                }
            }
        }
        self.models.push(model);
        self.evidence.entry_ends();
        Ok(())
    }

    fn command(
        &mut self,
        at: LogIndex,
        model: &mut Model,
        id: RequestId,
        command: &Command,
        result: &Result<Outcome, Refusal>,
    ) -> Result<(), Violation> {
        let key = (id.session, id.seq);
        // The session's own refusals say nothing of the command.
        match result {
            Err(Refusal::WindowFull) => {
                self.marks.hit(Mark::WindowFull);
                return Ok(());
            }
            Err(Refusal::StaleRequest) => return Ok(()),
            Err(Refusal::SessionClosed) if self.is_over(id.session) => return Ok(()),
            _ if self.is_over(id.session) => {
                let text = format!("{id:?} came to {result:?} at {at}, and its session is over");
                return Err(Violation::new(Rule::Command, text));
            }
            _ => {}
        }
        if let Some((first, before)) = self.settled.get(&key) {
            self.marks.hit(Mark::AnsweredAgain);
            return if before == result {
                Ok(())
            } else {
                Err(Violation::new(
                    Rule::Command,
                    format!("{id:?} came to {before:?} at {first} and to {result:?} at {at}"),
                ))
            };
        }
        self.settled.insert(key, (at, result.clone()));
        self.carry_out(at, model, id.session, command, result)?;
        if result.is_ok() {
            // To make a bucket once more or to say once more that a copy was made does nothing.
            let idempotent = matches!(
                command,
                Command::EnsureBucket { .. } | Command::SetBucketOptions { .. } | Command::ClearUnderReplicated { .. }
            );
            let step = self.steps.get(&key).copied().filter(|_| !idempotent);
            if let Some(step) = step
                && let Some(other) = self.effects.insert(step, id.seq)
            {
                return Err(Violation::new(
                    Rule::Command,
                    format!("{step:?} took effect as {other} and as {}: {command:?}", id.seq),
                ));
            }
            self.claim(at, command)?;
        }
        self.mark(command, result);
        Ok(())
    }

    /// Carries a command out beside the log, and compares what it came to.
    fn carry_out(
        &mut self,
        at: LogIndex,
        model: &mut Model,
        session: SessionId,
        command: &Command,
        result: &Result<Outcome, Refusal>,
    ) -> Result<(), Violation> {
        let told = match self.bookkeeping(command, result) {
            Some(told) => told,
            None => model.apply(session, command, result),
        };
        told.map_err(|why| Violation::new(Rule::Rows, format!("entry {}, {command:?}: {why}", at.0)))
    }

    fn claim(&mut self, at: LogIndex, command: &Command) -> Result<(), Violation> {
        let extents: &[NewExtent] = match command {
            Command::PutObject { content: NewContent::Chunks(extents), .. }
            | Command::PutPart { content: NewContent::Chunks(extents), .. }
            | Command::Create { content: NewContent::Chunks(extents), .. }
            | Command::Write { extents, .. } => extents,
            _ => return Ok(()),
        };
        for new in extents {
            if new.missing.trailing_zeros() < REPLICAS as u32 {
                self.marks.hit(Mark::TwoOfThree);
            }
            if new.missing >> REPLICAS != 0 {
                self.marks.hit(Mark::NewcomerMissed);
            }
            let chunk = new.extent.chunk;
            self.commits(chunk.id)?;
            self.says(chunk.id, new.missing);
            if self.claimed.insert(chunk.id) {
                self.committed.push(chunk);
                self.claimed_by.push(at);
            }
        }
        Ok(())
    }

    fn mark(&mut self, command: &Command, result: &Result<Outcome, Refusal>) {
        match (command, result) {
            (_, Err(Refusal::PreconditionFailed | Refusal::PreconditionNotFound)) => {
                self.marks.hit(Mark::PreconditionFailed);
            }
            (_, Err(Refusal::RecordRace(_))) => self.marks.hit(Mark::RecordRace),
            (Command::PutRecords { .. }, Ok(_)) => self.marks.hit(Mark::RecordsChanged),
            (Command::CompleteUpload { .. }, Ok(_)) => self.marks.hit(Mark::UploadCompleted),
            (Command::AbortUpload { .. }, Ok(_)) => self.marks.hit(Mark::UploadAborted),
            (Command::ClearUnderReplicated { .. }, Ok(_)) => self.marks.hit(Mark::RepairRecorded),
            (Command::RestoreTrash { .. }, Ok(Outcome::Restored(restored))) if restored.iter().any(Result::is_ok) => {
                self.marks.hit(Mark::TrashRestored);
            }
            (Command::PurgeTrash { .. }, Ok(Outcome::Purged(purged))) if purged.files > 0 => {
                self.marks.hit(Mark::TrashPurged);
            }
            (Command::ExpireTrash { .. }, Ok(Outcome::Purged(purged))) if purged.files > 0 => {
                self.marks.hit(Mark::TrashExpired);
            }
            _ => {}
        }
    }

    /// A writer says what a chunk holds, before it sends it to these takers under an epoch of their group.
    pub fn writes(&mut self, chunk: ChunkId, data: Bytes, (epoch, takers): (PgEpoch, &[Member]), at: Millis) {
        self.chunks.insert(chunk, data);
        self.sends_out(chunk, epoch, takers, at);
    }

    /// Chunks that metadata refers or referred to, the newest last.
    #[must_use]
    pub fn committed(&self) -> &[ChunkRef] {
        &self.committed
    }

    /// Whether metadata refers or referred to a chunk.
    #[must_use]
    pub fn is_committed(&self, chunk: ChunkId) -> bool {
        self.claimed.contains(&chunk)
    }

    /// A client numbers a step's request.
    pub fn numbers(&mut self, step: StepId, id: RequestId) {
        self.steps.insert((id.session, id.seq), step);
    }

    /// A call begins. What is known now, its answer must stand behind.
    #[must_use]
    pub fn begin(&self) -> LogIndex {
        self.reached
    }

    /// A command was answered: it stands in the log, came to that, and stands behind all that was known when it was first sent.
    ///
    /// # Errors
    /// It does not.
    pub fn answered(
        &mut self,
        id: RequestId,
        at: LogIndex,
        result: &Result<Outcome, Refusal>,
        floor: LogIndex,
    ) -> Result<(), Violation> {
        match result {
            Err(Refusal::WindowFull | Refusal::StaleRequest) => return Ok(()),
            Err(Refusal::SessionClosed) if self.is_over(id.session) => return Ok(()),
            _ => {}
        }
        match self.settled.get(&(id.session, id.seq)) {
            Some((first, settled)) if settled == result && *first > floor => {
                self.reached = self.reached.max(at);
                Ok(())
            }
            other => Err(Violation::new(
                Rule::Command,
                format!("{id:?} was answered {result:?} at {at}; it is {other:?}, floor {floor}"),
            )),
        }
    }

    /// A query was answered: as of an entry that is no older than what was known when it was asked.
    ///
    /// # Errors
    /// It is older, or not what the model says.
    pub fn told(
        &mut self,
        query: &Query,
        at: LogIndex,
        answer: &Result<Answer, Refusal>,
        floor: LogIndex,
    ) -> Result<(), Violation> {
        if at < floor {
            return Err(Violation::new(
                Rule::Read,
                format!("{query:?} was answered as of {at}; {floor} was known before it was asked"),
            ));
        }
        let Some(model) = self.models.get(at.0 as usize) else {
            return Err(Violation::new(
                Rule::Read,
                format!("{query:?} was answered as of {at}, which is not committed"),
            ));
        };
        self.reached = self.reached.max(at);
        model.check(query, answer).map_err(|why| Violation::new(Rule::Read, format!("{query:?} as of {at}: {why}")))
    }

    /// Bytes were read of what a name led to at an entry.
    ///
    /// # Errors
    /// They are not what was written.
    pub fn read(&self, name: &Bytes, at: LogIndex, data: &[u8]) -> Result<(), Violation> {
        let wanted = self.models[at.0 as usize].bytes(name, &self.chunks);
        if wanted.as_deref() == Some(data) {
            return Ok(());
        }
        let wanted = wanted.map(|bytes| bytes.len());
        Err(Violation::new(
            Rule::Read,
            format!("a read of {name:?} as of {at} came to {} other bytes than the {wanted:?}", data.len()),
        ))
    }

    /// Chunks that metadata refers to now.
    #[must_use]
    pub fn referenced(&self) -> BTreeSet<ChunkId> {
        self.models.last().map_or_else(BTreeSet::new, Model::chunks)
    }

    /// Uploads in progress, and their keys.
    #[must_use]
    pub fn uploads(&self) -> Vec<(UploadId, Bytes)> {
        self.models.last().map_or_else(Vec::new, Model::uploads)
    }

    /// Whether there is nothing: no name, nothing in the trash, no upload.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.models.last().is_none_or(Model::is_empty)
    }

    /// All names there are at the end.
    #[must_use]
    pub fn names(&self) -> Vec<Bytes> {
        self.models.last().map_or_else(Vec::new, Model::names)
    }

    /// Entries of a group that were committed.
    #[must_use]
    pub fn entries(&self, group: GroupId) -> u64 {
        self.groups.get(&group).map_or(0, |group| group.log.len() as u64)
    }
}
