//! `sago cluster finalize`: from now on all rely on what the newest program of all nodes can do.

use crate::cli::StatusArgs;
use crate::connect::{Session, connect};
use crate::copies;
use crate::exit::{Done, Failure, Kind};
use crate::output::Output;
use proto::control::ControlCommand;
use serde_json::json;
use types::FeatureLevel;

/// Carries out `sago cluster finalize`.
///
/// # Errors
/// [`crate::exit::Failure`]: nodes have not said what they can do.
pub async fn finalize(args: StatusArgs, output: Output) -> Done {
    let session = connect(&args.client, "tool").await?;
    let done = go(&session).await;
    session.close().await;
    let (before, now) = done?;
    output.show(&json!({ "before": before.0, "level": now.0 }), |_| match before == now {
        true => format!("the cluster is at level {now} already, and that is what all nodes can do"),
        false => format!("the cluster is at level {now} now, and was at {before}"),
    })
}

async fn go(session: &Session) -> Done<(FeatureLevel, FeatureLevel)> {
    let map = copies::map(session).await?;
    let Some((all, least)) = map.level_of_all() else {
        return Err(Failure::new(Kind::Failed, "the cluster has no nodes"));
    };
    if all < map.level {
        let message =
            format!("{least} has not said that it can do level {}, at which the cluster is: start it", map.level);
        return Err(Failure::new(Kind::Failed, message));
    }
    if all > map.level {
        session.cluster.control(ControlCommand::Finalize { level: all }).await??;
    }
    Ok((map.level, all))
}
