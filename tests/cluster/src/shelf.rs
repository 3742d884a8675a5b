//! Objects whose bytes follow from their number, stored and read through S3.

use anyhow::{Context, ensure};
use futures::StreamExt as _;
use harness::{Cluster, Payload, S3Client, S3Error};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use tokio::runtime::Runtime;

/// Requests under way at once.
const PARALLEL: usize = 8;

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
        let mut bytes = vec![0; (self.len)(n)];
        StdRng::seed_from_u64(n as u64).fill_bytes(&mut bytes);
        bytes
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
    /// An empty shelf under a prefix. Object `n` is `len(n)` bytes long: one chunk from 4 KiB to 4 MiB.
    ///
    /// # Errors
    /// There is no runtime.
    pub fn new(cluster: &Cluster, prefix: &str, len: fn(usize) -> usize) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let titles = Titles { prefix: prefix.to_owned(), len };
        Ok(Shelf { runtime, s3: cluster.s3(), bucket: cluster.target().bucket.clone(), titles })
    }

    /// Stores these.
    ///
    /// # Errors
    /// A request fails.
    pub fn store(&self, numbers: impl IntoIterator<Item = usize>) -> anyhow::Result<()> {
        let put = |n: usize| async move {
            let payload = Payload::new(self.titles.content(n));
            self.s3.put(&self.bucket, &self.titles.key(n), &payload).await.map(drop).with_context(|| self.titles.key(n))
        };
        let puts = futures::stream::iter(numbers.into_iter().map(put)).buffer_unordered(PARALLEL);
        let results: Vec<anyhow::Result<()>> = self.runtime.block_on(puts.collect());
        results.into_iter().collect()
    }

    /// Removes these.
    ///
    /// # Errors
    /// A request fails.
    pub fn delete(&self, numbers: impl IntoIterator<Item = usize>) -> anyhow::Result<()> {
        let delete = |n: usize| async move {
            self.s3.delete(&self.bucket, &self.titles.key(n)).await.with_context(|| self.titles.key(n))
        };
        let deletes = futures::stream::iter(numbers.into_iter().map(delete)).buffer_unordered(PARALLEL);
        let results: Vec<anyhow::Result<()>> = self.runtime.block_on(deletes.collect());
        results.into_iter().collect()
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

    /// Reads these, several at once.
    ///
    /// # Errors
    /// One is not served, or other bytes came.
    pub fn check(&self, numbers: impl IntoIterator<Item = usize>) -> anyhow::Result<()> {
        let get = |n: usize| async move {
            let bytes = self.s3.get(&self.bucket, &self.titles.key(n)).await.with_context(|| self.titles.key(n))?;
            ensure!(bytes.as_ref() == self.titles.content(n), "wrong bytes of {}", self.titles.key(n));
            Ok(())
        };
        let gets = futures::stream::iter(numbers.into_iter().map(get)).buffer_unordered(PARALLEL);
        let results: Vec<anyhow::Result<()>> = self.runtime.block_on(gets.collect());
        results.into_iter().collect()
    }
}
