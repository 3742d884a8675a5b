//! `sago drm key rotate`: every wrapped key of the cluster under the newest key-encryption key.

use super::desk::Desk;
use crate::cli::ClientArgs;
use crate::exit::{Done, Failure};
use crate::output::Output;
use crate::user::unexpected;
use gateway_core::lcp::LcpError;
use proto::control::{BucketInfo, ControlAnswer, ControlQuery};
use serde::Serialize;

#[derive(Serialize, Default)]
struct Rotated {
    titles: u64,
    secrets: usize,
    buckets: u64,
    objects: u64,
    objects_rewrapped: u64,
    /// Objects whose key could not be read.
    refused: u64,
    /// Multipart uploads that still have the older key: run it again when they are over.
    uploads: u64,
    token_secret: Option<u32>,
}

/// Carries it out.
///
/// # Errors
/// [`Failure`]; what was done until then is done.
pub async fn run(tokens: bool, client: &ClientArgs, output: Output) -> Done {
    let desk = Desk::open(client).await?;
    let result = rotate(&desk, tokens).await;
    desk.session.close().await;
    output.show(&result?, |done| {
        let again = if done.uploads > 0 {
            "; uploads under way have the older key: run this again when they are over"
        } else {
            ""
        };
        format!(
            "{} content keys, {} of {} objects in {} buckets, {} secrets wrapped anew{again}",
            done.titles, done.objects_rewrapped, done.objects, done.buckets, done.secrets
        )
    })
}

async fn rotate(desk: &Desk, tokens: bool) -> Done<Rotated> {
    let titles = desk.lending.rewrap_titles(&mut |_| {}).await?;
    let mut done = Rotated { titles: titles.rewrapped, ..Rotated::default() };
    done.secrets = desk.lending.rewrap_token_secrets().await?;
    for bucket in buckets(desk).await? {
        if desk.store().bucket_settings(&bucket).await?.protection.is_none() {
            continue;
        }
        let rewrapped = desk.store().rewrap(&bucket.name).await.map_err(LcpError::from)?;
        done.buckets += 1;
        done.objects += rewrapped.seen;
        done.objects_rewrapped += rewrapped.rewrapped;
        done.refused += rewrapped.refused;
        done.uploads += rewrapped.uploads;
    }
    if tokens {
        done.token_secret = Some(desk.lending.rotate_token_secret().await?);
    }
    if done.refused > 0 {
        return Err(Failure::failed(anyhow::anyhow!(
            "{} objects have keys that cannot be read here: keep the older key-encryption keys until they are found (all else is done)",
            done.refused
        )));
    }
    Ok(done)
}

async fn buckets(desk: &Desk) -> Done<Vec<BucketInfo>> {
    match desk.session.cluster.control_query(ControlQuery::Buckets).await? {
        ControlAnswer::Buckets(buckets) => Ok(buckets),
        other => Err(unexpected(&other)),
    }
}
