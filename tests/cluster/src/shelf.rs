//! Objects whose bytes follow from their number, stored and read through S3.

use anyhow::{Context, ensure};
use futures::StreamExt as _;
use harness::{Cluster, Payload, S3Client, S3Error, until};
use std::ops::Range;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Requests under way at once.
const PARALLEL: usize = 8;
/// Longest time until every node takes chunks.
const TAKEN_MAX: Duration = Duration::from_secs(60);

/// What stands on a shelf: keys, and the bytes of each.
#[derive(Clone, Debug)]
pub struct Titles {
    prefix: String,
    len: fn(usize) -> usize,
}

impl Titles {
    /// The key of object `n`.
    #[must_use]
    pub fn key(&self, n: usize) -> String {
        format!("{}/{n:05}", self.prefix)
    }

    /// Its bytes, unlike those of any other.
    #[must_use]
    pub fn content(&self, n: usize) -> Vec<u8> {
        posix::sample((self.len)(n), n as u64)
    }
}

/// A prefix of the bucket.
#[derive(Debug)]
pub struct Shelf {
    /// Drives the requests.
    pub runtime: Runtime,
    /// The client.
    pub s3: S3Client,
    /// The bucket.
    pub bucket: String,
    /// What stands on it, or will.
    pub titles: Titles,
}

impl Shelf {
    /// An empty shelf under a prefix. Object `n` is `len(n)` bytes long.
    ///
    /// # Errors
    /// There is no runtime.
    pub fn new(cluster: &Cluster, prefix: &str, len: fn(usize) -> usize) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let titles = Titles { prefix: prefix.to_owned(), len };
        Ok(Shelf { runtime, s3: cluster.s3(), bucket: cluster.target().bucket.clone(), titles })
    }

    /// Stores one.
    ///
    /// # Errors
    /// The request fails.
    pub fn put(&self, n: usize) -> Result<(), S3Error> {
        let payload = Payload::new(self.titles.content(n));
        self.runtime.block_on(self.s3.put(&self.bucket, &self.titles.key(n), &payload)).map(drop)
    }

    /// Stores these, several at once.
    ///
    /// # Errors
    /// A request fails.
    pub fn store(&self, numbers: impl IntoIterator<Item = usize>) -> anyhow::Result<()> {
        let put = |n: usize| async move {
            let payload = Payload::new(self.titles.content(n));
            self.s3.put(&self.bucket, &self.titles.key(n), &payload).await.map(drop).with_context(|| self.titles.key(n))
        };
        self.all(numbers.into_iter().map(put))
    }

    /// Removes these, several at once.
    ///
    /// # Errors
    /// A request fails.
    pub fn delete(&self, numbers: impl IntoIterator<Item = usize>) -> anyhow::Result<()> {
        let delete = |n: usize| async move {
            self.s3.delete(&self.bucket, &self.titles.key(n)).await.with_context(|| self.titles.key(n))
        };
        self.all(numbers.into_iter().map(delete))
    }

    /// Reads one whole: whether it is served. Bytes that are served are right.
    ///
    /// # Errors
    /// Other bytes came.
    pub fn look(&self, n: usize) -> anyhow::Result<Result<(), S3Error>> {
        let read = self.runtime.block_on(self.s3.get(&self.bucket, &self.titles.key(n)));
        match read {
            Ok(bytes) => {
                ensure!(bytes.as_ref() == self.titles.content(n), "wrong bytes of {}", self.titles.key(n));
                Ok(Ok(()))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// Reads these whole, several at once.
    ///
    /// # Errors
    /// One is not served, or other bytes came.
    pub fn check(&self, numbers: impl IntoIterator<Item = usize>) -> anyhow::Result<()> {
        self.all(numbers.into_iter().map(|n| read(&self.s3, &self.bucket, &self.titles, n)))
    }

    fn all(&self, requests: impl Iterator<Item = impl Future<Output = anyhow::Result<()>>>) -> anyhow::Result<()> {
        self.runtime.block_on(async {
            let mut answers = futures::stream::iter(requests).buffer_unordered(PARALLEL);
            while let Some(answer) = answers.next().await {
                answer?;
            }
            Ok(())
        })
    }
}

/// Waits until every node of a cluster has taken a chunk. One that was just started refuses them for want of a lease; what is refused is written again
/// under another name, and leaves copies of the same bytes that nobody refers to.
///
/// # Errors
/// Not within a minute.
pub fn all_take_chunks(cluster: &Cluster) -> anyhow::Result<()> {
    let shelf = Shelf::new(cluster, "first", |_| 10_000)?;
    let mut stored = 0;
    until("every node takes chunks", TAKEN_MAX, || {
        stored += usize::from(shelf.put(stored).is_ok());
        (0..cluster.nodes()).all(|at| cluster.status(at).is_ok_and(|page| page.chunks() > 0))
    })
    .map(drop)
}

/// Reads an object whole, and holds its bytes against those it has by its number.
///
/// # Errors
/// It is not served, or other bytes came.
pub(crate) async fn read(s3: &S3Client, bucket: &str, titles: &Titles, n: usize) -> anyhow::Result<()> {
    let bytes = s3.get(bucket, &titles.key(n)).await.with_context(|| titles.key(n))?;
    ensure!(bytes.as_ref() == titles.content(n), "wrong bytes of {}", titles.key(n));
    Ok(())
}

/// How many images and books a shop has; at full length about 5 GB.
fn stock() -> (usize, usize) {
    if harness::battery() { (20_000, 500) } else { (600, 12) }
}

/// The images among the files of a shop.
#[must_use]
pub fn shop_images() -> Range<usize> {
    0..stock().0
}

/// The files of a shop.
#[must_use]
pub fn shop_files() -> Range<usize> {
    0..stock().0 + stock().1
}

/// A shelf with the files of a shop: images of about 150 KiB, and books of about 4 MiB behind them.
///
/// # Errors
/// A request fails.
pub fn stocked_shop(cluster: &Cluster) -> anyhow::Result<Shelf> {
    let len = |n: usize| match n < stock().0 {
        true => (100 + n % 100) << 10,
        false => (3 << 20) + (n % 9) * (250 << 10),
    };
    let shelf = Shelf::new(cluster, "shop", len)?;
    let start = Instant::now();
    shelf.store(shop_files())?;
    let bytes: usize = shop_files().map(len).sum();
    let (images, books) = stock();
    println!("{images} images and {books} books, {} MiB, in {:.1} s", bytes >> 20, start.elapsed().as_secs_f64());
    Ok(shelf)
}
