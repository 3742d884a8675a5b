//! `sago placement`: what the planner sees and would do, and the operator's words in it.

use crate::cli::{ClientArgs, PlacementCommand, PlanArgs, SetArgs};
use crate::connect::{Session, connect};
use crate::exit::{Done, Failure, Kind};
use crate::operate::steer;
use crate::output::{Output, bytes, table};
use futures::future::join_all;
use placement::{Lack, Limits, Obstacle, PlannedMove, Reason, Report};
use proto::control::{ControlAnswer, ControlCommand, ControlQuery};
use proto::node::{NodeReply, NodeRequest};
use proto::{Reply, Request};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use transport::Class;
use types::{DiskId, Member, MovePhase, NodeId, NodeMode, NodeState, PgId, PlacementMap, PlacementOptions, RuleEntry};

/// How long a node is waited for.
const ASK_MAX: Duration = Duration::from_secs(3);
/// Blocked moves shown one by one.
const BLOCKED_SHOWN: usize = 20;

#[derive(Serialize)]
struct Shown {
    map_version: u64,
    /// Placement groups by the number of copies that are not lost: none, one, two, three.
    groups_by_copies: [u32; 4],
    moves: Vec<ShownMove>,
    /// Why moves that are needed cannot begin: counts.
    blocked: BTreeMap<&'static str, usize>,
    blocked_moves: Vec<ShownBlocked>,
    /// Groups that rules would have elsewhere and that have nowhere to go: counts.
    unmet: BTreeMap<String, usize>,
    /// Bytes that the moves in progress and those needed copy, about.
    bytes_to_copy: u64,
    /// Seconds for that at the cap of all nodes that take copies, about; none without a cap.
    seconds_at_cap: Option<u64>,
    disks: Vec<ShownDisk>,
    options: PlacementOptions,
}

#[derive(Serialize)]
struct ShownMove {
    group: u32,
    from: String,
    to: String,
    step: &'static str,
}

#[derive(Serialize)]
struct ShownBlocked {
    group: u32,
    from: String,
    why: &'static str,
    obstacle: &'static str,
}

#[derive(Serialize)]
struct ShownDisk {
    id: String,
    node: u64,
    number: usize,
    class: String,
    weight: u32,
    state: String,
    groups: usize,
}

/// Carries out `sago placement`.
///
/// # Errors
/// [`Failure`].
pub async fn run(command: PlacementCommand, output: Output) -> Done {
    match command {
        PlacementCommand::Status { client } => {
            let session = connect(&client, "tool").await?;
            let map = map(&session).await?;
            let sizes = sizes(&session, &map).await;
            session.close().await;
            let (_, report) = placement::plan(&map, &Limits::from(&map.options));
            output.show(&shown(&map, &report, &sizes), text)
        }
        PlacementCommand::Plan(args) => plan(args, output).await,
        PlacementCommand::Node { node, mode, client } => {
            change(&client, ControlCommand::SetNodeMode { node: NodeId(node), mode: mode.into() }, output).await
        }
        PlacementCommand::Disk { disk, state, client } => {
            change(&client, ControlCommand::SetDiskState { disk, state: state.into() }, output).await
        }
        PlacementCommand::Weight { disk, weight, class, client } => {
            change(&client, ControlCommand::SetDiskWeight { disk, class, weight }, output).await
        }
        PlacementCommand::Set(args) => set(args, output).await,
    }
}

/// The map as it is.
///
/// # Errors
/// [`Failure`].
pub async fn map(session: &Session) -> Done<PlacementMap> {
    match session.cluster.control_query(ControlQuery::Map).await? {
        ControlAnswer::Map(Some(map)) => Ok(*map),
        _ => Err(Failure::new(Kind::Unavailable, "the cluster has no placement map yet")),
    }
}

async fn change(client: &ClientArgs, command: ControlCommand, output: Output) -> Done {
    let session = connect(client, "tool").await?;
    let done = steer(&*session.cluster, command).await;
    session.close().await;
    done?;
    output.show(&serde_json::json!({ "done": true }), |_| String::new())
}

async fn set(args: SetArgs, output: Output) -> Done {
    let session = connect(&args.client, "tool").await?;
    let mut options = map(&session).await?.options;
    options.out_after_seconds = args.out_after.unwrap_or(options.out_after_seconds);
    options.moves_max = args.moves.unwrap_or(options.moves_max);
    options.moves_per_node_max = args.moves_per_node.unwrap_or(options.moves_per_node_max);
    options.moves_per_disk_max = args.moves_per_disk.unwrap_or(options.moves_per_disk_max);
    options.copy_bytes_per_second = args.copy_rate.map_or(options.copy_bytes_per_second, |size| size.0);
    options.validate().map_err(|fault| Failure::new(Kind::Usage, fault.to_string()))?;
    let done = steer(&*session.cluster, ControlCommand::SetPlacement { options: options.clone() }).await;
    session.close().await;
    done?;
    output.show(&options, |options| format!("{options:#?}"))
}

async fn plan(args: PlanArgs, output: Output) -> Done {
    let session = connect(&args.client, "tool").await?;
    let mut map = map(&session).await?;
    let sizes = sizes(&session, &map).await;
    session.close().await;
    for node in &mut map.nodes {
        if args.drain.contains(&node.id.0) {
            node.mode = NodeMode::Draining;
        }
        if args.lose.contains(&node.id.0) {
            node.state = NodeState::Out;
        }
    }
    Imagined::of(map, &sizes).show(output)
}

/// What would move.
#[derive(Serialize)]
pub struct Imagined {
    /// From, to, and how many groups.
    moves: Vec<(String, String, usize)>,
    bytes: u64,
    blocked: BTreeMap<&'static str, usize>,
    /// Groups that rules would have elsewhere and that have nowhere to go: counts.
    unmet: BTreeMap<String, usize>,
}

impl Imagined {
    /// All that it would come to with such a map, not only the first steps.
    #[must_use]
    pub fn of(mut map: PlacementMap, sizes: &BTreeMap<DiskId, u64>) -> Self {
        map.options.moves_max = 4096;
        (map.options.moves_per_node_max, map.options.moves_per_disk_max) = (256, 256);
        let (plan, report) = placement::plan(&map, &Limits::from(&map.options));
        let mut moved: BTreeMap<(String, String), usize> = BTreeMap::new();
        let mut total = 0;
        for PlannedMove { pg, from, to, .. } in &plan.moves {
            *moved.entry((place(*from), place(*to))).or_default() += 1;
            total += size_of(&map, *pg, sizes);
        }
        let moves = moved.into_iter().map(|((from, to), count)| (from, to, count)).collect();
        Imagined { moves, bytes: total, blocked: blocked(&report), unmet: unmet(&map, &report) }
    }

    /// Prints it.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn show(&self, output: Output) -> Done {
        output.show(self, |shown| {
            let mut rows = vec![["FROM", "TO", "GROUPS"].map(str::to_owned).to_vec()];
            rows.extend(shown.moves.iter().map(|(from, to, count)| vec![from.clone(), to.clone(), count.to_string()]));
            let (blocked, unmet) = (&shown.blocked, unmet_text(&shown.unmet));
            let total = bytes(shown.bytes);
            format!("{}\nabout {total} to copy; nothing was changed\nblocked: {blocked:?}{unmet}", table(&rows))
        })
    }
}

/// Groups that rules would have elsewhere and that have nowhere to go, by rule and what they lack.
#[must_use]
pub fn unmet(map: &PlacementMap, report: &Report) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for unmet in &report.unmet {
        let rule = map.rule_entry(unmet.rule).map_or(RuleEntry::DEFAULT_NAME, |entry| &entry.name);
        let level = map.rule(unmet.rule).level;
        let text = match unmet.lacks {
            Lack::Domains => format!("rule {rule}: copies share a {level}, and no disk would help"),
            Lack::Class => format!("rule {rule}: copies lie on another class, and no disk of it would take them"),
        };
        *counts.entry(text).or_default() += 1;
    }
    counts
}

fn unmet_text(unmet: &BTreeMap<String, usize>) -> String {
    unmet.iter().map(|(what, groups)| format!("\n{what} ({groups} groups)")).collect()
}

/// Bytes on each disk, of the nodes that answer.
pub async fn sizes(session: &Session, map: &PlacementMap) -> BTreeMap<DiskId, u64> {
    let asked = map.nodes.iter().map(|node| async {
        let peer = session.endpoint().peer(node.id, &node.addr);
        let request = Request::Node(NodeRequest::Status);
        match peer.call(Class::Small, &request, ::bytes::Bytes::new(), ASK_MAX).await {
            Ok((Reply::Node(NodeReply::Status(status)), _)) => {
                status.disks.into_iter().map(|disk| (disk.disk, disk.bytes)).collect()
            }
            _ => Vec::new(),
        }
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// What a group holds, about: groups of one disk share its bytes evenly.
fn size_of(map: &PlacementMap, pg: PgId, sizes: &BTreeMap<DiskId, u64>) -> u64 {
    let Some(group) = map.group(pg) else { return 0 };
    let known = group.members.iter().filter_map(|member| {
        let on_disk = sizes.get(&map.disk(*member)?.id)?;
        Some(on_disk / groups_on(map, *member).max(1) as u64)
    });
    known.max().unwrap_or(0)
}

fn groups_on(map: &PlacementMap, member: Member) -> usize {
    map.groups.iter().filter(|group| group.members.contains(&member)).count()
}

/// How a disk is named: its node, and its number there.
#[must_use]
pub fn place(member: Member) -> String {
    format!("{}/{}", member.node.0, member.disk)
}

fn blocked(report: &Report) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    report.blocked.iter().for_each(|blocked| *counts.entry(obstacle(blocked.obstacle)).or_default() += 1);
    counts
}

fn obstacle(obstacle: Obstacle) -> &'static str {
    match obstacle {
        Obstacle::NoCopyLeft => "no copy left",
        Obstacle::NoTarget => "no disk to take it",
        Obstacle::Limit => "waits for its turn",
        Obstacle::Moving => "another copy of the group moves",
    }
}

fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Lost { .. } => "lost",
        Reason::Drain => "drain",
        Reason::Spread => "spread",
        Reason::Class => "class",
        Reason::Balance => "balance",
    }
}

fn shown(map: &PlacementMap, report: &Report, sizes: &BTreeMap<DiskId, u64>) -> Shown {
    let running = map.groups.iter().filter_map(|group| Some((group, group.moving.as_ref()?)));
    let moves: Vec<_> = running
        .map(|(group, moving)| ShownMove {
            group: group.id.0,
            from: group.members.get(usize::from(moving.at)).map(|member| place(*member)).unwrap_or_default(),
            to: place(moving.to),
            step: match moving.phase {
                MovePhase::Barrier => "barrier",
                MovePhase::Copying => "copying",
                MovePhase::Synced { .. } => "synced",
            },
        })
        .collect();
    let needed = moves.iter().map(|shown| PgId(shown.group)).chain(report.blocked.iter().map(|blocked| blocked.pg));
    let bytes_to_copy = needed.map(|pg| size_of(map, pg, sizes)).sum();
    let takers = map.nodes.iter().filter(|node| node.state == NodeState::Up && node.mode == NodeMode::Active).count();
    let rate = map.options.copy_bytes_per_second.saturating_mul(takers as u64);
    let disks = map.nodes.iter().flat_map(|node| {
        node.disks.iter().enumerate().map(move |(number, disk)| ShownDisk {
            id: disk.id.to_string(),
            node: node.id.0,
            number,
            class: disk.class.clone(),
            weight: disk.weight,
            state: format!("{:?}", disk.state).to_lowercase(),
            groups: groups_on(map, Member { node: node.id, disk: number as u16 }),
        })
    });
    Shown {
        map_version: map.version,
        groups_by_copies: report.groups_by_copies,
        moves,
        blocked: blocked(report),
        blocked_moves: report
            .blocked
            .iter()
            .map(|blocked| ShownBlocked {
                group: blocked.pg.0,
                from: place(blocked.from),
                why: reason(blocked.reason),
                obstacle: obstacle(blocked.obstacle),
            })
            .collect(),
        unmet: unmet(map, report),
        bytes_to_copy,
        seconds_at_cap: (rate > 0).then(|| bytes_to_copy.div_ceil(rate)),
        disks: disks.collect(),
        options: map.options.clone(),
    }
}

fn text(shown: &Shown) -> String {
    let cells = |row: &[&str]| row.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
    let mut disks = vec![cells(&["DISK", "PLACE", "CLASS", "WEIGHT", "STATE", "GROUPS"])];
    for disk in &shown.disks {
        let place = format!("{}/{}", disk.node, disk.number);
        let (weight, groups) = (disk.weight.to_string(), disk.groups.to_string());
        disks.push(cells(&[&disk.id, &place, &disk.class, &weight, &disk.state, &groups]));
    }
    let mut moves = vec![cells(&["GROUP", "FROM", "TO", "STEP"])];
    for shown in &shown.moves {
        moves.push(cells(&[&shown.group.to_string(), &shown.from, &shown.to, shown.step]));
    }
    for shown in shown.blocked_moves.iter().take(BLOCKED_SHOWN) {
        moves.push(cells(&[&shown.group.to_string(), &shown.from, "", &format!("{}: {}", shown.why, shown.obstacle)]));
    }
    let [none, one, two, three] = shown.groups_by_copies;
    let time = match (shown.bytes_to_copy, shown.seconds_at_cap) {
        (0, _) => String::new(),
        (left, Some(seconds)) => format!("\n{} to copy, about {seconds} s at the cap", bytes(left)),
        (left, None) => format!("\n{} to copy, without a cap", bytes(left)),
    };
    format!(
        "groups with 3 copies: {three}, 2: {two}, 1: {one}, none: {none}{time}{}\n\n{}\n{}",
        unmet_text(&shown.unmet),
        table(&moves),
        table(&disks)
    )
}
