use super::*;
use WriteVerdict::{Done, Elsewhere, Failed, Pending};
use proptest::prelude::*;
use types::PgEpoch;

const T0: Moment = Moment(0);

fn start(down: u8) -> (Write, WriteStep) {
    Write::start(T0, Beliefs { down, ..Beliefs::default() }, WriteTimes::default())
}

/// Feeds answers that come at once, without any alternative; the last verdict.
fn feed(write: &mut Write, alternative: Alternative, answers: &[(usize, PutAnswer)]) -> WriteStep {
    let mut last = None;
    for (member, answer) in answers {
        last = Some(write.step(T0, |_| alternative, WriteEvent::Answer(*member, answer.clone())));
    }
    last.expect("at least one answer")
}

fn refused(error: ChunkError) -> PutAnswer {
    PutAnswer::Refused(error)
}

#[test]
fn three_durable_copies_are_done() {
    let (mut write, step) = start(0);
    assert_eq!(step.ask, [0, 1, 2]);
    assert_eq!(
        feed(&mut write, Alternative::Ready, &[(0, PutAnswer::Stored), (2, PutAnswer::Stored)]).verdict,
        Pending(Some(Moment(1000)))
    );
    assert_eq!(feed(&mut write, Alternative::Ready, &[(1, PutAnswer::Stored)]).verdict, Done { missing: 0 });
}

#[test]
fn a_failed_member_sends_the_chunk_elsewhere_at_once() {
    for answer in [
        refused(ChunkError::NoSpace),
        refused(ChunkError::Fenced),
        PutAnswer::Unreachable,
        PutAnswer::TimedOut,
        PutAnswer::Rejected,
    ] {
        let (mut write, _) = start(0);
        assert_eq!(feed(&mut write, Alternative::Ready, &[(1, answer)]).verdict, Elsewhere { refresh: false });
    }
}

#[test]
fn without_an_alternative_two_suffice_once_the_third_failed() {
    let (mut write, _) = start(0);
    let answers = [(0, PutAnswer::Stored), (1, PutAnswer::Unreachable)];
    assert!(matches!(feed(&mut write, Alternative::None, &answers).verdict, Pending(_)));
    assert_eq!(feed(&mut write, Alternative::None, &[(2, PutAnswer::Stored)]).verdict, Done { missing: 0b010 });
    assert_eq!(write.failures().collect::<Vec<_>>(), [(1, Failure::Unreachable)]);
}

#[test]
fn a_member_known_to_be_down_is_not_asked_and_not_waited_for() {
    let (mut write, step) = start(0b100);
    assert_eq!(step.ask, [0, 1]);
    feed(&mut write, Alternative::None, &[(0, PutAnswer::Stored)]);
    assert_eq!(feed(&mut write, Alternative::None, &[(1, PutAnswer::Stored)]).verdict, Done { missing: 0b100 });
    // Found down while it is waited for.
    let (mut write, _) = start(0);
    feed(&mut write, Alternative::None, &[(0, PutAnswer::Stored), (1, PutAnswer::Stored)]);
    let step = write.step(T0, |_| Alternative::None, WriteEvent::Down(2));
    assert_eq!(step.verdict, Done { missing: 0b100 });
}

#[test]
fn a_member_that_lags_is_given_up_after_its_time() {
    for (alternative, verdict) in
        [(Alternative::Ready, Elsewhere { refresh: false }), (Alternative::None, Done { missing: 0b100 })]
    {
        let (mut write, _) = start(0);
        feed(&mut write, alternative, &[(0, PutAnswer::Stored), (1, PutAnswer::Stored)]);
        assert!(matches!(
            write.step(Moment(999), |_| alternative, WriteEvent::Tick).verdict,
            Pending(Some(Moment(1000)))
        ));
        assert_eq!(write.step(Moment(1000), |_| alternative, WriteEvent::Tick).verdict, verdict);
        assert_eq!(write.unanswered().collect::<Vec<_>>(), [2]);
    }
}

#[test]
fn what_is_to_blame_for_each_member_that_lacks_the_chunk() {
    let lacking = |write: &Write, now| write.lacking(now).collect::<Vec<_>>();
    let (write, _) = start(0b100);
    assert_eq!(lacking(&write, T0), [(2, Blame::Node)], "known to be down");
    for (answer, blame) in [
        (refused(ChunkError::NoLease), Some(Blame::Node)),
        (PutAnswer::Unreachable, Some(Blame::Node)),
        (PutAnswer::TimedOut, Some(Blame::Node)),
        (refused(ChunkError::NoSpace), Some(Blame::Disk)),
        (refused(ChunkError::Fenced), Some(Blame::Disk)),
        (PutAnswer::Lost, None),
        (refused(ChunkError::Busy), None),
        (PutAnswer::Stored, None),
    ] {
        let (mut write, _) = start(0);
        feed(&mut write, Alternative::TooCostly, &[(0, PutAnswer::Stored)]);
        let mut seen = None;
        let note = |write: &Write| {
            seen = Some(lacking(write, T0));
            Alternative::Ready
        };
        write.step(T0, note, WriteEvent::Answer(1, answer));
        assert_eq!(seen, blame.map(|blame| vec![(1, blame)]));
    }
    // One that lags, and not the one that was asked later.
    let (mut write, _) = start(0);
    feed(&mut write, Alternative::None, &[(0, PutAnswer::Stored), (1, PutAnswer::Lost)]);
    write.step(T0 + 500, |_| Alternative::None, WriteEvent::Tick);
    assert_eq!(lacking(&write, Moment(1999)), []);
    assert_eq!(lacking(&write, Moment(2000)), [(1, Blame::Disk), (2, Blame::Disk)]);
    write.step(Moment(700), |_| Alternative::None, WriteEvent::Answer(1, PutAnswer::Stored));
    assert_eq!(lacking(&write, Moment(1699)), []);
    assert_eq!(lacking(&write, Moment(1700)), [(2, Blame::Disk)]);
}

#[test]
fn a_member_that_lagged_lately_is_asked_and_not_waited_for() {
    let begin = |late| Write::start(T0, Beliefs { late, ..Beliefs::default() }, WriteTimes::default());
    for (alternative, verdict) in
        [(Alternative::Ready, Elsewhere { refresh: false }), (Alternative::None, Done { missing: 0b100 })]
    {
        let (mut write, step) = begin(0b100);
        assert_eq!(step.ask, [0, 1, 2]);
        assert!(matches!(feed(&mut write, alternative, &[(0, PutAnswer::Stored)]).verdict, Pending(_)));
        assert_eq!(feed(&mut write, alternative, &[(1, PutAnswer::Stored)]).verdict, verdict);
        assert_eq!(write.unanswered().collect::<Vec<_>>(), [2]);
        assert_eq!(write.lagging().count(), 0, "that says nothing new of it");
    }
    // It may be in time, and busy is no reason to wait for it.
    let (mut write, _) = begin(0b001);
    feed(&mut write, Alternative::None, &[(0, PutAnswer::Stored), (1, PutAnswer::Stored)]);
    assert_eq!(feed(&mut write, Alternative::None, &[(2, PutAnswer::Stored)]).verdict, Done { missing: 0 });
    let (mut write, _) = begin(0b001);
    let answers = [(0, refused(ChunkError::Busy)), (1, PutAnswer::Stored), (2, PutAnswer::Stored)];
    assert_eq!(feed(&mut write, Alternative::None, &answers).verdict, Done { missing: 0b001 });
    // Two copies are needed, whoever has them.
    let (mut write, _) = begin(0b110);
    assert!(matches!(feed(&mut write, Alternative::None, &[(0, PutAnswer::Stored)]).verdict, Pending(_)));
    assert_eq!(feed(&mut write, Alternative::None, &[(1, PutAnswer::Stored)]).verdict, Done { missing: 0b100 });
}

#[test]
fn one_copy_alone_is_never_enough() {
    let (mut write, _) = start(0);
    feed(&mut write, Alternative::None, &[(0, PutAnswer::Stored)]);
    let step = write.step(Moment(60_000), |_| Alternative::None, WriteEvent::Tick);
    assert!(matches!(step.verdict, Pending(_)));
    assert_eq!(write.expire(Alternative::None), Failed(WriteFailure::Unavailable));
}

#[test]
fn a_spent_budget_makes_a_write_wait_and_never_content_with_two() {
    let (mut write, _) = start(0);
    let answers = [(0, PutAnswer::Stored), (1, PutAnswer::Stored), (2, refused(ChunkError::NoSpace))];
    assert!(matches!(feed(&mut write, Alternative::TooCostly, &answers).verdict, Pending(Some(_))));
    assert!(matches!(write.step(Moment(5000), |_| Alternative::TooCostly, WriteEvent::Tick).verdict, Pending(Some(_))));
    assert_eq!(write.expire(Alternative::TooCostly), Failed(WriteFailure::Unavailable));
    assert_eq!(
        write.step(Moment(5001), |_| Alternative::Ready, WriteEvent::Tick).verdict,
        Elsewhere { refresh: false }
    );
}

#[test]
fn with_a_spent_budget_a_member_that_may_come_back_is_asked_again() {
    for gone in [refused(ChunkError::NoLease), PutAnswer::Unreachable, PutAnswer::TimedOut] {
        let (mut write, _) = start(0);
        let answers = [(0, PutAnswer::Stored), (1, PutAnswer::Stored), (2, gone.clone())];
        let step = feed(&mut write, Alternative::TooCostly, &answers);
        assert_eq!((step.ask, step.verdict), (vec![], Pending(Some(T0 + 20))));
        assert_eq!(write.step(T0 + 20, |_| Alternative::TooCostly, WriteEvent::Tick).ask, [2]);
        let step = write.step(T0 + 21, |_| Alternative::TooCostly, WriteEvent::Answer(2, gone));
        assert_eq!((step.ask, step.verdict), (vec![], Pending(Some(T0 + 61))), "ever more seldom");
        assert_eq!(write.step(T0 + 61, |_| Alternative::TooCostly, WriteEvent::Tick).ask, [2]);
        let stored = write.step(T0 + 70, |_| Alternative::TooCostly, WriteEvent::Answer(2, PutAnswer::Stored));
        assert_eq!(stored.verdict, Done { missing: 0 });
    }
}

#[test]
fn members_that_lag_behind_the_only_copy_send_it_elsewhere() {
    let (mut write, _) = start(0);
    feed(&mut write, Alternative::Ready, &[(0, PutAnswer::Stored)]);
    assert_eq!(write.step(Moment(1999), |_| Alternative::Ready, WriteEvent::Tick).verdict, Pending(Some(Moment(2000))));
    assert_eq!(
        write.step(Moment(2000), |_| Alternative::Ready, WriteEvent::Tick).verdict,
        Elsewhere { refresh: false }
    );
}

#[test]
fn busy_is_backed_off_and_sent_to_the_same_member_again() {
    let (mut write, _) = start(0);
    feed(&mut write, Alternative::Ready, &[(0, PutAnswer::Stored), (1, PutAnswer::Stored)]);
    let mut now = T0;
    for pause in [20, 40, 80, 160, 320, 320, 320, 320] {
        let step = write.step(now, |_| Alternative::Ready, WriteEvent::Answer(2, refused(ChunkError::Busy)));
        assert_eq!(step, WriteStep { ask: vec![], verdict: Pending(Some(now + pause)) });
        now = now + pause;
        assert_eq!(write.step(now, |_| Alternative::Ready, WriteEvent::Tick).ask, [2]);
    }
    assert!(now > Moment(1000), "beyond the lag that is given to a silent member");
    assert_eq!(
        write.step(now, |_| Alternative::Ready, WriteEvent::Answer(2, PutAnswer::Stored)).verdict,
        Done { missing: 0 }
    );
}

#[test]
fn a_busy_member_at_the_end_of_time_is_overload() {
    let (mut write, _) = start(0);
    let busy = refused(ChunkError::Busy);
    feed(&mut write, Alternative::Ready, &[(0, PutAnswer::Stored), (1, PutAnswer::Stored), (2, busy)]);
    assert_eq!(write.expire(Alternative::None), Failed(WriteFailure::Busy));
}

#[test]
fn a_broken_connection_is_tried_once_more() {
    let (mut write, _) = start(0);
    assert_eq!(feed(&mut write, Alternative::None, &[(1, PutAnswer::Lost)]).ask, [1]);
    let step = feed(&mut write, Alternative::Ready, &[(1, PutAnswer::Lost)]);
    assert_eq!(step.verdict, Elsewhere { refresh: false });
}

#[test]
fn with_two_members_down_they_are_asked_all_the_same() {
    let (mut write, step) = start(0b110);
    assert_eq!(step.ask, [0, 1, 2]);
    feed(&mut write, Alternative::None, &[(0, PutAnswer::Stored), (1, PutAnswer::Unreachable)]);
    let step = feed(&mut write, Alternative::None, &[(2, PutAnswer::Unreachable)]);
    // Both again after a pause, as long as the caller has patience.
    assert_eq!(step.verdict, Pending(Some(Moment(20))));
    assert_eq!(write.step(Moment(20), |_| Alternative::None, WriteEvent::Tick).ask, [1, 2]);
    let step = write.step(Moment(25), |_| Alternative::None, WriteEvent::Answer(2, PutAnswer::Stored));
    assert!(matches!(step.verdict, Pending(_)));
    let step = write.step(Moment(26), |_| Alternative::None, WriteEvent::Answer(1, PutAnswer::Unreachable));
    assert_eq!(step.verdict, Done { missing: 0b010 });
}

#[test]
fn two_full_disks_fail_the_write() {
    let (mut write, _) = start(0);
    let full = || refused(ChunkError::NoSpace);
    assert!(matches!(feed(&mut write, Alternative::None, &[(0, full())]).verdict, Pending(_)));
    assert_eq!(feed(&mut write, Alternative::None, &[(1, full())]).verdict, Failed(WriteFailure::NoSpace));
}

#[test]
fn a_stale_map_is_refreshed_and_an_invalid_chunk_is_given_up() {
    let (mut write, _) = start(0);
    let stale = refused(ChunkError::StaleEpoch { current: PgEpoch(2) });
    assert_eq!(feed(&mut write, Alternative::None, &[(0, stale)]).verdict, Elsewhere { refresh: true });
    let (mut write, _) = start(0);
    let taken = refused(ChunkError::Conflict);
    assert_eq!(feed(&mut write, Alternative::None, &[(0, taken)]).verdict, Elsewhere { refresh: false });
    let (mut write, _) = start(0);
    let invalid = refused(ChunkError::Invalid);
    assert_eq!(feed(&mut write, Alternative::Ready, &[(0, invalid)]).verdict, Failed(WriteFailure::Invalid));
}

#[test]
fn a_late_answer_counts() {
    let (mut write, _) = start(0);
    feed(&mut write, Alternative::None, &[(0, PutAnswer::Stored)]);
    write.step(T0, |_| Alternative::None, WriteEvent::Down(2));
    assert!(matches!(
        write.step(T0, |_| Alternative::None, WriteEvent::Answer(2, PutAnswer::Stored)).verdict,
        Pending(_)
    ));
    assert_eq!(write.step(T0, |_| Alternative::None, WriteEvent::Down(1)).verdict, Done { missing: 0b010 });
}

#[test]
fn the_rewrite_budget_follows_what_is_written() {
    let mut budget = RewriteBudget::new(100);
    budget.spend(95);
    assert!(budget.affords(5) && !budget.affords(6));
    budget.earn(100);
    assert!(budget.affords(15) && !budget.affords(16));
    budget.earn(u64::MAX / 2);
    assert!(budget.affords(100) && !budget.affords(101));
}

#[test]
fn the_rewrite_budget_fills_with_time_too() {
    let mut budget = RewriteBudget::new(100);
    budget.fill(Moment(500_000));
    budget.spend(100);
    // Looked at often, it fills as fast.
    (0..=FILL_MILLIS / 2).for_each(|millis| budget.fill(Moment(500_000 + millis)));
    assert!(budget.affords(50) && !budget.affords(51));
    budget.fill(Moment(0));
    budget.fill(Moment(u64::MAX));
    assert!(budget.affords(100) && !budget.affords(101));
}

fn any_answer() -> impl Strategy<Value = PutAnswer> {
    prop_oneof![
        4 => Just(PutAnswer::Stored),
        1 => Just(PutAnswer::Unreachable),
        1 => Just(PutAnswer::Lost),
        1 => Just(PutAnswer::TimedOut),
        1 => Just(PutAnswer::Rejected),
        2 => Just(refused(ChunkError::Busy)),
        1 => Just(refused(ChunkError::NoSpace)),
        1 => Just(refused(ChunkError::NotMember)),
    ]
}

fn any_event() -> impl Strategy<Value = (u64, Alternative, WriteEvent)> {
    let event = prop_oneof![
        1 => Just(WriteEvent::Tick),
        4 => (0..3usize, any_answer()).prop_map(|(member, answer)| WriteEvent::Answer(member, answer)),
        1 => (0..3usize).prop_map(WriteEvent::Down),
    ];
    let alternative =
        prop_oneof![3 => Just(Alternative::None), 1 => Just(Alternative::TooCostly), 1 => Just(Alternative::Ready)];
    (0..700u64, alternative, event)
}

proptest! {
    /// Whatever happens in whatever order: done means at least two copies and an honest mask, three wherever that was
    /// possible, and nothing is asked for in the past.
    #[test]
    fn a_write_keeps_its_promises(down in 0..8u8, late in 0..8u8, events in prop::collection::vec(any_event(), 1..60)) {
        let beliefs = Beliefs { down, late, ..Beliefs::default() };
        let (mut write, step) = Write::start(T0, beliefs, WriteTimes::default());
        let mut asked = [0usize; 3];
        step.ask.iter().for_each(|member| asked[*member] += 1);
        prop_assert!(step.ask.len() >= 2);
        let (mut now, mut stored) = (T0, 0u8);
        for (pause, alternative, event) in events {
            now = now + pause;
            if let WriteEvent::Answer(member, answer) = &event {
                if asked[*member] == 0 {
                    continue;
                }
                asked[*member] -= 1;
                stored |= u8::from(*answer == PutAnswer::Stored) << member;
            }
            let busy_only = matches!(event, WriteEvent::Answer(_, PutAnswer::Refused(ChunkError::Busy)));
            let step = write.step(now, |_| alternative, event);
            for member in step.ask {
                prop_assert_eq!(stored >> member & 1, 0, "a member that has the chunk is not asked");
                asked[member] += 1;
            }
            match step.verdict {
                Done { missing } => {
                    prop_assert_eq!(missing, !stored & 0b111);
                    prop_assert!(missing.count_ones() <= 1);
                    prop_assert!(missing == 0 || alternative == Alternative::None);
                    return Ok(());
                }
                Elsewhere { refresh } => {
                    prop_assert!(alternative == Alternative::Ready || refresh);
                    prop_assert!(!busy_only || write.failures().next().is_some() || write.unanswered().next().is_some() || (down | late) != 0);
                    return Ok(());
                }
                Failed(_) => {
                    prop_assert!(stored.count_ones() < 2);
                    return Ok(());
                }
                Pending(wake) => {
                    prop_assert!(wake.is_none_or(|wake| wake > now));
                    let outstanding = asked.iter().any(|count| *count > 0);
                    prop_assert!(wake.is_some() || outstanding, "something will happen");
                }
            }
        }
    }

    /// Members that answer in the end, however often they are busy, break off or are slow, get their copies.
    #[test]
    fn a_write_comes_to_an_end(script in prop::collection::vec((0..3usize, 0..300u64, prop_oneof![
        Just(PutAnswer::Lost), Just(refused(ChunkError::Busy)), Just(PutAnswer::Unreachable)
    ]), 0..20)) {
        let (mut write, step) = start(0);
        let mut queue: Vec<(u64, usize)> = step.ask.into_iter().map(|member| (5, member)).collect();
        let mut script = script.into_iter();
        let mut wake = None;
        let mut steps = 0..200;
        while steps.next().is_some() {
            queue.sort_unstable();
            let due = queue.first().map(|(at, _)| *at);
            let (now, event) = match (due, wake) {
                (Some(at), Some(Moment(wake))) if wake < at => (wake, WriteEvent::Tick),
                (Some(at), _) => {
                    let (_, member) = queue.remove(0);
                    let answer = script.next().map_or(PutAnswer::Stored, |(_, _, answer)| answer);
                    (at, WriteEvent::Answer(member, answer))
                }
                (None, Some(Moment(wake))) => (wake, WriteEvent::Tick),
                (None, None) => panic!("stuck: {write:?}"),
            };
            let step = write.step(Moment(now), |_| Alternative::None, event);
            queue.extend(step.ask.into_iter().map(|member| (now + 7, member)));
            match step.verdict {
                Pending(at) => wake = at,
                Done { .. } => return Ok(()),
                other => panic!("{other:?}"),
            }
        }
        prop_assert!(steps.start < steps.end, "no end: {:?}", write);
    }
}

#[test]
fn the_disk_that_comes_in_is_waited_for_and_counts_for_nothing() {
    let begin = |down| Write::start(T0, Beliefs { moving: true, down, ..Beliefs::default() }, WriteTimes::default());
    let stored = |members: &[usize]| members.iter().map(|at| (*at, PutAnswer::Stored)).collect::<Vec<_>>();
    let (mut write, step) = begin(0);
    assert_eq!(step.ask, [0, 1, 2, 3]);
    let step = feed(&mut write, Alternative::Ready, &stored(&[0, 1, 2]));
    assert_eq!(step.verdict, Pending(Some(Moment(1000))), "it may still come");
    assert_eq!(feed(&mut write, Alternative::Ready, &stored(&[3])).verdict, Done { missing: 0 });
    // It comes late, or not at all: the write is done, and says so.
    let (mut write, _) = begin(0);
    feed(&mut write, Alternative::Ready, &stored(&[0, 1, 2]));
    let late = write.step(Moment(1000), |_| Alternative::Ready, WriteEvent::Tick);
    assert_eq!(late.verdict, Done { missing: 0b1000 });
    for answer in [refused(ChunkError::NoSpace), PutAnswer::TimedOut, PutAnswer::Unreachable] {
        let (mut write, _) = begin(0);
        assert!(matches!(feed(&mut write, Alternative::Ready, &[(3, answer)]).verdict, Pending(_)));
        assert_eq!(feed(&mut write, Alternative::Ready, &stored(&[0, 1, 2])).verdict, Done { missing: 0b1000 });
    }
    let late = Beliefs { moving: true, late: 0b1000, ..Beliefs::default() };
    let (mut write, step) = Write::start(T0, late, WriteTimes::default());
    assert_eq!(step.ask, [0, 1, 2, 3]);
    assert_eq!(feed(&mut write, Alternative::Ready, &stored(&[0, 1, 2])).verdict, Done { missing: 0b1000 });
    let (mut write, step) = begin(0b1000);
    assert_eq!(step.ask, [0, 1, 2]);
    assert_eq!(feed(&mut write, Alternative::Ready, &stored(&[0, 1, 2])).verdict, Done { missing: 0b1000 });
    // Its copy replaces none of the members'.
    let (mut write, _) = begin(0);
    let answers = [(1, PutAnswer::Unreachable), (3, PutAnswer::Stored), (0, PutAnswer::Stored)];
    assert!(matches!(feed(&mut write, Alternative::None, &answers).verdict, Pending(_)));
    assert_eq!(feed(&mut write, Alternative::None, &stored(&[2])).verdict, Done { missing: 0b010 });
    // An epoch it does not know is refreshed, as a member's is.
    let (mut write, _) = begin(0);
    let answer = (3, refused(ChunkError::StaleEpoch { current: PgEpoch(1) }));
    assert_eq!(feed(&mut write, Alternative::None, &[answer]).verdict, Elsewhere { refresh: true });
}
