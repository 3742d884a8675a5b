//! Mounts a bucket of a cluster in memory until standard input ends: `cargo run -p posix --example memory_mount -- DIR`.
//! For trying tools on the mount itself, without nodes.

use harness::memory_cluster::MemoryCluster;
use mount::MountConfig;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let dir = std::env::args().nth(1).ok_or_else(|| anyhow::anyhow!("usage: memory_mount DIR"))?;
    let cluster = MemoryCluster::new(1);
    posix::make_bucket(&*cluster).await?;
    let mut handle = mount::mount(cluster, MountConfig::new(posix::BUCKET, dir)).await?;
    println!("mounted at {}", handle.mountpoint().display());
    let end = tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin()));
    tokio::select! {
        () = handle.ended() => Ok(()),
        _ = end => Ok(handle.unmount().await?),
    }
}
