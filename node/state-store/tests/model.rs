//! Random changes, reads, savepoints, commits, views and restarts, compared with a `BTreeMap`.

mod common;

use common::{Model, all, folder, open, point};
use meta_core::kv::{Kv, KvRead};
use proptest::prelude::*;
use state_store::StateView;
use std::ops::Bound;

#[derive(Clone, Debug)]
enum Op {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    Get(Vec<u8>),
    Scan(Vec<u8>, Vec<u8>, usize),
    /// Runs the operations and takes them back.
    Refused(Vec<Op>),
}

/// What happens to a batch after its operations.
#[derive(Clone, Debug)]
enum End {
    Commit,
    CommitAndView,
    CommitAndReopen,
    Drop,
}

/// Few and short keys that meet often, with the bytes that are special to somebody.
fn key() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(0), Just(b'a'), Just(b'r'), Just(0xff)], 0..4)
}

fn op() -> impl Strategy<Value = Op> {
    let leaf = prop_oneof![
        4 => (key(), proptest::collection::vec(any::<u8>(), 0..3)).prop_map(|(key, value)| Op::Put(key, value)),
        2 => key().prop_map(Op::Delete),
        2 => key().prop_map(Op::Get),
        3 => (key(), key(), 0usize..6).prop_map(|(start, end, limit)| Op::Scan(start, end, limit)),
    ];
    leaf.prop_recursive(2, 12, 6, |inner| proptest::collection::vec(inner, 0..6).prop_map(Op::Refused))
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => Just(End::Commit), 2 => Just(End::CommitAndView), 1 => Just(End::CommitAndReopen), 1 => Just(End::Drop)
    ]
}

fn scan(model: &Model, start: &[u8], end: &[u8], limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    if start >= end {
        return Vec::new();
    }
    let range = model.range::<[u8], _>((Bound::Included(start), Bound::Excluded(end)));
    range.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn check(rows: &impl KvRead, model: &Model, op: &Op) -> Result<(), TestCaseError> {
    match op {
        Op::Get(key) => {
            let found = rows.get(key).expect("readable").map(|value| value.to_vec());
            prop_assert_eq!(found, model.get(key).cloned());
        }
        Op::Scan(start, end, limit) => {
            let found = rows.scan(start, end, *limit).expect("readable");
            let found: Vec<_> = found.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
            prop_assert_eq!(found, scan(model, start, end, *limit));
        }
        _ => {}
    }
    Ok(())
}

fn run(batch: &mut state_store::StateBatch<'_>, model: &mut Model, op: &Op) -> Result<(), TestCaseError> {
    match op {
        Op::Put(key, value) => {
            batch.put(key, value);
            model.insert(key.clone(), value.clone());
        }
        Op::Delete(key) => {
            batch.delete(key);
            model.remove(key);
        }
        Op::Get(_) | Op::Scan(..) => check(&*batch, model, op)?,
        Op::Refused(ops) => {
            let (savepoint, mut tried) = (batch.savepoint(), model.clone());
            ops.iter().try_for_each(|op| run(batch, &mut tried, op))?;
            batch.rollback(savepoint);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_store_behaves_like_a_sorted_map(
        rounds in proptest::collection::vec((proptest::collection::vec(op(), 0..10), end()), 1..12)
    ) {
        let dir = folder();
        let path = dir.path().join("1");
        let mut store = open(&path);
        let (mut model, mut index) = (Model::new(), 0);
        let mut views: Vec<(StateView, Model)> = Vec::new();
        for (ops, end) in &rounds {
            let (mut batch, mut tried) = (store.batch(), model.clone());
            for op in ops {
                run(&mut batch, &mut tried, op)?;
            }
            prop_assert_eq!(all(&store.view()), model.clone(), "nothing is seen before the commit");
            if matches!(end, End::Drop) {
                continue;
            }
            index += 1;
            store.commit(batch, point(index), None).expect("committed");
            model = tried;
            for op in ops {
                check(&store.view(), &model, op)?;
            }
            match end {
                End::CommitAndView => views.push((store.view(), model.clone())),
                End::CommitAndReopen => {
                    views.clear();
                    drop(store);
                    store = open(&path);
                }
                End::Commit | End::Drop => {}
            }
            prop_assert_eq!(store.applied(), point(index));
        }
        for (view, then) in &views {
            prop_assert_eq!(&all(view), then, "a view stays at its moment");
        }
        prop_assert_eq!(all(&store.view()), model);
    }
}
