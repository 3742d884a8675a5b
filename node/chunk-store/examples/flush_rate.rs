//! How fast a disk's store is: durable puts a second, MB/s and CPU seconds per GiB for 64 KiB chunks (or `--bytes N`).
//!
//! `cargo run --release -p chunk-store --example flush_rate -- DIR [seconds]`

use bytes::Bytes;
use chunk_store::{ChunkStore, StoreConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use types::{Blake3Root, ChunkId, NodeId};

struct Load {
    bytes: usize,
    writers: usize,
    disks: usize,
    direct: bool,
    time: Duration,
}

fn main() {
    let mut args = std::env::args().skip(1);
    let Some(folder) = args.next().map(PathBuf::from) else {
        eprintln!("usage: flush_rate DIR [seconds]");
        std::process::exit(2);
    };
    let seconds = args.next().and_then(|text| text.parse().ok()).unwrap_or(3);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    println!(
        "bytes    disks writers io       puts/s     MB/s  CPU s/GiB  written/byte | get/s cold-ish  MB/s  CPU s/GiB"
    );
    for (bytes, disks, writers) in
        [(64 << 10, 1, 1), (64 << 10, 1, 16), (64 << 10, 3, 16), (64 << 10, 3, 48), (4 << 20, 1, 4), (4 << 20, 3, 12)]
    {
        for direct in [true, false] {
            let load = Load { bytes, writers, disks, direct, time: Duration::from_secs(seconds) };
            runtime.block_on(measure(&folder.join("flush-rate"), &load));
        }
    }
}

async fn measure(folder: &Path, load: &Load) {
    let _ = std::fs::remove_dir_all(folder);
    let disks = (0..load.disks).map(|disk| folder.join(disk.to_string())).collect();
    let config = StoreConfig { direct_io: load.direct, ..StoreConfig::new(NodeId(1), disks) };
    let store = Arc::new(ChunkStore::open(&config).expect("the store opens"));
    let next = Arc::new(AtomicU64::new(0));
    let (cpu, written, begun) = (cpu_seconds(), bytes_written(), Instant::now());
    let tasks: Vec<_> = (0..load.writers)
        .map(|_| tokio::spawn(write(store.clone(), next.clone(), load.disks, sample(load.bytes), begun + load.time)))
        .collect();
    let mut puts = 0;
    for task in tasks {
        puts += task.await.expect("a writer");
    }
    let (time, cpu, written) = (begun.elapsed().as_secs_f64(), cpu_seconds() - cpu, bytes_written() - written);
    let bytes = puts as f64 * load.bytes as f64;

    let reads = 2000.min(next.load(Ordering::SeqCst));
    let (read_cpu, read_begun) = (cpu_seconds(), Instant::now());
    for id in 0..reads {
        store.get(ChunkId(u128::from(id)), 0, load.bytes as u32).await.expect("a read");
    }
    let (read_time, read_cpu) = (read_begun.elapsed().as_secs_f64(), cpu_seconds() - read_cpu);
    let read_bytes = reads as f64 * load.bytes as f64;
    println!(
        "{:7}  {:5} {:7} {:8} {:7.0} {:8.0} {:10.2} {:13.2} | {:14.0} {:5.0} {:10.2}",
        load.bytes,
        load.disks,
        load.writers,
        if load.direct { "direct" } else { "buffered" },
        puts as f64 / time,
        bytes / time / 1e6,
        cpu / bytes * f64::from(1 << 30),
        written as f64 / bytes,
        reads as f64 / read_time,
        read_bytes / read_time / 1e6,
        read_cpu / read_bytes * f64::from(1 << 30),
    );
    store.close().await;
    drop(store);
    let _ = std::fs::remove_dir_all(folder);
}

async fn write(
    store: Arc<ChunkStore>,
    next: Arc<AtomicU64>,
    disks: usize,
    sample: (Blake3Root, Bytes),
    end: Instant,
) -> u64 {
    let (root, data) = sample;
    let mut puts = 0;
    while Instant::now() < end {
        let id = next.fetch_add(1, Ordering::SeqCst);
        store.put(id as usize % disks, ChunkId(u128::from(id)), root, data.clone()).await.expect("a put");
        puts += 1;
    }
    puts
}

fn sample(len: usize) -> (Blake3Root, Bytes) {
    let mut state = 1u64;
    let data: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 56) as u8
    })
    .take(len)
    .collect();
    (types::root_of(&data, &types::leaves_of(&data)), data.into())
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// Bytes this process caused to be written to the device.
fn bytes_written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}
