//! A cluster shrinks from six nodes to three and grows to six again, by the operator's commands and under load: no request fails, every disk has
//! its share afterwards, and every byte is there.

use anyhow::Context;
use cluster::{Newcomer, Shelf, Traffic, levelled_on, shop_files, shop_images, stocked_shop};
use harness::{Cluster, Options, must};
use std::time::{Duration, Instant};

/// Nodes that stay.
const STAY: [u64; 3] = [1, 2, 3];
/// Nodes that go, one after the other.
const GO: [u64; 3] = [4, 5, 6];
/// Nodes that come, one after the other.
const COME: [u64; 3] = [7, 8, 9];

/// Between two new objects: what is written in the minutes that this takes has to find room beside what is moved.
const REST: Duration = Duration::from_millis(50);

#[test]
fn six_nodes_become_three_and_six_again_and_no_request_fails() {
    if !harness::in_tier_two("six nodes, three, six") {
        return;
    }
    let _turn = harness::exclusive();
    must(run());
}

fn run() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(Options { nodes: 6, ..Options::default() })?;
    let shop = stocked_shop(&cluster)?;
    let words = |cluster: &Cluster| cluster.last_words();
    shrink(&mut cluster, &shop).with_context(|| words(&cluster))?;
    shop.check(shop_files())?;
    grow(&cluster, &shop).with_context(|| words(&cluster))
}

fn shrink(cluster: &mut Cluster, shop: &Shelf) -> anyhow::Result<()> {
    let load = Traffic::of_readers(shop, shop_images()).and_a_writer(shop, "shrink", REST);
    for node in GO {
        let (start, name) = (Instant::now(), node.to_string());
        cluster.operate(&["node", "drain", &name])?;
        cluster.operate(&["node", "remove", &name])?;
        cluster.kill(node as usize - 1)?;
        println!("node {node} drained and removed after {:.1} s", start.elapsed().as_secs_f64());
    }
    levelled_on(cluster, &STAY)?;
    let served = load.finish(shop)?;
    println!("meanwhile {} requests, p99 {:.1} ms, none failed", served.count(), served.p99_ms());
    Ok(())
}

fn grow(cluster: &Cluster, shop: &Shelf) -> anyhow::Result<()> {
    let load = Traffic::of_readers(shop, shop_images()).and_a_writer(shop, "grow", REST);
    let start = Instant::now();
    let mut nodes = Vec::new();
    for id in COME {
        nodes.push(Newcomer::new(cluster, id)?.come(cluster)?);
    }
    println!("three nodes joined after {:.1} s", start.elapsed().as_secs_f64());
    levelled_on(cluster, &[STAY, COME].concat())?;
    println!("level after {:.1} s", start.elapsed().as_secs_f64());
    let served = load.finish(shop)?;
    println!("meanwhile {} requests, p99 {:.1} ms, none failed", served.count(), served.p99_ms());
    // While the new nodes still run.
    shop.check(shop_files())
}
