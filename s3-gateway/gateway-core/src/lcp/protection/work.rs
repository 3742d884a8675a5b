//! The workers of a gateway.

use crate::lcp::Lending;
use std::future::Future;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How often at most a gateway looks whether it is time for a sweep.
const SWEEP_LOOK_MAX: Duration = Duration::from_secs(60);

impl Lending {
    /// Protects titles and sweeps, until `shutdown` is ready; what is in progress then goes back into the queue. Nobody's request waits for this. Dropping
    /// the future is as if the gateway had died: what it had is taken over when the lease is over.
    pub async fn work(&self, shutdown: impl Future<Output = ()> + Send) {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for _ in 0..self.config.workers {
            tasks.spawn(worker(self.clone(), stop.clone()));
        }
        if self.config.workers > 0 {
            tasks.spawn(sweeper(self.clone(), stop.clone()));
        }
        shutdown.await;
        stop.cancel();
        while tasks.join_next().await.is_some() {}
    }
}

async fn worker(lending: Lending, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let outcome = match lending.claim().await {
            Ok(Some(claimed)) => {
                // There may be more: another worker that is idle looks, too.
                lending.queued.notify_one();
                Box::pin(lending.run(&claimed, &stop)).await
            }
            Ok(None) => {
                pause(&lending, &stop).await;
                Ok(())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "a worker could not go on");
            stop.run_until_cancelled(tokio::time::sleep(lending.config.poll)).await;
        }
    }
}

async fn pause(lending: &Lending, stop: &CancellationToken) {
    tokio::select! {
        () = lending.queued.notified() => {}
        () = tokio::time::sleep(lending.config.poll) => {}
        () = stop.cancelled() => {}
    }
}

async fn sweeper(lending: Lending, stop: CancellationToken) {
    let every = lending.config.sweep.min(SWEEP_LOOK_MAX);
    while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
        match stop.run_until_cancelled(lending.sweep_if_due()).await {
            Some(Ok(Some(swept))) => tracing::info!(?swept, "swept"),
            Some(Err(error)) => tracing::warn!(%error, "a sweep came to no end"),
            Some(Ok(None)) | None => {}
        }
    }
}
