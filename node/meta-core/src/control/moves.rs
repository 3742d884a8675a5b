//! Moves of copies: the steps of [`types::Move`], each fenced by the group and its epoch.
//!
//! A step that was taken already, or whose group has moved on, changes nothing: whoever drives moves looks at the map again and goes on from
//! there.

use super::{Change, Step};
use proto::control::{ControlOutcome, ControlRefusal};
use types::{Member, Move, MovePhase, PgEpoch, PgId, PlacementGroup, PlacementMap, SetDigest};

impl Change<'_> {
    pub(super) fn begin_move(&mut self, pg: PgId, epoch: PgEpoch, from: Member, to: Member) -> Step<ControlOutcome> {
        let mut map = self.map()?;
        let group = map.group(pg).ok_or(ControlRefusal::NoSuchGroup)?;
        let at = group.members.iter().position(|member| *member == from);
        if let Some(moving) = &group.moving {
            let same = group.epoch.0 == epoch.0 + 1 && at == Some(usize::from(moving.at)) && moving.to == to;
            return if same { Ok(ControlOutcome::Done) } else { Err(stale(group, epoch)) };
        }
        if group.epoch != epoch {
            return Err(stale(group, epoch));
        }
        let at = at.ok_or(types::MoveFault::NoSuchMember).map_err(ControlRefusal::from)?;
        map.move_fits(group, at, to).map_err(ControlRefusal::from)?;
        let group = group_mut(&mut map, pg)?;
        group.moving = Some(Move { at: at as u8, to, phase: MovePhase::Barrier });
        group.epoch.0 += 1;
        self.set_map(map);
        Ok(ControlOutcome::Done)
    }

    pub(super) fn pass_barrier(&mut self, pg: PgId, epoch: PgEpoch) -> Step<ControlOutcome> {
        self.advance(pg, epoch, |phase| match phase {
            MovePhase::Barrier => Some(MovePhase::Copying),
            MovePhase::Copying | MovePhase::Synced { .. } => None,
        })
    }

    pub(super) fn note_synced(
        &mut self,
        pg: PgId,
        epoch: PgEpoch,
        chunks: u64,
        digest: SetDigest,
    ) -> Step<ControlOutcome> {
        let map = self.map()?;
        if matches!(moving_of(&map, pg, epoch)?.phase, MovePhase::Barrier) {
            return Err(ControlRefusal::WrongPhase.into());
        }
        self.advance(pg, epoch, |phase| match phase {
            MovePhase::Copying => Some(MovePhase::Synced { chunks, digest }),
            MovePhase::Barrier | MovePhase::Synced { .. } => None,
        })
    }

    /// The new member takes the place of the one that leaves.
    pub(super) fn commit_move(&mut self, pg: PgId, epoch: PgEpoch) -> Step<ControlOutcome> {
        let mut map = self.map()?;
        let moving = moving_of(&map, pg, epoch)?.clone();
        if !matches!(moving.phase, MovePhase::Synced { .. }) {
            return Err(ControlRefusal::WrongPhase.into());
        }
        let group = group_mut(&mut map, pg)?;
        group.members[usize::from(moving.at)] = moving.to;
        end(group);
        self.set_map(map);
        Ok(ControlOutcome::Done)
    }

    pub(super) fn abort_move(&mut self, pg: PgId, epoch: PgEpoch) -> Step<ControlOutcome> {
        let mut map = self.map()?;
        moving_of(&map, pg, epoch)?;
        end(group_mut(&mut map, pg)?);
        self.set_map(map);
        Ok(ControlOutcome::Done)
    }

    fn advance(
        &mut self,
        pg: PgId,
        epoch: PgEpoch,
        next: impl FnOnce(MovePhase) -> Option<MovePhase>,
    ) -> Step<ControlOutcome> {
        let mut map = self.map()?;
        let phase = moving_of(&map, pg, epoch)?.phase;
        if let Some(phase) = next(phase)
            && let Some(moving) = &mut group_mut(&mut map, pg)?.moving
        {
            moving.phase = phase;
            self.set_map(map);
        }
        Ok(ControlOutcome::Done)
    }
}

/// Nobody may act on the old members, or on the disk that was to come in, without looking again.
fn end(group: &mut PlacementGroup) {
    group.moving = None;
    group.epoch.0 += 1;
}

fn group_mut(map: &mut PlacementMap, pg: PgId) -> Result<&mut PlacementGroup, ControlRefusal> {
    map.groups.iter_mut().find(|group| group.id == pg).ok_or(ControlRefusal::NoSuchGroup)
}

/// The move of a group at this very epoch.
fn moving_of(map: &PlacementMap, pg: PgId, epoch: PgEpoch) -> Result<&Move, ControlRefusal> {
    let group = map.group(pg).ok_or(ControlRefusal::NoSuchGroup)?;
    match &group.moving {
        Some(moving) if group.epoch == epoch => Ok(moving),
        _ => Err(refusal(group, epoch)),
    }
}

fn refusal(group: &PlacementGroup, epoch: PgEpoch) -> ControlRefusal {
    match group.epoch == epoch {
        true => ControlRefusal::WrongPhase,
        false => ControlRefusal::StaleEpoch { current: group.epoch },
    }
}

fn stale(group: &PlacementGroup, epoch: PgEpoch) -> super::Stop {
    refusal(group, epoch).into()
}
