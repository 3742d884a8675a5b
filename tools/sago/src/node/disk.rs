//! `sago node disk add|drain|remove`: the disks of a node come and go.
//!
//! A disk stands in three places: in its own folder, which says whose it is; in the placement map, which says what it holds; and in `node.toml`, which says
//! where it is mounted. Adding goes in this order and can be repeated after an interruption; the node opens the disk at its next start, and until
//! then tells the cluster that it is not there.

use super::leave::{Left, until_empty};
use super::progress;
use crate::cli::{DiskAddArgs, DiskArgs, DiskCommand, DiskDrainArgs};
use crate::config::{ConfigError, NodeFile, beside, load, save_private};
use crate::connect::connect;
use crate::copies;
use crate::exit::{Done, Failure, Kind};
use crate::operate::steer;
use crate::output::Output;
use proto::control::ControlCommand;
use serde_json::json;
use std::path::{Path, PathBuf};
use toml_edit::{Array, DocumentMut, Item, Value, value};
use types::{DiskEntry, DiskState, Member, NodeId, PlacementMap};

/// Carries out what was said of a disk.
///
/// # Errors
/// [`Failure`].
pub async fn run(command: DiskCommand, output: Output) -> Done {
    match command {
        DiskCommand::Add(args) => add(args, output).await,
        DiskCommand::Drain(args) => drain(args, output).await,
        DiskCommand::Remove(args) => remove(args, output).await,
    }
}

/// A disk of a node on this machine.
struct Place {
    /// `node.toml`.
    file: PathBuf,
    node: NodeId,
    /// Its data directory, as `node.toml` names it.
    dir: PathBuf,
    /// Its number among the node's disks, if it has one.
    number: Option<usize>,
}

impl Place {
    fn find(args: &DiskArgs) -> Done<Place> {
        let file = args.folder.join("node.toml");
        let node: NodeFile = load(&file)?;
        let number = node.disks.iter().position(|disk| *disk == args.dir);
        Ok(Place { file, node: NodeId(node.id), dir: args.dir.clone(), number })
    }

    /// Its number and what the map says of it.
    fn in_map(&self, map: &PlacementMap) -> Done<(Member, DiskEntry)> {
        let number = self.number.ok_or_else(|| {
            Failure::new(Kind::NotFound, format!("{} has no disk {}", self.file.display(), self.dir.display()))
        })?;
        let member = Member { node: self.node, disk: u16::try_from(number).unwrap_or(u16::MAX) };
        let entry = map.disk(member).cloned();
        let missing = || Failure::new(Kind::NotFound, format!("the cluster knows no disk {number} of {}", self.node));
        Ok((member, entry.ok_or_else(missing)?))
    }
}

async fn add(args: DiskAddArgs, output: Output) -> Done {
    let place = Place::find(&args.disk)?;
    let id = chunk_store::prepare(&beside(&place.file, &place.dir), place.node).map_err(Failure::failed)?;
    let session = connect(&args.disk.client, "tool").await?;
    let command = ControlCommand::AddDisk { node: place.node, disk: id, class: args.class };
    let known = async {
        steer(&*session.cluster, command).await?;
        copies::map(&session).await
    };
    let known = known.await;
    session.close().await;
    let number = known?.node(place.node).and_then(|entry| entry.disks.iter().position(|disk| disk.id == id));
    let number =
        number.ok_or_else(|| Failure::new(Kind::Failed, "the cluster does not show the disk yet; do it again"))?;
    edit(&place.file, |file| {
        let disks = array(file, "disks", &["data/disk-0"])?;
        match (place.number, disks.len()) {
            (Some(at), _) if at == number => return Ok(()),
            (None, len) if len == number => {}
            _ => {
                return Err(format!(
                    "the cluster knows the disk as number {number}, and it would stand elsewhere in `disks`"
                ));
            }
        }
        disks.push(place.dir.display().to_string());
        array(file, "added", &[])?.push(id.to_string());
        Ok(())
    })?;
    output.show(&json!({ "disk": id.to_string(), "node": place.node.0, "number": number }), |_| {
        format!("disk {id} is number {number} of {}: restart the node, and it takes its share", place.node)
    })
}

async fn drain(args: DiskDrainArgs, output: Output) -> Done {
    let place = Place::find(&args.disk)?;
    let session = connect(&args.disk.client, "tool").await?;
    let done = async {
        let (member, entry) = place.in_map(&copies::map(&session).await?)?;
        let command = ControlCommand::SetDiskState { disk: entry.id, state: DiskState::Draining };
        steer(&*session.cluster, command).await?;
        if !args.no_wait {
            until_empty(&session, &format!("disk {}", entry.id), |map| Left::on(map, member), output).await?;
        }
        Ok(entry.id)
    };
    let done: Done<_> = done.await;
    session.close().await;
    let id = done?;
    output.show(&json!({ "disk": id.to_string(), "empty": !args.no_wait }), |_| match args.no_wait {
        true => format!("disk {id} gives away what it has"),
        false => format!("disk {id} has nothing any more"),
    })
}

async fn remove(args: DiskArgs, output: Output) -> Done {
    let place = Place::find(&args)?;
    let session = connect(&args.client, "tool").await?;
    let done = async {
        let (member, entry) = place.in_map(&copies::map(&session).await?)?;
        // What a broken disk had is made anew elsewhere, so there is nothing to wait for; a disk that works keeps what it has.
        if !Left::on(&copies::map(&session).await?, member).is_nothing() && entry.state != DiskState::Broken {
            let message = format!("disk {} has copies: `sago node disk drain` it first", entry.id);
            return Err(Failure::new(Kind::Failed, message));
        }
        let command = ControlCommand::SetDiskState { disk: entry.id, state: DiskState::Failed };
        steer(&*session.cluster, command).await?;
        Ok((member, entry.id))
    };
    let done: Done<_> = done.await;
    session.close().await;
    let (member, id) = done?;
    edit(&place.file, |file| {
        let number = i64::from(member.disk);
        let gone = array(file, "gone", &[])?;
        if !gone.iter().any(|known| known.as_integer() == Some(number)) {
            gone.push(number);
        }
        Ok(())
    })?;
    progress(output, "its number stays taken: `node.toml` lists it under `gone`");
    output.show(&json!({ "removed": id.to_string() }), |_| {
        format!("disk {id} is given up, for ever: restart the node, then it may be taken out")
    })
}

/// Changes `node.toml` and leaves everything else in it as the operator wrote it. The file is whole at any moment.
fn edit(path: &Path, change: impl FnOnce(&mut DocumentMut) -> Result<(), String>) -> Done {
    let wrong = |what: String| Failure::from(ConfigError::value(path.display(), what));
    let text = std::fs::read_to_string(path)?;
    let mut file: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| wrong(error.to_string()))?;
    change(&mut file).map_err(wrong)?;
    let after = file.to_string();
    // What cannot be read must not take the place of what can.
    let _: NodeFile = crate::config::parse(path, &after)?;
    if after != text {
        save_private(path, &after)?;
    }
    Ok(())
}

/// A list in the file; made with these words if it is not there.
fn array<'a>(file: &'a mut DocumentMut, key: &str, words: &[&str]) -> Result<&'a mut Array, String> {
    let item: &mut Item =
        file.entry(key).or_insert_with(|| value(words.iter().copied().map(Value::from).collect::<Array>()));
    item.as_array_mut().ok_or_else(|| format!("`{key}` is not a list"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_keeps_what_the_operator_wrote() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("node.toml");
        std::fs::write(&path, "# ours\nid = 2\ndisks = [\"a\"] # the first\n\n[memory]\nread = \"16MiB\"\n")
            .expect("written");
        let add = |file: &mut DocumentMut| {
            array(file, "disks", &["data/disk-0"])?.push("b");
            array(file, "gone", &[])?.push(0);
            Ok(())
        };
        edit(&path, add).expect("changed");
        let text = std::fs::read_to_string(&path).expect("text");
        assert!(text.starts_with("# ours\nid = 2\n") && text.contains("# the first"), "{text}");
        let file: NodeFile = load(&path).expect("a node file");
        assert_eq!((file.disks, file.gone), (vec!["a".into(), "b".into()], vec![0]));
        let wrong = edit(&path, |file| array(file, "id", &[]).map(drop));
        assert!(wrong.is_err() && std::fs::read_to_string(&path).is_ok_and(|after| after == text));
    }
}
