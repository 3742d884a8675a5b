//! Real clients against a gateway in this process.

use gateway::GatewayConfig;
use s3_compat::{LocalGateway, python};

async fn run(program: &str) -> anyhow::Result<()> {
    let gateway = LocalGateway::start(GatewayConfig::default()).await?;
    python(program, &gateway.server).await?;
    gateway.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn objects() -> anyhow::Result<()> {
    run("objects.py").await
}

#[tokio::test(flavor = "multi_thread")]
async fn listing() -> anyhow::Result<()> {
    run("listing.py").await
}

#[tokio::test(flavor = "multi_thread")]
async fn multipart() -> anyhow::Result<()> {
    run("multipart.py").await
}

#[tokio::test(flavor = "multi_thread")]
async fn auth() -> anyhow::Result<()> {
    run("auth.py").await
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input() -> anyhow::Result<()> {
    run("bad_input.py").await
}

#[tokio::test(flavor = "multi_thread")]
async fn cli() -> anyhow::Result<()> {
    run("cli.py").await
}
