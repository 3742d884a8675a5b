//! The processes of a demo, each in a process group of its own so that Ctrl-C reaches this process alone.

use crate::exit::{Done, Failure};
use crate::output::Output;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::fs::File;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};

/// How long a process may take to stop by itself.
const STOP_MAX: Duration = Duration::from_secs(15);
/// A log that is longer is put aside at the next start.
const LOG_BYTES_MAX: u64 = 16 << 20;
/// How often the children are looked at.
const WATCH: Duration = Duration::from_millis(200);

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// A node; stands for all of them where it is 0.
    Node(u64),
    /// The gateway.
    Gateway,
    /// The mount.
    Mount,
}

impl std::fmt::Display for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Program::Node(id) => write!(f, "node {id}"),
            Program::Gateway => f.write_str("gateway"),
            Program::Mount => f.write_str("mount"),
        }
    }
}

impl Program {
    /// The name of its log.
    #[must_use]
    pub fn log_name(self) -> String {
        match self {
            Program::Node(id) => format!("node-{id}"),
            Program::Gateway => "gateway".to_owned(),
            Program::Mount => "mount".to_owned(),
        }
    }
}

struct Running {
    program: Program,
    pid: u32,
    command: Vec<String>,
    child: Child,
    ended: Option<ExitStatus>,
}

/// All of them.
#[derive(Default)]
pub struct Children(Vec<Running>);

impl Children {
    /// Starts a process that writes to the end of `log` and is told to end when this process does. Main thread only: see the
    /// module above. Returns its process id.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&mut self, program: Program, command: &[String], log: &Path) -> Done<u32> {
        let own = std::process::id().to_string();
        let (out, errors) = open_log(log)?;
        let child = Command::new(&command[0])
            .args(&command[1..])
            .args(["--with-parent", &own])
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(|error| Failure::from(error).while_doing(program))?;
        let pid = child.id().unwrap_or_default();
        self.0.push(Running { program, pid, command: command.to_vec(), child, ended: None });
        Ok(pid)
    }

    /// Notes which have ended, and returns those that had not before.
    pub fn reap(&mut self) -> Vec<(Program, u32, ExitStatus, Vec<String>)> {
        let mut ended = Vec::new();
        for running in self.0.iter_mut().filter(|running| running.ended.is_none()) {
            if let Ok(Some(status)) = running.child.try_wait() {
                running.ended = Some(status);
                ended.push((running.program, running.pid, status, running.command.clone()));
            }
        }
        ended
    }

    /// Whether it had not ended when it was last looked at.
    #[must_use]
    pub fn is_alive(&self, program: Program) -> bool {
        self.0.iter().any(|running| running.program == program && running.ended.is_none())
    }

    /// The log name of the first process that had ended when they were last looked at.
    #[must_use]
    pub fn first_ended(&self) -> Option<String> {
        self.0.iter().find(|running| running.ended.is_some()).map(|running| running.program.log_name())
    }

    /// The process id, if it has not ended.
    #[must_use]
    pub fn pid(&self, program: Program) -> Option<u32> {
        self.0.iter().find(|running| running.program == program && running.ended.is_none()).map(|running| running.pid)
    }

    /// Says which processes end, and how to start them again, until told to stop.
    pub async fn watch(&mut self, stop: &mut (impl Future<Output = ()> + Unpin), output: Output) {
        loop {
            for (program, pid, status, command) in self.reap() {
                report(program, pid, status, &command, output);
            }
            tokio::select! {
                () = &mut *stop => return,
                () = tokio::time::sleep(WATCH) => {}
            }
        }
    }

    /// Stops a process, or all nodes, and waits until they have ended; kills what does not end by itself.
    pub async fn stop(&mut self, program: Program) {
        let wanted = |running: &&mut Running| {
            let all_nodes = program == Program::Node(0) && matches!(running.program, Program::Node(_));
            running.ended.is_none() && (all_nodes || running.program == program)
        };
        let mut stopping: Vec<_> = self.0.iter_mut().filter(wanted).collect();
        for running in &stopping {
            // Not reaped yet, so the id still is this process.
            if let Some(pid) = running.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        for running in &mut stopping {
            running.ended = match tokio::time::timeout(STOP_MAX, running.child.wait()).await {
                Ok(status) => status.ok(),
                Err(_) => {
                    eprintln!("sago: {} does not stop by itself and is killed", running.program);
                    let _ = running.child.kill().await;
                    running.child.try_wait().ok().flatten()
                }
            };
        }
    }
}

fn report(program: Program, pid: u32, status: ExitStatus, command: &[String], output: Output) {
    if output.json {
        let event = json!({ "event": "ended", "process": program.to_string(), "pid": pid, "status": status.to_string(), "start": command });
        eprintln!("{event}");
    } else {
        let command = command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
        eprintln!("sago: {program} (process {pid}) has ended: {status}\n      start it again: {command}");
    }
}

/// A word as a shell takes it.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=,@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

fn open_log(path: &Path) -> Done<(File, File)> {
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > LOG_BYTES_MAX) {
        std::fs::rename(path, path.with_extension("log.old"))?;
    }
    let log = File::options().create(true).append(true).open(path)?;
    Ok((log.try_clone()?, log))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Vec<String> {
        // The arguments that `start` adds become the script's own.
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[tokio::test]
    async fn a_process_that_ends_is_noticed_and_one_that_does_not_is_stopped() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("logs/a.log");
        let mut children = Children::default();
        children.start(Program::Node(1), &shell("echo hello"), &log).expect("started");
        children.start(Program::Node(2), &shell("exec sleep 1000"), &log).expect("started");
        let noticed = async {
            while children.reap().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), noticed).await.expect("it ends");
        assert!(!children.is_alive(Program::Node(1)) && children.is_alive(Program::Node(2)));
        assert_eq!(std::fs::read_to_string(&log).expect("the log"), "hello\n");
        children.stop(Program::Node(0)).await;
        assert_eq!(children.pid(Program::Node(2)), None);
    }

    #[test]
    fn commands_can_be_pasted_into_a_shell() {
        assert_eq!(quoted("/a/b-c.toml"), "/a/b-c.toml");
        assert_eq!(quoted("it's here"), "'it'\\''s here'");
    }
}
