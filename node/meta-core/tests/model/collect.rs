//! The nodes and the collector: what the nodes hold is `World::stored`, and what the group gives as evidence is deleted from it. Content
//! that refers to a chunk that is not there any more fails the comparison with the model.

use crate::Run;
use crate::compare::ask;
use crate::world::GROUP;
use meta_core::invariants;
use proto::meta::{Answer, ChunkVerdict, Command, CondemnedStep, Outcome, Query, Refusal};
use std::collections::BTreeSet;
use types::{BucketId, ChunkId, RequestId, SessionId, Timestamp};

/// Chunks looked at in one step of the sweep.
const SWEEP: u64 = 30;

impl Run {
    /// A random step of the collector.
    pub fn collect(&mut self) {
        match self.random.rng.below(10) {
            0..4 => {
                let grace = self.random.rng.below(400) as i64;
                let max = 1 + self.random.rng.below(40) as u32;
                self.condemn(grace, max);
            }
            4..7 => self.delete_condemned(50),
            7..9 => self.sweep(SWEEP),
            _ => self.end_session(),
        }
    }

    /// Whether there is more.
    fn condemn(&mut self, grace: i64, max: u32) -> bool {
        let answer = self.apply(None, &Command::CollectGarbage { grace, max, now: Timestamp(i64::MAX) });
        let Ok(Outcome::Collected { more, condemned }) = answer else { panic!("{answer:?}") };
        let before = self.world.condemned.len();
        for (chunk, _) in self.condemned() {
            self.world.condemned.insert(chunk);
            self.world.under.remove(&chunk);
        }
        assert_eq!(self.world.condemned.len() - before, condemned as usize);
        more
    }

    fn condemned(&self) -> Vec<(ChunkId, CondemnedStep)> {
        let mut all = Vec::new();
        loop {
            let after = all.last().map(|(chunk, _)| *chunk);
            match ask(&self.kv, Query::Condemned { after, max: 100 }) {
                Ok(Answer::Condemned(page)) if page.is_empty() => return all,
                Ok(Answer::Condemned(page)) => all.extend(page),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Has the nodes delete some of what is condemned, and the group forget it.
    fn delete_condemned(&mut self, percent: u64) {
        let mut gone = Vec::new();
        for (chunk, step) in self.condemned() {
            if self.random.rng.chance(percent) && gone.len() < 1024 {
                let closed = self.world.is_closed(chunk);
                match step {
                    CondemnedStep::Delete => drop(self.world.stored.remove(&chunk)),
                    CondemnedStep::Wait => assert!(!closed && !self.world.stored.contains_key(&chunk)),
                    CondemnedStep::Forget => assert!(closed && !self.world.stored.contains_key(&chunk)),
                }
                gone.push(chunk);
            }
        }
        assert_eq!(self.apply(None, &Command::ForgetChunks { chunks: gone.clone() }), Ok(Outcome::Done));
        gone.into_iter().for_each(|chunk| self.world.forget(chunk));
    }

    /// Looks for orphans among what the nodes hold, and deletes them.
    fn sweep(&mut self, max: u64) {
        let skip = self.random.rng.below(self.world.stored.len() as u64 + 1).saturating_sub(max) as usize;
        let own = self.world.stored.keys().filter(|chunk| chunk.group() == GROUP);
        let chunks: Vec<ChunkId> = own.skip(skip).take(max.min(1024) as usize).copied().collect();
        for (chunk, verdict) in chunks.iter().zip(self.verdicts(&chunks)) {
            let (known, closed) = (self.world.known.contains_key(chunk), self.world.is_closed(*chunk));
            match verdict {
                ChunkVerdict::Referenced | ChunkVerdict::Waiting => assert!(known, "{chunk}"),
                ChunkVerdict::Staged => assert!(self.world.staged.contains(chunk), "{chunk}"),
                ChunkVerdict::Open => assert!(!known && !closed, "{chunk}"),
                ChunkVerdict::Condemned => assert!(self.world.condemned.contains(chunk), "{chunk}"),
                ChunkVerdict::Garbage => assert!(!known && closed, "{chunk}"),
            }
            if verdict.may_be_deleted() {
                self.world.stored.remove(chunk);
            }
        }
    }

    fn verdicts(&self, chunks: &[ChunkId]) -> Vec<ChunkVerdict> {
        match ask(&self.kv, Query::JudgeChunks { chunks: chunks.to_vec() }) {
            Ok(Answer::Judged(verdicts)) => verdicts,
            other => panic!("{other:?}"),
        }
    }

    fn end_session(&mut self) {
        let at = self.random.rng.below(self.live.len() as u64) as usize;
        let next = SessionId(self.live.iter().max().expect("three").0 + 1);
        let session = std::mem::replace(&mut self.live[at], next);
        self.end(session, session);
        // Whoever was paused meanwhile comes too late, with new commands and with old ones.
        let client = &self.sessions.entry(session).or_default();
        let (seq, low) = (1 + self.random.rng.below(client.seq + 1), client.low.max(1));
        self.world.session = session;
        let late = self.random.command(&mut self.world);
        let answer = self.apply(Some(RequestId { session, seq, low: low.min(seq) }), &late);
        assert_eq!(answer, Err(Refusal::SessionClosed));
    }

    fn end(&mut self, first: SessionId, last: SessionId) {
        loop {
            match self.apply(None, &Command::EndSessions { first, last }) {
                Ok(Outcome::Ended { more: true, .. }) => {}
                Ok(Outcome::Ended { more: false, last: ended }) => {
                    assert!(ended >= last);
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        (first.0..=last.0).for_each(|session| self.world.end(SessionId(session)));
        assert_eq!(ask(&self.kv, Query::SessionsOver { first, last }), Ok(Answer::SessionsOver(true)));
    }

    /// Everybody has left: nothing stays on the nodes but content.
    pub fn finish(&mut self) {
        self.world.session = self.live[0];
        let uploads: Vec<_> =
            self.world.uploads.iter().map(|(id, open)| (open.bucket, open.key.clone(), *id)).collect();
        for (bucket, key, upload) in uploads {
            self.send(self.live[0], Command::AbortUpload { bucket, key, upload });
        }
        // Entries that give the sweep of the uploads time.
        for _ in 0..100 {
            self.send(self.live[0], Command::EnsureBucket { bucket: BucketId(1) });
        }
        self.end(SessionId(1), SessionId(1_000_000));
        while self.condemn(0, 500) {}
        while !self.condemned().is_empty() {
            self.delete_condemned(100);
        }
        let all: Vec<ChunkId> = self.world.stored.keys().copied().filter(|chunk| chunk.group() == GROUP).collect();
        let mut kept = BTreeSet::new();
        for chunks in all.chunks(1024) {
            for (chunk, verdict) in chunks.iter().zip(self.verdicts(chunks)) {
                match verdict {
                    ChunkVerdict::Referenced => drop(kept.insert(*chunk)),
                    ChunkVerdict::Garbage => drop(self.world.stored.remove(chunk)),
                    other => panic!("{chunk} is {other:?}"),
                }
            }
        }
        assert!(self.world.known.keys().all(|chunk| kept.contains(chunk)), "nothing is known but what is referred to");
        self.world.under.retain(|chunk, _| kept.contains(chunk));
        self.whole();
        assert_eq!(invariants::check(&self.kv, GROUP).expect("memory does not fail"), Vec::<String>::new());
    }
}
