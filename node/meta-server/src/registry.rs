//! The groups this node has a replica of now; they come and go while it runs.

use crate::shared::GroupShared;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;
use types::GroupId;

#[derive(Default)]
pub(crate) struct Registry(RwLock<BTreeMap<GroupId, Arc<GroupShared>>>);

impl Registry {
    pub(crate) fn get(&self, group: GroupId) -> Option<Arc<GroupShared>> {
        self.0.read().get(&group).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<GroupShared>> {
        self.0.read().values().cloned().collect()
    }

    pub(crate) fn insert(&self, shared: Arc<GroupShared>) {
        self.0.write().insert(shared.id, shared);
    }

    pub(crate) fn remove(&self, group: GroupId) {
        self.0.write().remove(&group);
    }
}
