//! A gateway over a cluster in memory, to try clients by hand: prints the environment that the programs in `py/` want and
//! serves until it is interrupted.

use gateway::GatewayConfig;
use s3_compat::LocalGateway;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let gateway = LocalGateway::start(GatewayConfig::default()).await?;
    let server = &gateway.server;
    println!("export SAGO_ENDPOINT={}", server.endpoint);
    println!("export SAGO_ACCESS_KEY={} SAGO_SECRET_KEY={}", server.key.access_key, server.key.secret_key);
    println!(
        "export SAGO_OTHER_ACCESS_KEY={} SAGO_OTHER_SECRET_KEY={}",
        server.other.access_key, server.other.secret_key
    );
    tokio::signal::ctrl_c().await?;
    gateway.stop().await
}
