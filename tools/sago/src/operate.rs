//! Commands that only operators may send, and what to say to whoever is not one.

use crate::exit::{Done, Failure, Kind};
use cluster_client::{CallError, Cluster};
use proto::control::{ControlCommand, ControlOutcome};
use proto::meta::{Command, Outcome};
use types::GroupId;

/// Sends a command to a metadata group.
///
/// # Errors
/// [`Failure`]; one that the certificate does not allow says which one does.
pub async fn operate(cluster: &dyn Cluster, group: GroupId, command: Command) -> Done<Outcome> {
    cluster.command(group, command).await.map_err(failure)?.map_err(Failure::failed)
}

/// Sends a command to the control group.
///
/// # Errors
/// As [`operate`].
pub async fn steer(cluster: &dyn Cluster, command: ControlCommand) -> Done<ControlOutcome> {
    Ok(cluster.control(command).await.map_err(failure)??)
}

fn failure(error: CallError) -> Failure {
    match error {
        CallError::Rejected(why) => {
            let hint = "it needs an operator's certificate: --config DIR/operator, made by sago cluster init";
            Failure::new(Kind::Failed, format!("{why}; {hint}"))
        }
        other => other.into(),
    }
}
