//! `sago gateway`.

use super::ClientArgs;
use crate::config::Size;
use clap::Args;
use std::net::SocketAddr;

const EXAMPLES: &str = "\
Example:
  sago gateway --config site/client --listen 0.0.0.0:9000

Any number of gateways may run; clients may speak with any of them. Keys are made with `sago user create`.";

/// How to run a gateway. What is given here stands over the file's `[gateway]`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct GatewayArgs {
    /// The cluster.
    #[command(flatten)]
    pub client: ClientArgs,
    /// TCP address of the S3 interface.
    #[arg(long, env = "SAGO_GATEWAY_LISTEN", value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// TCP address of `/health` and `/metrics`, not for the public.
    #[arg(long, env = "SAGO_GATEWAY_ADMIN", value_name = "ADDRESS:PORT")]
    pub admin: Option<SocketAddr>,
    /// Region that clients must sign for.
    #[arg(long, env = "SAGO_GATEWAY_REGION")]
    pub region: Option<String>,
    /// Request bodies held by all uploads together.
    #[arg(long, env = "SAGO_GATEWAY_UPLOAD", value_name = "SIZE")]
    pub upload: Option<Size>,
    /// Content read ahead by all downloads together.
    #[arg(long, env = "SAGO_GATEWAY_DOWNLOAD", value_name = "SIZE")]
    pub download: Option<Size>,
    /// End when the process of this id, our parent, does.
    #[arg(long, hide = true, value_name = "PID")]
    pub with_parent: Option<i32>,
}
