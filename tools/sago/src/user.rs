//! `sago user` and `sago key`.

use crate::cli::{ClientArgs, KeyCommand, UserCommand};
use crate::connect::connect;
use crate::exit::{Done, Failure, Kind};
use crate::output::{Output, table};
use cluster_client::Cluster;
use proto::control::{AccessKey, ControlAnswer, ControlCommand, ControlQuery};
use rand::Rng;
use serde::Serialize;
use serde_json::json;

/// Length of an access key; S3 clients expect 16 to 128 characters.
const ACCESS_KEY_CHARS: usize = 20;
/// Length of a secret key: 40 of 62 characters are 238 bits.
const SECRET_KEY_CHARS: usize = 40;

/// A key pair as it is shown, once.
#[derive(Serialize)]
struct ShownKey {
    user: String,
    access_key: String,
    secret_key: String,
}

/// Carries out `sago user`.
///
/// # Errors
/// [`Failure`].
pub async fn user(command: UserCommand, output: Output) -> Done {
    match command {
        UserCommand::Create { name, client } => {
            let session = connect(&client, "tool").await?;
            create_user(&*session.cluster, &name).await?;
            let key = create_key(&*session.cluster, &name).await?;
            session.close().await;
            show_key(key, output)
        }
        UserCommand::List { client } => {
            let session = connect(&client, "tool").await?;
            let users = users(&*session.cluster).await?;
            session.close().await;
            output.show(&users, |users| users.join("\n"))
        }
        UserCommand::Delete { name, client } => {
            change(&client, ControlCommand::DeleteUser { name: name.clone() }).await?;
            output.show(&json!({ "deleted": name }), |_| String::new())
        }
    }
}

/// Carries out `sago key`.
///
/// # Errors
/// [`Failure`].
pub async fn key(command: KeyCommand, output: Output) -> Done {
    match command {
        KeyCommand::Create { user, client } => {
            let session = connect(&client, "tool").await?;
            let key = create_key(&*session.cluster, &user).await?;
            session.close().await;
            show_key(key, output)
        }
        KeyCommand::List { user, client } => {
            let session = connect(&client, "tool").await?;
            let keys = keys(&*session.cluster).await?;
            session.close().await;
            let keys: Vec<_> =
                keys.into_iter().filter(|(_, owner)| user.as_ref().is_none_or(|user| user == owner)).collect();
            let shown: Vec<_> = keys.iter().map(|(key, user)| json!({ "access_key": key, "user": user })).collect();
            output.show(&shown, |_| table(&keys.into_iter().map(|(key, user)| vec![key, user]).collect::<Vec<_>>()))
        }
        KeyCommand::Delete { access_key, client } => {
            change(&client, ControlCommand::DeleteKey { access_key: access_key.clone() }).await?;
            output.show(&json!({ "deleted": access_key }), |_| String::new())
        }
    }
}

/// Makes a user unless there is one of that name.
///
/// # Errors
/// [`Failure`].
pub async fn create_user(cluster: &dyn Cluster, name: &str) -> Done {
    cluster.control(ControlCommand::CreateUser { name: name.to_owned() }).await??;
    Ok(())
}

/// Makes a new key pair for a user.
///
/// # Errors
/// [`Failure`].
pub async fn create_key(cluster: &dyn Cluster, user: &str) -> Done<AccessKey> {
    let key = new_key(user);
    cluster.control(ControlCommand::CreateKey { key: key.clone() }).await??;
    Ok(key)
}

/// A key pair that nobody has yet.
#[must_use]
pub fn new_key(user: &str) -> AccessKey {
    const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    const ALL: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut rng = rand::rng();
    let mut text = |alphabet: &[u8], chars: usize| -> String {
        (0..chars).map(|_| char::from(alphabet[rng.random_range(0..alphabet.len())])).collect()
    };
    let access_key = format!("SAGO{}", text(UPPER, ACCESS_KEY_CHARS - 4));
    AccessKey { access_key, secret_key: text(ALL, SECRET_KEY_CHARS), user: user.to_owned() }
}

/// All users.
///
/// # Errors
/// [`Failure`].
pub async fn users(cluster: &dyn Cluster) -> Done<Vec<String>> {
    match cluster.control_query(ControlQuery::Users).await? {
        ControlAnswer::Users(users) => Ok(users),
        other => Err(unexpected(&other)),
    }
}

async fn keys(cluster: &dyn Cluster) -> Done<Vec<(String, String)>> {
    match cluster.control_query(ControlQuery::Keys).await? {
        ControlAnswer::Keys(keys) => Ok(keys),
        other => Err(unexpected(&other)),
    }
}

/// One change of the control group on a connection of its own.
async fn change(client: &ClientArgs, command: ControlCommand) -> Done {
    let session = connect(client, "tool").await?;
    let result = session.cluster.control(command).await;
    session.close().await;
    result??;
    Ok(())
}

/// The cluster answered another question than was asked.
pub fn unexpected(answer: &impl std::fmt::Debug) -> Failure {
    let text: String = format!("{answer:?}").chars().take(64).collect();
    Failure::new(Kind::Failed, format!("unexpected answer: {text}"))
}

fn show_key(key: AccessKey, output: Output) -> Done {
    let AccessKey { access_key, secret_key, user } = key;
    output.show(&ShownKey { user, access_key, secret_key }, |key| {
        format!("user        {}\naccess key  {}\nsecret key  {}", key.user, key.access_key, key.secret_key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_and_have_the_shape_clients_expect() {
        let (one, two) = (new_key("alice"), new_key("alice"));
        assert_ne!(one.access_key, two.access_key);
        assert_ne!(one.secret_key, two.secret_key);
        assert_eq!((one.access_key.len(), one.secret_key.len()), (ACCESS_KEY_CHARS, SECRET_KEY_CHARS));
    }
}
