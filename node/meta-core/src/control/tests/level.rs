//! A level is for all nodes, or for none.

use super::{Answered, Control};
use proto::control::{ControlCommand as C, ControlOutcome, ControlRefusal};
use types::{FeatureLevel, NodeId, NodeMode};

const DONE: Answered = Ok(ControlOutcome::Done);

fn speak(node: u64, level: u32) -> C {
    C::SpeakLevel { node: NodeId(node), level: FeatureLevel(level) }
}

fn finalize(level: u32) -> C {
    C::Finalize { level: FeatureLevel(level) }
}

fn behind(node: u64, speaks: u32) -> Answered {
    Err(ControlRefusal::NodeBehind { node: NodeId(node), speaks: FeatureLevel(speaks) })
}

#[test]
fn the_cluster_goes_to_a_level_once_every_node_can_do_it_and_never_back() {
    let mut control = Control::new();
    assert_eq!(control.run(finalize(1)), behind(1, 0), "nobody has said anything");
    for node in 1..=3 {
        assert_eq!(control.run(speak(node, 1)), DONE);
    }
    assert_eq!((control.run(finalize(1)), control.run(finalize(1))), (DONE, DONE));
    let before = control.map();
    assert_eq!((control.run(speak(2, 1)), control.map()), (DONE, before.clone()), "nothing new");
    assert_eq!((control.run(speak(1, 2)), control.run(speak(2, 2))), (DONE, DONE));
    assert_eq!(control.run(finalize(2)), behind(3, 1));
    assert_eq!(control.map().level, FeatureLevel(1));
    assert_eq!((control.run(speak(3, 3)), control.run(finalize(3))), (DONE, behind(1, 2)));
    assert_eq!(control.run(finalize(2)), DONE);
    assert_eq!((control.map().level, control.run(finalize(1))), (FeatureLevel(2), Err(ControlRefusal::Setting)));
    assert_eq!(control.run(speak(9, 2)), Err(ControlRefusal::NoSuchNode));
}

#[test]
fn a_node_that_was_removed_holds_nobody_back() {
    let mut map = Control::new().map();
    map.raft_groups.iter_mut().for_each(|group| {
        group.voters = vec![NodeId(1)];
        group.wanted = vec![NodeId(1)];
    });
    let mut control = Control::empty();
    assert_eq!(control.run(C::Bootstrap { map }), DONE);
    assert_eq!((control.run(speak(1, 2)), control.run(speak(2, 2)), control.run(speak(3, 1))), (DONE, DONE, DONE));
    assert_eq!(control.run(finalize(2)), behind(3, 1));
    assert_eq!(control.run(C::SetNodeMode { node: NodeId(3), mode: NodeMode::Removed }), DONE);
    assert_eq!(control.run(finalize(2)), DONE);
}
