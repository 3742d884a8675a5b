//! `sago node rest`: a node may be away for a while.

use crate::cli::RestArgs;
use crate::connect::{Session, connect};
use crate::copies;
use crate::exit::Done;
use crate::operate::steer;
use crate::output::Output;
use proto::control::{ControlCommand, ControlRefusal};
use serde_json::json;
use types::{FeatureLevel, NodeId};

/// Carries out `sago node rest`.
///
/// # Errors
/// [`crate::exit::Failure`]: there is no such node, or some node does not know yet what a rest is.
pub async fn rest(args: RestArgs, output: Output) -> Done {
    let session = connect(&args.client, "tool").await?;
    let seconds = args.length.map_or(0, |length| length.0);
    let done = let_rest(&session, NodeId(args.node), seconds).await;
    session.close().await;
    done?;
    output.show(&json!({ "node": args.node, "seconds": seconds }), |_| match args.length {
        Some(length) => format!("node {} may be away for {length}", args.node),
        None => format!("node {} rests no more", args.node),
    })
}

/// Lets a node be away for so long from now on; zero seconds end its rest.
///
/// # Errors
/// As [`rest`].
pub(super) async fn let_rest(session: &Session, node: NodeId, seconds: u64) -> Done {
    // The leader would refuse it; one that runs the program before could not even read it.
    let at = copies::map(session).await?.level;
    if at < FeatureLevel::RESTS {
        return Err(ControlRefusal::Level { needs: FeatureLevel::RESTS, at }.into());
    }
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    steer(&*session.cluster, ControlCommand::RestNode { node, seconds }).await.map(drop)
}
