//! `sago mount`.

use super::{shutdown, stop_with_parent};
use crate::cli::MountArgs;
use crate::config::{ClientFile, ConfigError};
use crate::connect::{connect_with, load};
use crate::exit::{Done, Failure, Kind};
use gateway::StoreConfig;
use mount::{MountConfig, MountError};
use mount_fs::FsConfig;
use std::time::Duration;

/// What one file may have unwritten at most, unless that is more than all together.
const INODE_BUFFER_BYTES: usize = 16 << 20;
/// New opens and writes fail within this time when no quorum answers (docs/SEMANTICS.md); a change of leaders takes three seconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// Carries out `sago mount`: serves until told to stop or unmounted by somebody else.
///
/// # Errors
/// [`Failure`]: wrong configuration, no such bucket, or it cannot be mounted.
pub async fn mount(args: MountArgs) -> Done {
    stop_with_parent(args.with_parent)?;
    let mut stop = shutdown()?;
    let (file, path) = load(&args.client)?;
    let config = resolve(&args, &file)?;
    let session = connect_with(&file, &path, "mount", StoreConfig::default()).await?;
    let mut handle = mount::mount(session.cluster.clone(), config).await.map_err(failure)?;
    let unmounted = tokio::select! {
        () = handle.ended() => Ok(()),
        () = &mut stop => handle.unmount().await.map_err(failure),
    };
    session.close().await;
    unmounted
}

fn failure(error: MountError) -> Failure {
    let kind = match &error {
        MountError::NoSuchBucket(_) | MountError::Missing(_) => Kind::NotFound,
        MountError::NotDirectory(_) | MountError::NotEmpty(_) | MountError::AlreadyMounted(_) => Kind::Usage,
        MountError::NoFuse
        | MountError::FuseDenied(_)
        | MountError::Stale(_)
        | MountError::Mountpoint { .. }
        | MountError::Bucket(_)
        | MountError::Protected(_)
        | MountError::Refused(_)
        | MountError::Busy(_)
        | MountError::Unmount { .. } => Kind::Failed,
    };
    Failure::new(kind, format!("{:#}", anyhow::Error::from(error)))
}

/// Flags and variables over the file over the defaults.
fn resolve(args: &MountArgs, file: &ClientFile) -> Result<MountConfig, ConfigError> {
    let memory = usize::try_from(args.memory.unwrap_or(file.mount.memory).0).unwrap_or(usize::MAX);
    if !(32 << 20..=1 << 40).contains(&memory) {
        return Err(ConfigError::value("mount memory", "must be 32 MiB to 1 TiB"));
    }
    let mut config = MountConfig::new(args.bucket.clone(), args.dir.clone());
    config.read_only = args.read_only;
    config.clear_stale = args.clear_stale;
    config.fs = FsConfig {
        strict: args.strict || file.mount.strict,
        write_buffer_bytes: memory,
        inode_buffer_bytes: INODE_BUFFER_BYTES.min(memory),
        cache_bytes: memory,
        deadline: DEADLINE,
        ..FsConfig::default()
    };
    config.fs.validate().map_err(|error| ConfigError::value("mount", error.to_string()))?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    #[test]
    fn flags_stand_over_the_file() {
        let text = "[[node]]\nid = 1\naddr = \"a:1\"\n[mount]\nmemory = \"64 MiB\"\nstrict = true\n";
        let file = crate::config::parse("client.toml".as_ref(), text).expect("a file");
        let resolved = |line: &str| {
            let Command::Mount(args) = Cli::parse_from(line.split(' ')).command else { panic!("not a mount") };
            resolve(&args, &file)
        };
        let config = resolved("sago mount books /m").expect("the file's settings");
        assert_eq!((config.fs.cache_bytes, config.fs.strict, config.read_only), (64 << 20, true, false));
        let config = resolved("sago mount books /m --memory 128MiB --read-only").expect("flags");
        assert_eq!((config.fs.cache_bytes, config.read_only), (128 << 20, true));
        assert!(resolved("sago mount books /m --memory 1MiB").is_err());
    }
}
