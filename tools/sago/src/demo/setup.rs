//! What a new demo gets: a user with a key pair, a bucket, some files. Repeating it changes nothing.

use super::folder::Folder;
use super::sample;
use crate::bucket;
use crate::cli::{ClientArgs, DemoArgs};
use crate::connect::{Session, connect};
use crate::exit::{Done, Kind};
use crate::object::put_bytes;
use crate::user::create_user;
use proto::control::{AccessKey, ControlCommand};
use std::time::Duration;
use tokio::time::Instant;

/// How long the cluster may take to answer after its nodes are healthy: groups are still electing leaders.
const SETUP_MAX: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);

/// Sets up user, key, bucket and samples through the cluster itself.
///
/// # Errors
/// The cluster refuses, or does not answer in time.
pub async fn set_up(args: &DemoArgs, folder: &mut Folder) -> Done {
    let client = ClientArgs { config: Some(folder.client()) };
    let begin = Instant::now();
    loop {
        match attempt(args, folder, &client).await {
            Err(failure) if failure.kind == Kind::Unavailable && begin.elapsed() < SETUP_MAX => {
                tracing::debug!(failure.message, "the cluster is not ready yet");
                tokio::time::sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}

async fn attempt(args: &DemoArgs, folder: &mut Folder, client: &ClientArgs) -> Done {
    let session = connect(client, "demo").await?;
    let result = fill(args, folder, &session).await;
    session.close().await;
    result
}

async fn fill(args: &DemoArgs, folder: &mut Folder, session: &Session) -> Done {
    let (user, access_key, secret_key) = folder.user();
    let key = AccessKey { access_key: access_key.to_owned(), secret_key: secret_key.to_owned(), user: user.to_owned() };
    create_user(&*session.cluster, &key.user).await?;
    session.cluster.control(ControlCommand::CreateKey { key: key.clone() }).await??;
    bucket::ensure(session, &args.bucket, &key.user).await?;
    if !args.no_sample && !folder.is_sampled(&args.bucket) {
        for (name, data) in sample::files() {
            put_bytes(session, &key.user, &args.bucket, name, data).await?;
        }
        folder.set_sampled(&args.bucket)?;
    }
    Ok(())
}
