//! `META/map`: where the nodes were when this one last heard of it.
//!
//! The cluster file says who there was at the beginning. When all of those have gone or moved since, a node that slept would find nobody to
//! ask. Nothing is decided by this note: it only says whom to ask for the map.
//!
//! ```text
//! offset  size  what
//!      0     1  version, 2
//!      1    32  BLAKE3 of what follows
//!     33     -  postcard of `PlacementMap`
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use types::{GroupId, NodeId, NodeMode, PlacementMap, root_of};

const NAME: &str = "map";
const VERSION: u8 = 2;
const HASH_BYTES: usize = 32;

/// What a note is for: as long as this stays, an older note does as well.
pub(crate) type Addresses = (Vec<(NodeId, String, NodeMode)>, Vec<NodeId>);

pub(crate) fn addresses(map: &PlacementMap) -> Addresses {
    let nodes = map.nodes.iter().map(|node| (node.id, node.addr.clone(), node.mode)).collect();
    (nodes, map.voters(GroupId::CONTROL).to_vec())
}

/// The map that was noted, if there is a note that can be read. Any other is ignored: it would be made anew.
#[must_use]
pub fn read(folder: &Path) -> Option<PlacementMap> {
    let bytes = fs::read(folder.join(NAME)).ok()?;
    let (version, rest) = bytes.split_first()?;
    let (hash, coded) = rest.split_at_checked(HASH_BYTES)?;
    if *version != VERSION || root_of(coded, &[]).0 != *hash {
        return None;
    }
    proto::decode(coded).ok()
}

/// Notes a map. Not flushed: a note that is lost is an older one.
pub(crate) fn write(folder: &Path, map: &PlacementMap) -> io::Result<()> {
    let coded = proto::encode(map);
    let beside = folder.join(format!("{NAME}.new"));
    let mut file = File::create(&beside)?;
    file.write_all(&[VERSION])?;
    file.write_all(&root_of(&coded, &[]).0)?;
    file.write_all(&coded)?;
    drop(file);
    fs::rename(&beside, folder.join(NAME))
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{DiskId, NodeEntry};

    fn map() -> PlacementMap {
        let node = NodeEntry::new(NodeId(7), "n7:1".into(), "d7".into(), [DiskId([7; 16])]);
        PlacementMap { version: 9, nodes: vec![node], ..PlacementMap::default() }
    }

    #[test]
    fn a_note_is_read_back_and_what_is_none_is_ignored() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(read(folder.path()), None);
        write(folder.path(), &map()).expect("noted");
        assert_eq!(read(folder.path()), Some(map()));
        let path = folder.path().join(NAME);
        let good = fs::read(&path).expect("a note");
        let mut other_version = good.clone();
        other_version[0] = VERSION + 1;
        let mut damaged = good.clone();
        *damaged.last_mut().expect("bytes") ^= 1;
        for bad in [&other_version[..], &damaged, &good[..good.len() - 1], &good[..20], &[]] {
            fs::write(&path, bad).expect("written");
            assert_eq!(read(folder.path()), None);
        }
    }

    #[test]
    fn only_where_nodes_are_and_whom_to_ask_makes_a_new_note() {
        let mut later = map();
        later.version = 10;
        assert_eq!(addresses(&later), addresses(&map()));
        later.nodes[0].mode = NodeMode::Draining;
        assert_ne!(addresses(&later), addresses(&map()));
    }
}
