//! Rests, and that nobody has one before every node knows what that is.

use super::{Answered, Control, map};
use proto::control::{
    ControlAnswer, ControlCommand as C, ControlOutcome, ControlQuery, ControlRefusal, REST_SECONDS_MAX,
};
use types::{FeatureLevel, NodeId, NodeMode, Timestamp};

const DONE: Answered = Ok(ControlOutcome::Done);

fn rest(node: u64, seconds: u32) -> C {
    C::RestNode { node: NodeId(node), seconds }
}

fn at(level: FeatureLevel) -> Control {
    let mut control = Control::empty();
    assert_eq!(control.run(C::Bootstrap { map: types::PlacementMap { level, ..map() } }), DONE);
    control
}

fn rests(control: &Control) -> Vec<(u64, i64)> {
    match control.ask(ControlQuery::Rests) {
        ControlAnswer::Rests(rests) => rests.into_iter().map(|(node, until)| (node.0, until.0)).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_node_rests_until_its_time_is_over_or_an_operator_says_so() {
    let mut control = at(FeatureLevel::RESTS);
    let before = control.map();
    assert_eq!((control.run(rest(1, 60)), control.run(rest(2, 10))), (DONE, DONE));
    assert_eq!(rests(&control), [(1, 2 + 60 * Timestamp::SECOND), (2, 3 + 10 * Timestamp::SECOND)]);
    assert_eq!(control.run(rest(1, 30)), DONE);
    assert_eq!(rests(&control)[0], (1, 4 + 30 * Timestamp::SECOND), "the later word counts");
    assert_eq!((control.run(rest(1, 0)), control.run(rest(1, 0))), (DONE, DONE));
    assert_eq!(rests(&control), [(2, 3 + 10 * Timestamp::SECOND)]);
    control.time += 10 * Timestamp::SECOND;
    assert_eq!(control.run(rest(3, 1)), DONE);
    assert_eq!(rests(&control).len(), 1, "what is over is forgotten");
    assert_eq!(control.map(), before, "the map knows nothing of it");
}

#[test]
fn nobody_rests_for_ever_nor_who_is_not_there() {
    let mut control = at(FeatureLevel::RESTS);
    assert_eq!(control.run(rest(1, REST_SECONDS_MAX + 1)), Err(ControlRefusal::Setting));
    assert_eq!(control.run(rest(9, 60)), Err(ControlRefusal::NoSuchNode));
    let mut map = map();
    map.level = FeatureLevel::RESTS;
    map.nodes[0].mode = NodeMode::Removed;
    let mut control = Control::empty();
    assert_eq!(control.run(C::Bootstrap { map }), DONE);
    assert_eq!(control.run(rest(1, 60)), Err(ControlRefusal::Gone));
    assert_eq!(rests(&control), []);
}

#[test]
fn before_every_node_knows_what_a_rest_is_there_is_none() {
    let mut control = at(FeatureLevel::FIRST);
    let early = Err(ControlRefusal::Level { needs: FeatureLevel::RESTS, at: FeatureLevel::FIRST });
    assert_eq!((control.run(rest(1, 60)), rests(&control)), (early, Vec::new()));
    for node in 1..=3 {
        assert_eq!(control.run(C::SpeakLevel { node: NodeId(node), level: FeatureLevel::RESTS }), DONE);
    }
    assert_eq!(control.run(C::Finalize { level: FeatureLevel::RESTS }), DONE);
    assert_eq!((control.run(rest(1, 60)), rests(&control).len()), (DONE, 1));
}
