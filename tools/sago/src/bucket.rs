//! `sago bucket`.

use crate::cli::BucketCommand;
use crate::connect::{Session, connect};
use crate::exit::{Done, Failure, Kind};
use crate::output::{Output, table, time};
use crate::user::{unexpected, users};
use cluster_client::Cluster;
use gateway_core::{BucketError, Caller};
use proto::control::{BucketInfo, ControlAnswer, ControlQuery};
use serde::Serialize;
use serde_json::json;

#[derive(Serialize)]
struct Shown {
    name: String,
    owner: String,
    id: u64,
    group: u32,
    created: String,
}

impl From<BucketInfo> for Shown {
    fn from(bucket: BucketInfo) -> Self {
        Shown {
            name: bucket.name,
            owner: bucket.owner,
            id: bucket.id.0,
            group: bucket.group.0,
            created: time(bucket.created),
        }
    }
}

/// Carries out `sago bucket`.
///
/// # Errors
/// [`Failure`].
pub async fn bucket(command: BucketCommand, output: Output) -> Done {
    match command {
        BucketCommand::Create { name, owner, client } => {
            let session = connect(&client, "tool").await?;
            let result = create_for(&session, &name, owner).await;
            session.close().await;
            output.show(&Shown::from(result?), |_| String::new())
        }
        BucketCommand::List { client } => {
            let session = connect(&client, "tool").await?;
            let buckets = list(&*session.cluster).await;
            session.close().await;
            let shown: Vec<_> = buckets?.into_iter().map(Shown::from).collect();
            output.show(&shown, |shown| rows(shown))
        }
        BucketCommand::Delete { name, client } => {
            let session = connect(&client, "tool").await?;
            let result = delete(&session, &name).await;
            session.close().await;
            result.map_err(|failure| failure.while_doing(&name))?;
            output.show(&json!({ "deleted": name }), |_| String::new())
        }
    }
}

/// Buckets of all owners, by name.
///
/// # Errors
/// [`Failure`].
pub async fn list(cluster: &dyn Cluster) -> Done<Vec<BucketInfo>> {
    match cluster.control_query(ControlQuery::Buckets).await? {
        ControlAnswer::Buckets(buckets) => Ok(buckets),
        other => Err(unexpected(&other)),
    }
}

/// The owner of a bucket, in whose name an operator acts.
///
/// # Errors
/// [`Kind::NotFound`] if there is no such bucket.
pub async fn owner(cluster: &dyn Cluster, name: &str) -> Done<Caller> {
    match cluster.control_query(ControlQuery::Bucket { name: name.to_owned() }).await? {
        ControlAnswer::Bucket(Some(bucket)) => Ok(Caller { user: bucket.owner }),
        ControlAnswer::Bucket(None) => Err(Failure::new(Kind::NotFound, format!("no such bucket: {name}"))),
        other => Err(unexpected(&other)),
    }
}

/// Makes a bucket; one of the same owner is as good.
///
/// # Errors
/// [`Failure`].
pub async fn ensure(session: &Session, name: &str, owner: &str) -> Done {
    let caller = Caller { user: owner.to_owned() };
    match session.store.create_bucket(&caller, name).await {
        Ok(_) | Err(BucketError::ExistsYours) => Ok(()),
        Err(error) => Err(Failure::from(error).while_doing(name)),
    }
}

async fn create_for(session: &Session, name: &str, owner: Option<String>) -> Done<BucketInfo> {
    let user = match owner {
        Some(user) => user,
        None => only(users(&*session.cluster).await?)?,
    };
    let made = session.store.create_bucket(&Caller { user }, name).await;
    Ok((*made.map_err(|error| Failure::from(error).while_doing(name))?).clone())
}

fn only(users: Vec<String>) -> Done<String> {
    match <[String; 1]>::try_from(users) {
        Ok([user]) => Ok(user),
        Err(users) if users.is_empty() => Err(Failure::new(Kind::Usage, "make a user first: sago user create NAME")),
        Err(_) => Err(Failure::new(Kind::Usage, "there are several users; say which: --owner USER")),
    }
}

async fn delete(session: &Session, name: &str) -> Done {
    let caller = owner(&*session.cluster, name).await?;
    Ok(session.store.delete_bucket(&caller, name).await?)
}

fn rows(shown: &[Shown]) -> String {
    let row = |bucket: &Shown| vec![bucket.created.clone(), bucket.owner.clone(), bucket.name.clone()];
    table(&shown.iter().map(row).collect::<Vec<_>>())
}
