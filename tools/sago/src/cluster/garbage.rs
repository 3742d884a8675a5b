//! `sago cluster garbage`: how what was deleted for good is collected.

use crate::cli::GarbageArgs;
use crate::connect::connect;
use crate::exit::{Done, Failure, Kind};
use crate::operate::steer;
use crate::output::Output;
use cluster_client::Cluster;
use proto::control::{ControlAnswer, ControlCommand, ControlQuery, GarbageOptions};
use serde::Serialize;
use types::Timestamp;

#[derive(Serialize)]
struct Shown {
    on: bool,
    grace_seconds: i64,
    /// How often the nodes' breakers were lifted.
    lifted: u64,
}

/// Carries out `sago cluster garbage`.
///
/// # Errors
/// [`Failure`].
pub async fn garbage(args: GarbageArgs, output: Output) -> Done {
    let session = connect(&args.client, "tool").await?;
    let result = change(&*session.cluster, &args).await;
    session.close().await;
    let GarbageOptions { on, grace, lifted } = result?;
    output.show(&Shown { on, grace_seconds: grace / Timestamp::SECOND, lifted }, text)
}

/// Changes what is to be changed, and returns what holds then.
async fn change(cluster: &dyn Cluster, args: &GarbageArgs) -> Done<GarbageOptions> {
    let on = if args.on { Some(true) } else { args.off.then_some(false) };
    let grace = args.grace.map(|seconds| i64::from(seconds) * Timestamp::SECOND);
    if on.is_some() || grace.is_some() || args.lift {
        let set = ControlCommand::SetGarbage { on, grace, lift: args.lift };
        steer(cluster, set).await?;
    }
    match cluster.control_query(ControlQuery::Garbage).await? {
        ControlAnswer::Garbage(options) => Ok(options),
        other => Err(Failure::new(Kind::Failed, format!("{other:?} in answer to a question for the options"))),
    }
}

fn text(shown: &Shown) -> String {
    let state = if shown.on { "on" } else { "off: nothing is deleted from the disks" };
    format!("garbage collection: {state}\ngrace time: {} s", shown.grace_seconds)
}
