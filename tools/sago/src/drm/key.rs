//! `sago drm key`: the file of key-encryption keys.

use super::rotate;
use crate::cli::DrmKeyCommand;
use crate::exit::{Done, Failure, Kind};
use crate::output::{Output, time};
use gateway_core::secret_file::SecretFileError;
use gateway_core::{KeyFile, KeyFileError, SecretKey};
use serde::Serialize;
use std::path::Path;
use types::Timestamp;

/// How often a name is looked for that nobody takes meanwhile.
const NAMES_MAX: usize = 10;

#[derive(Debug, Serialize)]
pub(super) struct Shown {
    file: String,
    newest: String,
    /// All of them, the newest first.
    names: Vec<String>,
    /// The one that was made now.
    #[serde(skip_serializing_if = "Option::is_none")]
    made: Option<String>,
}

/// Carries out `sago drm key`.
///
/// # Errors
/// [`Failure`]: the file cannot be used; nothing was changed.
pub(super) async fn run(command: &DrmKeyCommand, now: Timestamp, output: Output) -> Done {
    match command {
        DrmKeyCommand::Show { file } => output.show(&shown(file, None)?, Shown::text),
        DrmKeyCommand::New { file, name } => output.show(&new(file, name.as_deref(), now)?, Shown::text),
        DrmKeyCommand::Rotate { tokens, client } => rotate::run(*tokens, client, output).await,
    }
}

pub(super) fn new(file: &Path, name: Option<&str>, now: Timestamp) -> Done<Shown> {
    let key = SecretKey::random().map_err(Failure::failed)?;
    let made = match name {
        Some(name) => KeyFile::add(file, name, &key).map(|()| name.to_owned()).map_err(failure)?,
        None => add(file, &key, now)?,
    };
    shown(file, Some(made))
}

/// Adds a key under the first name of today that is free.
fn add(file: &Path, key: &SecretKey, now: Timestamp) -> Done<String> {
    for _ in 0..NAMES_MAX {
        let known = match KeyFile::open(file) {
            Ok(keys) => keys.names(),
            Err(KeyFileError::Empty(_)) => Vec::new(),
            Err(KeyFileError::Secret(SecretFileError::File { source, .. }))
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                Vec::new()
            }
            Err(error) => return Err(failure(error)),
        };
        let name = name(&known, now);
        match KeyFile::add(file, &name, key) {
            Ok(()) => return Ok(name),
            // Somebody else was a moment earlier.
            Err(KeyFileError::Taken { .. }) => {}
            Err(error) => return Err(failure(error)),
        }
    }
    Err(Failure::new(Kind::Failed, format!("{}: others add keys at the same time", file.display())))
}

fn name(known: &[String], now: Timestamp) -> String {
    let today = time(now);
    let date = today.split('T').next().unwrap_or_default();
    let name = |number: u32| format!("kek-{date}-{number}");
    (1..).map(name).find(|name| !known.contains(name)).unwrap_or_default()
}

fn shown(file: &Path, made: Option<String>) -> Done<Shown> {
    let names = KeyFile::open(file).map_err(failure)?.names();
    Ok(Shown { file: file.display().to_string(), newest: names[0].clone(), names, made })
}

fn failure(error: KeyFileError) -> Failure {
    let kind = match &error {
        KeyFileError::Secret(SecretFileError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Kind::NotFound
        }
        KeyFileError::Write { .. } | KeyFileError::Taken { .. } | KeyFileError::Changed { .. } => Kind::Failed,
        KeyFileError::Secret(_) | KeyFileError::Line { .. } | KeyFileError::Name(_) | KeyFileError::Empty(_) => {
            Kind::Usage
        }
    };
    Failure { kind, ..Failure::failed(error) }
}

impl Shown {
    fn text(&self) -> String {
        if let Some(made) = &self.made {
            let copy =
                "keep a copy of the file apart from the backups of the cluster: without it every sold book is lost";
            return format!("{made} is the newest of {} keys in {}\n{copy}", self.names.len(), self.file);
        }
        let line =
            |(at, name): (usize, &String)| if at == 0 { format!("{name}  newest\n") } else { format!("{name}\n") };
        self.names.iter().enumerate().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carry_out(command: &DrmKeyCommand, now: Timestamp) -> Done<Shown> {
        match command {
            DrmKeyCommand::Show { file } => shown(file, None),
            DrmKeyCommand::New { file, name } => new(file, name.as_deref(), now),
            DrmKeyCommand::Rotate { .. } => panic!("that one asks a cluster"),
        }
    }

    fn at(text: &str) -> Timestamp {
        ::drm::rfc3339::read(text).expect("a date")
    }

    #[test]
    fn keys_are_named_after_the_day_and_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("kek");
        let new = |now: &str, name: Option<&str>| {
            let command = DrmKeyCommand::New { file: file.clone(), name: name.map(str::to_owned) };
            carry_out(&command, at(now))
        };
        new("2026-11-26T23:59:59Z", None).expect("made");
        new("2026-11-26T23:59:59Z", None).expect("made");
        new("2026-11-27T00:00:00Z", None).expect("made");
        new("2026-11-27T00:00:00Z", Some("by-hand")).expect("made");
        let names = ["by-hand", "kek-2026-11-27-1", "kek-2026-11-26-2", "kek-2026-11-26-1"];
        let text = shown(&file, None).expect("keys").text();
        assert_eq!(text, format!("{}  newest\n{}\n{}\n{}\n", names[0], names[1], names[2], names[3]));
        assert_eq!(new("2026-11-27T00:00:00Z", Some("by-hand")).expect_err("taken").kind, Kind::Failed);
        assert_eq!(new("2026-11-27T00:00:00Z", Some("by hand")).expect_err("no name").kind, Kind::Usage);
        assert_eq!(shown(&file, None).expect("keys").names, names);
        let json = serde_json::to_string(&shown(&file, None).expect("keys")).expect("plain data");
        let written = std::fs::read_to_string(&file).expect("text");
        let key = written.lines().find_map(|line| line.strip_prefix("by-hand ")).expect("a key");
        assert!(!json.contains(key) && !text.contains(key));
    }

    #[test]
    fn a_file_that_is_missing_or_broken_is_told_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let show = |file: &Path| carry_out(&DrmKeyCommand::Show { file: file.to_owned() }, at("2026-11-26T00:00:00Z"));
        assert_eq!(show(&folder.path().join("none")).expect_err("missing").kind, Kind::NotFound);
        let file = folder.path().join("kek");
        std::fs::write(&file, "# empty\n").expect("written");
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("a mode");
        assert_eq!(show(&file).expect_err("empty").kind, Kind::Usage);
        let new = DrmKeyCommand::New { file: file.clone(), name: None };
        carry_out(&new, at("2026-11-26T00:00:00Z")).expect("a first key");
        assert!(std::fs::read_to_string(&file).expect("text").starts_with("# empty\nkek-2026-11-26-1 "));
    }
}
