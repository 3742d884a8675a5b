//! Rare branches that a set of runs must have gone through: a simulation that never gets there proves nothing about them.

use std::collections::BTreeMap;
use std::fmt;

/// A rare branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// A leader lost its place while commands that it had taken were unanswered.
    LeaderChangedInFlight,
    /// A follower was so far behind that it installed a snapshot.
    SnapshotInstalled,
    /// A replica started without a vote, since it may have forgotten promises.
    Quarantined,
    /// A log was cut.
    LogCut,
    /// A node ended itself because a flush failed.
    Fenced,
    /// A disk had promised what was gone after its power went.
    LieFound,
    /// A start threw away a record that was written in part.
    TornRecordDropped,
    /// A chunk was committed with two copies.
    TwoOfThree,
    /// A chunk was written again elsewhere.
    Elsewhere,
    /// A node refused a chunk of an old or a new epoch.
    StaleEpoch,
    /// A node refused a chunk for want of room.
    NoSpace,
    /// A reader asked a second member before the first had answered.
    Hedged,
    /// A reader was sent something else than the chunk.
    CorruptCopyRead,
    /// A scrub found a damaged copy.
    CorruptCopyScrubbed,
    /// A missing or damaged copy was made again.
    CopyMade,
    /// The row of a chunk that lacked a copy was removed.
    RepairRecorded,
    /// A command was answered from what the session remembers, not applied again.
    AnsweredAgain,
    /// A session had too many requests in flight.
    WindowFull,
    /// A precondition did not hold.
    PreconditionFailed,
    /// An upload was completed.
    UploadCompleted,
    /// An upload was given up.
    UploadAborted,
    /// An entry carried several commands.
    ManyCommandsInEntry,
    /// A minority was away for good and the others served.
    CoreServed,
    /// A client learned that its session was ended.
    SessionLost,
    /// A command was refused since its session was over.
    SessionClosed,
    /// A group ended a session.
    SessionOver,
    /// What was written and not committed was staged.
    Staged,
    /// A writer epoch was closed.
    EpochClosed,
    /// Garbage was condemned.
    Condemned,
    /// Condemned chunks were deleted everywhere and forgotten.
    Forgotten,
    /// A chunk that was never committed was deleted.
    OrphanDeleted,
    /// A power cut brought a deleted chunk back.
    DeletedBack,
    /// A file came back from the trash.
    TrashRestored,
    /// A file was purged from the trash.
    TrashPurged,
    /// A file in the trash was released when its time was over.
    TrashExpired,
    /// Everything was deleted, and no chunk was left.
    Emptied,
    /// A copy began to move.
    MoveBegun,
    /// A move was committed.
    MoveCommitted,
    /// A move was given up.
    MoveAborted,
    /// A barrier was passed since a member had been silent for longer than its lease.
    SilencePassed,
    /// A copy was made for a move.
    Pulled,
    /// A copy that a move had left behind was taken off its disk.
    LeftoverTaken,
    /// A member that lacked a chunk was given it by whoever was to take it off.
    LeftoverGiven,
    /// A chunk was committed that a node which a move brought in had not taken.
    NewcomerMissed,
    /// A node refused a change for want of a lease.
    NoLease,
    /// A node was silent for so long that its copies were made anew.
    NodeOut,
    /// A node reported that its disk was dead.
    DiskBroken,
    /// A chunk that a member had deleted was deleted on a disk that a move filled.
    LateDelete,
    /// A Raft group took a learner in.
    LearnerAdded,
    /// A leader handed leadership over since it was to lose its vote.
    HandedOver,
    /// A node made a replica that a leader had spoken to.
    ReplicaTaken,
    /// A replica was let go and removed.
    ReplicaLetGo,
    /// A node learned that it was removed, and ended.
    NodeRemoved,
    /// A group was recovered from its last voter.
    Recovered,
    /// With that, entries were lost that the others had acknowledged.
    RecoveredLess,
    /// With that, entries became committed that never were.
    RecoveredMore,
    /// A leader answered without asking a quorum.
    LeaseRead,
    /// Records were changed.
    RecordsChanged,
    /// A record was not as expected, and nothing was changed.
    RecordRace,
}

impl Mark {
    /// All of them.
    pub const ALL: [Mark; 59] = [
        Mark::LeaderChangedInFlight,
        Mark::SnapshotInstalled,
        Mark::Quarantined,
        Mark::LogCut,
        Mark::Fenced,
        Mark::LieFound,
        Mark::TornRecordDropped,
        Mark::TwoOfThree,
        Mark::Elsewhere,
        Mark::StaleEpoch,
        Mark::NoSpace,
        Mark::Hedged,
        Mark::CorruptCopyRead,
        Mark::CorruptCopyScrubbed,
        Mark::CopyMade,
        Mark::RepairRecorded,
        Mark::AnsweredAgain,
        Mark::WindowFull,
        Mark::PreconditionFailed,
        Mark::UploadCompleted,
        Mark::UploadAborted,
        Mark::ManyCommandsInEntry,
        Mark::CoreServed,
        Mark::SessionLost,
        Mark::SessionClosed,
        Mark::SessionOver,
        Mark::Staged,
        Mark::EpochClosed,
        Mark::Condemned,
        Mark::Forgotten,
        Mark::OrphanDeleted,
        Mark::DeletedBack,
        Mark::TrashRestored,
        Mark::TrashPurged,
        Mark::TrashExpired,
        Mark::Emptied,
        Mark::MoveBegun,
        Mark::MoveCommitted,
        Mark::MoveAborted,
        Mark::SilencePassed,
        Mark::Pulled,
        Mark::LeftoverTaken,
        Mark::LeftoverGiven,
        Mark::NewcomerMissed,
        Mark::NoLease,
        Mark::NodeOut,
        Mark::DiskBroken,
        Mark::LateDelete,
        Mark::LearnerAdded,
        Mark::HandedOver,
        Mark::ReplicaTaken,
        Mark::ReplicaLetGo,
        Mark::NodeRemoved,
        Mark::Recovered,
        Mark::RecoveredLess,
        Mark::RecoveredMore,
        Mark::LeaseRead,
        Mark::RecordsChanged,
        Mark::RecordRace,
    ];
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Mark::LeaderChangedInFlight => "leader change with commands in flight",
            Mark::SnapshotInstalled => "snapshot installed",
            Mark::Quarantined => "replica in quarantine",
            Mark::LogCut => "log cut",
            Mark::Fenced => "node fenced by a failed flush",
            Mark::LieFound => "flushed data gone after a power cut",
            Mark::TornRecordDropped => "torn record dropped at start",
            Mark::TwoOfThree => "commit with two copies",
            Mark::Elsewhere => "chunk written again elsewhere",
            Mark::StaleEpoch => "stale epoch",
            Mark::NoSpace => "no space",
            Mark::Hedged => "hedged read",
            Mark::CorruptCopyRead => "corrupt copy read",
            Mark::CorruptCopyScrubbed => "corrupt copy found by scrub",
            Mark::CopyMade => "copy made again",
            Mark::RepairRecorded => "repair recorded",
            Mark::AnsweredAgain => "request answered again",
            Mark::WindowFull => "session window full",
            Mark::PreconditionFailed => "precondition failed",
            Mark::UploadCompleted => "upload completed",
            Mark::UploadAborted => "upload aborted",
            Mark::ManyCommandsInEntry => "several commands in an entry",
            Mark::CoreServed => "majority served without the rest",
            Mark::SessionLost => "session lost",
            Mark::SessionClosed => "command of a closed session",
            Mark::SessionOver => "session ended in the group",
            Mark::Staged => "chunks staged",
            Mark::EpochClosed => "writer epoch closed",
            Mark::Condemned => "garbage condemned",
            Mark::Forgotten => "condemned chunks forgotten",
            Mark::OrphanDeleted => "orphan deleted",
            Mark::DeletedBack => "deleted chunk back after a power cut",
            Mark::TrashRestored => "trash restored",
            Mark::TrashPurged => "trash purged",
            Mark::TrashExpired => "trash expired",
            Mark::Emptied => "everything deleted and gone",
            Mark::MoveBegun => "move begun",
            Mark::MoveCommitted => "move committed",
            Mark::MoveAborted => "move given up",
            Mark::SilencePassed => "barrier passed by silence",
            Mark::Pulled => "copy made for a move",
            Mark::LeftoverTaken => "leftover copy taken off",
            Mark::LeftoverGiven => "leftover copy given to a member",
            Mark::NewcomerMissed => "commit without the newcomer",
            Mark::NoLease => "no lease",
            Mark::NodeOut => "node out",
            Mark::DiskBroken => "disk broken",
            Mark::LateDelete => "deletion caught up with by a move",
            Mark::LearnerAdded => "learner added",
            Mark::HandedOver => "leadership handed over",
            Mark::ReplicaTaken => "replica taken in",
            Mark::ReplicaLetGo => "replica let go",
            Mark::NodeRemoved => "node removed",
            Mark::Recovered => "group recovered from one voter",
            Mark::RecoveredLess => "recovery with entries lost",
            Mark::RecoveredMore => "recovery of uncommitted entries",
            Mark::LeaseRead => "read by a leader's lease",
            Mark::RecordsChanged => "records changed",
            Mark::RecordRace => "race for a record lost",
        })
    }
}

/// How often each was gone through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks(pub BTreeMap<Mark, u64>);

impl Marks {
    /// It was.
    pub fn hit(&mut self, mark: Mark) {
        *self.0.entry(mark).or_default() += 1;
    }
}
