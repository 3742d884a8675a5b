//! `sago node invite|admit|join|drain|remove|replace|rest|restart|disk`: nodes come and go. Running one is `serve`.

mod disk;
mod invite;
mod join;
mod leave;
mod rest;
mod restart;
mod wholeness;

use crate::cli::{AdmitArgs, InviteArgs, NodeCommand, ReplaceArgs};
use crate::exit::{Done, Failure, Kind};
use crate::output::Output;
use invite::{NewComer, Site};
use serde_json::json;
use types::NodeId;

/// Carries out what was said of a node.
///
/// # Errors
/// [`Failure`].
pub async fn run(command: NodeCommand, output: Output) -> Done {
    match command {
        NodeCommand::Invite(args) => Box::pin(invite(args, output)).await,
        NodeCommand::Admit(args) => Box::pin(admit(args, output)).await,
        NodeCommand::Join(args) => Box::pin(join::join(args, output)).await,
        NodeCommand::Drain(args) => Box::pin(leave::drain(args, output)).await,
        NodeCommand::Remove(args) => Box::pin(leave::remove(args, output)).await,
        NodeCommand::Rest(args) => Box::pin(rest::rest(args, output)).await,
        NodeCommand::Restart(args) => Box::pin(restart::restart(args, output)).await,
        NodeCommand::Disk(command) => Box::pin(disk::run(command, output)).await,
        NodeCommand::Replace(args) => Box::pin(replace(args, output)).await,
    }
}

async fn invite(args: InviteArgs, output: Output) -> Done {
    let domain = args.node.zone.clone().unwrap_or_else(|| format!("node-{}", args.node.id));
    let new = NewComer { id: args.node.id, addr: args.node.addr, domain, disks: args.how.disks };
    let site = Site::open(&args.how.site).await?;
    let token = site.invite(&new, args.how.life, &args.token).await?;
    progress(output, &format!("{} lets one machine join as node {}; waiting for it", args.token.display(), new.id));
    let admitted = site.admit(&token).await;
    site.close().await;
    admitted?;
    output.show(&json!({ "admitted": new.id }), |_| format!("node {} is let in; it can be started", new.id))
}

async fn admit(args: AdmitArgs, output: Output) -> Done {
    let token = crate::config::TokenFile::load(&args.token)?;
    let site = Site::open(&args.site).await?;
    let admitted = site.admit(&token).await;
    site.close().await;
    admitted?;
    output.show(&json!({ "admitted": token.node }), |_| format!("node {} is let in; it can be started", token.node))
}

async fn replace(args: ReplaceArgs, output: Output) -> Done {
    let (old, site) = (NodeId(args.old), Site::open(&args.how.site).await?);
    let domain = match site.map().await?.node(old) {
        Some(entry) => entry.domain.clone(),
        None => return Err(Failure::new(Kind::NotFound, format!("there is no {old}"))),
    };
    if args.new.zone.as_ref().is_some_and(|zone| *zone != domain) {
        return Err(Failure::new(Kind::Usage, format!("{old} stands in {domain:?}, and so must what takes its place")));
    }
    let new = NewComer { id: args.new.id, addr: args.new.addr, domain, disks: args.how.disks };
    if site.map().await?.node(NodeId(new.id)).is_none() {
        let token = site.invite(&new, args.how.life, &args.token).await?;
        progress(output, &format!("{} lets one machine join as node {}", args.token.display(), new.id));
        site.admit(&token).await?;
    }
    progress(output, &format!("node {} is let in; waiting until it is started", new.id));
    site.until_up(NodeId(new.id)).await?;
    let gone = async {
        leave::give_away(site.session(), old, output).await?;
        leave::remove_empty(site.session(), old).await
    };
    let done = gone.await;
    site.close().await;
    done?;
    output
        .show(&json!({ "removed": args.old, "added": new.id }), |_| format!("node {} is in the place of {old}", new.id))
}

/// Says how far it is, on standard error.
fn progress(output: Output, text: &str) {
    if !output.json {
        eprintln!("{text}");
    }
}
