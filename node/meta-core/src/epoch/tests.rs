use crate::key::Table;
use crate::testing::{Group, SESSION, chunk, chunks, inline, put};
use proto::meta::{Answer, BadChunk, ChunkVerdict, Command, Outcome, Query, Refusal};
use types::{ChunkId, RequestId, SessionId, WriterEpoch};

/// Ends sessions until nothing of them is left; returns how many commands it took.
fn end(group: &mut Group, first: u64, last: u64) -> u32 {
    for taken in 1..100 {
        let command = Command::EndSessions { first: SessionId(first), last: SessionId(last) };
        match group.send(None, command) {
            Ok(Outcome::Ended { more: false, last: ended }) => {
                assert!(ended >= SessionId(last));
                assert!(over(group, first, last));
                return taken;
            }
            Ok(Outcome::Ended { more: true, .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    panic!("it comes to no end");
}

fn over(group: &Group, first: u64, last: u64) -> bool {
    match group.ask(Query::SessionsOver { first: SessionId(first), last: SessionId(last) }) {
        Ok(Answer::SessionsOver(over)) => over,
        other => panic!("{other:?}"),
    }
}

fn request(session: u64, seq: u64) -> Option<RequestId> {
    Some(RequestId { session: SessionId(session), seq, low: 1 })
}

fn alive(group: &mut Group, session: u64) -> bool {
    // Sealing a bucket that is not there is refused whoever asks; what matters is why.
    let seal = Command::SealBucket { bucket: types::BucketId(99) };
    match group.send(request(session, 1), seal) {
        Err(Refusal::NoSuchBucket) => true,
        Err(Refusal::SessionClosed) => false,
        other => panic!("{other:?}"),
    }
}

fn judged(group: &Group, seq: u32) -> ChunkVerdict {
    match group.ask(Query::JudgeChunks { chunks: vec![chunk(seq, 1).id] }) {
        Ok(Answer::Judged(verdicts)) => verdicts[0],
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_the_session_closes_its_epochs_and_only_the_group_ends_sessions() {
    let mut group = Group::new();
    let close = Command::CloseEpoch { session: SessionId(8), epoch: WriterEpoch(1) };
    assert_eq!(group.run(close.clone()), Err(Refusal::Invalid));
    assert_eq!(group.send(None, close), Err(Refusal::Invalid));
    let own = [
        Command::EndSessions { first: SESSION, last: SESSION },
        Command::CollectGarbage { grace: 0, max: 10, now: types::Timestamp(i64::MAX) },
        Command::ForgetChunks { chunks: Vec::new() },
    ];
    for command in own {
        assert_eq!(group.run(command), Err(Refusal::Invalid));
    }
    let bad = [(0, 1), (2, 1), (1, 1 << 44)];
    for (first, last) in bad {
        let command = Command::EndSessions { first: SessionId(first), last: SessionId(last) };
        assert_eq!(group.send(None, command), Err(Refusal::Invalid));
    }
}

#[test]
fn closing_an_epoch_closes_those_before_it_and_opens_none() {
    let mut group = Group::new();
    let close = |epoch| Command::CloseEpoch { session: SESSION, epoch: WriterEpoch(epoch) };
    assert_eq!(judged(&group, 1), ChunkVerdict::Open);
    group.ok(close(2));
    group.ok(close(0));
    assert_eq!(judged(&group, 1), ChunkVerdict::Garbage, "epoch 1");
    assert_eq!(group.run(put("a", chunks(1, 1, 10))), Err(Refusal::BadChunk(BadChunk::EpochClosed)));
    assert_eq!(group.rows(Table::ClosedEpoch).len(), 1);
}

#[test]
fn an_ended_session_is_refused_and_what_it_staged_becomes_garbage() {
    let mut group = Group::new();
    group.put("a", chunks(1, 1, 10));
    group.ok(Command::Stage { chunks: vec![(chunk(2, 10), 0), (chunk(3, 10), 1)] });
    group.ok(Command::CloseEpoch { session: SESSION, epoch: WriterEpoch(0) });
    let seen = [1, 2, 3, 4].map(|seq| judged(&group, seq));
    use ChunkVerdict::{Garbage, Open, Referenced, Staged, Waiting};
    assert_eq!(seen, [Referenced, Staged, Staged, Open]);
    end(&mut group, SESSION.0, SESSION.0);
    assert_eq!([1, 2, 3, 4].map(|seq| judged(&group, seq)), [Referenced, Waiting, Waiting, Garbage]);
    for table in [Table::Session, Table::Answer, Table::Staged, Table::ClosedEpoch] {
        assert!(group.rows(table).is_empty(), "{table:?}");
    }
    assert_eq!(group.run(put("b", chunks(2, 1, 10))), Err(Refusal::SessionClosed), "not even what it had staged");
    assert_eq!(group.run(put("b", inline(b"1"))), Err(Refusal::SessionClosed));
    assert_eq!(end(&mut group, SESSION.0, SESSION.0), 1, "once more does nothing");
}

#[test]
fn a_lost_answer_asked_for_after_the_end_is_not_applied_again() {
    let mut group = Group::new();
    let first = group.send(request(50, 1), put("a", inline(b"1")));
    assert!(first.is_ok());
    end(&mut group, 50, 50);
    assert!(group.send(request(51, 1), put("a", inline(b"22"))).is_ok());
    assert_eq!(group.send(request(50, 1), put("a", inline(b"1"))), Err(Refusal::SessionClosed));
    assert_eq!(group.object("a").map(|attr| attr.size), Ok(2));
}

#[test]
fn runs_of_ended_sessions_merge_and_lift_the_floor() {
    let mut group = Group::new();
    let runs = |group: &Group| group.rows(Table::Ended).len();
    let floor = |group: &Group| crate::group::load(&group.kv).expect("memory").session_floor.0;
    end(&mut group, 100, 110);
    end(&mut group, 120, 120);
    assert_eq!((runs(&group), floor(&group)), (2, 0));
    assert!(alive(&mut group, 111) && alive(&mut group, 99) && !alive(&mut group, 105) && !alive(&mut group, 120));
    assert!(!over(&group, 110, 120) && over(&group, 101, 110));
    end(&mut group, 105, 119);
    assert_eq!(runs(&group), 1, "100..=120");
    end(&mut group, 1, 50);
    assert_eq!((runs(&group), floor(&group)), (1, 51));
    assert!(alive(&mut group, 51) && !alive(&mut group, 50));
    end(&mut group, 40, 99);
    assert_eq!((runs(&group), floor(&group)), (0, 121));
    assert!(alive(&mut group, 121) && !alive(&mut group, 51), "a window it had is gone too");
}

#[test]
fn many_sessions_end_in_several_commands() {
    let mut group = Group::new();
    for session in 1_000..2_500 {
        let seal = Command::SealBucket { bucket: types::BucketId(99) };
        group.send_unchecked(request(session, 1), seal).expect_err("no such bucket");
    }
    assert!(end(&mut group, 1, 5_000) > 1);
    assert_eq!(crate::group::load(&group.kv).expect("memory").session_floor, SessionId(5_001));
    assert!(group.rows(Table::Answer).is_empty());
}

#[test]
fn more_runs_than_a_command_takes_are_merged_by_the_next() {
    let mut group = Group::new();
    for run in 1..=1_500u64 {
        let command = Command::EndSessions { first: SessionId(10 * run), last: SessionId(10 * run + 5) };
        group.send_unchecked(None, command).expect("ended");
    }
    assert!(end(&mut group, 5, 20_000) > 1);
    assert_eq!(group.rows(Table::Ended).len(), 1);
    end(&mut group, 1, 4);
    assert_eq!(group.rows(Table::Ended).len(), 0);
}

#[test]
fn chunks_of_other_groups_are_not_judged() {
    let group = Group::new();
    let foreign = ChunkId(chunk(1, 1).id.0 ^ (1 << 92));
    for chunks in [vec![foreign], vec![chunk(1, 1).id; 1025]] {
        assert_eq!(group.ask(Query::JudgeChunks { chunks }), Err(Refusal::Invalid));
    }
}
