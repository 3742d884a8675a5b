//! `sago durability`.

use super::ClientArgs;
use crate::config::Size;
use clap::Args;

const EXAMPLES: &str = "\
Examples:
  sago durability                                                this cluster: its map, its disks, its cap for copying
  sago durability --annual-failure-rate 4 --repair-hours 6       with worse disks, and a repair that was measured
  sago durability --nodes 6 --disks 2 --disk-bytes 4TiB          a cluster that is not there; asks nobody

The model: each copy is lost for good at a constant rate, independently of the others, and is made anew in a mean time; the chain of three, two, one
and no copies gives the expected years. It knows no fires, no bugs and no mistakes, which lose more data than disks do. Take it for the part of
the risk that disks, repair and placement make up, and to see which of them matters. docs/OPERATIONS.md has the formulas and their sources.";

/// What to reckon with.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DurabilityArgs {
    /// Percent of disks that fail for good in a year.
    #[arg(long, value_name = "PERCENT", default_value_t = 2.0, value_parser = percent)]
    pub annual_failure_rate: f64,
    /// Percent of nodes that are lost with all their disks in a year.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.5, value_parser = percent)]
    pub node_failure_rate: f64,
    /// Hours in which the copies of a lost disk were made anew, as measured; by default computed from the bytes on it and the rate.
    #[arg(long, value_name = "HOURS", value_parser = hours)]
    pub repair_hours: Option<f64>,
    /// Bytes a second that one node copies; by default the cluster's cap, or 64MiB where there is none.
    #[arg(long, value_name = "SIZE")]
    pub copy_rate: Option<Size>,
    /// Hours until a person has put in a new node, where the copies of a lost one have no place until then.
    #[arg(long, value_name = "HOURS", default_value_t = 24.0, value_parser = hours)]
    pub replace_hours: f64,
    /// Imagine a cluster of so many nodes, each in a failure domain of its own.
    #[arg(long, value_name = "N", requires = "disk_bytes", value_parser = clap::value_parser!(u16).range(3..=1000))]
    pub nodes: Option<u16>,
    /// Disks of each imagined node.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "nodes", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub disks: u16,
    /// Bytes of chunks on each disk; by default what the disks of the cluster hold now.
    #[arg(long, value_name = "SIZE")]
    pub disk_bytes: Option<Size>,
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// A share, as percent.
fn percent(text: &str) -> Result<f64, String> {
    let percent: f64 = text.trim_end_matches('%').trim().parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..100.0).contains(&percent) { Ok(percent) } else { Err("from 0 up to, not including, 100".to_owned()) }
}

/// A time, more than none.
fn hours(text: &str) -> Result<f64, String> {
    let hours: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if hours > 0.0 && hours <= 24.0 * 3660.0 { Ok(hours) } else { Err("more than 0, at most ten years".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_times_are_read_and_others_refused() {
        assert_eq!((percent("2"), percent("0.5%"), percent("0")), (Ok(2.0), Ok(0.5), Ok(0.0)));
        assert!(["100", "-1", "NaN", "many"].iter().all(|text| percent(text).is_err()));
        assert_eq!(hours("0.25"), Ok(0.25));
        assert!(["0", "-1", "NaN", "inf", "1e9"].iter().all(|text| hours(text).is_err()));
    }
}
