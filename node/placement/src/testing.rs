//! Plans carried out, for the tests.

use crate::{Limits, Plan, Report, check_plan, plan};
use types::PlacementMap;

/// Carries out a plan at once.
pub(crate) fn carry_out(map: &mut PlacementMap, plan: &Plan) {
    for planned in &plan.moves {
        let group = map.groups.iter_mut().find(|group| group.id == planned.pg).expect("a group");
        let at = group.members.iter().position(|member| *member == planned.from).expect("a member");
        group.members[at] = planned.to;
        group.epoch.0 += 2;
    }
}

/// Plans and carries out until nothing is planned, in so many steps at most; returns the last report and how many moves it took. No step makes any of
/// the numbers smaller that `spread` says of a map.
pub(crate) fn settle(
    map: &mut PlacementMap,
    steps: usize,
    spread: impl Fn(&PlacementMap) -> Vec<usize>,
) -> (Report, usize) {
    let limits = Limits::from(&map.options);
    let mut moves = 0;
    for _ in 0..steps {
        let (planned, report) = plan(map, &limits);
        assert_eq!(check_plan(map, &planned, &limits), Vec::<String>::new());
        let before = spread(map);
        carry_out(map, &planned);
        assert!(before.iter().zip(spread(map)).all(|(old, new)| new >= *old));
        if planned.is_empty() {
            return (report, moves);
        }
        moves += planned.moves.len();
    }
    panic!("moves without end");
}
