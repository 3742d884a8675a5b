//! Works off the garbage of a group, in the order of `chunk-server`'s `collect_worker.rs`: sessions that are over are ended, what is
//! due is condemned, every member deletes what is condemned, and what all have deleted is forgotten.

use super::{Got, Scene, Want};
use chunk_core::collect::{Deletions, ended};
use proto::control::{ControlAnswer, ControlQuery};
use proto::meta::{Answer, Command, CondemnedStep, Outcome, Query};
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use types::{ChunkId, SessionId, Timestamp};

/// Chunks in one page, one delete and one command. Few, so that a run has more than one page.
const PAGE: u32 = 24;
/// Pages and commands of each kind in a round.
const STEPS_PER_ROUND: u32 = 16;

type Runs = VecDeque<RangeInclusive<SessionId>>;

/// What was wanted last.
#[derive(Default)]
enum Stage {
    #[default]
    Idle,
    /// Whether garbage is collected.
    Options,
    /// Which sessions are open.
    Sessions(i64),
    /// Whether the first of these runs of sessions is over.
    Over(i64, Runs),
    /// Their end, after so many commands.
    Ending(i64, Runs, u32),
    /// How much garbage there is.
    Status(i64),
    /// What time it is, by the clocks of the voters.
    Clocks(i64),
    /// Garbage condemned by this time, by so many commands.
    Condemning(i64, Timestamp, u32),
    /// The page of condemned chunks of this number.
    Page(u32),
    /// These deleted, and those are gone already.
    Deleting(Page, Vec<ChunkId>, Vec<ChunkId>),
    /// These forgotten.
    Forgetting(Page, Vec<ChunkId>),
}

/// Where a round stands among the condemned chunks.
struct Page {
    number: u32,
    last: Option<ChunkId>,
    full: bool,
}

/// The collector of a process.
#[derive(Default)]
pub(super) struct Collector {
    deletions: Deletions,
    stage: Stage,
}

impl Collector {
    pub(super) fn step(&mut self, got: Got, scene: &Scene<'_>) -> Want {
        match (std::mem::take(&mut self.stage), got) {
            (_, Got::Begin) => self.want(Stage::Options, Want::Control(ControlQuery::Garbage)),
            (Stage::Options, Got::Control(ControlAnswer::Garbage(options))) if options.on => {
                self.want(Stage::Sessions(options.grace), Want::Control(ControlQuery::OpenSessions))
            }
            (Stage::Sessions(grace), Got::Control(ControlAnswer::OpenSessions { open, last })) => {
                self.next_run(grace, ended(&open, last).into())
            }
            // Without an answer nobody is known to be over; the rest of the round goes on.
            (Stage::Sessions(grace), _) => self.next_run(grace, Runs::new()),
            (Stage::Over(grace, mut runs), got) => match runs.front().cloned() {
                Some(run) if got == Got::Answer(Answer::SessionsOver(false)) => {
                    let command = Command::EndSessions { first: *run.start(), last: *run.end() };
                    self.want(Stage::Ending(grace, runs, 1), Want::Propose(command))
                }
                _ => {
                    runs.pop_front();
                    self.next_run(grace, runs)
                }
            },
            (Stage::Ending(grace, runs, steps), got) => self.ended(grace, runs, steps, &got),
            (Stage::Status(grace), Got::Answer(Answer::Garbage(status))) => {
                // The group judges for itself; this only spares it commands that would find nothing.
                match status.oldest {
                    Some(oldest) if oldest.0.saturating_add(grace) <= scene.clock.0 => {
                        self.want(Stage::Clocks(grace), Want::Clocks)
                    }
                    _ => self.page(0, None),
                }
            }
            // A group's time that is ahead does no harm here: the earlier of it and the clocks counts.
            (Stage::Clocks(grace), Got::Clocks(others, voters)) => {
                match scene.agreed(&others, voters, Timestamp(i64::MIN)) {
                    Some(now) => self.condemn(grace, now, 1),
                    None => self.page(0, None),
                }
            }
            (Stage::Condemning(grace, now, steps), Got::Outcome(Outcome::Collected { more: true, .. }))
                if steps < STEPS_PER_ROUND =>
            {
                self.condemn(grace, now, steps + 1)
            }
            (Stage::Status(_) | Stage::Clocks(_) | Stage::Condemning(..), _) => self.page(0, None),
            (Stage::Page(number), Got::Answer(Answer::Condemned(rows))) => self.delete(number, &rows, scene),
            (Stage::Deleting(page, condemned, gone), Got::Deleted(done)) => {
                self.deleted(page, &condemned, gone, done, scene)
            }
            (Stage::Forgetting(page, gone), got) => {
                if matches!(got, Got::Outcome(_)) {
                    self.deletions.forget(&gone);
                }
                self.next_page(&page)
            }
            _ => Want::Rest,
        }
    }

    fn want(&mut self, stage: Stage, want: Want) -> Want {
        self.stage = stage;
        want
    }

    fn next_run(&mut self, grace: i64, runs: Runs) -> Want {
        match runs.front() {
            Some(run) => {
                let query = Query::SessionsOver { first: *run.start(), last: *run.end() };
                self.want(Stage::Over(grace, runs), Want::Own(query))
            }
            None => self.want(Stage::Status(grace), Want::Own(Query::Garbage)),
        }
    }

    fn ended(&mut self, grace: i64, mut runs: Runs, steps: u32, got: &Got) -> Want {
        let Some(run) = runs.front_mut().filter(|_| steps < STEPS_PER_ROUND) else {
            runs.pop_front();
            return self.next_run(grace, runs);
        };
        match got {
            Got::Outcome(Outcome::Ended { last, more: true }) => {
                let from = if last < run.end() { SessionId(last.0 + 1) } else { *run.start() };
                *run = from..=*run.end();
                let command = Command::EndSessions { first: from, last: *run.end() };
                self.want(Stage::Ending(grace, runs, steps + 1), Want::Propose(command))
            }
            _ => {
                runs.pop_front();
                self.next_run(grace, runs)
            }
        }
    }

    fn condemn(&mut self, grace: i64, now: Timestamp, steps: u32) -> Want {
        let command = Command::CollectGarbage { grace, max: PAGE, now };
        self.want(Stage::Condemning(grace, now, steps), Want::Propose(command))
    }

    fn page(&mut self, number: u32, after: Option<ChunkId>) -> Want {
        self.want(Stage::Page(number), Want::Own(Query::Condemned { after, max: PAGE }))
    }

    fn next_page(&mut self, page: &Page) -> Want {
        if page.full && page.number + 1 < STEPS_PER_ROUND { self.page(page.number + 1, page.last) } else { Want::Rest }
    }

    /// Every member is asked to delete what is condemned, unless it has said before that it did.
    fn delete(&mut self, number: u32, rows: &[(ChunkId, CondemnedStep)], scene: &Scene<'_>) -> Want {
        let of = |step| rows.iter().filter(move |(_, wanted)| *wanted == step).map(|(chunk, _)| *chunk);
        let condemned: Vec<ChunkId> = of(CondemnedStep::Delete).collect();
        let page = Page { number, last: rows.last().map(|(chunk, _)| *chunk), full: rows.len() >= PAGE as usize };
        let wanted = self.deletions.wanted(&condemned, scene.map);
        let gone = of(CondemnedStep::Forget).collect();
        self.want(Stage::Deleting(page, condemned, gone), Want::Delete(wanted))
    }

    fn deleted(
        &mut self,
        page: Page,
        condemned: &[ChunkId],
        mut gone: Vec<ChunkId>,
        done: Vec<(super::NodeId, Vec<ChunkId>)>,
        scene: &Scene<'_>,
    ) -> Want {
        for (node, chunks) in done {
            self.deletions.acknowledged(node, &chunks);
        }
        // A map that has changed meanwhile may name a member that was not asked.
        gone.extend(self.deletions.gone(condemned, scene.map));
        if gone.is_empty() {
            return self.next_page(&page);
        }
        let command = Command::ForgetChunks { chunks: gone.clone() };
        self.want(Stage::Forgetting(page, gone), Want::Propose(command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunks::ChunkStore;
    use proto::control::GarbageOptions;
    use proto::meta::GarbageStatus;
    use types::{Member, NodeEntry, NodeId, PgEpoch, PgId, PlacementGroup, PlacementMap};

    fn map() -> PlacementMap {
        let node = |id| NodeEntry::new(NodeId(id), String::new(), id.to_string(), []);
        let members = (1..=3).map(|id| Member { node: NodeId(id), disk: 0 }).collect();
        let groups = vec![PlacementGroup::settled(PgId(0), PgEpoch(1), members)];
        let nodes = (1..=3).map(node).collect();
        PlacementMap { version: 1, nodes, groups, slots: vec![0], ..PlacementMap::default() }
    }

    /// A round over one condemned chunk with nodes of which some are deaf: who was asked to delete, and whether it was forgotten.
    fn round(collector: &mut Collector, deaf: &[u64]) -> (Vec<u64>, bool) {
        let (map, chunks) = (map(), ChunkStore::default());
        let scene = Scene::of(NodeId(1), &map, &chunks);
        let (mut got, mut asked, mut forgotten) = (Got::Begin, Vec::new(), false);
        loop {
            got = match collector.step(got, &scene) {
                Want::Control(ControlQuery::Garbage) => Got::Control(ControlAnswer::Garbage(GarbageOptions::default())),
                Want::Control(_) => Got::Nothing,
                Want::Own(Query::Garbage) => Got::Answer(Answer::Garbage(GarbageStatus::default())),
                Want::Own(Query::Condemned { .. }) => {
                    Got::Answer(Answer::Condemned(vec![(ChunkId(1), CondemnedStep::Delete)]))
                }
                Want::Delete(wanted) => {
                    asked.extend(wanted.keys().map(|node| node.0));
                    Got::Deleted(wanted.into_iter().filter(|(node, _)| !deaf.contains(&node.0)).collect())
                }
                Want::Propose(Command::ForgetChunks { .. }) => {
                    forgotten = true;
                    Got::Outcome(Outcome::Done)
                }
                Want::Rest => return (asked, forgotten),
                other => panic!("{other:?}"),
            };
        }
    }

    #[test]
    fn a_chunk_is_forgotten_when_every_member_has_deleted_it() {
        let mut collector = Collector::default();
        assert_eq!(round(&mut collector, &[2]), (vec![1, 2, 3], false));
        assert_eq!(round(&mut collector, &[2]), (vec![2], false));
        assert_eq!(round(&mut collector, &[]), (vec![2], true));
    }
}
