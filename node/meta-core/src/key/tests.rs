//! The bytes of every key, pinned: a change here is a change of format (docs/formats/rows.md).

use super::bucket::BucketKey;
use super::chunk::{ChunkKey, ClosedEpochKey, CondemnedKey, StagedKey, UnderReplicatedKey};
use super::control::{
    AccessKeyKey, BucketIdKey, BucketNameKey, ControlKey, DeletedBucketKey, GarbageOptionsKey, InvitationKey, MapKey,
    RestKey, UserKey, WriterSessionKey,
};
use super::dentry::DentryKey;
use super::garbage::GarbageKey;
use super::group::GroupKey;
use super::inode::{InlineKey, InodeKey, InodeRow, XattrKey};
use super::list::{ListKey, ListRow, RunKey};
use super::record::{RecordIndexKey, RecordRowKey};
use super::session::{AnswerKey, EndedKey, SessionKey};
use super::trash::TrashKey;
use super::upload::{PartKey, SweepKey, UploadIndexKey, UploadKey};
use super::{KeyBytes, Table, successor};
use crate::row::Key;
use bytes::Bytes;
use proto::record::{RecordIndex, RecordSpace};
use types::{BucketId, ChunkId, FragId, GroupId, Ino, InvitationId, ListId, NodeId, SessionId, Timestamp, UploadId};

fn hex(key: &impl Key) -> String {
    key.encode().iter().map(|byte| format!("{byte:02x}")).collect()
}

const CHUNK: ChunkId = ChunkId(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
const UPLOAD: UploadId = UploadId([0xab; 16]);
const SESSION: SessionId = SessionId(5);

#[test]
fn keys_are_these_bytes() {
    let ino = Ino::new(GroupId(2), 3);
    assert_eq!(hex(&GroupKey), "01");
    assert_eq!(hex(&BucketKey(BucketId(7))), "020000000000000007");
    assert_eq!(hex(&DentryKey::file(FragId(1), b"ab")), "1000000000000000016162");
    assert_eq!(hex(&DentryKey::dir(FragId(1), b"ab")), "10000000000000000161622f");
    assert_eq!(hex(&InodeKey(ino)), "11000020000000000349");
    assert_eq!(hex(&InlineKey(ino)), "11000020000000000344");
    assert_eq!(hex(&XattrKey { ino, name: Bytes::from_static(b"u") }), "1100002000000000035875");
    assert_eq!(hex(&ListKey(ListId(4))), "20000000000000000448");
    assert_eq!(hex(&RunKey { list: ListId(4), end: 256 }), "200000000000000004500000000000000100");
    assert_eq!(hex(&ChunkKey(CHUNK)), "300102030405060708090a0b0c0d0e0f10");
    assert_eq!(hex(&UnderReplicatedKey(CHUNK)), "310102030405060708090a0b0c0d0e0f10");
    let staged = StagedKey { session: SESSION, chunk: CHUNK };
    assert_eq!(hex(&staged), "3200000000000000050102030405060708090a0b0c0d0e0f10");
    assert_eq!(hex(&ClosedEpochKey(SESSION)), "330000000000000005");
    assert_eq!(hex(&CondemnedKey(CHUNK)), "340102030405060708090a0b0c0d0e0f10");
    assert_eq!(hex(&UploadKey(UPLOAD)), format!("40{}", "ab".repeat(16)));
    let index = UploadIndexKey { bucket: BucketId(7), key: b"a\0b".to_vec(), upload: UPLOAD };
    assert_eq!(hex(&index), format!("4100000000000000076100ff620000{}", "ab".repeat(16)));
    assert_eq!(hex(&PartKey { upload: UPLOAD, part: 10_000 }), format!("42{}2710", "ab".repeat(16)));
    assert_eq!(hex(&SweepKey(UPLOAD)), format!("43{}", "ab".repeat(16)));
    let trash = TrashKey { bucket: BucketId(7), time: Timestamp(1), ino };
    assert_eq!(hex(&trash), "50000000000000000780000000000000010000200000000003");
    assert_eq!(hex(&GarbageKey { since: Timestamp(-1), number: 9 }), "517fffffffffffffff0000000000000009");
    assert_eq!(hex(&SessionKey(SESSION)), "600000000000000005");
    assert_eq!(hex(&AnswerKey { session: SESSION, seq: 6 }), "6100000000000000050000000000000006");
    assert_eq!(hex(&EndedKey { last: SESSION }), "620000000000000005");
    let (bucket, space) = (BucketId(7), RecordSpace(0x102));
    let record = RecordRowKey { bucket, space, key: b"k\0".to_vec() };
    assert_eq!(hex(&record), "70000000000000000701026b00");
    let index = RecordIndexKey { bucket, space, index: RecordIndex(3), entry: b"e\0".to_vec(), key: b"k\0".to_vec() };
    assert_eq!(hex(&index), "7100000000000000070102036500ff00006b00");
    assert_eq!(hex(&ControlKey), "80");
    assert_eq!(hex(&MapKey), "81");
    assert_eq!(hex(&BucketNameKey("ab")), "826162");
    assert_eq!(hex(&BucketIdKey(BucketId(7))), "830000000000000007");
    assert_eq!(hex(&UserKey("ab")), "846162");
    assert_eq!(hex(&AccessKeyKey("ab")), "856162");
    assert_eq!(hex(&WriterSessionKey(SESSION)), "860000000000000005");
    assert_eq!(hex(&GarbageOptionsKey), "87");
    assert_eq!(hex(&InvitationKey(InvitationId([0xcd; 16]))), format!("88{}", "cd".repeat(16)));
    assert_eq!(hex(&RestKey(NodeId(3))), "890000000000000003");
    assert_eq!(RestKey::decode(&RestKey(NodeId(3)).encode()), Some(RestKey(NodeId(3))));
    assert_eq!(hex(&DeletedBucketKey(BucketId(7))), "8f0000000000000007");
}

#[test]
fn keys_are_read_as_they_were_written() {
    let ino = Ino::new(GroupId(2), 3);
    let bucket = BucketKey(BucketId(7));
    assert_eq!(BucketKey::decode(&bucket.encode()), Some(bucket));
    for dentry in [DentryKey::file(FragId(1), b""), DentryKey::file(FragId(1), b"a"), DentryKey::dir(FragId(1), b"")] {
        assert_eq!(DentryKey::decode(&dentry.encode()), Some(dentry));
    }
    let xattr = XattrKey { ino, name: Bytes::from_static(b"user.a") };
    assert_eq!(InodeRow::decode(&xattr.encode()), Some(InodeRow::Xattr(xattr)));
    assert_eq!(InodeRow::decode(&InodeKey(ino).encode()), Some(InodeRow::Inode(InodeKey(ino))));
    assert_eq!(InodeRow::decode(&InlineKey(ino).encode()), Some(InodeRow::Inline(InlineKey(ino))));
    let run = RunKey { list: ListId(4), end: 9 };
    assert_eq!(ListRow::decode(&run.encode()), Some(ListRow::Run(run)));
    assert_eq!(ListRow::decode(&ListKey(ListId(4)).encode()), Some(ListRow::Header(ListKey(ListId(4)))));
    let trash = TrashKey { bucket: BucketId(7), time: Timestamp(-3), ino };
    assert_eq!(TrashKey::decode(&trash.encode()), Some(trash));
    for key in [&b""[..], b"\0", b"\0\0", b"\0\xff", b"a\0\0b"] {
        let index = UploadIndexKey { bucket: BucketId(7), key: key.to_vec(), upload: UPLOAD };
        assert_eq!(UploadIndexKey::decode(&index.encode()), Some(index));
        let (bucket, space) = (BucketId(7), RecordSpace(1));
        let record = RecordRowKey { bucket, space, key: key.to_vec() };
        assert_eq!(RecordRowKey::decode(&record.encode()), Some(record));
        let index = RecordIndexKey { bucket, space, index: RecordIndex(2), entry: key.to_vec(), key: b"\0k".to_vec() };
        assert_eq!(RecordIndexKey::decode(&index.encode()), Some(index));
    }
}

#[test]
fn bytes_that_are_no_key_are_told_apart() {
    assert_eq!(BucketKey::decode(b"\x02short"), None);
    assert_eq!(BucketKey::decode(b"\x02\0\0\0\0\0\0\0\0more"), None);
    assert_eq!(DentryKey::decode(b"\x10\0\0\0\0\0\0\0\x01a/b"), None);
    assert_eq!(DentryKey::decode(b"\x10\0\0\0\0\0\0\0\x01a//"), None);
    assert_eq!(InodeRow::decode(b"\x11\0\0\0\0\0\0\0\x01Z"), None);
    assert_eq!(InodeRow::decode(b"\x11\0\0\0\0\0\0\0\x01X"), None);
    assert_eq!(UploadIndexKey::decode(b"\x41\0\0\0\0\0\0\0\x01a\0b"), None);
    assert_eq!(RecordIndexKey::decode(b"\x71\0\0\0\0\0\0\0\x01\0\x02\x03a\0b"), None);
    assert_eq!(ChunkKey::decode(b""), None);
}

#[test]
fn the_order_of_keys_is_the_order_of_s3() {
    let frag = FragId(1);
    let stored = [
        DentryKey::file(frag, b""),
        DentryKey::dir(frag, b""),
        DentryKey::file(frag, b"a"),
        DentryKey::file(frag, b"a-b"),
        DentryKey::dir(frag, b"a"),
        DentryKey::file(frag, b"a0"),
    ];
    assert!(stored.iter().map(Key::encode).is_sorted());
    let keys: [&[u8]; 6] = [b"", b"\0", b"\0\0", b"\0a", b"a", b"a\0"];
    let escaped = |key: &[u8]| KeyBytes::new(Table::UploadIndex).escaped(key).bytes(&[0xff; 16]).done();
    assert!(keys.iter().map(|key| escaped(key)).is_sorted());
    let times = [i64::MIN, -1, 0, 1, i64::MAX];
    assert!(times.iter().map(|time| KeyBytes::new(Table::Trash).i64(*time).done()).is_sorted());
}

#[test]
fn the_successor_of_a_prefix_ends_it() {
    assert_eq!(successor(b"ab"), Some(b"ac".to_vec()));
    assert_eq!(successor(b"a\xff\xff"), Some(b"b".to_vec()));
    assert_eq!(successor(b"\xff"), None);
    assert_eq!(successor(b""), None);
}
