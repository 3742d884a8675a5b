//! The power of nodes that live on fault disks.
//!
//! A cut takes the disk first and the process right after, so that nothing the process does in between reaches the medium. The machine
//! itself cannot be restarted; a node tells a restart of it by the boot id that it has noted, so the note is changed instead.

use super::Cluster;
use crate::process;
use anyhow::Context;
use fault_disk::{Kept, Lost};
use rustix::process::Signal;

/// Where a node notes under which boot of the machine it ran.
const BOOT_ID: &str = "data/meta/boot-id";

impl Cluster {
    /// Cuts the power of these nodes, all within a moment: their disks lose what was not flushed but for what `kept` says.
    /// Returns what each disk lost once the processes are gone.
    ///
    /// # Errors
    /// A process does not end.
    pub fn power_off(&mut self, nodes: &[usize], kept: impl Fn(usize) -> Kept) -> anyhow::Result<Vec<Lost>> {
        let lost = nodes.iter().map(|at| self.disk(*at).cut(kept(*at))).collect::<anyhow::Result<Vec<_>>>()?;
        nodes.iter().for_each(|at| process::send(self.pid(*at), Signal::KILL));
        self.gone(nodes)?;
        Ok(lost)
    }

    /// The power of these nodes comes back: their file systems are mounted as the disks are, and they start.
    ///
    /// # Errors
    /// A file system cannot be mounted, or a node not be started.
    pub fn power_on(&mut self, nodes: &[usize]) -> anyhow::Result<()> {
        nodes.iter().try_for_each(|at| self.mount_again(*at))?;
        nodes.iter().try_for_each(|at| self.restart(*at))
    }

    /// As the first half of [`Self::power_on`]: the disk is back, the node does not run yet.
    ///
    /// # Errors
    /// The file system cannot be mounted.
    pub fn mount_again(&mut self, at: usize) -> anyhow::Result<()> {
        self.site.disks[at].power_on().with_context(|| format!("the disk of node {}", at + 1))?;
        let note = self.node_folder(at).join(BOOT_ID);
        // Absent is right too: the note of the first start was not flushed yet.
        if note.exists() {
            std::fs::write(note, "a boot that is over")?;
        }
        Ok(())
    }
}
