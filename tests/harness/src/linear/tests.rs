use super::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

fn event(action: Action, call: u64, answer: u64) -> Event {
    Event { action, call: Moment(call), answer: Moment(answer) }
}

fn put(value: u64, call: u64, answer: u64) -> Event {
    event(Action::Put(OpId(value)), call, answer)
}

fn get(value: u64, call: u64, answer: u64) -> Event {
    event(Action::Get((value > 0).then_some(OpId(value))), call, answer)
}

fn delete(call: u64, answer: u64) -> Event {
    event(Action::Delete, call, answer)
}

const NEVER: u64 = u64::MAX;

/// Both judges, which must agree.
fn linearizable(history: &[Event]) -> bool {
    let (fast, slow) = (zones(history), search(history));
    assert_eq!(fast.is_ok(), slow.is_ok(), "{fast:?} {slow:?} {history:?}");
    fast.is_ok()
}

#[test]
fn what_makes_sense_is_accepted() {
    assert!(linearizable(&[]));
    assert!(linearizable(&[get(0, 1, 2), put(1, 3, 4), get(1, 5, 6)]));
    // While a put runs, both are right.
    assert!(linearizable(&[put(1, 1, 2), put(2, 3, 9), get(1, 4, 5), get(2, 6, 7), get(2, 10, 11)]));
    // Of two puts at the same time the later answered one may come first.
    assert!(linearizable(&[put(1, 1, 10), put(2, 2, 11), get(1, 12, 13)]));
    // An unknown one may come late, or never.
    assert!(linearizable(&[put(1, 1, NEVER), put(2, 3, 4), get(2, 5, 6), get(1, 7, 8)]));
    assert!(linearizable(&[put(1, 1, NEVER), put(2, 3, 4), get(2, 5, 6)]));
}

#[test]
fn what_makes_no_sense_is_found() {
    // A stale read after an acknowledged put.
    assert!(!linearizable(&[put(1, 1, 2), put(2, 3, 4), get(1, 5, 6)]));
    // A lost put.
    assert!(!linearizable(&[put(1, 1, 2), get(0, 3, 4)]));
    // Back to an older value.
    assert!(!linearizable(&[put(1, 1, 10), put(2, 2, 11), get(1, 12, 13), get(2, 14, 15)]));
    assert!(!linearizable(&[put(1, 1, NEVER), put(2, 3, 4), get(1, 5, 6), get(2, 7, 8)]));
    // From nowhere, and from the future.
    assert!(!linearizable(&[get(7, 1, 2)]));
    assert!(!linearizable(&[get(1, 1, 2), put(1, 3, 4)]));
}

#[test]
fn deletes_are_for_the_search() {
    let fits = [put(1, 1, 2), delete(3, 8), get(1, 4, 5), get(0, 6, 7), put(2, 9, 10), get(2, 11, 12)];
    assert_eq!(search(&fits), Ok(()));
    assert_eq!(zones(&fits), Err(Violation::NotForThisJudge));
    assert_eq!(search(&[put(1, 1, 2), delete(3, 4), get(1, 5, 6)]), Err(Violation::NoOrder));
    assert_eq!(search(&[put(1, 1, 2), get(0, 3, 4)]), Err(Violation::NoOrder));
    // An unknown delete explains it; one that was sent later does not.
    assert_eq!(search(&[delete(1, NEVER), put(1, 2, 3), get(1, 4, 5), get(0, 6, 7)]), Ok(()));
    assert_eq!(search(&[put(1, 2, 3), get(0, 6, 7), delete(8, NEVER)]), Err(Violation::NoOrder));
    assert_eq!(search(&[delete(1, NEVER), put(1, 2, 3), get(0, 4, 5), get(1, 6, 7)]), Err(Violation::NoOrder));
}

/// A register that works, used by some clients, as they would tell of it.
fn lived(seed: u64, clients: usize, operations: usize, deletes: bool) -> Vec<Event> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut free = vec![1_u64; clients];
    let mut planned = Vec::new();
    for number in 0..operations {
        let client = number % clients;
        let call = free[client] + rng.random_range(0..50);
        let effect = call + rng.random_range(1..100);
        let answer = effect + rng.random_range(1..100);
        free[client] = answer + 1;
        planned.push((effect, call, answer));
    }
    planned.sort_unstable();
    let mut value = None;
    let mut next = 0;
    let mut history = Vec::new();
    for (_, call, answer) in planned {
        let (unknown, happened) = (rng.random_range(0..20) == 0, rng.random());
        let action = match rng.random_range(0..10) {
            0..4 => {
                next += 1;
                Action::Put(OpId(next))
            }
            4 if deletes => Action::Delete,
            _ => Action::Get(value),
        };
        let changes = !matches!(action, Action::Get(_));
        if changes && (!unknown || happened) {
            value = after_it(action, value);
        }
        history.push(event(action, call, if changes && unknown { NEVER } else { answer }));
    }
    history
}

fn after_it(action: Action, value: Option<OpId>) -> Option<OpId> {
    match action {
        Action::Put(value) => Some(value),
        Action::Delete => None,
        Action::Get(_) => value,
    }
}

#[test]
fn real_registers_are_accepted_and_stale_ones_found() {
    for seed in 0..40 {
        let mut history = lived(seed, 5, 200, false);
        assert!(linearizable(&history), "seed {seed}");
        // The last get shows something acknowledged long ago.
        let old = history[20..].iter().find_map(|event| match event.action {
            Action::Put(value) if event.answer != Moment::NEVER => Some(value),
            _ => None,
        });
        let last = history.iter_mut().rev().find(|event| matches!(event.action, Action::Get(_))).expect("a get");
        last.action = Action::Get(old);
        assert!(!linearizable(&history), "seed {seed}");
    }
}

#[test]
fn real_registers_with_deletes_are_accepted_and_resurrections_found() {
    for seed in 0..40 {
        let mut history = lived(seed, 5, 200, true);
        assert_eq!(search(&history), Ok(()), "seed {seed}");
        let old = history[20..].iter().find_map(|event| match event.action {
            Action::Put(value) if event.answer != Moment::NEVER => Some(value),
            _ => None,
        });
        let last = history.iter_mut().rev().find(|event| matches!(event.action, Action::Get(_))).expect("a get");
        last.action = Action::Get(old);
        assert_eq!(search(&history), Err(Violation::NoOrder), "seed {seed}");
    }
}

#[test]
fn the_fast_judge_takes_long_histories() {
    assert_eq!(zones(&lived(3, 64, 100_000, false)), Ok(()));
}
