//! `sago demo`: a whole cluster in one folder, as processes of this same program.
//!
//! ```text
//! sago demo --+-- sago node --config DIR/node-1/node.toml
//!             +-- sago node --config DIR/node-2/node.toml      die one by one without harm; not started again
//!             +-- sago node --config DIR/node-3/node.toml
//!             +-- sago gateway --config DIR/client/client.toml
//!             +-- sago mount BUCKET DIR/mnt --config DIR/client/client.toml
//! ```
//! The folder is an ordinary cluster folder as `sago cluster init` makes it, with `demo.toml`, `logs/` and `mnt/` added. A start on a
//! folder that is there first clears what an earlier one may have left behind: processes, and a mount whose process is gone.
//!
//! Children get the signal to end when this process dies, which Linux ties to the *thread* that started them: they are
//! started from the main thread only.

mod children;
mod folder;
mod leftovers;
mod mounts;
mod ports;
mod ready;
mod sample;
mod setup;
mod shop;

use crate::cli::DemoArgs;
use crate::exit::{Done, Failure, Kind};
use crate::output::Output;
use crate::serve::shutdown;
use children::{Children, Program};
use folder::Folder;
use ready::{NodeReady, Ready, gateway_answers, mounted, node_is_healthy, wait_for};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the nodes may take: after a crash they read what they wrote since the last checkpoint.
const NODES_MAX: Duration = Duration::from_secs(120);
/// Once some of the nodes are healthy, how long the others are waited for.
const STRAGGLERS_MAX: Duration = Duration::from_secs(20);
const FACE_MAX: Duration = Duration::from_secs(30);

/// Carries out `sago demo`: returns once it was told to stop and everything is stopped.
///
/// # Errors
/// [`Failure`]: something did not start; what did is stopped again.
pub async fn demo(args: DemoArgs, output: Output) -> Done {
    let stop = shutdown()?;
    tokio::pin!(stop);
    let mut folder = Folder::open(&args)?;
    leftovers::clear(&folder).await?;
    let mut children = Children::default();
    let started = tokio::select! {
        started = start(&args, &mut folder, &mut children, output) => started,
        () = &mut stop => Err(Failure::new(Kind::Failed, "stopped before it was ready")),
    };
    if started.is_ok() {
        children.watch(&mut stop, output).await;
        progress(output, "stopping");
    }
    // The mount first, while there is a cluster to write to; the nodes last.
    children.stop(Program::Mount).await;
    if let Some(mount) = folder.mount() {
        mounts::clear(mount)?;
    }
    children.stop(Program::Gateway).await;
    children.stop(Program::Node(0)).await;
    leftovers::clear(&folder).await?;
    started
}

async fn start(args: &DemoArgs, folder: &mut Folder, children: &mut Children, output: Output) -> Done {
    progress(output, "starting the nodes");
    for id in folder.node_ids() {
        let program = Program::Node(id);
        children.start(program, &folder.node_command(id), &folder.log(&program.log_name()))?;
    }
    await_nodes(folder, children).await?;
    progress(output, "setting up user, bucket and samples");
    setup::set_up(args, folder).await?;
    let gateway = folder.gateway_command();
    let gateway_pid = children.start(Program::Gateway, &gateway, &folder.log(&Program::Gateway.log_name()))?;
    let endpoint = folder.endpoint();
    await_child("the gateway", Program::Gateway, folder, children, || gateway_answers(&endpoint)).await?;
    let mount_pid = start_mount(args, folder, children).await?;
    let mut nodes = Vec::new();
    for id in folder.node_ids() {
        nodes.push(NodeReady {
            id,
            pid: children.pid(Program::Node(id)),
            dirs: folder.node_dirs(id)?,
            admin: folder.admin(id)?,
            start: folder.node_command(id),
        });
    }
    let admin = nodes.first().map(|node| node.admin.clone()).unwrap_or_default();
    let mount = mount_pid.and_then(|_| folder.mount().map(Path::to_owned));
    let ready = Ready::new(folder, &args.bucket, mount, admin, nodes, gateway_pid, mount_pid);
    output.show(&ready, Ready::text)
}

/// Waits until every node is healthy; goes on without some of them as long as the others are.
async fn await_nodes(folder: &Folder, children: &mut Children) -> Done {
    let mut waiting: Vec<(u64, String)> = Vec::new();
    for id in folder.node_ids() {
        waiting.push((id, folder.admin(id)?));
    }
    let all = waiting.len();
    let enough = all / 2 + 1;
    let begin = tokio::time::Instant::now();
    let mut quorum_since = None;
    loop {
        let mut still = Vec::new();
        for (id, admin) in waiting {
            if !node_is_healthy(&admin).await {
                still.push((id, admin));
            }
        }
        waiting = still;
        if waiting.is_empty() {
            return Ok(());
        }
        children.reap();
        let alive = folder.node_ids().into_iter().filter(|id| children.is_alive(Program::Node(*id))).count();
        if alive < enough {
            return Err(not_started("the nodes", folder, children));
        }
        if all - waiting.len() >= enough {
            let since = *quorum_since.get_or_insert_with(tokio::time::Instant::now);
            let gone = waiting.iter().all(|(id, _)| !children.is_alive(Program::Node(*id)));
            if gone || since.elapsed() > STRAGGLERS_MAX {
                let names: Vec<_> = waiting.iter().map(|(id, _)| id.to_string()).collect();
                eprintln!("sago: going on without node {}; see {}", names.join(", "), folder.logs().display());
                return Ok(());
            }
        }
        if begin.elapsed() > NODES_MAX {
            return Err(not_started("the nodes", folder, children));
        }
        tokio::time::sleep(ready::POLL).await;
    }
}

async fn await_child<F>(
    name: &str,
    program: Program,
    folder: &Folder,
    children: &mut Children,
    check: impl Fn() -> F,
) -> Done
where
    F: Future<Output = bool>,
{
    let alive = || {
        children.reap();
        children.is_alive(program)
    };
    if wait_for(FACE_MAX, alive, check).await { Ok(()) } else { Err(not_started(name, folder, children)) }
}

/// With what the log of the first process that ended says last.
fn not_started(what: &str, folder: &Folder, children: &Children) -> Failure {
    let said = children.first_ended().and_then(|name| last_line(&folder.log(&name))).unwrap_or_default();
    Failure::new(Kind::Failed, format!("{what} did not start{said}; see {}", folder.logs().display()))
}

fn last_line(log: &Path) -> Option<String> {
    let text = std::fs::read(log).ok()?;
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(4096)..]).into_owned();
    text.lines().rfind(|line| !line.trim().is_empty()).map(|line| format!(": {line}"))
}

/// Mounts the bucket unless told not to. Where it cannot work at all it is left out, except if it was asked for.
async fn start_mount(args: &DemoArgs, folder: &mut Folder, children: &mut Children) -> Done<Option<u32>> {
    if args.no_mount {
        return Ok(None);
    }
    if !Path::new("/dev/fuse").exists() {
        let message = "there is no /dev/fuse on this machine: try `modprobe fuse`, or give the container the device";
        if args.mount.is_some() {
            return Err(Failure::new(Kind::Failed, message));
        }
        eprintln!("sago: not mounted: {message}");
        return Ok(None);
    }
    let dir = args.mount.clone().unwrap_or_else(|| folder.default_mount());
    let dir = folder.set_mount(&dir)?;
    let pid = children.start(
        Program::Mount,
        &folder.mount_command(&args.bucket, &dir),
        &folder.log(&Program::Mount.log_name()),
    )?;
    await_child("the mount", Program::Mount, folder, children, || mounted(dir.clone())).await?;
    Ok(Some(pid))
}

/// Says what is going on where nobody parses it.
fn progress(output: Output, what: &str) {
    if !output.json {
        eprintln!("sago: {what} ...");
    }
}

/// A path without symbolic links, `.` and `..`, but for its last part, which may not answer.
fn resolved(path: &Path) -> Done<PathBuf> {
    let name =
        path.file_name().ok_or_else(|| Failure::new(Kind::Usage, format!("{} is no folder's name", path.display())))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent)?;
    Ok(parent.canonicalize()?.join(name))
}
