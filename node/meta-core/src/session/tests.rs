use crate::key::Table;
use crate::testing::{BUCKET, Group, inline, put};
use proto::meta::{Command, Outcome, Refusal};
use types::{RequestId, SESSION_WINDOW, SessionId};

const OTHER: SessionId = SessionId(50);

fn id(seq: u64, low: u64) -> Option<RequestId> {
    Some(RequestId { session: OTHER, seq, low })
}

fn seal() -> Command {
    Command::SealBucket { bucket: BUCKET }
}

#[test]
fn a_request_sent_again_is_answered_again_and_not_applied() {
    let mut group = Group::new();
    let first = group.send(id(1, 1), put("a", inline(b"1")));
    group.put("a", inline(b"22"));
    assert_eq!(group.send(id(1, 1), put("a", inline(b"1"))), first);
    assert_eq!(group.object("a").map(|attr| attr.size), Ok(2));
    assert_eq!(group.send(id(1, 1), seal()), first, "whatever the command says");
    assert!(matches!(first, Ok(Outcome::Object(_))));
}

#[test]
fn refusals_are_remembered_too() {
    let mut group = Group::new();
    group.put("a", inline(b"1"));
    assert_eq!(group.send(id(1, 1), seal()), Err(Refusal::NotEmpty));
    assert!(group.delete("a"));
    assert_eq!(group.send(id(1, 1), seal()), Err(Refusal::NotEmpty));
    assert_eq!(group.send(id(2, 1), seal()), Ok(Outcome::Done));
}

#[test]
fn answers_below_the_lowest_unanswered_are_forgotten() {
    let mut group = Group::new();
    for seq in 1..=5 {
        group.send(id(seq, 1), put("a", inline(b"1"))).expect("put");
    }
    let answers = |group: &Group| {
        let rows = group.rows(Table::Answer);
        rows.iter().filter(|(key, _)| key[1..9] == OTHER.0.to_be_bytes()).count()
    };
    assert_eq!(answers(&group), 5);
    group.send(id(6, 4), put("a", inline(b"1"))).expect("put");
    assert_eq!(answers(&group), 3);
    assert_eq!(group.send(id(3, 3), seal()), Err(Refusal::StaleRequest));
    assert_eq!(group.send(id(2, 9), seal()), Err(Refusal::StaleRequest), "below what it says itself");
    group.send(id(4, 1), seal()).expect("the stored answer, the window does not move back");
}

#[test]
fn a_session_has_a_window() {
    let mut group = Group::new();
    assert_eq!(group.send(id(SESSION_WINDOW, 1), put("a", inline(b"1"))).map(|_| ()), Ok(()));
    let beyond = SESSION_WINDOW + 1;
    assert_eq!(group.send(id(beyond, 1), put("b", inline(b"1"))), Err(Refusal::WindowFull));
    assert_eq!(group.object("b"), Err(Refusal::NotFound));
    group.send(id(beyond, 2), put("b", inline(b"1"))).expect("not remembered as refused");
    let far = Some(RequestId { session: OTHER, seq: u64::MAX, low: u64::MAX });
    group.send(far, put("c", inline(b"1"))).expect("the window may jump");
    assert_eq!(group.send(id(beyond + 1, 1), seal()), Err(Refusal::StaleRequest));
}

#[test]
fn sessions_do_not_share_numbers() {
    let mut group = Group::new();
    group.send(id(1, 1), put("a", inline(b"1"))).expect("put");
    let other = Some(RequestId { session: SessionId(51), seq: 1, low: 1 });
    group.send(other, put("b", inline(b"1"))).expect("put");
    assert_eq!(group.keys("", "").0, ["a", "b"]);
}

#[test]
fn sessions_below_the_floor_are_over() {
    let mut group = Group::new();
    group.send(id(1, 1), put("a", inline(b"1"))).expect("put");
    group.send(None, Command::EndSessions { first: SessionId(1), last: OTHER }).expect("ended");
    assert_eq!(group.send(id(1, 1), seal()), Err(Refusal::SessionClosed));
}
