//! Looks for orphans among the chunks of a node, in the order of `chunk-server`'s `sweep_worker.rs`: a pass first finds everything and
//! then deletes; only what the group's leader judges deletable goes.

use super::{Got, Scene, Want};
use chunk_core::collect::Breaker;
use proto::control::{ControlAnswer, ControlQuery};
use proto::meta::{Answer, ChunkVerdict, Query};
use std::collections::BTreeMap;
use types::{ChunkId, Moment};

/// Ids in one page and one question. Few, so that a run has more than one page.
const PAGE: usize = 40;

/// What was wanted last.
#[derive(Default)]
enum Stage {
    #[default]
    Idle,
    /// Whether orphans are looked for.
    Options,
    /// Verdicts on these.
    Judging(Vec<ChunkId>),
    /// Condemned ones deleted, before the next page.
    Deleting(ChunkId),
    /// Whether orphans are still to be deleted.
    OptionsAgain,
    /// The rest of the orphans deleted.
    Ending,
}

/// The look for orphans of a process.
#[derive(Default)]
pub(super) struct Sweeper {
    breaker: Breaker,
    found: Vec<ChunkId>,
    stage: Stage,
}

impl Sweeper {
    pub(super) fn step(&mut self, got: Got, scene: &Scene<'_>) -> Want {
        match (std::mem::take(&mut self.stage), got) {
            (_, Got::Begin) => {
                self.found.clear();
                self.want(Stage::Options, Want::Control(ControlQuery::Garbage))
            }
            (Stage::Options, Got::Control(ControlAnswer::Garbage(options))) if options.on => self.page(None, scene),
            (Stage::Judging(page), got) => self.judged(&page, &got, scene),
            (Stage::Deleting(last), _) => self.page(Some(last), scene),
            (Stage::OptionsAgain, Got::Control(ControlAnswer::Garbage(options))) if options.on => {
                let orphans = std::mem::take(&mut self.found);
                let count = orphans.len() as u64;
                if !self.breaker.admit(Moment(scene.now), scene.chunks.count(), count, options.lifted) || count == 0 {
                    return Want::Rest;
                }
                self.want(Stage::Ending, delete_here(orphans, scene))
            }
            _ => Want::Rest,
        }
    }

    fn want(&mut self, stage: Stage, want: Want) -> Want {
        self.stage = stage;
        want
    }

    fn page(&mut self, after: Option<ChunkId>, scene: &Scene<'_>) -> Want {
        let page = scene.chunks.list(after, PAGE);
        if page.is_empty() {
            // Asked again: a pass may take long, and the operator's word of now counts.
            return self.want(Stage::OptionsAgain, Want::Control(ControlQuery::Garbage));
        }
        let query = Query::JudgeChunks { chunks: page.clone() };
        self.want(Stage::Judging(page), Want::Leader(query))
    }

    /// No answer, or one that is too short, keeps the chunks.
    fn judged(&mut self, page: &[ChunkId], got: &Got, scene: &Scene<'_>) -> Want {
        let Some(last) = page.last().copied() else { return Want::Rest };
        let Got::Answer(Answer::Judged(verdicts)) = got else { return self.page(Some(last), scene) };
        if verdicts.len() != page.len() {
            return self.page(Some(last), scene);
        }
        let mut condemned = Vec::new();
        for (chunk, verdict) in page.iter().zip(verdicts) {
            match verdict {
                ChunkVerdict::Garbage => self.found.push(*chunk),
                ChunkVerdict::Condemned => condemned.push(*chunk),
                ChunkVerdict::Referenced | ChunkVerdict::Staged | ChunkVerdict::Waiting | ChunkVerdict::Open => {}
            }
        }
        if condemned.is_empty() {
            return self.page(Some(last), scene);
        }
        self.want(Stage::Deleting(last), delete_here(condemned, scene))
    }
}

fn delete_here(chunks: Vec<ChunkId>, scene: &Scene<'_>) -> Want {
    Want::Delete(BTreeMap::from([(scene.node, chunks)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunks::{ChunkStore, Flush};
    use bytes::Bytes;
    use proto::control::GarbageOptions;
    use types::{NodeId, PlacementMap};

    fn pass(answer: &dyn Fn(&[ChunkId]) -> Got) -> Vec<ChunkId> {
        let mut store = ChunkStore::default();
        for id in 1..=3 {
            let data = Bytes::from_static(b"chunk");
            store.put(ChunkId(id), types::root_of(&data, &[]), data).expect("good bytes");
            store.flushed(ChunkId(id), Flush::Honest);
        }
        let map = PlacementMap::default();
        let scene = Scene::of(NodeId(7), &map, &store);
        let (mut sweeper, mut got, mut deleted) = (Sweeper::default(), Got::Begin, Vec::new());
        loop {
            got = match sweeper.step(got, &scene) {
                Want::Control(_) => Got::Control(ControlAnswer::Garbage(GarbageOptions::default())),
                Want::Leader(Query::JudgeChunks { chunks }) => answer(&chunks),
                Want::Delete(wanted) => {
                    deleted.extend(wanted[&NodeId(7)].clone());
                    Got::Deleted(wanted.into_iter().collect())
                }
                Want::Rest => return deleted,
                other => panic!("{other:?}"),
            };
        }
    }

    #[test]
    fn only_what_is_judged_deletable_goes_and_no_answer_keeps_all() {
        use ChunkVerdict::{Condemned, Garbage, Open};
        let judged = |_: &[ChunkId]| Got::Answer(Answer::Judged(vec![Garbage, Open, Condemned]));
        assert_eq!(pass(&judged), [ChunkId(3), ChunkId(1)]);
        assert_eq!(pass(&|_| Got::Nothing), []);
        assert_eq!(pass(&|_| Got::Answer(Answer::Judged(vec![Garbage]))), []);
    }
}
