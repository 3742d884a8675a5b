//! `sago drm right`.

use crate::cli::{RightArgs, RightCommand};
use crate::connect::connect;
use crate::exit::{Done, Failure, Kind};
use crate::output::{Output, table};
use crate::user::users;
use gateway_core::{PlainRead, Right, Rights, RightsError};
use serde::Serialize;

#[derive(Serialize)]
struct Shown {
    user: String,
    lend: bool,
    download: bool,
    /// `null`: of all protected buckets of his own.
    plain_read: Option<Vec<String>>,
}

impl Shown {
    fn of(user: &str, rights: &Rights) -> Self {
        let plain_read = match &rights.plain_read {
            PlainRead::All => None,
            PlainRead::Named(names) => Some(names.iter().cloned().collect()),
        };
        Shown { user: user.to_owned(), lend: rights.lend, download: rights.download, plain_read }
    }

    fn row(&self) -> Vec<String> {
        let mut words = Vec::new();
        words.extend(self.lend.then(|| "lend".to_owned()));
        words.extend(self.download.then(|| "download".to_owned()));
        match &self.plain_read {
            None => words.push("plain-read".to_owned()),
            Some(names) => words.extend(names.iter().map(|name| format!("plain-read={name}"))),
        }
        vec![self.user.clone(), if words.is_empty() { "none".to_owned() } else { words.join(" ") }]
    }
}

/// Carries out `sago drm right`.
///
/// # Errors
/// [`Failure`].
pub async fn run(command: RightCommand, output: Output) -> Done {
    match command {
        RightCommand::Grant(args) => change(&args, true, output).await,
        RightCommand::Revoke(args) => change(&args, false, output).await,
        RightCommand::List { client } => {
            let session = connect(&client, "tool").await?;
            let all = session.store.list_rights().await;
            session.close().await;
            let all: Vec<_> = all?.iter().map(|(user, rights)| Shown::of(user, rights)).collect();
            output.show(&all, |all| table(&all.iter().map(Shown::row).collect::<Vec<_>>()))
        }
    }
}

async fn change(args: &RightArgs, give: bool, output: Output) -> Done {
    let right = parse(&args.right)?;
    let session = connect(&args.client, "tool").await?;
    if give && !users(&*session.cluster).await?.contains(&args.user) {
        return Err(Failure::new(Kind::NotFound, format!("there is no user {:?}: sago user create", args.user)));
    }
    if give {
        session.store.ensure_system_bucket().await?;
    }
    let done = match give {
        true => session.store.grant(&args.user, &right).await,
        false => session.store.revoke(&args.user, &right).await,
    };
    session.close().await;
    let shown = Shown::of(&args.user, &done?);
    output.show(&shown, |shown| table(&[shown.row()]))
}

fn parse(word: &str) -> Done<Right> {
    match word.split_once('=') {
        None if word == "lend" => Ok(Right::Lend),
        None if word == "download" => Ok(Right::Download),
        None if word == "plain-read" => Ok(Right::PlainRead(None)),
        Some(("plain-read", bucket)) if !bucket.is_empty() => Ok(Right::PlainRead(Some(bucket.to_owned()))),
        _ => Err(Failure::new(
            Kind::Usage,
            format!("{word:?} is no right: lend, download, plain-read or plain-read=BUCKET"),
        )),
    }
}

impl From<RightsError> for Failure {
    fn from(error: RightsError) -> Self {
        match error {
            RightsError::Bucket(error) => error.into(),
            other => Failure::new(Kind::Failed, other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_words() {
        assert_eq!(parse("lend").ok(), Some(Right::Lend));
        assert_eq!(parse("plain-read=books").ok(), Some(Right::PlainRead(Some("books".into()))));
        for bad in ["", "all", "plain-read=", "lend=books"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
