//! From a log entry to results: one command after the other, each at most once, each whole or not at all.

#[cfg(test)]
mod tests;

use crate::group::{self, Counters};
use crate::kv::{Kv, KvError};
use crate::posix::{NewAttr, NewFile};
use crate::session;
use crate::txn::{Step, Txn, settle};
use proto::meta::{Command, Outcome, Refusal};
use types::{GroupId, RequestId, Timestamp};

/// Applies a command of a metadata group, unless it was applied before.
pub(crate) fn apply(
    kv: &mut dyn Kv,
    group: GroupId,
    now: Timestamp,
    id: Option<RequestId>,
    command: &Command,
) -> Result<Result<Outcome, Refusal>, KvError> {
    if let Some(id) = id {
        let counters: Counters = group::load(kv)?;
        if let Some(answer) = session::admit(kv, &counters, id)? {
            return Ok(answer);
        }
    }
    let result = in_txn(kv, group, now, id, |txn| run(txn, command))?;
    if let Some(id) = id {
        session::record(kv, id, &result);
    }
    Ok(result)
}

/// Drops some of what finished uploads have left.
pub(crate) fn sweep(kv: &mut dyn Kv, group: GroupId, now: Timestamp) -> Result<(), KvError> {
    if group::load(kv)?.sweeps == 0 {
        return Ok(());
    }
    in_txn(kv, group, now, None, |txn| txn.sweep()).map(|_| ())
}

/// Runs `work` over the store and writes its changes if it is not refused.
fn in_txn<T>(
    kv: &mut dyn Kv,
    group: GroupId,
    now: Timestamp,
    id: Option<RequestId>,
    work: impl FnOnce(&mut Txn<'_>) -> Step<T>,
) -> Result<Result<T, Refusal>, KvError> {
    let mut txn = Txn::new(&*kv, group, now, id)?;
    let step = work(&mut txn).and_then(|value| Ok((value, txn.finish()?)));
    let (value, changes) = match settle(step)? {
        Ok(done) => done,
        Err(refusal) => return Ok(Err(refusal)),
    };
    for (key, change) in changes {
        match change {
            Some(value) => kv.put(&key, &value),
            None => kv.delete(&key),
        }
    }
    Ok(Ok(value))
}

fn run(txn: &mut Txn<'_>, command: &Command) -> Step<Outcome> {
    match command {
        Command::EnsureBucket { bucket } => txn.ensure_bucket(*bucket).map(done),
        Command::SealBucket { bucket } => txn.seal_bucket(*bucket).map(done),

        Command::PutObject { bucket, key, content, etag, xattrs, precondition } => {
            txn.put_object(*bucket, key, content, *etag, xattrs, precondition).map(Outcome::Object)
        }
        Command::DeleteObjects { bucket, keys, precondition } => {
            txn.delete_objects(*bucket, keys, precondition).map(Outcome::Deleted)
        }
        Command::CopyObject { source_bucket, source_key, source_precondition, bucket, key, xattrs, precondition } => {
            let source = (*source_bucket, source_key.as_ref(), source_precondition);
            txn.copy_object(source, (*bucket, key, precondition), xattrs.as_deref()).map(Outcome::Object)
        }

        Command::CreateUpload { bucket, key, upload, xattrs } => {
            txn.create_upload(*bucket, key, *upload, xattrs).map(done)
        }
        Command::PutPart { bucket, key, upload, part, content, md5, xattrs } => {
            txn.put_part((*bucket, key, *upload), *part, content, *md5, xattrs).map(done)
        }
        Command::CompleteUpload { bucket, key, upload, parts, etag, xattrs, part_bytes_min, precondition } => txn
            .complete_upload(*bucket, key, *upload, parts, *etag, xattrs, *part_bytes_min, precondition)
            .map(Outcome::Object),
        Command::AbortUpload { bucket, key, upload } => txn.abort_upload(*bucket, key, *upload).map(done),

        Command::Create { parent, name, kind, mode, uid, gid, content, exclusive } => {
            let new = NewFile { kind: *kind, mode: *mode, uid: *uid, gid: *gid, content, exclusive: *exclusive };
            let attr = txn.create(*parent, name, &new)?;
            Ok(Outcome::Created { attr, parent: txn.attr(*parent)? })
        }
        Command::Link { ino, parent, name } => txn.link(*ino, *parent, name).map(Outcome::Attr),
        Command::Unlink { parent, name } => {
            txn.unlink(*parent, name).and_then(|()| txn.attr(*parent)).map(Outcome::Attr)
        }
        Command::Rmdir { parent, name } => txn.rmdir(*parent, name).and_then(|()| txn.attr(*parent)).map(Outcome::Attr),
        Command::Rename { parent, name, new_parent, new_name, no_replace } => {
            txn.rename((*parent, name), (*new_parent, new_name), *no_replace).map(done)
        }
        Command::SetAttr { ino, mode, uid, gid, size, atime, mtime } => {
            let new = NewAttr { mode: *mode, uid: *uid, gid: *gid, size: *size, atime: *atime, mtime: *mtime };
            txn.set_attr(*ino, &new).map(Outcome::Attr)
        }
        Command::Write { ino, inline, extents, append } => {
            txn.write_file(*ino, inline.as_ref(), extents, *append).map(Outcome::Attr)
        }
        Command::SetXattr { ino, name, value, mode } => txn.set_xattr(*ino, name, value, *mode).map(done),
        Command::RemoveXattr { ino, name } => txn.remove_xattr(*ino, name).map(done),

        Command::Stage { chunks } => txn.stage(chunks).map(done),
        Command::CloseEpoch { session, epoch } => txn.close_epoch(*session, *epoch).map(done),
        Command::ClearUnderReplicated { chunks } => txn.clear_under_replicated(chunks).map(done),

        Command::RestoreTrash { bucket, entries, to, taken } => {
            txn.restore_trash(*bucket, entries, to, *taken).map(Outcome::Restored)
        }
        Command::PurgeTrash { bucket, entries } => txn.purge_trash(*bucket, entries).map(Outcome::Purged),
        Command::ExpireTrash { bucket, entries, now } => txn.expire_trash(*bucket, entries, *now).map(Outcome::Purged),
        Command::SetBucketOptions { bucket, options } => txn.set_bucket_options(*bucket, *options).map(done),
        Command::LiftBreaker { bucket } => txn.lift_breaker(*bucket).map(done),
        Command::UnsealBucket { bucket } => txn.unseal_bucket(*bucket).map(done),

        Command::CollectGarbage { grace, max, now } => txn.collect_garbage(*grace, *max, *now),
        Command::ForgetChunks { chunks } => txn.forget_chunks(chunks).map(done),
        Command::EndSessions { first, last } => txn.end_sessions(*first, *last),
        Command::ReleaseHold => {
            txn.release_hold();
            Ok(Outcome::Done)
        }

        Command::PutRecords { bucket, changes } => txn.put_records(*bucket, changes).map(Outcome::Records),
    }
}

fn done((): ()) -> Outcome {
    Outcome::Done
}
