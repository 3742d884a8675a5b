//! `sago cluster garbage`: how what was deleted for good is collected.

use crate::cli::GarbageArgs;
use crate::connect::connect;
use crate::exit::{Done, Failure, Kind};
use crate::operate::{operate, steer};
use crate::output::Output;
use cluster_client::Cluster;
use proto::control::{ControlAnswer, ControlCommand, ControlQuery, GarbageOptions};
use proto::meta::{Answer, Command, Query};
use serde::Serialize;
use types::{GroupId, Timestamp};

#[derive(Serialize)]
struct Shown {
    on: bool,
    grace_seconds: i64,
    /// How often the nodes' breakers were lifted.
    lifted: u64,
    /// Groups that were recovered and hold their garbage and their trash until it is switched on.
    held: Vec<u32>,
    /// Groups that did not answer.
    unknown: Vec<u32>,
}

/// Carries out `sago cluster garbage`.
///
/// # Errors
/// [`Failure`].
pub async fn garbage(args: GarbageArgs, output: Output) -> Done {
    let session = connect(&args.client, "tool").await?;
    let result = change(&*session.cluster, &args).await;
    session.close().await;
    output.show(&result?, text)
}

/// Changes what is to be changed, and returns what holds then.
async fn change(cluster: &dyn Cluster, args: &GarbageArgs) -> Done<Shown> {
    let on = if args.on { Some(true) } else { args.off.then_some(false) };
    let grace = args.grace.map(|seconds| i64::from(seconds) * Timestamp::SECOND);
    if on.is_some() || grace.is_some() || args.lift {
        let set = ControlCommand::SetGarbage { on, grace, lift: args.lift };
        steer(cluster, set).await?;
    }
    let groups = groups(cluster).await?;
    if args.on {
        for group in &groups {
            let release = operate(cluster, *group, Command::ReleaseHold).await;
            release.map_err(|failure| failure.while_doing(format!("{group}; say it again when it answers")))?;
        }
    }
    let GarbageOptions { on, grace, lifted } = match cluster.control_query(ControlQuery::Garbage).await? {
        ControlAnswer::Garbage(options) => options,
        other => return Err(confused(&other)),
    };
    let mut shown = Shown { on, grace_seconds: grace / Timestamp::SECOND, lifted, held: vec![], unknown: vec![] };
    for group in groups {
        match cluster.query(group, Query::Garbage).await {
            Ok(Ok(Answer::Garbage(status))) if status.held => shown.held.push(group.0),
            Ok(Ok(Answer::Garbage(_))) => {}
            Ok(_) | Err(_) => shown.unknown.push(group.0),
        }
    }
    Ok(shown)
}

/// All metadata groups.
async fn groups(cluster: &dyn Cluster) -> Done<Vec<GroupId>> {
    match cluster.control_query(ControlQuery::Map).await? {
        ControlAnswer::Map(Some(map)) => Ok(map.metadata_groups().collect()),
        other => Err(confused(&other)),
    }
}

fn confused(answer: &ControlAnswer) -> Failure {
    Failure::new(Kind::Failed, format!("{answer:?} in answer to a question for the options or the map"))
}

fn text(shown: &Shown) -> String {
    let state = if shown.on { "on" } else { "off: nothing is deleted from the disks" };
    let mut text = format!("garbage collection: {state}\ngrace time: {} s", shown.grace_seconds);
    let mut add = |groups: &[u32], what: &str| {
        if !groups.is_empty() {
            let groups = groups.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            text.push_str(&format!("\n{what}: groups {groups}"));
        }
    };
    add(&shown.held, "recovered, and holding garbage and trash until you say --on");
    add(&shown.unknown, "no answer");
    text
}
