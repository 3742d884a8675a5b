//! Raft messages in our own coding. raft-rs keeps them as protobuf 2 structs, whose parser must never see bytes of a
//! network (RUSTSEC-2024-0437), so they are turned into [`RaftMessage`] at the border and coded with postcard.

use crate::entry::{Entry, EntryKind, LogStart};
use crate::membership::Members;
use bytes::Bytes;
use raft::eraftpb as pb;
use serde::{Deserialize, Serialize};
use types::{LogIndex, ReplicaId, Term};

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MessageKind {
    /// Entries, or a probe for where the logs agree.
    Append,
    /// How far the follower got, or why not.
    AppendResponse,
    /// A vote is asked for.
    Vote,
    /// The vote.
    VoteResponse,
    /// Would you vote for me; changes nothing at the receiver.
    PreVote,
    /// The answer.
    PreVoteResponse,
    /// The log does not reach back far enough: fetch a snapshot.
    Snapshot,
    /// The leader lives; carries read contexts.
    Heartbeat,
    /// The follower hears it.
    HeartbeatResponse,
    /// Campaign at once: leadership is handed over.
    TimeoutNow,
    /// The files of the snapshot could not be fetched: begin again. Ours, raft-rs never sees it.
    SnapshotFailed,
    /// The sender has a vote and has lost what it promised: it must be let go, and come back as another. Ours too.
    Unfit,
    /// The rolling hash of the sender's state at `index`, in `context`. Ours.
    StateHash,
    /// The leader has found that the receiver's state is not what the log makes it. Ours.
    Diverged,
}

/// A message between two replicas of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaftMessage {
    /// What it is about.
    pub kind: MessageKind,
    /// Receiver.
    pub to: ReplicaId,
    /// Sender; its node must agree with the certificate of the connection it came by.
    pub from: ReplicaId,
    /// The sender's term.
    pub term: Term,
    /// Term of the entry at `index`.
    pub log_term: Term,
    /// The entry before the first of `entries`, or the one that is acknowledged or rejected.
    pub index: LogIndex,
    /// The entries.
    pub entries: Vec<Entry>,
    /// The sender's commit index.
    pub commit: LogIndex,
    /// Its term.
    pub commit_term: Term,
    /// Where the snapshot begins that the receiver should fetch. Of whoever asks for a vote, or answers a replica in quarantine: how far it has come, and who belongs to
    /// the group as far as it knows.
    pub point: Option<StatePoint>,
    /// A follower asks for a snapshot at or after this index.
    pub request_snapshot: LogIndex,
    /// The receiver refused.
    pub reject: bool,
    /// Where the logs may agree.
    pub reject_hint: LogIndex,
    /// A read context, or the kind of campaign.
    pub context: Bytes,
}

/// How far a state has come: what a message says of a snapshot, whose files are fetched from the sender, or of the sender itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatePoint {
    /// The last entry in it.
    pub at: LogStart,
    /// The members at that point.
    pub members: Members,
}

/// A message that raft-rs knows and this protocol does not carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a raft message of a kind that is not sent between nodes")]
pub struct NotCarried;

impl RaftMessage {
    /// A message that says nothing but its kind and term.
    pub(crate) fn bare(kind: MessageKind, from: ReplicaId, to: ReplicaId, term: Term) -> Self {
        RaftMessage {
            kind,
            to,
            from,
            term,
            log_term: Term(0),
            index: LogIndex(0),
            entries: Vec::new(),
            commit: LogIndex(0),
            commit_term: Term(0),
            point: None,
            request_snapshot: LogIndex(0),
            reject: false,
            reject_hint: LogIndex(0),
            context: Bytes::new(),
        }
    }

    /// Bytes for the wire.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        postcard::to_stdvec(self).expect("serialising plain data into memory cannot fail").into()
    }

    /// Bytes from the wire; allocation is bounded by their number.
    ///
    /// # Errors
    /// They are not a message.
    pub fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        postcard::from_bytes(bytes)
    }

    pub(crate) fn from_raft(message: pb::Message) -> Result<Self, NotCarried> {
        let point = message.snapshot.as_ref().filter(|s| !s.is_empty()).map(|snapshot| {
            let meta = snapshot.get_metadata();
            StatePoint {
                at: LogStart { index: LogIndex(meta.index), term: Term(meta.term) },
                members: Members::from_raft(meta.get_conf_state()),
            }
        });
        Ok(RaftMessage {
            kind: kind_of(message.msg_type).ok_or(NotCarried)?,
            to: ReplicaId(message.to),
            from: ReplicaId(message.from),
            term: Term(message.term),
            log_term: Term(message.log_term),
            index: LogIndex(message.index),
            entries: message.entries.into_iter().map(entry_from_raft).collect(),
            commit: LogIndex(message.commit),
            commit_term: Term(message.commit_term),
            point,
            request_snapshot: LogIndex(message.request_snapshot),
            reject: message.reject,
            reject_hint: LogIndex(message.reject_hint),
            context: message.context,
        })
    }

    pub(crate) fn into_raft(self) -> pb::Message {
        let mut message = pb::Message {
            msg_type: type_of(self.kind),
            to: self.to.0,
            from: self.from.0,
            term: self.term.0,
            log_term: self.log_term.0,
            index: self.index.0,
            commit: self.commit.0,
            commit_term: self.commit_term.0,
            request_snapshot: self.request_snapshot.0,
            reject: self.reject,
            reject_hint: self.reject_hint.0,
            context: self.context,
            ..pb::Message::default()
        };
        message.set_entries(self.entries.into_iter().map(entry_to_raft).collect());
        if let Some(point) = self.point.as_ref().filter(|_| self.kind == MessageKind::Snapshot) {
            message.set_snapshot(snapshot_to_raft(point));
        }
        message
    }
}

pub(crate) fn snapshot_to_raft(point: &StatePoint) -> pb::Snapshot {
    let mut snapshot = pb::Snapshot::default();
    let meta = snapshot.mut_metadata();
    meta.index = point.at.index.0;
    meta.term = point.at.term.0;
    meta.set_conf_state(point.members.to_raft());
    snapshot
}

pub(crate) fn entry_to_raft(entry: Entry) -> pb::Entry {
    let (term, index) = (entry.term.0, entry.index.0);
    match entry.kind {
        EntryKind::Normal => pb::Entry { term, index, data: entry.data, ..pb::Entry::default() },
        // raft-rs parses the data of a change as protobuf when it is proposed, and only then. So data holds that coding where the
        // change is proposed and nothing anywhere else, and ours travels as the context, which nobody parses.
        EntryKind::ConfChange => pb::Entry {
            entry_type: pb::EntryType::EntryConfChangeV2,
            term,
            index,
            context: entry.data,
            ..pb::Entry::default()
        },
    }
}

pub(crate) fn entry_from_raft(entry: pb::Entry) -> Entry {
    let (kind, data) = match entry.entry_type {
        pb::EntryType::EntryNormal => (EntryKind::Normal, entry.data),
        pb::EntryType::EntryConfChange | pb::EntryType::EntryConfChangeV2 => (EntryKind::ConfChange, entry.context),
    };
    Entry { term: Term(entry.term), index: LogIndex(entry.index), kind, data }
}

fn kind_of(kind: pb::MessageType) -> Option<MessageKind> {
    use pb::MessageType as T;
    Some(match kind {
        T::MsgAppend => MessageKind::Append,
        T::MsgAppendResponse => MessageKind::AppendResponse,
        T::MsgRequestVote => MessageKind::Vote,
        T::MsgRequestVoteResponse => MessageKind::VoteResponse,
        T::MsgRequestPreVote => MessageKind::PreVote,
        T::MsgRequestPreVoteResponse => MessageKind::PreVoteResponse,
        T::MsgSnapshot => MessageKind::Snapshot,
        T::MsgHeartbeat => MessageKind::Heartbeat,
        T::MsgHeartbeatResponse => MessageKind::HeartbeatResponse,
        T::MsgTimeoutNow => MessageKind::TimeoutNow,
        // Local to a node, or forwarding that followers never do here: proposals and reads go to the leader.
        T::MsgHup
        | T::MsgBeat
        | T::MsgPropose
        | T::MsgUnreachable
        | T::MsgSnapStatus
        | T::MsgCheckQuorum
        | T::MsgTransferLeader
        | T::MsgReadIndex
        | T::MsgReadIndexResp => return None,
    })
}

fn type_of(kind: MessageKind) -> pb::MessageType {
    use pb::MessageType as T;
    match kind {
        MessageKind::Append => T::MsgAppend,
        MessageKind::AppendResponse => T::MsgAppendResponse,
        MessageKind::Vote => T::MsgRequestVote,
        MessageKind::VoteResponse => T::MsgRequestVoteResponse,
        MessageKind::PreVote => T::MsgRequestPreVote,
        MessageKind::PreVoteResponse => T::MsgRequestPreVoteResponse,
        MessageKind::Snapshot => T::MsgSnapshot,
        MessageKind::Heartbeat => T::MsgHeartbeat,
        MessageKind::HeartbeatResponse => T::MsgHeartbeatResponse,
        MessageKind::TimeoutNow => T::MsgTimeoutNow,
        MessageKind::SnapshotFailed | MessageKind::Unfit | MessageKind::StateHash | MessageKind::Diverged => {
            T::MsgSnapStatus
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_the_wire_and_raft_rs() {
        let message = RaftMessage {
            kind: MessageKind::Snapshot,
            to: ReplicaId(1),
            from: ReplicaId(2),
            term: Term(3),
            log_term: Term(2),
            index: LogIndex(9),
            entries: vec![
                Entry {
                    term: Term(3),
                    index: LogIndex(10),
                    kind: EntryKind::Normal,
                    data: Bytes::from_static(b"command"),
                },
                Entry {
                    term: Term(3),
                    index: LogIndex(11),
                    kind: EntryKind::ConfChange,
                    data: Bytes::from_static(b"change"),
                },
            ],
            commit: LogIndex(9),
            commit_term: Term(2),
            point: Some(StatePoint {
                at: LogStart { index: LogIndex(5), term: Term(1) },
                members: Members {
                    voters: vec![ReplicaId(1), ReplicaId(2)],
                    outgoing: vec![ReplicaId(2), ReplicaId(3)],
                    learners: vec![ReplicaId(5)],
                    learners_next: vec![ReplicaId(3)],
                },
            }),
            request_snapshot: LogIndex(0),
            reject: true,
            reject_hint: LogIndex(4),
            context: Bytes::from_static(b"ctx"),
        };
        let wire = RaftMessage::decode(&message.encode()).expect("own bytes");
        assert_eq!(wire, message);
        assert_eq!(RaftMessage::from_raft(wire.into_raft()).expect("own bytes"), message);
    }

    #[test]
    fn hostile_bytes_are_an_error() {
        for len in 0..40 {
            assert!(RaftMessage::decode(&vec![0xff; len]).is_err());
        }
    }
}
