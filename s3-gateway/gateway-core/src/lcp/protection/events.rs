//! What workers tell of what they do, for metrics.

use crate::lcp::Fault;
use drm::package::Kind;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Something that a worker did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtectionEvent {
    /// A title is ready.
    Protected {
        /// What it was made of.
        kind: Kind,
        /// Bytes of the source.
        source_bytes: u64,
        /// Bytes of the package.
        package_bytes: u64,
        /// From the claim to the end.
        took: Duration,
    },
    /// A title cannot be protected.
    Failed {
        /// Why.
        fault: Fault,
    },
    /// Cluster or key service failed; the title is queued again.
    PutOff,
    /// The source was replaced meanwhile; the title is queued again.
    SourceChanged,
    /// The lease was lost to another worker, or the title removed.
    Lost,
}

type Hear = dyn Fn(&ProtectionEvent) + Send + Sync;

/// Who hears of it; nobody by default.
#[derive(Clone, Default)]
pub struct ProtectionEvents(Option<Arc<Hear>>);

impl ProtectionEvents {
    /// Somebody, who does not keep the worker waiting.
    pub fn new(hear: impl Fn(&ProtectionEvent) + Send + Sync + 'static) -> Self {
        ProtectionEvents(Some(Arc::new(hear)))
    }

    /// Another one as well.
    #[must_use]
    pub fn and(self, hear: impl Fn(&ProtectionEvent) + Send + Sync + 'static) -> Self {
        ProtectionEvents::new(move |event| {
            self.tell(*event);
            hear(event);
        })
    }

    pub(super) fn tell(&self, event: ProtectionEvent) {
        if let Some(hear) = &self.0 {
            hear(&event);
        }
    }
}

impl fmt::Debug for ProtectionEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProtectionEvents")
    }
}
