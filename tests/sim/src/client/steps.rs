//! Operations as steps, and the calls that steps make.

use super::{Client, Op, records};
use crate::judge::value_bytes;
use crate::operation::{Condition, NAMES, Name, Operation, PlannedOperation};
use crate::script::Knobs;
use bytes::Bytes;
use proto::meta::{Command, Query, SetXattrMode};
use proto::object::{ETag, FileKind, NewContent, Precondition, TagMatch};
use proto::trash::{BucketOptions, NameTaken, TRASH_BATCH_MAX, TrashFilter, TrashId, TrashPage};
use std::collections::VecDeque;
use types::{BucketId, ChunkId, ChunkRef, INLINE_BYTES_MAX, Ino, NodeId, PgEpoch, UploadId, WriterEpoch};

/// The bucket everything lies in.
pub(super) const BUCKET: BucketId = BucketId(1);
/// The one extended attribute.
const XATTR: &[u8] = b"user.sim";
/// Chunks looked at by one round of repair.
const REPAIR_PAGE: u32 = 8;
/// Entries of the trash looked at: as many as a page may hold, which is more than a run makes.
const TRASH_PAGE: u32 = 1024;
/// Entries of one name that a client purges.
const PURGED_AT_ONCE: usize = 2;

/// One step of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Open a session.
    Open,
    /// Make the bucket, the first time.
    Bucket,
    /// Say how long its trash keeps files, the first time.
    Window,
    /// Learn the root directory, the first time.
    Root,
    /// Write a chunk.
    Write(Bytes),
    /// Learn which inode a name leads to.
    Lookup(Name),
    /// Ask the operation's question.
    Ask,
    /// Ask it once more in the middle of a read; only a planted mistake does.
    AskAgain,
    /// Send the operation's command.
    Send,
    /// Read the chunks that the answer named.
    Fetch,
    /// Begin an upload.
    BeginUpload,
    /// Store the chunks written so far as a part.
    Part(u16),
    /// Ask for the newest placement map.
    Refresh,
    /// Have the group keep chunks that are written and not committed, so that their epoch can be closed.
    Stage(Vec<(ChunkRef, u8)>),
    /// Close an epoch of the session.
    Close(WriterEpoch),
    /// Have a node fetch a chunk from others, under an epoch of its group.
    Replicate(NodeId, ChunkRef, PgEpoch, Vec<NodeId>),
}

/// What a step wants of the group.
pub(super) enum Wanted {
    Query(Query),
    Command(Command),
}

/// The steps of an operation of a client that has just begun or not.
pub(super) fn of(planned: &PlannedOperation, fresh: bool, chunk_bytes: usize) -> VecDeque<Step> {
    let mut steps = VecDeque::new();
    if fresh {
        steps.extend([Step::Bucket, Step::Window, Step::Root]);
    }
    match &planned.operation {
        Operation::Put(_, len, _) | Operation::Create(_, len, _) => {
            if !is_inline(planned, *len) {
                write(&mut steps, value_bytes(planned.number << 8, *len), chunk_bytes);
            }
            steps.push_back(Step::Send);
        }
        Operation::Get(_) => steps.extend([Step::Ask, Step::Fetch]),
        Operation::Multipart(_, parts, _) => {
            steps.push_back(Step::BeginUpload);
            for (part, len) in parts.iter().enumerate() {
                let number = part as u16 + 1;
                write(&mut steps, value_bytes(planned.number << 8 | u64::from(number), *len), chunk_bytes);
                steps.push_back(Step::Part(number));
            }
            steps.push_back(Step::Send);
        }
        Operation::Append(name, len) => {
            steps.push_back(Step::Lookup(*name));
            write(&mut steps, value_bytes(planned.number << 8, *len), chunk_bytes);
            steps.push_back(Step::Send);
        }
        Operation::Link(name, _)
        | Operation::Chmod(name, _)
        | Operation::Resize(name, _)
        | Operation::SetXattr(name) => steps.extend([Step::Lookup(*name), Step::Send]),
        Operation::GetXattr(name) => steps.extend([Step::Lookup(*name), Step::Ask]),
        Operation::List
        | Operation::Stat(_)
        | Operation::ReadDir
        | Operation::GetRecords
        | Operation::ScanRecords(_) => steps.push_back(Step::Ask),
        // The real worker knows its node's map.
        Operation::Repair => steps.extend([Step::Refresh, Step::Ask]),
        Operation::Restore(..) | Operation::Purge(_) => steps.extend([Step::Ask, Step::Send]),
        Operation::Delete(_)
        | Operation::DeleteAll
        | Operation::Abort(..)
        | Operation::Copy(..)
        | Operation::Rename(..)
        | Operation::Unlink(_)
        | Operation::PutRecords(..)
        | Operation::FarAhead(_) => steps.push_back(Step::Send),
    }
    steps
}

/// Whether the bytes stand in the metadata.
fn is_inline(planned: &PlannedOperation, len: usize) -> bool {
    len == 0 || len <= INLINE_BYTES_MAX && planned.number.is_multiple_of(4)
}

fn write(steps: &mut VecDeque<Step>, data: Bytes, chunk_bytes: usize) {
    let pieces = data.len().div_ceil(chunk_bytes);
    let piece = |i: usize| data.slice(i * chunk_bytes..((i + 1) * chunk_bytes).min(data.len()));
    steps.extend((0..pieces).map(|i| Step::Write(piece(i))));
}

/// An MD5 that stands for the bytes of an operation.
fn md5(number: u64, part: u16) -> [u8; 16] {
    let mut md5 = [0; 16];
    md5[..8].copy_from_slice(&number.to_be_bytes());
    md5[8..10].copy_from_slice(&part.to_be_bytes());
    md5
}

fn upload(op: &Op) -> UploadId {
    UploadId(md5(op.planned.number, u16::MAX))
}

fn content(op: &Op, len: usize) -> NewContent {
    if is_inline(&op.planned, len) {
        NewContent::Inline(value_bytes(op.planned.number << 8, len))
    } else {
        NewContent::Chunks(op.extents.clone())
    }
}

/// What a step wants of the group; nothing if it has become needless.
pub(super) fn request(client: &Client, op: &Op, step: &Step, knobs: &Knobs) -> Option<Wanted> {
    let root = client.root.unwrap_or_default();
    Some(match (step, &op.planned.operation) {
        (Step::Bucket, _) => Wanted::Command(Command::EnsureBucket { bucket: BUCKET }),
        (Step::Window, _) => {
            let options = BucketOptions { trash_window_secs: knobs.window_secs, ..BucketOptions::default() };
            Wanted::Command(Command::SetBucketOptions { bucket: BUCKET, options })
        }
        (Step::Stage(chunks), _) => Wanted::Command(Command::Stage { chunks: chunks.clone() }),
        (Step::Close(epoch), _) => {
            let session = client.held.as_ref()?.id;
            Wanted::Command(Command::CloseEpoch { session, epoch: *epoch })
        }
        (Step::Root, _) => Wanted::Query(Query::BucketRoot { bucket: BUCKET }),
        (Step::Lookup(name), _) | (Step::Ask, Operation::Stat(name)) => {
            Wanted::Query(Query::Lookup { parent: root, name: name.bytes() })
        }
        (Step::Ask | Step::AskAgain, Operation::Get(name)) => {
            Wanted::Query(Query::Object { bucket: BUCKET, key: name.bytes(), content: Some((0, u64::MAX)) })
        }
        (Step::Ask, Operation::List) => Wanted::Query(Query::ListObjects {
            bucket: BUCKET,
            prefix: Bytes::new(),
            delimiter: Bytes::new(),
            after: Bytes::new(),
            max: 1000,
        }),
        (Step::Ask, Operation::GetXattr(_)) => {
            Wanted::Query(Query::GetXattr { ino: op.ino, name: Bytes::from_static(XATTR) })
        }
        (Step::Ask, Operation::ReadDir) => Wanted::Query(Query::ReadDir { ino: root, after: Bytes::new(), max: 1024 }),
        (Step::Ask, Operation::GetRecords) => Wanted::Query(records::get()),
        (Step::Ask, Operation::ScanRecords(by)) => Wanted::Query(records::scan(*by, op.planned.number)),
        (Step::Ask, Operation::Repair) => Wanted::Query(Query::UnderReplicated { after: None, max: REPAIR_PAGE }),
        (Step::Ask, Operation::Restore(name, _) | Operation::Purge(Some(name))) => Wanted::Query(trash(name.bytes())),
        (Step::Ask, Operation::Purge(None)) => Wanted::Query(trash(Bytes::new())),
        (Step::BeginUpload, Operation::Multipart(name, ..)) => Wanted::Command(Command::CreateUpload {
            bucket: BUCKET,
            key: name.bytes(),
            upload: upload(op),
            xattrs: Vec::new(),
        }),
        (Step::Part(part), Operation::Multipart(name, ..)) => Wanted::Command(Command::PutPart {
            bucket: BUCKET,
            key: name.bytes(),
            upload: upload(op),
            part: *part,
            content: NewContent::Chunks(op.extents.clone()),
            md5: md5(op.planned.number, *part),
            xattrs: Vec::new(),
        }),
        (Step::Send, _) => return command(client, op, root).map(Wanted::Command),
        (step, operation) => unreachable!("{step:?} of {operation:?}"),
    })
}

/// What lies in the trash under names that begin so.
fn trash(prefix: Bytes) -> Query {
    let filter = TrashFilter { prefix, ..TrashFilter::default() };
    Query::ListTrash { bucket: BUCKET, filter, after: None, max: TRASH_PAGE }
}

/// Which entries of the trash an operation is about. What has lost its name as a whole is not brought back: it would come under a
/// directory, and there is one only.
pub(super) fn choose(operation: &Operation, page: &TrashPage) -> Vec<TrashId> {
    let of = |name: Name| page.entries.iter().filter(move |entry| entry.path == name.bytes()).map(|entry| entry.id);
    match operation {
        Operation::Restore(name, _) => of(*name).next_back().into_iter().collect(),
        Operation::Purge(Some(name)) => of(*name).take(PURGED_AT_ONCE).collect(),
        _ => page.entries.iter().map(|entry| entry.id).take(TRASH_BATCH_MAX).collect(),
    }
}

fn command(client: &Client, op: &Op, root: Ino) -> Option<Command> {
    let number = op.planned.number;
    Some(match &op.planned.operation {
        Operation::Put(name, len, condition) => Command::PutObject {
            bucket: BUCKET,
            key: name.bytes(),
            content: content(op, *len),
            etag: ETag::Md5(md5(number, 0)),
            xattrs: Vec::new(),
            precondition: match condition {
                Condition::None => Precondition::default(),
                Condition::Absent => Precondition { if_none_match: Some(TagMatch::Any), ..Precondition::default() },
                Condition::Seen => {
                    let seen = client.seen.get(name).cloned().unwrap_or_default();
                    Precondition { if_match: Some(TagMatch::Tags(vec![seen])), ..Precondition::default() }
                }
            },
        },
        Operation::Delete(name) | Operation::FarAhead(name) => {
            Command::DeleteObjects { bucket: BUCKET, keys: vec![name.bytes()], precondition: Precondition::default() }
        }
        Operation::Restore(..) | Operation::Purge(_) if op.binned.is_empty() => return None,
        Operation::Restore(_, replace) => Command::RestoreTrash {
            bucket: BUCKET,
            entries: op.binned.clone(),
            to: Bytes::new(),
            taken: if *replace { NameTaken::Replace } else { NameTaken::Refuse },
        },
        Operation::Purge(_) => Command::PurgeTrash { bucket: BUCKET, entries: op.binned.clone() },
        Operation::DeleteAll => Command::DeleteObjects {
            bucket: BUCKET,
            keys: (0..NAMES).map(|name| Name(name as u8).bytes()).collect(),
            precondition: Precondition::default(),
        },
        Operation::Abort(name, upload) => Command::AbortUpload { bucket: BUCKET, key: name.bytes(), upload: *upload },
        Operation::Copy(from, to) => Command::CopyObject {
            source_bucket: BUCKET,
            source_key: from.bytes(),
            source_precondition: Precondition::default(),
            bucket: BUCKET,
            key: to.bytes(),
            xattrs: None,
            precondition: Precondition::default(),
        },
        Operation::Multipart(name, parts, true) => Command::CompleteUpload {
            bucket: BUCKET,
            key: name.bytes(),
            upload: upload(op),
            parts: (1..=parts.len() as u16).map(|part| (part, md5(number, part))).collect(),
            etag: ETag::Multipart(md5(number, 0), parts.len() as u16),
            xattrs: Vec::new(),
            part_bytes_min: 1,
            precondition: Precondition::default(),
        },
        Operation::Multipart(name, _, false) => {
            Command::AbortUpload { bucket: BUCKET, key: name.bytes(), upload: upload(op) }
        }
        Operation::Create(name, len, exclusive) => Command::Create {
            parent: root,
            name: name.bytes(),
            kind: FileKind::File,
            mode: 0o640,
            uid: 1,
            gid: 1,
            content: content(op, *len),
            exclusive: *exclusive,
        },
        Operation::Rename(from, to, no_replace) => Command::Rename {
            parent: root,
            name: from.bytes(),
            new_parent: root,
            new_name: to.bytes(),
            no_replace: *no_replace,
        },
        Operation::Link(_, to) => Command::Link { ino: op.ino, parent: root, name: to.bytes() },
        Operation::Unlink(name) => Command::Unlink { parent: root, name: name.bytes() },
        Operation::Append(..) => {
            Command::Write { ino: op.ino, inline: None, extents: op.extents.clone(), append: true }
        }
        Operation::Chmod(_, mode) => set_attr(op.ino, Some(*mode), None),
        Operation::Resize(_, size) => set_attr(op.ino, None, Some(*size)),
        Operation::SetXattr(_) => Command::SetXattr {
            ino: op.ino,
            name: Bytes::from_static(XATTR),
            value: number.to_be_bytes().to_vec().into(),
            mode: SetXattrMode::Any,
        },
        Operation::PutRecords(_, condition) => records::put(client, &op.planned, *condition),
        Operation::Repair => {
            let whole = op.lacking.iter().filter(|(_, left)| **left == 0);
            let chunks: Vec<ChunkId> = whole.map(|(chunk, _)| *chunk).collect();
            if chunks.is_empty() {
                return None;
            }
            Command::ClearUnderReplicated { chunks }
        }
        other => unreachable!("{other:?} sends nothing"),
    })
}

fn set_attr(ino: Ino, mode: Option<u32>, size: Option<u64>) -> Command {
    Command::SetAttr { ino, mode, uid: None, gid: None, size, atime: None, mtime: None }
}
