//! What a demo needs to lend books: an authority, a provider's certificate and key, a key-encryption key. For this demo alone; no reading app trusts them.

use crate::cli::CaDevArgs;
use crate::config::LcpSection;
use crate::drm;
use crate::exit::Done;
use std::path::{Path, PathBuf};

/// The folder of all that, in the demo's.
pub const FOLDER: &str = "drm";
/// Days of the certificate: a demo may be kept.
const DAYS: u32 = 3650;

/// Makes them anew in a folder whose making was not finished, and says what stands for them in `client/client.toml`.
///
/// # Errors
/// Nothing can be written.
pub fn make(dir: &Path, s3_port: u16) -> Done<LcpSection> {
    let folder = dir.join(FOLDER);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    let provider = "Sago demo".to_owned();
    let ca = CaDevArgs {
        folder: folder.clone(),
        rsa: false,
        ecdsa: true,
        days: DAYS,
        expired: false,
        revoked: false,
        provider,
        root: None,
    };
    drm::make_authority(&ca)?;
    drm::make_key(&folder.join("kek"))?;
    let base = format!("http://127.0.0.1:{s3_port}");
    let beside = |name: &str| PathBuf::from("..").join(FOLDER).join(name);
    Ok(LcpSection {
        provider: base.clone(),
        hint: format!("{base}/hint"),
        base,
        certificate: beside("provider.pem"),
        key: beside("provider.key.pem"),
        kek: Some(beside("kek")),
        renew_days: Some(14),
        ..LcpSection::default()
    })
}
