//! Mistakes that can be planted in the shells, to see that they are found.

use crate::fault::Fault;

/// A planted mistake. The numbers are those of the table in docs/RELIABILITY.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// M1: Raft's promises are sent before the log is flushed.
    PromiseBeforeFlush,
    /// M2: a writer is content with one durable copy and says that it has three.
    OneCopyIsEnough,
    /// M4: a vote is given and not written down.
    VoteNotPersisted,
    /// M5: a flush that failed is taken for done, since the next one succeeds.
    FlushErrorIgnored,
    /// M6: a leader answers queries without asking whether it still leads.
    ReadWithoutQuorum,
    /// M7: the index of the last applied entry is made durable apart from the rows.
    IndexOutsideBatch,
    /// M8: a reader believes what a replica sends.
    BelieveReplicas,
    /// M9: whoever judges orphans does not look at what uploads in progress refer to.
    UploadsOverlooked,
    /// Not of the table: whoever judges orphans takes what no row knows for garbage, though its writer may be about to commit it.
    UnknownIsGarbage,
    /// M10: a node whose disk was wiped goes on under its old id as if nothing were missing.
    WipedNodeVotes,
    /// M12: a client that had no answer sends its command again as a new one.
    RetryUnderAnotherNumber,
    /// M13: a reader takes later extents from whatever the name leads to by then.
    MixedVersions,
    /// M14: a missing copy is made from what another node has, without a look at the hash it should have.
    CopyUnchecked,
    /// M15: a node that was removed is listened to.
    RemovedNodeHeard,
    /// M17: the log is reset for a snapshot before the rows are there.
    SnapshotInHalves,
    /// M18: whoever plans moves does not look at failure domains, and nobody checks the plan.
    DomainsIgnored,
    /// Not of the table: a node that a move brings in says that it has everything without a look.
    MoveUnverified,
    /// Not of the table: the node that a move takes a copy from takes it off its disk before the move is committed.
    OldCopyFirst,
    /// Not of the table: a node takes puts of epochs that are over.
    OldEpochTaken,
    /// Not of the table: a replica that its group has let go is still there at the next start of its node, with its vote.
    LetGoComesBack,
    /// Not of the table: whoever recovers a group from its last voter keeps what that one has applied, and forgets what else is in its log.
    LogEndForgotten,
    /// Not of the table: a leader reads without asking for three seconds longer than its voters wait.
    LeaseTooLong,
}

impl Bug {
    /// All of them.
    pub const ALL: [Bug; 22] = [
        Bug::PromiseBeforeFlush,
        Bug::OneCopyIsEnough,
        Bug::VoteNotPersisted,
        Bug::FlushErrorIgnored,
        Bug::ReadWithoutQuorum,
        Bug::IndexOutsideBatch,
        Bug::BelieveReplicas,
        Bug::UploadsOverlooked,
        Bug::UnknownIsGarbage,
        Bug::WipedNodeVotes,
        Bug::RetryUnderAnotherNumber,
        Bug::MixedVersions,
        Bug::CopyUnchecked,
        Bug::RemovedNodeHeard,
        Bug::SnapshotInHalves,
        Bug::DomainsIgnored,
        Bug::MoveUnverified,
        Bug::OldCopyFirst,
        Bug::OldEpochTaken,
        Bug::LetGoComesBack,
        Bug::LogEndForgotten,
        Bug::LeaseTooLong,
    ];

    /// The faults that bring it out: with it, many are of these kinds. A wiped disk is among them only here, since without the
    /// mistake the node would refuse to start and wait for a person.
    #[must_use]
    pub fn favours(self) -> &'static [Fault] {
        match self {
            Bug::PromiseBeforeFlush | Bug::OneCopyIsEnough => &[Fault::Power, Fault::PowerAll, Fault::SlowDisk],
            Bug::VoteNotPersisted | Bug::IndexOutsideBatch => &[Fault::Kill],
            Bug::FlushErrorIgnored => &[Fault::FlushError, Fault::Power],
            Bug::ReadWithoutQuorum | Bug::LeaseTooLong => &[Fault::Isolate],
            Bug::BelieveReplicas | Bug::CopyUnchecked => &[Fault::Rot],
            Bug::UploadsOverlooked => &[Fault::Silence, Fault::ClientDies],
            Bug::WipedNodeVotes => &[Fault::Wipe],
            Bug::SnapshotInHalves => &[Fault::Isolate, Fault::Swizzle, Fault::Power],
            Bug::DomainsIgnored | Bug::MoveUnverified | Bug::OldCopyFirst | Bug::OldEpochTaken => {
                &[Fault::Drain, Fault::DeadDisk]
            }
            Bug::LetGoComesBack => &[Fault::Drain, Fault::Kill],
            Bug::RemovedNodeHeard => &[Fault::Drain],
            Bug::LogEndForgotten => &[Fault::Majority],
            Bug::RetryUnderAnotherNumber | Bug::MixedVersions | Bug::UnknownIsGarbage => &[],
        }
    }
}
