//! What an earlier demo of the same folder may have left behind: processes, and a mount whose process is gone.
//!
//! A process is ours if it is `node`, `gateway` or `mount` with `--config` and one of this folder's files, whoever started
//! it: nodes that were started again by hand are found like the others.

use super::folder::Folder;
use super::mounts;
use crate::exit::{Done, Failure, Kind};
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;
use tokio::time::Instant;

/// How long they may take to stop by themselves, and again after they were killed.
const STOP_MAX: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);
const ROLES: [&str; 3] = ["node", "gateway", "mount"];

/// Stops and removes all of it.
///
/// # Errors
/// Something does not go away.
pub async fn clear(folder: &Folder) -> Done {
    let configs = folder.configs();
    for signal in [Signal::TERM, Signal::KILL] {
        let begin = Instant::now();
        let mut told = Vec::new();
        loop {
            let left = find(&configs)?;
            if left.is_empty() {
                return folder.mount().map_or(Ok(()), mounts::clear);
            }
            for pid in left.iter().filter(|pid| !told.contains(*pid)) {
                let _ = kill_process(*pid, signal);
            }
            told = left;
            if begin.elapsed() > STOP_MAX {
                break;
            }
            tokio::time::sleep(POLL).await;
        }
        // A mount that hangs holds up its process.
        folder.mount().map_or(Ok(()), mounts::clear)?;
    }
    Err(Failure::new(Kind::Failed, format!("processes of {} do not end", folder.dir().display())))
}

fn find(configs: &[String]) -> Done<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else { continue };
        // A process may end while it is being looked at.
        let Ok(line) = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())) else { continue };
        if is_ours(&line, configs) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Whether a command line, its words ended by zeros, is that of a process of this folder.
fn is_ours(line: &[u8], configs: &[String]) -> bool {
    let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    let role = words.get(1).is_some_and(|role| ROLES.contains(&role.as_ref()));
    let config = words.windows(2).any(|pair| pair[0] == "--config" && configs.iter().any(|config| *config == pair[1]));
    role && config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_processes_of_the_folder_are_ours() {
        let configs = ["/d/node-1/node.toml".to_owned(), "/d/client/client.toml".to_owned()];
        let ours = |line: &str| is_ours(line.replace(' ', "\0").as_bytes(), &configs);
        assert!(ours("/bin/sago node --config /d/node-1/node.toml"));
        assert!(ours("/bin/sago mount books /d/mnt --config /d/client/client.toml --with-parent 7"));
        assert!(!ours("/bin/sago node --config /e/node-1/node.toml"));
        assert!(!ours("/bin/sago put a b/c --config /d/client/client.toml"));
        assert!(!ours("vi /d/node-1/node.toml"));
        assert!(!ours(""));
    }
}
