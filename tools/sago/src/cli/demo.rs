//! `sago demo`.

use clap::Args;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  sago demo                              everything under ./sago-demo, until Ctrl-C
  sago demo --dir /srv/try --json        one line of JSON once everything is ready, for scripts

The same folder brings the same cluster back, also after a crash. Nodes that die are not started again:
the command for it is printed, and that the files stay readable meanwhile is the point.";

/// What to try.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DemoArgs {
    /// Folder of everything.
    #[arg(long, env = "SAGO_DEMO_DIR", default_value = "sago-demo")]
    pub dir: PathBuf,
    /// Nodes; settled when the folder is made. Default 3.
    #[arg(long, env = "SAGO_DEMO_NODES", value_parser = clap::value_parser!(u16).range(3..=20))]
    pub nodes: Option<u16>,
    /// Port of the S3 interface; a free one is chosen at first and kept.
    #[arg(long, env = "SAGO_DEMO_S3_PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub s3_port: Option<u16>,
    /// The bucket to make and mount.
    #[arg(long, env = "SAGO_DEMO_BUCKET", default_value = "books")]
    pub bucket: String,
    /// Where to mount it. Default DIR/mnt.
    #[arg(long, env = "SAGO_DEMO_MOUNT", value_name = "DIR", conflicts_with = "no_mount")]
    pub mount: Option<PathBuf>,
    /// Do not mount.
    #[arg(long, env = "SAGO_DEMO_NO_MOUNT")]
    pub no_mount: bool,
    /// Do not put the sample files into the new bucket.
    #[arg(long, env = "SAGO_DEMO_NO_SAMPLE")]
    pub no_sample: bool,
}
