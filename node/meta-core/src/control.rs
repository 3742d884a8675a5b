//! The control group: placement map and nodes, buckets, users and keys, sessions.
//!
//! Every command may be sent twice: the second finds what the first has done.

mod buckets;
mod garbage;
mod invitations;
mod level;
mod moves;
mod nodes;
mod rests;
mod rules;
mod sessions;
#[cfg(test)]
mod tests;
mod users;
mod voters;

use crate::key::Table;
use crate::key::control::{
    AccessKeyKey, BucketNameKey, ControlKey, GarbageOptionsKey, MapKey, UserKey, WriterSessionKey, range_of,
};
use crate::kv::{Kv, KvError, KvRead, Row};
use crate::overlay::Overlay;
use crate::row::{self, Corrupt, Key};
use proto::control::{BucketInfo, ControlAnswer, ControlCommand, ControlOutcome, ControlQuery, ControlRefusal};
use proto::join::{Invitation, InvitationState};
use serde::{Deserialize, Serialize};
use types::{BucketId, GroupId, RuleId, SessionId, Timestamp};

/// Rows of one table, all of which one answer must hold.
const TABLE_ROWS_MAX: usize = 1 << 15;

/// What the control group counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub(crate) struct Header {
    /// The last bucket id handed out.
    pub(crate) bucket: BucketId,
    /// The last session id handed out.
    pub(crate) session: SessionId,
    /// Buckets in each metadata group, by group.
    pub(crate) buckets: Vec<(GroupId, u32)>,
    pub(crate) users: u32,
    pub(crate) keys: u32,
    /// Open sessions.
    pub(crate) sessions: u32,
    /// The last id of a rule of placement that was given out.
    pub(crate) rule: RuleId,
}

/// A bucket and the nonce it was made with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BucketRow {
    pub(crate) info: BucketInfo,
    pub(crate) nonce: u128,
}

/// A bucket that was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeletedBucketRow {
    pub(crate) bucket: BucketRow,
    pub(crate) deleted: Timestamp,
}

/// An invitation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InvitationRow {
    pub(crate) invitation: Invitation,
    pub(crate) state: InvitationState,
}

/// A user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserRow {
    pub(crate) created: Timestamp,
}

/// An open session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionRow {
    pub(crate) kind: String,
    pub(crate) renewed: Timestamp,
}

/// Why a control command stopped.
#[derive(Debug)]
enum Stop {
    Refused(ControlRefusal),
    Broken(KvError),
}

type Step<T> = Result<T, Stop>;

impl From<ControlRefusal> for Stop {
    fn from(refusal: ControlRefusal) -> Self {
        Stop::Refused(refusal)
    }
}

impl From<KvError> for Stop {
    fn from(error: KvError) -> Self {
        Stop::Broken(error)
    }
}

/// A control command at work. Nothing reaches the store if it is refused.
struct Change<'a> {
    rows: Overlay<'a>,
    header: Header,
    now: Timestamp,
}

impl Change<'_> {
    fn read<K: Key>(&self, key: &K) -> Step<Option<K::Value>> {
        Ok(row::read(&self.rows, key)?)
    }

    fn write<K: Key>(&mut self, key: &K, value: &K::Value) {
        row::write(&mut self.rows, key, value);
    }

    fn remove<K: Key>(&mut self, key: &K) {
        self.rows.delete(&key.encode());
    }

    fn run(&mut self, command: &ControlCommand) -> Step<ControlOutcome> {
        use ControlCommand as C;
        match command {
            C::Bootstrap { map } => self.bootstrap(map),
            C::SetNodeState { node, incarnation, state } => self.set_node_state(*node, *incarnation, *state),
            C::OpenSession { kind } => self.open_session(kind),
            C::RenewSession { session } => self.renew_session(*session),
            C::EndSession { session } => self.end_session(*session),
            C::CreateBucket { name, owner, nonce, rule } => self.create_bucket(name, owner, *nonce, *rule),
            C::DeleteBucket { bucket } => self.delete_bucket(*bucket),
            C::CreateUser { name } => self.create_user(name),
            C::DeleteUser { name } => self.delete_user(name),
            C::CreateKey { key } => self.create_key(key),
            C::DeleteKey { access_key } => self.delete_key(access_key),
            C::BeginMove { pg, epoch, from, to } => self.begin_move(*pg, *epoch, *from, *to),
            C::PassBarrier { pg, epoch } => self.pass_barrier(*pg, *epoch),
            C::NoteSynced { pg, epoch, chunks, digest } => self.note_synced(*pg, *epoch, *chunks, *digest),
            C::CommitMove { pg, epoch } => self.commit_move(*pg, *epoch),
            C::AbortMove { pg, epoch } => self.abort_move(*pg, *epoch),
            C::SetNodeMode { node, mode } => self.set_node_mode(*node, *mode),
            C::SetDiskState { disk, state } => self.set_disk_state(*disk, *state),
            C::SetDiskWeight { disk, class, weight } => self.set_disk_weight(*disk, class, *weight),
            C::SetPlacement { options } => self.set_placement(options),
            C::UndeleteBucket { bucket, name } => self.undelete_bucket(*bucket, name),
            C::ExpireSession { session, renewed } => self.expire_session(*session, *renewed),
            C::SetGarbage { on, grace, lift } => self.set_garbage(*on, *grace, *lift),
            C::PlaceVoters { group, wanted } => self.place_voters(*group, wanted),
            C::SpeakLevel { node, level } => self.speak_level(*node, *level),
            C::Finalize { level } => self.finalize(*level),
            C::Invite { invitation } => self.invite(invitation),
            C::RevokeInvitation { id } => self.revoke_invitation(*id),
            C::ClaimInvitation { id, request, proof } => self.claim_invitation(*id, request, *proof),
            C::AdmitNode { id, request, cert } => self.admit_node(*id, request, cert),
            C::RestNode { node, seconds } => self.rest_node(*node, *seconds),
            C::AddDisk { node, disk, class } => self.add_disk(*node, *disk, class),
            C::AddRule { name, rule, groups } => self.add_rule(name, rule, groups),
            C::SetRule { id, rule } => self.set_rule(*id, rule),
            C::RemoveRule { id } => self.remove_rule(*id),
            C::SetBucketRule { bucket, rule } => self.set_bucket_rule(*bucket, *rule),
            C::RecordVoters { group, at, voters } => self.record_voters(*group, *at, voters),
        }
    }
}

/// Applies a command of the control group.
pub(crate) fn apply(
    kv: &mut dyn Kv,
    now: Timestamp,
    command: &ControlCommand,
) -> Result<Result<ControlOutcome, ControlRefusal>, KvError> {
    let header = row::read(&*kv, &ControlKey)?.unwrap_or_default();
    let mut change = Change { rows: Overlay::new(&*kv), header, now };
    let outcome = match change.run(command) {
        Ok(outcome) => outcome,
        Err(Stop::Refused(refusal)) => return Ok(Err(refusal)),
        Err(Stop::Broken(error)) => return Err(error),
    };
    let header = change.header.clone();
    change.write(&ControlKey, &header);
    for (key, value) in change.rows.into_changes() {
        match value {
            Some(value) => kv.put(&key, &value),
            None => kv.delete(&key),
        }
    }
    Ok(Ok(outcome))
}

/// All rows of a table.
fn table(kv: &dyn KvRead, table: Table) -> Result<Vec<Row>, KvError> {
    let (start, end) = range_of(table);
    kv.scan(&start, &end, TABLE_ROWS_MAX)
}

/// The text that follows the tag of a key.
fn name_in(key: &[u8]) -> Result<String, KvError> {
    let name = std::str::from_utf8(&key[1..]).map_err(|_| Corrupt::Row(key.to_vec()))?;
    Ok(name.to_owned())
}

/// Answers a query of the control group.
///
/// # Errors
/// The store failed, the replica must stop.
pub fn control_query(kv: &dyn KvRead, query: &ControlQuery) -> Result<ControlAnswer, KvError> {
    Ok(match query {
        ControlQuery::Map => ControlAnswer::Map(row::read(kv, &MapKey)?.map(Box::new)),
        ControlQuery::Bucket { name } => {
            ControlAnswer::Bucket(row::read(kv, &BucketNameKey(name))?.map(|found: BucketRow| found.info))
        }
        ControlQuery::Buckets => {
            let rows = table(kv, Table::BucketName)?;
            let buckets = rows.iter().map(|(key, value)| Ok(row::decode::<BucketNameKey<'_>>(key, value)?.info));
            ControlAnswer::Buckets(buckets.collect::<Result<_, KvError>>()?)
        }
        ControlQuery::Key { access_key } => ControlAnswer::Key(row::read(kv, &AccessKeyKey(access_key))?),
        ControlQuery::Keys => {
            let rows = table(kv, Table::AccessKey)?;
            let keys = rows.iter().map(|(key, value)| {
                let pair = row::decode::<AccessKeyKey<'_>>(key, value)?;
                Ok((pair.access_key, pair.user))
            });
            ControlAnswer::Keys(keys.collect::<Result<_, KvError>>()?)
        }
        ControlQuery::Users => {
            let rows = table(kv, Table::User)?;
            ControlAnswer::Users(rows.iter().map(|(key, _)| name_in(key)).collect::<Result<_, _>>()?)
        }
        ControlQuery::Sessions => {
            let rows = table(kv, Table::WriterSession)?;
            let sessions = rows.iter().map(|(key, value)| {
                let id = WriterSessionKey::decode(key).ok_or_else(|| Corrupt::Row(key.to_vec()))?.0;
                let session = row::decode::<WriterSessionKey>(key, value)?;
                Ok((id, session.kind, session.renewed))
            });
            ControlAnswer::Sessions(sessions.collect::<Result<_, KvError>>()?)
        }
        ControlQuery::DeletedBuckets => {
            let deleted = buckets::deleted(kv)?.into_iter();
            ControlAnswer::DeletedBuckets(deleted.map(|row| (row.bucket.info, row.deleted)).collect())
        }
        ControlQuery::Invitations => invitations::all(kv)?,
        ControlQuery::Rests => rests::all(kv)?,
        ControlQuery::OpenSessions => sessions::open(kv)?,
        ControlQuery::Garbage => ControlAnswer::Garbage(row::read(kv, &GarbageOptionsKey)?.unwrap_or_default()),
    })
}

/// Whether the header's counts agree with the rows, and names with ids; for [`crate::invariants`].
pub(crate) fn check(kv: &dyn KvRead) -> Result<Vec<String>, KvError> {
    let header: Header = row::read(kv, &ControlKey)?.unwrap_or_default();
    let mut broken = buckets::check(kv, &header)?;
    broken.extend(rules::check(kv)?);
    let mut count = |what: &str, rows: usize, counted: u32| {
        if rows != counted as usize {
            broken.push(format!("{rows} {what}, {counted} counted"));
        }
    };
    count("users", table(kv, Table::User)?.len(), header.users);
    count("keys", table(kv, Table::AccessKey)?.len(), header.keys);
    let sessions = table(kv, Table::WriterSession)?;
    count("sessions", sessions.len(), header.sessions);
    for (key, value) in table(kv, Table::AccessKey)? {
        let pair = row::decode::<AccessKeyKey<'_>>(&key, &value)?;
        if row::read(kv, &UserKey(&pair.user))?.is_none() {
            broken.push(format!("key {} of user {}, who is not there", pair.access_key, pair.user));
        }
    }
    Ok(broken)
}
