use super::*;
use ReadVerdict::{Done, Lost, Pending};
use proptest::prelude::*;
use types::{Blake3Root, ChunkId, leaves_of, root_of};

const T0: Moment = Moment(0);
const INTACT: GetAnswer = GetAnswer::Intact(Bytes::from_static(b"intact"));

fn start(order: &[usize]) -> (Read, ReadStep) {
    Read::start(T0, order.to_vec(), ReadTimes::default())
}

fn answer(read: &mut Read, now: u64, member: usize, answer: GetAnswer) -> ReadStep {
    read.step(Moment(now), ReadEvent::Answer(member, answer))
}

fn sample(len: usize) -> (ChunkRef, Piece) {
    let data: Vec<u8> = (0..len).map(|i| (i * 7 % 253) as u8).collect();
    let leaves = leaves_of(&data);
    let chunk = ChunkRef { id: ChunkId(1), len: len as u32, root: root_of(&data, &leaves) };
    (chunk, Piece { first_leaf: 0, chunk_len: len as u32, leaves, data: data.into() })
}

/// The leaves `from..to` of a piece that holds all.
fn leaves(piece: &Piece, from: usize, to: usize) -> Piece {
    let end = (to * LEAF_BYTES).min(piece.data.len());
    Piece { first_leaf: from as u32, data: piece.data.slice(from * LEAF_BYTES..end), ..piece.clone() }
}

#[test]
fn a_range_is_cut_out_of_the_leaves_that_cover_it() {
    let (chunk, whole) = sample(5 * LEAF_BYTES + 17);
    let range = (2 * LEAF_BYTES as u32 + 5)..(4 * LEAF_BYTES as u32 - 1);
    let expected = whole.data.slice(range.start as usize..range.end as usize);
    for piece in [&whole, &leaves(&whole, 2, 4), &leaves(&whole, 1, 6)] {
        assert_eq!(check(&chunk, &range, piece), Ok(expected.clone()));
    }
    let tail = (chunk.len - 3)..chunk.len;
    assert_eq!(check(&chunk, &tail, &leaves(&whole, 5, 6)).map(|data| data.len()), Ok(3));
    let (small, whole) = sample(100);
    assert_eq!(check(&small, &(10..20), &whole), Ok(whole.data.slice(10..20)));
}

#[test]
fn nothing_that_differs_is_believed() {
    let (chunk, whole) = sample(3 * LEAF_BYTES);
    let range = 10..(LEAF_BYTES as u32 + 1);
    let flipped = |piece: &Piece, at: usize| {
        let mut data = piece.data.to_vec();
        data[at] ^= 1;
        Piece { data: data.into(), ..piece.clone() }
    };
    let hostile = [
        flipped(&whole, 0),
        flipped(&whole, 2 * LEAF_BYTES),
        leaves(&whole, 0, 1),
        leaves(&whole, 1, 3),
        Piece { data: whole.data.slice(..2 * LEAF_BYTES - 1), ..whole.clone() },
        Piece { data: Bytes::new(), ..whole.clone() },
        Piece { first_leaf: u32::MAX, ..whole.clone() },
        Piece { first_leaf: 1, ..leaves(&whole, 0, 2) },
        Piece { chunk_len: chunk.len + 1, ..whole.clone() },
        Piece { leaves: Vec::new(), ..whole.clone() },
        Piece { leaves: vec![[0; 32]; 3], ..whole.clone() },
        Piece { leaves: vec![[0; 32]; 4000], ..whole.clone() },
        Piece { data: vec![0; 4 << 20].into(), ..whole.clone() },
    ];
    for (i, piece) in hostile.iter().enumerate() {
        assert_eq!(check(&chunk, &range, piece), Err(Mismatch), "case {i}");
    }
    let other = ChunkRef { root: Blake3Root([0; 32]), ..chunk };
    assert_eq!(check(&other, &range, &whole), Err(Mismatch));
}

#[test]
fn own_node_first_then_the_cheapest_then_the_dead() {
    let member = |node| Member { node: NodeId(node), disk: 0 };
    let members = [member(1), member(2), member(3)];
    let standing = |NodeId(node)| Standing { down: node == 1, remote: node != 3, cost: node };
    assert_eq!(order(&members, 1, standing), [2, 1, 0]);
    assert_eq!(order(&members, 10, standing), [2, 1, 0], "the own node stays first");
    let costs = |NodeId(node)| Standing { down: false, remote: true, cost: 10 - node };
    assert_eq!(order(&members, 1, costs), [2, 1, 0]);
    assert_eq!(order(&members, 20, costs), [1, 2, 0], "one in ten tries another");
    // Equals share the load.
    let equal = |_| Standing { down: false, remote: true, cost: 5 };
    let firsts: std::collections::BTreeSet<_> = (1..9).map(|spread| order(&members, spread, equal)[0]).collect();
    assert_eq!(firsts.len(), 3);
    assert_eq!(order(&[], 0, equal), [0usize; 0]);
}

#[test]
fn an_intact_answer_ends_the_read() {
    let (mut read, step) = start(&[1, 0, 2]);
    assert_eq!(step, ReadStep { ask: vec![1], verdict: Pending(Some(Moment(200))) });
    assert_eq!(answer(&mut read, 5, 1, INTACT).verdict, Done(Bytes::from_static(b"intact")));
}

#[test]
fn the_next_member_is_asked_at_once_when_one_fails() {
    for failure in [GetAnswer::Mismatch, GetAnswer::Failed, GetAnswer::Refused(ChunkError::NotFound)] {
        let (mut read, _) = start(&[2, 0, 1]);
        assert_eq!(answer(&mut read, 5, 2, failure).ask, [0]);
        assert!(matches!(answer(&mut read, 6, 0, INTACT).verdict, Done(_)));
    }
}

#[test]
fn a_slow_member_is_hedged_and_may_still_win() {
    let (mut read, _) = start(&[0, 1, 2]);
    assert_eq!(read.step(Moment(199), ReadEvent::Tick).ask, [0usize; 0]);
    assert_eq!(read.step(Moment(200), ReadEvent::Tick).ask, [1]);
    let step = read.step(Moment(400), ReadEvent::Tick);
    assert_eq!((step.ask, step.verdict), (vec![2], Pending(None)));
    assert!(matches!(answer(&mut read, 450, 0, INTACT).verdict, Done(_)));
}

#[test]
fn lost_only_when_every_member_answered_without_an_intact_copy() {
    let (mut read, _) = start(&[0, 1, 2]);
    answer(&mut read, 1, 0, GetAnswer::Mismatch);
    answer(&mut read, 2, 1, GetAnswer::Refused(ChunkError::NotFound));
    let step = answer(&mut read, 3, 2, GetAnswer::Failed);
    assert_eq!(step.verdict, Pending(Some(Moment(23))), "the last one may have it");
    assert_eq!(read.step(Moment(23), ReadEvent::Tick).ask, [2]);
    assert_eq!(answer(&mut read, 24, 2, GetAnswer::Refused(ChunkError::Corrupt)).verdict, Lost);
    assert_eq!(read.corrupt().collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn members_that_do_not_answer_are_asked_again_with_growing_pauses() {
    let (mut read, _) = start(&[0]);
    let mut now = 0;
    for pause in [20, 40, 80, 160, 320, 320] {
        assert_eq!(answer(&mut read, now, 0, GetAnswer::Failed).verdict, Pending(Some(Moment(now + pause))));
        now += pause;
        assert_eq!(read.step(Moment(now), ReadEvent::Tick).ask, [0]);
    }
}

proptest! {
    /// With one intact replica that answers, the read succeeds whatever the others do and in whatever order.
    #[test]
    fn one_intact_replica_is_found(
        good in 0..3usize,
        order in Just(vec![0, 1, 2]).prop_shuffle(),
        script in prop::collection::vec((0..500u64, 0..5u8), 0..40),
    ) {
        let (mut read, step) = Read::start(T0, order, ReadTimes::default());
        let mut asked = step.ask;
        let (mut now, mut verdict) = (T0, step.verdict);
        let mut script = script.into_iter();
        for _ in 0..200 {
            let wake = match &verdict {
                Pending(wake) => *wake,
                Done(_) => return Ok(()),
                Lost => panic!("lost"),
            };
            let (pause, choice) = script.next().unwrap_or((1, 0));
            let event = match (asked.is_empty(), choice) {
                (true, _) | (_, 4) => {
                    now = wake.unwrap_or(now + pause).max(now);
                    ReadEvent::Tick
                }
                _ => {
                    now = now + pause;
                    let member = asked.remove(0);
                    ReadEvent::Answer(member, match choice {
                        _ if member == good => INTACT,
                        1 => GetAnswer::Failed,
                        2 => GetAnswer::Mismatch,
                        _ => GetAnswer::Refused(ChunkError::NotFound),
                    })
                }
            };
            let step = read.step(now, event);
            prop_assert!(step.ask.len() <= 1);
            asked.extend(step.ask);
            verdict = step.verdict;
        }
        prop_assert!(matches!(verdict, Done(_)), "no end: {:?}", read);
    }
}
