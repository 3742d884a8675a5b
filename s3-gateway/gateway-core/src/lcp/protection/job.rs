//! One protection, from the claim to what becomes of the title.

use super::claim::{Claimed, TRIES_MAX, due_after};
use super::events::ProtectionEvent;
use super::kind::{BookKind, kind_of, name_of};
use super::package::{key_for, package_of};
use super::part::{PackageUpload, PartSink};
use super::reader::{Reader, Windows};
use super::reason::{cause_of, reason_of};
use super::source::SourceHead;
use super::stop::{Cause, Stop, Stopped};
use crate::lcp::service::OsEntropy;
use crate::lcp::{Fault, LcpError, Lending, Package, Standing, Title};
use drm::ContentKey;
use drm::package::{Book, Image, Kind, Options, ProtectError, Protected, protect};
use drm::zip::Limits;
use proto::control::BucketInfo;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What is known before the work begins.
struct Prepared {
    bucket: Arc<BucketInfo>,
    kind: BookKind,
    /// What the book is called, if it does not say so itself or the store says otherwise.
    title: Option<String>,
    key: ContentKey,
}

/// What the thread works on.
struct Task {
    reader: Reader,
    sink: PartSink,
    kind: BookKind,
    title: Option<String>,
    key: ContentKey,
    limits: Limits,
}

impl Lending {
    /// Protects a title that was claimed, or finds out why not; either way its record says so in the end, if it is still this worker's.
    pub(super) async fn run(&self, claimed: &Claimed, shutdown: &CancellationToken) -> Result<(), LcpError> {
        let began = Instant::now();
        match self.attempt(claimed, shutdown).await {
            Ok((protected, upload)) => self.publish(claimed, &protected, &upload, began).await,
            Err(cause) => self.settle(claimed, cause).await,
        }
    }

    async fn attempt(
        &self,
        claimed: &Claimed,
        shutdown: &CancellationToken,
    ) -> Result<(Protected, PackageUpload), Cause> {
        let prepared = self.prepare(claimed).await?;
        let version = claimed.title.package().map_or(1, |package| package.version.saturating_add(1));
        let key = key_for(&claimed.title.id, version);
        let upload = PackageUpload::begin(&self.store, key, prepared.kind.package().media_type()).await;
        let upload = upload.map_err(|error| Cause::PutOff(error.to_string()))?;
        let (stop, done) = (Arc::new(Stop::default()), Arc::new(AtomicU64::new(0)));
        // Whatever ends this function, also the end of its task, ends the thread.
        let _guard = stop.guard();
        let made = tokio::select! {
            made = self.make(claimed, prepared, &upload, &stop, &done) => made,
            Stopped = self.keep(claimed, &done, &stop) => Err(Cause::Lost),
            () = shutdown.cancelled() => { stop.because(Cause::Shutdown); Err(Cause::Shutdown) }
        };
        match made {
            Ok(protected) => Ok((protected, upload)),
            Err(cause) => {
                upload.discard().await;
                Err(stop.cause().unwrap_or(cause))
            }
        }
    }

    async fn prepare(&self, claimed: &Claimed) -> Result<Prepared, Cause> {
        let put_off = |error: &dyn std::error::Error| Cause::PutOff(reason_of(error));
        let source = &claimed.source;
        let bucket = self.store.find_bucket(&source.bucket_name).await.map_err(|error| put_off(&error))?;
        let bucket = bucket.filter(|bucket| bucket.id == source.bucket).ok_or(Cause::Changed)?;
        let head = self.store.source_head(&bucket, &source.key).await.map_err(|error| put_off(&error))?;
        let head = head.filter(|head| head.source_of(&bucket, &source.key) == *source).ok_or(Cause::Changed)?;
        let kind = kind_of(&source.key, head.media_type.as_deref());
        let kind = kind.map_err(|(fault, reason)| Cause::Refused(fault, reason))?;
        let title = title_for(kind, &head, &source.key);
        let key = self.content_key(&claimed.title).await.map_err(|error| put_off(&error))?;
        Ok(Prepared { bucket, kind, title, key })
    }

    /// Makes the object, whole. Nothing names it yet.
    async fn make(
        &self,
        claimed: &Claimed,
        prepared: Prepared,
        upload: &PackageUpload,
        stop: &Arc<Stop>,
        done: &Arc<AtomicU64>,
    ) -> Result<Protected, Cause> {
        let (sender, parts) = mpsc::channel(1);
        let reader = Reader {
            store: self.store.clone(),
            source: claimed.source.clone(),
            bucket: prepared.bucket.clone(),
            runtime: Handle::current(),
            stop: stop.clone(),
            done: done.clone(),
            windows: Windows::default().into(),
        };
        let task = Task {
            reader,
            sink: PartSink::new(sender),
            kind: prepared.kind,
            title: prepared.title,
            key: prepared.key,
            limits: self.config.limits.clone(),
        };
        let (protected, stored) = tokio::join!(tokio::task::spawn_blocking(|| task.run()), upload.fill(parts, stop));
        let protected = protected.map_err(|error| {
            tracing::error!(title = %claimed.title.id, %error, "protection failed in an unforeseen way");
            Cause::Refused(Fault::GivenUp, "the program failed over it".to_owned())
        })?;
        let protected = protected.map_err(|error| stop.cause().unwrap_or_else(|| cause_of(&error)))?;
        let broken_off = |Stopped| stop.cause().unwrap_or(Cause::Lost);
        upload.complete(stored.map_err(broken_off)?, protected.layout.len, stop).await.map_err(broken_off)?;
        let source = &claimed.source;
        let head = self.store.source_head(&prepared.bucket, &source.key).await;
        let head = head.map_err(|error| Cause::PutOff(error.to_string()))?;
        match head.map(|head| head.source_of(&prepared.bucket, &source.key)) {
            Some(now) if now == *source => Ok(protected),
            _ => Err(Cause::Changed),
        }
    }

    /// Names the package in the record: from now on it is there.
    async fn publish(
        &self,
        claimed: &Claimed,
        protected: &Protected,
        upload: &PackageUpload,
        began: Instant,
    ) -> Result<(), LcpError> {
        let now = self.config.clock.now();
        let publish = |title: &mut Title| {
            let version = title.package().map_or(1, |package| package.version.saturating_add(1));
            title.add_package(package_of(protected, &upload.key, version, &claimed.source.etag, now), now);
            title.name = protected.title.clone().or(title.name.take());
            title.standing = Standing::Ready;
            title.updated = now;
        };
        match self.change_claimed(&claimed.title.id, claimed.worker, publish).await {
            Ok(Some(title)) => {
                let kept = |package: &&Package| title.packages.iter().any(|own| own.version == package.version);
                let dropped: Vec<_> = claimed.title.packages.iter().filter(|old| !kept(old)).cloned().collect();
                self.delete_packages(&dropped).await;
                self.config.on_protection.tell(ProtectionEvent::Protected {
                    kind: protected.kind,
                    source_bytes: claimed.source.size,
                    package_bytes: protected.layout.len,
                    took: began.elapsed(),
                });
                tracing::info!(title = %title.id, bytes = protected.layout.len, "a title is ready");
                Ok(())
            }
            Ok(None) => {
                upload.discard().await;
                self.config.on_protection.tell(ProtectionEvent::Lost);
                Ok(())
            }
            // It may be named or not: the sweep looks, once the lease is over.
            Err(error) => Err(error),
        }
    }

    /// Says in the record why there is no package.
    async fn settle(&self, claimed: &Claimed, cause: Cause) -> Result<(), LcpError> {
        let now = self.config.clock.now();
        let queued = |due, tries| Standing::Queued { since: now, due, tries };
        let given_up = |reason: &str| {
            let reason = format!("given up after {} tries: {reason}", claimed.tries);
            Standing::Failed { fault: Fault::GivenUp, reason, at: now }
        };
        let standing = match &cause {
            Cause::Lost => {
                self.config.on_protection.tell(ProtectionEvent::Lost);
                return Ok(());
            }
            Cause::Shutdown => queued(now, claimed.tries - 1),
            Cause::Changed => queued(now, 0),
            Cause::PutOff(reason) if claimed.tries >= TRIES_MAX => given_up(reason),
            Cause::PutOff(_) => queued(due_after(claimed.tries, now), claimed.tries),
            Cause::Refused(fault, reason) => Standing::Failed { fault: *fault, reason: reason.clone(), at: now },
        };
        let event = match (&standing, &cause) {
            (Standing::Failed { fault, .. }, _) => Some(ProtectionEvent::Failed { fault: *fault }),
            (_, Cause::Changed) => Some(ProtectionEvent::SourceChanged),
            (_, Cause::PutOff(_)) => Some(ProtectionEvent::PutOff),
            _ => None,
        };
        let settle = |title: &mut Title| {
            title.standing = standing.clone();
            title.updated = now;
        };
        if self.change_claimed(&claimed.title.id, claimed.worker, settle).await?.is_none() {
            self.config.on_protection.tell(ProtectionEvent::Lost);
            return Ok(());
        }
        event.into_iter().for_each(|event| self.config.on_protection.tell(event));
        tracing::info!(title = %claimed.title.id, standing = standing.name(), ?cause, "a title was not protected");
        if cause == Cause::Changed {
            self.note_object(&claimed.source.bucket_name, &claimed.source.key).await?;
        }
        Ok(())
    }
}

impl BookKind {
    fn package(self) -> Kind {
        match self {
            BookKind::Epub => Kind::Epub,
            BookKind::Pdf => Kind::Pdf,
            BookKind::Comic | BookKind::Image => Kind::Images,
        }
    }
}

fn title_for(kind: BookKind, head: &SourceHead, key: &str) -> Option<String> {
    let named = || (kind != BookKind::Epub).then(|| name_of(key).to_owned());
    head.title.clone().filter(|title| !title.trim().is_empty()).or_else(named)
}

impl Task {
    /// On a thread that may block.
    fn run(self) -> Result<Protected, ProtectError> {
        let Task { reader, mut sink, kind, title, key, limits } = self;
        let options = Options { title: title.as_deref(), cover: None, limits };
        let file = reader.source.key.rsplit('/').next().unwrap_or_default().to_owned();
        let image = [Image { name: &file, source: &reader }];
        let book = match kind {
            BookKind::Epub => Book::Epub(&reader),
            BookKind::Pdf => Book::Pdf(&reader),
            BookKind::Comic => Book::Comic(&reader),
            BookKind::Image => Book::Images(&image),
        };
        let protected = protect(&book, &options, &key, &mut OsEntropy, &mut sink)?;
        sink.finish()?;
        Ok(protected)
    }
}
