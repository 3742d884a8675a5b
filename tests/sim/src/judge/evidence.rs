//! What may be deleted, and what has been: a chunk goes only when nothing can refer to it again.

use super::{Judge, Rule, Violation};
use crate::marks::Mark;
use proto::meta::{Command, Outcome, Refusal};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use types::{ChunkId, LogIndex, NodeId, SessionId, WriterEpoch};

/// Which sessions a replica of the control group had open.
#[derive(Default)]
struct View {
    /// As of this entry.
    at: LogIndex,
    open: BTreeSet<SessionId>,
    /// The last that was handed out.
    last: SessionId,
}

impl View {
    fn is_ended(&self, session: SessionId) -> bool {
        session <= self.last && !self.open.contains(&session)
    }
}

/// What the group's log has said.
#[derive(Clone, Default)]
struct Told {
    /// Runs of sessions that the group has ended.
    over: Vec<(SessionId, SessionId)>,
    /// The last closed epoch of each session.
    closed: BTreeMap<SessionId, WriterEpoch>,
    /// Chunks that were staged and were never committed.
    staged: BTreeSet<ChunkId>,
}

impl Told {
    fn is_closed(&self, chunk: ChunkId) -> bool {
        let parts = chunk.parts();
        let closed = self.closed.get(&parts.session).is_some_and(|last| parts.epoch <= *last);
        closed || self.is_over(parts.session)
    }

    fn is_over(&self, session: SessionId) -> bool {
        self.over.iter().any(|(first, last)| (*first..=*last).contains(&session))
    }
}

/// Sessions, epochs and chunks as the group's log and the control group have them.
#[derive(Default)]
pub(super) struct Evidence {
    /// The newest view of the sessions, behind the last ones of control groups that have gone back since: what has ended once has ended.
    views: Vec<View>,
    told: Arc<Told>,
    /// The same after each entry, from the one before the first on; shared where nothing has changed.
    history: Vec<Arc<Told>>,
    /// What it had said when it was recovered from one voter.
    forgotten: Option<Arc<Told>>,
    /// Chunks that some node has deleted.
    deleted: BTreeSet<ChunkId>,
}

impl Evidence {
    /// Whether no commit of a chunk that the group does not know can come any more.
    fn is_closed(&self, chunk: ChunkId) -> bool {
        // Who was told to delete before the group was recovered goes on. A commit after that is found when it comes.
        self.told.is_closed(chunk) || self.forgotten.as_ref().is_some_and(|told| told.is_closed(chunk))
    }

    fn says(&mut self) -> &mut Told {
        Arc::make_mut(&mut self.told)
    }

    /// An entry has been carried out.
    pub(super) fn entry_ends(&mut self) {
        self.history.push(self.told.clone());
    }

    /// All entries but so many are lost.
    pub(super) fn goes_back(&mut self, kept: usize) {
        self.history.truncate(kept + 1);
        self.forgotten = Some(self.told.clone());
        self.told = self.history.last().cloned().unwrap_or_default();
    }

    /// The control group goes back: what it says of sessions begins anew.
    pub(super) fn sessions_anew(&mut self) {
        self.views.push(View::default());
    }

    /// A session of a run that the control group has not ended.
    fn alive_in(&self, first: SessionId, last: SessionId) -> Option<SessionId> {
        // A control group that was recovered passes over more numbers than can be counted here.
        const COUNTED_MAX: usize = 1_000;
        let newest = self.views.last()?;
        let beyond = (newest.last.0.max(first.0.saturating_sub(1)) + 1..=last.0).take(COUNTED_MAX).map(SessionId);
        let mut alive = newest.open.range(first..=last).copied().chain(beyond);
        alive.find(|session| !self.views.iter().any(|view| view.is_ended(*session)))
    }
}

impl Judge {
    /// Which sessions a replica of the control group has open as of an entry, and the last it has handed out: all others up to that are over.
    pub fn sessions(&mut self, at: LogIndex, open: &[SessionId], last: SessionId) {
        if self.evidence.views.is_empty() {
            self.evidence.sessions_anew();
        }
        if let Some(view) = self.evidence.views.last_mut().filter(|view| view.at <= at) {
            *view = View { at, open: open.iter().copied().collect(), last };
        }
    }

    /// Whether the group has ended a session.
    pub(super) fn is_over(&self, session: SessionId) -> bool {
        self.evidence.told.is_over(session)
    }

    /// Whether some node has deleted a chunk.
    #[must_use]
    pub fn is_deleted(&self, chunk: ChunkId) -> bool {
        self.evidence.deleted.contains(&chunk)
    }

    /// A node deletes a chunk, be it there or not: nothing refers to it, and nobody will.
    ///
    /// # Errors
    /// Something does, or a writer that lives may still commit it.
    pub fn deletes(&mut self, node: NodeId, chunk: ChunkId) -> Result<(), Violation> {
        let known = self.claimed.contains(&chunk) || self.evidence.told.staged.contains(&chunk);
        let why = if self.models.last().is_some_and(|model| model.refers_to(chunk)) {
            "metadata refers to it"
        } else if self.evidence.told.staged.contains(&chunk) {
            "it is staged"
        } else if !known && !self.evidence.is_closed(chunk) {
            "its writer lives and may commit it"
        } else {
            self.evidence.deleted.insert(chunk);
            return Ok(());
        };
        Err(Violation::new(Rule::Garbage, format!("{node} deletes {chunk}, and {why}")))
    }

    /// A chunk is committed: it must be there.
    pub(super) fn commits(&mut self, chunk: ChunkId) -> Result<(), Violation> {
        if self.evidence.told.staged.contains(&chunk) {
            self.evidence.says().staged.remove(&chunk);
        }
        if self.is_deleted(chunk) {
            return Err(Violation::new(Rule::Garbage, format!("{chunk} was committed after it was deleted")));
        }
        Ok(())
    }

    /// Carries out a command about sessions, epochs or garbage, of which the model knows nothing. `None` if it is another.
    pub(super) fn bookkeeping(
        &mut self,
        command: &Command,
        result: &Result<Outcome, Refusal>,
    ) -> Option<Result<(), String>> {
        let done = || if *result == Ok(Outcome::Done) { Ok(()) } else { Err(format!("it came to {result:?}")) };
        Some(match (command, result) {
            (Command::Stage { chunks }, Ok(_)) => {
                let fresh = chunks.iter().map(|(chunk, _)| chunk.id).filter(|id| !self.claimed.contains(id));
                let fresh: Vec<ChunkId> = fresh.collect();
                self.evidence.says().staged.extend(fresh);
                self.marks.hit(Mark::Staged);
                done()
            }
            // What was committed and has been dropped since may be condemned.
            (Command::Stage { chunks }, Err(Refusal::BadChunk(_))) => {
                match chunks.iter().any(|(chunk, _)| self.claimed.contains(&chunk.id)) {
                    true => Ok(()),
                    false => Err(format!("it came to {result:?}")),
                }
            }
            (Command::Stage { .. }, _) => done(),
            (Command::CloseEpoch { session, epoch }, _) => {
                let last = self.evidence.says().closed.entry(*session).or_insert(*epoch);
                *last = (*last).max(*epoch);
                self.marks.hit(Mark::EpochClosed);
                done()
            }
            (Command::CollectGarbage { .. }, Ok(Outcome::Collected { condemned, .. })) => {
                if *condemned > 0 {
                    self.marks.hit(Mark::Condemned);
                }
                Ok(())
            }
            (Command::ForgetChunks { chunks }, _) => {
                self.marks.hit(Mark::Forgotten);
                match chunks.iter().find(|chunk| !self.is_deleted(**chunk)) {
                    Some(chunk) => Err(format!("nobody has deleted {chunk}")),
                    None => done(),
                }
            }
            (Command::EndSessions { first, .. }, Ok(Outcome::Ended { last, .. })) => self.sessions_over(*first, *last),
            (Command::CollectGarbage { .. } | Command::EndSessions { .. }, _) => Err(format!("it came to {result:?}")),
            _ => return None,
        })
    }

    fn sessions_over(&mut self, first: SessionId, last: SessionId) -> Result<(), String> {
        if let Some(session) = self.evidence.alive_in(first, last) {
            return Err(format!("{session} is ended and was not over"));
        }
        if !self.is_over(last) {
            self.marks.hit(Mark::SessionOver);
        }
        let told = self.evidence.says();
        told.over.push((first, last));
        told.staged.retain(|chunk| !(first..=last).contains(&chunk.session()));
        Ok(())
    }
}
