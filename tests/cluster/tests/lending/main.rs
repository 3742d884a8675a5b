//! Books that go out wrapped, by real processes: many readers of one title at two gateways, leaders killed meanwhile, and a search of every disk and log for what must
//! never be there.

mod book;
mod canary;
mod shop;

use anyhow::{Context, ensure};
use book::{MARKER, PLAIN};
use canary::{Canary, find};
use futures::StreamExt as _;
use futures::stream;
use harness::{Cluster, Gateway, Options, Payload, must};
use shop::{Reader, Shop};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Licences that are asked for at once.
const ISSUES: usize = 16;
/// How long a request may fail because a leader was killed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Readers and connections: the full number takes some minutes.
fn size() -> (usize, usize) {
    if harness::battery() { (10_000, 256) } else { (120, 32) }
}

#[test]
fn every_reader_gets_his_own_book_and_nobody_finds_the_keys() {
    let _turn = harness::exclusive();
    must(many_readers());
}

fn many_readers() -> anyhow::Result<()> {
    let (readers, connections) = size();
    let mut cluster = Cluster::start(Options::default())?;
    let second = Gateway::start(&cluster, "gateway-2")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let shop = Shop::open(&cluster, vec![cluster.target().endpoint.clone(), second.endpoint().to_owned()])?;
    let epub = book::epub();
    runtime.block_on(cluster.s3().put(shop::BUCKET, "book.epub", &Payload::new(epub.clone())))?;
    cluster.sago(&["drm", "title", "protect", shop::BUCKET, "--wait"])?;
    let title = shop.title(&cluster)?;

    let began = Instant::now();
    let licences: Vec<anyhow::Result<Reader>> =
        runtime.block_on(stream::iter(0..readers).map(|n| shop.issue(&title, n, PATIENCE)).buffered(ISSUES).collect());
    let licences: Vec<Reader> = licences.into_iter().collect::<Result<_, _>>()?;
    let issued = began.elapsed();

    // Each downloads on one gateway or the other, while a leader is killed.
    let victim = cluster.leader()?;
    let (done, began) = (AtomicUsize::new(0), Instant::now());
    let mut killed = false;
    let downloads = stream::iter(0..readers).map(|n| {
        let (shop, licences, done) = (&shop, &licences, &done);
        async move {
            let file = shop.download(&licences[n], n, PATIENCE).await.with_context(|| format!("reader {n}"))?;
            let neighbour = &licences[(n + 1) % licences.len()];
            let (own, other) = (licences[n].passphrase(), neighbour.passphrase());
            tokio::task::spawn_blocking(move || book::check(&file, &own, &other)).await??;
            done.fetch_add(1, Ordering::Relaxed);
            anyhow::Ok(())
        }
    });
    runtime.block_on(async {
        let mut downloads = std::pin::pin!(downloads.buffer_unordered(connections));
        while let Some(result) = downloads.next().await {
            result?;
            if !killed && done.load(Ordering::Relaxed) >= readers / 3 {
                killed = true;
                cluster.kill(victim)?;
            }
        }
        anyhow::Ok(())
    })?;
    println!(
        "{readers} licences in {issued:.1?}, as many downloads by {connections} at once in {:.1?}",
        began.elapsed()
    );
    cluster.restart(victim)?;

    let count: serde_json::Value = serde_json::from_str(&cluster.sago(&["drm", "report", "--summary", "--json"])?)?;
    ensure!(count["licences"] == readers, "{} licences for {readers} readers", count["licences"]);
    let shown: serde_json::Value = serde_json::from_str(&cluster.sago(&["drm", "title", "show", &title, "--json"])?)?;
    ensure!(shown["packages"].as_array().map(Vec::len) == Some(1), "it was encrypted more than once: {shown}");
    let stored = cluster.sago(&["ls", "sago-lcp", "--json", "--recursive"])?;
    ensure!(stored.matches("packages/").count() == 1, "stored more than once: {stored}");

    // What was kept for support must be there, or the search finds nothing because it looks at nothing.
    let keys =
        book::content_key(&runtime.block_on(shop.download(&licences[0], 0, PATIENCE))?, &licences[0].passphrase())?;
    drop(second);
    cluster.kill_everything()?;
    let mut secrets = vec![Canary::text("the plain text", PLAIN), Canary::bytes("the content key", &keys)];
    for reader in licences.iter().take(50) {
        secrets.push(Canary::text("a passphrase", &reader.passphrase()));
        secrets.push(Canary::bytes("the hash of a passphrase", &reader.hash()));
    }
    let found = find(cluster.folder(), &secrets, &Canary::text("what readers may see", MARKER))?;
    ensure!(!found.seen.is_empty(), "not even what is in the clear was found: the search looks at the wrong place");
    ensure!(found.leaks.is_empty(), "found: {:#?}", found.leaks);
    println!("searched {} MiB for {} secrets: none", found.bytes >> 20, secrets.len());
    Ok(())
}
