//! What a disk that a move brings in has to copy: the members' listings of a slot, merged page by page and compared with its own.
//!
//! ```text
//! pages of the members --merge--> Union up to a common end --compare with own page--> Delta: missing, dead
//! ```
//! A page is done when its delta is empty. A chunk that any member has deleted is dead for all: deletes are never undone, while a member that
//! was away still shows what the others deleted.

use proto::chunk::ListedChunk;
use std::collections::{BTreeMap, BTreeSet};
use types::{Blake3Root, ChunkId, ChunkRef, SetDigest};

/// A chunk that members hold, and which of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The chunk.
    pub chunk: ChunkRef,
    /// Numbers of the listings it stands in.
    pub sources: Vec<usize>,
}

/// The members' listings, merged up to where all of them are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Union {
    /// The last id that is covered; `None` if everything to the end is.
    pub through: Option<ChunkId>,
    /// Live chunks, ascending.
    pub live: Vec<Wanted>,
    /// Deleted chunks.
    pub dead: BTreeSet<ChunkId>,
    /// Ids under which members hold different bytes.
    pub contradictions: Vec<ChunkId>,
}

/// Merges pages of up to `max` rows that begin behind the same id. A page of fewer is its listing's last.
#[must_use]
pub fn merge(pages: &[Vec<ListedChunk>], max: usize) -> Union {
    let full = pages.iter().filter(|page| page.len() >= max);
    let through = full.filter_map(|page| page.last()).map(|row| row.chunk).min();
    let mut found: BTreeMap<ChunkId, (u32, Blake3Root, Vec<usize>)> = BTreeMap::new();
    let mut union = Union { through, live: Vec::new(), dead: BTreeSet::new(), contradictions: Vec::new() };
    for (source, page) in pages.iter().enumerate() {
        for row in page.iter().filter(|row| through.is_none_or(|through| row.chunk <= through)) {
            let Some((len, root)) = row.live else {
                union.dead.insert(row.chunk);
                continue;
            };
            let (known_len, known_root, sources) = found.entry(row.chunk).or_insert_with(|| (len, root, Vec::new()));
            match (*known_len, *known_root) == (len, root) {
                true => sources.push(source),
                false => union.contradictions.push(row.chunk),
            }
        }
    }
    let live = found.into_iter().filter(|(id, _)| !union.dead.contains(id));
    union.live = live.map(|(id, (len, root, sources))| Wanted { chunk: ChunkRef { id, len, root }, sources }).collect();
    union
}

/// What a disk lacks, or has too much, against a union.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Delta {
    /// To be copied.
    pub missing: Vec<Wanted>,
    /// Here, and deleted by a member.
    pub dead: Vec<ChunkId>,
    /// Here under the same id with other bytes.
    pub contradictions: Vec<ChunkId>,
}

impl Delta {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.dead.is_empty() && self.contradictions.is_empty()
    }
}

/// Compares a union with what the disk itself knows of the same ids. What the disk alone has is no fault: it was just written.
#[must_use]
pub fn compare(union: &Union, own: &[ListedChunk]) -> Delta {
    let own: BTreeMap<ChunkId, Option<(u32, Blake3Root)>> = own.iter().map(|row| (row.chunk, row.live)).collect();
    let mut delta = Delta { contradictions: union.contradictions.clone(), ..Delta::default() };
    for wanted in &union.live {
        match own.get(&wanted.chunk.id) {
            Some(Some(here)) if *here == (wanted.chunk.len, wanted.chunk.root) => {}
            Some(Some(_)) => delta.contradictions.push(wanted.chunk.id),
            // Deleted here already: a member has yet to hear of it.
            Some(None) => {}
            None => delta.missing.push(wanted.clone()),
        }
    }
    let lives = |chunk: &&ChunkId| own.get(chunk).is_some_and(Option::is_some);
    delta.dead.extend(union.dead.iter().filter(lives));
    delta
}

/// Adds what is live in a union to the digest of the whole set; returns how many chunks that were.
pub fn digest(union: &Union, digest: &mut SetDigest) -> u64 {
    union.live.iter().for_each(|wanted| digest.add(&wanted.chunk));
    union.live.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(id: u128, live: bool) -> ListedChunk {
        ListedChunk { chunk: ChunkId(id), live: live.then_some((1, Blake3Root([id as u8; 32]))) }
    }

    fn ids(union: &Union) -> Vec<(u128, Vec<usize>)> {
        union.live.iter().map(|wanted| (wanted.chunk.id.0, wanted.sources.clone())).collect()
    }

    #[test]
    fn pages_are_merged_up_to_where_all_are_known() {
        let pages = [vec![row(1, true), row(4, true)], vec![row(2, true)], vec![row(2, true), row(3, false)]];
        let union = merge(&pages, 2);
        assert_eq!(union.through, Some(ChunkId(3)));
        assert_eq!(ids(&union), [(1, vec![0]), (2, vec![1, 2])]);
        assert_eq!(union.dead, BTreeSet::from([ChunkId(3)]));
        assert_eq!(merge(&pages, 3).through, None);
        assert_eq!(ids(&merge(&pages, 3)), [(1, vec![0]), (2, vec![1, 2]), (4, vec![0])]);
    }

    #[test]
    fn a_tombstone_of_one_member_outweighs_the_copies_of_the_others() {
        let union = merge(&[vec![row(1, true)], vec![row(1, false)]], 9);
        assert!(union.live.is_empty());
        assert_eq!(compare(&union, &[]), Delta::default());
        assert_eq!(compare(&union, &[row(1, true)]).dead, [ChunkId(1)]);
    }

    #[test]
    fn what_is_missing_is_wanted_and_what_is_only_here_is_left_alone() {
        let union = merge(&[vec![row(1, true), row(2, true), row(3, true)]], 9);
        let delta = compare(&union, &[row(1, true), row(3, false), row(9, true)]);
        assert_eq!(delta.missing.iter().map(|wanted| wanted.chunk.id.0).collect::<Vec<_>>(), [2]);
        assert!(delta.dead.is_empty() && delta.contradictions.is_empty());
        let other = ListedChunk { chunk: ChunkId(1), live: Some((2, Blake3Root([9; 32]))) };
        assert_eq!(compare(&union, &[other, row(2, true), row(3, true)]).contradictions, [ChunkId(1)]);
        assert_eq!(merge(&[vec![row(1, true)], vec![other]], 9).contradictions, [ChunkId(1)]);
    }

    proptest! {
        /// Page by page, whatever the page size, the union is what it is at once, and copying what is missing empties the delta.
        #[test]
        fn pages_of_any_size_see_everything(
            members in prop::collection::vec(prop::collection::btree_map(1u128..40, any::<bool>(), 0..30), 1..4),
            max in 1usize..10,
        ) {
            let rows = |member: &BTreeMap<u128, bool>| member.iter().map(|(id, live)| row(*id, *live)).collect::<Vec<_>>();
            let whole = merge(&members.iter().map(rows).collect::<Vec<_>>(), usize::MAX);
            let (mut live, mut after, mut sum) = (Vec::new(), None, SetDigest::default());
            loop {
                let page = |member: &BTreeMap<u128, bool>| {
                    let later = rows(member).into_iter().filter(|row| after.is_none_or(|after| row.chunk > after));
                    later.take(max).collect::<Vec<_>>()
                };
                let union = merge(&members.iter().map(page).collect::<Vec<_>>(), max);
                let own: Vec<_> = union.live.iter().map(|wanted| row(wanted.chunk.id.0, true)).collect();
                prop_assert!(compare(&union, &own).is_empty());
                digest(&union, &mut sum);
                live.extend(union.live);
                after = match union.through {
                    Some(through) => Some(through),
                    None => break,
                };
            }
            let mut expected = SetDigest::default();
            prop_assert_eq!(digest(&whole, &mut expected), live.len() as u64);
            prop_assert_eq!(live, whole.live);
            prop_assert_eq!(sum, expected);
        }
    }
}
