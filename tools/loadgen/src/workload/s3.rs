//! S3: put, get, head, list, delete over kept connections, one worker a connection.

use super::{Bound, Outcome, fail};
use crate::latency::Samples;
use crate::s3::{Payload, S3Client, S3Error};
use anyhow::{Context, ensure};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::time::Instant;

/// One client in one bucket. Keys are `PREFIX/WORKER/NUMBER`.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// The client.
    pub s3: S3Client,
    /// The bucket.
    pub name: String,
    /// Seed of bodies and choices.
    pub seed: u64,
}

impl Bucket {
    fn rng(&self, worker: usize) -> StdRng {
        StdRng::seed_from_u64(self.seed ^ (worker as u64) << 32)
    }

    /// Puts objects of `len` bytes and returns the keys that are stored.
    pub async fn put(&self, prefix: &str, len: usize, workers: usize, bound: Bound) -> (Outcome, Vec<String>) {
        // One body for all: a worker's own would cost a hash and memory each.
        let payload = Payload::random(len, &mut self.rng(0));
        self.put_payload(prefix, &payload, workers, bound).await
    }

    /// Puts the same body under many keys and returns those that are stored.
    pub async fn put_payload(
        &self,
        prefix: &str,
        payload: &Payload,
        workers: usize,
        bound: Bound,
    ) -> (Outcome, Vec<String>) {
        let start = Instant::now();
        let tasks = (0..workers).map(|worker| async move {
            let (mut samples, mut keys) = (Samples::default(), Vec::new());
            for round in bound.rounds() {
                let key = format!("{prefix}/{worker:03}/{round:08}");
                let started = Instant::now();
                match self.s3.put(&self.name, &key, payload).await {
                    Ok(_) => {
                        samples.add(started.elapsed(), payload.len());
                        keys.push(key);
                    }
                    Err(error) => fail(&mut samples, &anyhow::Error::from(error).context(key)),
                }
            }
            (samples, keys)
        });
        let (mut samples, mut keys) = (Samples::default(), Vec::new());
        for (some, mut more) in futures::future::join_all(tasks).await {
            samples.merge(some);
            keys.append(&mut more);
        }
        (Outcome { samples, wall: start.elapsed() }, keys)
    }

    /// Reads random ones of `keys`, each `len` bytes.
    pub async fn get(&self, keys: &[String], len: u64, workers: usize, bound: Bound) -> Outcome {
        self.each(workers, bound, keys, async |key| {
            let got = self.s3.drain(&self.name, key).await?;
            ensure!(got == len, "{got} bytes instead of {len}");
            Ok(got)
        })
        .await
    }

    /// Asks for the length of random ones of `keys`.
    pub async fn head(&self, keys: &[String], len: u64, workers: usize, bound: Bound) -> Outcome {
        self.each(workers, bound, keys, async |key| {
            let got = self.s3.head(&self.name, key).await?;
            ensure!(got == len, "{got} bytes instead of {len}");
            Ok(0)
        })
        .await
    }

    /// Lists `prefix` in pages of 1,000, over and over; an operation is a page. Fails if a round does not see `expected` keys.
    pub async fn list(&self, prefix: &str, expected: usize, workers: usize, bound: Bound) -> Outcome {
        let start = Instant::now();
        let tasks = (0..workers).map(|_| async move {
            let (mut samples, mut next, mut seen) = (Samples::default(), None::<String>, 0);
            for _ in bound.rounds() {
                let started = Instant::now();
                match self.s3.list(&self.name, prefix, next.as_deref(), 1000).await {
                    Ok(page) => {
                        samples.add(started.elapsed(), 0);
                        seen += page.keys.len();
                        next = page.next;
                        if next.is_none() {
                            if seen != expected {
                                fail(&mut samples, &anyhow::anyhow!("a listing saw {seen} keys instead of {expected}"));
                            }
                            seen = 0;
                        }
                    }
                    Err(error) => fail(&mut samples, &error.into()),
                }
            }
            samples
        });
        merged(start, futures::future::join_all(tasks).await)
    }

    /// Deletes all of `keys`, each once.
    pub async fn delete(&self, keys: &[String], workers: usize) -> Outcome {
        let start = Instant::now();
        let tasks = (0..workers).map(|worker| async move {
            let mut samples = Samples::default();
            for key in keys.iter().skip(worker).step_by(workers) {
                let started = Instant::now();
                match self.s3.delete(&self.name, key).await {
                    Ok(()) => samples.add(started.elapsed(), 0),
                    Err(error) => fail(&mut samples, &error.into()),
                }
            }
            samples
        });
        merged(start, futures::future::join_all(tasks).await)
    }

    /// Uploads one object in parts of `payload`, several at a time; an operation is a part.
    ///
    /// # Errors
    /// The upload cannot be made or completed.
    pub async fn multipart(&self, key: &str, payload: &Payload, parts: u32, workers: u32) -> anyhow::Result<Outcome> {
        let start = Instant::now();
        let upload = self.s3.create_upload(&self.name, key).await.context("create the upload")?;
        let upload = &upload;
        let tasks = (0..workers).map(|worker| async move {
            let (mut samples, mut etags) = (Samples::default(), Vec::new());
            for number in (worker + 1..=parts).step_by(workers as usize) {
                let started = Instant::now();
                etags.push((number, self.s3.put_part(&self.name, key, upload, number, payload).await?));
                samples.add(started.elapsed(), payload.len());
            }
            Ok::<_, S3Error>((samples, etags))
        });
        let (mut samples, mut etags) = (Samples::default(), Vec::new());
        for result in futures::future::join_all(tasks).await {
            let (some, more) = result?;
            samples.merge(some);
            etags.extend(more);
        }
        etags.sort_unstable();
        let etags: Vec<String> = etags.into_iter().map(|(_, etag)| etag).collect();
        self.s3.complete_upload(&self.name, key, upload, &etags).await.context("complete the upload")?;
        Ok(Outcome { samples, wall: start.elapsed() })
    }

    async fn each<F>(&self, workers: usize, bound: Bound, keys: &[String], operation: F) -> Outcome
    where
        F: AsyncFn(&str) -> anyhow::Result<u64>,
    {
        let start = Instant::now();
        let operation = &operation;
        let tasks = (0..workers).map(|worker| async move {
            let (mut samples, mut rng) = (Samples::default(), self.rng(worker + 1));
            for _ in bound.rounds() {
                if keys.is_empty() {
                    fail(&mut samples, &anyhow::anyhow!("there is nothing to read"));
                    break;
                }
                let key = &keys[rng.random_range(0..keys.len())];
                let started = Instant::now();
                match operation(key).await {
                    Ok(bytes) => samples.add(started.elapsed(), bytes),
                    Err(error) => fail(&mut samples, &error.context(key.clone())),
                }
            }
            samples
        });
        merged(start, futures::future::join_all(tasks).await)
    }
}

fn merged(start: Instant, all: Vec<Samples>) -> Outcome {
    let mut samples = Samples::default();
    all.into_iter().for_each(|some| samples.merge(some));
    Outcome { samples, wall: start.elapsed() }
}
