//! What may be deleted, and what has been: a chunk goes only when nothing can refer to it again.

use super::{Judge, Rule, Violation};
use crate::marks::Mark;
use proto::meta::{Command, Outcome, Refusal};
use std::collections::{BTreeMap, BTreeSet};
use types::{ChunkId, NodeId, SessionId, WriterEpoch};

/// Sessions, epochs and chunks as the group's log and the control group have them.
#[derive(Default)]
pub(super) struct Evidence {
    /// Sessions that the control group has ended.
    ended: BTreeSet<SessionId>,
    /// Those of them that the group has ended too.
    over: BTreeSet<SessionId>,
    /// The last closed epoch of each session.
    closed: BTreeMap<SessionId, WriterEpoch>,
    /// Chunks that were staged and were never committed.
    staged: BTreeSet<ChunkId>,
    /// Chunks that some node has deleted.
    deleted: BTreeSet<ChunkId>,
}

impl Evidence {
    /// Whether no commit of a chunk that the group does not know can come any more.
    fn is_closed(&self, chunk: ChunkId) -> bool {
        let parts = chunk.parts();
        self.over.contains(&parts.session) || self.closed.get(&parts.session).is_some_and(|last| parts.epoch <= *last)
    }
}

impl Judge {
    /// Which sessions a replica of the control group has open, and the last it has handed out: all others up to that are over.
    pub fn sessions(&mut self, open: &[SessionId], last: SessionId) {
        self.evidence.ended.extend((1..=last.0).map(SessionId).filter(|session| !open.contains(session)));
    }

    /// Whether the group has ended a session.
    pub(super) fn is_over(&self, session: SessionId) -> bool {
        self.evidence.over.contains(&session)
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
        let known = self.claimed.contains(&chunk) || self.evidence.staged.contains(&chunk);
        let why = if self.models.last().is_some_and(|model| model.refers_to(chunk)) {
            "metadata refers to it"
        } else if self.evidence.staged.contains(&chunk) {
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
        self.evidence.staged.remove(&chunk);
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
                self.evidence.staged.extend(fresh);
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
                let last = self.evidence.closed.entry(*session).or_insert(*epoch);
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
        for session in (first.0..=last.0).map(SessionId) {
            if !self.evidence.ended.contains(&session) {
                return Err(format!("{session} is ended and was not over"));
            }
            if self.evidence.over.insert(session) {
                self.marks.hit(Mark::SessionOver);
            }
        }
        let over = &self.evidence.over;
        self.evidence.staged.retain(|chunk| !over.contains(&chunk.session()));
        Ok(())
    }
}
