//! The commands that run until they are told to stop: `sago node`, `sago gateway`, `sago mount`.

mod gateway;
mod mount;
mod node;

pub use gateway::gateway;
pub use mount::mount;
pub use node::node;

use crate::exit::{Done, Failure, Kind};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use tokio::signal::unix::{SignalKind, signal};

/// Ready once this process is told to stop, by SIGTERM or SIGINT. The signals are caught from the call on.
///
/// # Errors
/// They cannot be caught.
pub fn shutdown() -> Done<impl Future<Output = ()> + Unpin> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(Box::pin(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }))
}

/// Has this process told to stop when its parent dies.
///
/// # Errors
/// The parent is gone already.
pub fn stop_with_parent(parent: Option<i32>) -> Done {
    let Some(parent) = parent else { return Ok(()) };
    set_parent_process_death_signal(Some(Signal::TERM)).map_err(std::io::Error::from)?;
    // It may have died before the line above.
    if getppid() == Pid::from_raw(parent) { Ok(()) } else { Err(Failure::new(Kind::Failed, "the parent has ended")) }
}
