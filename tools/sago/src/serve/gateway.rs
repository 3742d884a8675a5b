//! `sago gateway`.

use super::{shutdown, stop_with_parent};
use crate::cli::GatewayArgs;
use crate::config::{ClientFile, ConfigError, GatewaySection, Size};
use crate::connect::{connect_with, load};
use crate::exit::{Done, Failure, Kind};
use crate::lending::Shop;
use gateway::{Gateway, GatewayConfig, GatewayError, StoreConfig};

/// Carries out `sago gateway`: serves until told to stop.
///
/// # Errors
/// [`Failure`]: wrong configuration, or the address cannot be used. That the cluster does not answer yet is none.
pub async fn gateway(args: GatewayArgs) -> Done {
    stop_with_parent(args.with_parent)?;
    let stop = shutdown()?;
    let (file, path) = load(&args.client)?;
    let config = resolve(&args, &file)?;
    let shop = match &file.gateway.lcp {
        Some(section) => Some(Shop::open(section, &path).await?),
        None => None,
    };
    let session = connect_with(&file, &path, "gateway", config.store.clone()).await?;
    let parts = shop.as_ref().map(Shop::parts);
    let gateway = Gateway::bind_with(session.cluster.clone(), config, parts).await.map_err(failure)?;
    tracing::info!(listen = %gateway.local_addr(), books = shop.is_some(), "gateway serves");
    tokio::select! {
        () = gateway.run(stop) => {}
        () = keep_fresh(shop.as_ref()) => {}
    }
    session.close().await;
    Ok(())
}

/// Never ends.
async fn keep_fresh(shop: Option<&Shop>) {
    match shop {
        Some(shop) => shop.keep_fresh().await,
        None => std::future::pending().await,
    }
}

fn failure(error: GatewayError) -> Failure {
    let kind = match &error {
        GatewayError::Config(_) => Kind::Usage,
        GatewayError::Listen { .. } => Kind::Failed,
    };
    Failure::new(kind, format!("{:#}", anyhow::Error::from(error)))
}

/// Flags and variables over the file over the defaults.
fn resolve(args: &GatewayArgs, file: &ClientFile) -> Result<GatewayConfig, ConfigError> {
    let GatewaySection { listen, region, upload, download, admin, .. } = file.gateway.clone();
    let bytes = |size: Size| usize::try_from(size.0).unwrap_or(usize::MAX);
    let store = StoreConfig {
        upload_bytes_max: bytes(args.upload.unwrap_or(upload)),
        download_bytes_max: bytes(args.download.unwrap_or(download)),
        ..StoreConfig::default()
    };
    let config = GatewayConfig {
        listen: args.listen.unwrap_or(listen),
        admin: args.admin.or(admin),
        region: args.region.clone().unwrap_or(region),
        store,
        ..GatewayConfig::default()
    };
    config.validate().map_err(|error| ConfigError::value("gateway", error.to_string()))?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn resolved(line: &str, file: &str) -> Result<GatewayConfig, ConfigError> {
        let file =
            crate::config::parse("client.toml".as_ref(), &format!("{file}\n[[node]]\nid = 1\naddr = \"a:1\"\n"))?;
        let Command::Gateway(args) = Cli::parse_from(line.split(' ')).command else { panic!("not a gateway") };
        resolve(&args, &file)
    }

    #[test]
    fn flags_stand_over_the_file_and_the_file_over_the_defaults() {
        let config = resolved("sago gateway", "").expect("the defaults");
        assert_eq!((config.listen.port(), config.region.as_str()), (9000, "us-east-1"));
        let file = "[gateway]\nlisten = \"0.0.0.0:81\"\nregion = \"seoul\"";
        assert_eq!(resolved("sago gateway", file).expect("the file").region, "seoul");
        let config = resolved("sago gateway --listen 127.0.0.1:82 --upload 32MiB", file).expect("flags");
        assert_eq!((config.listen.port(), config.store.upload_bytes_max), (82, 32 << 20));
        assert!(resolved("sago gateway --upload 1KiB", "").is_err());
    }
}
