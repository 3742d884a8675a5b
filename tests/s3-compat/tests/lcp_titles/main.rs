//! Titles and their protection, over a cluster in memory.

mod books;
mod brought;
mod crashes;
mod hostile;
mod notes;
mod routes;
mod sweeps;

use drm::ContentKey;
use drm::open::Package;
use drm::zip::Limits;
use gateway_core::KeyService as _;
use gateway_core::lcp::{ProtectionEvent, Standing, Title};
use s3_compat::lcp::{Entries, Library};

/// The content key of a title.
async fn content_key(library: &Library, title: &Title) -> ContentKey {
    let key = library.shop.keys.unwrap(&title.id.key_context(), &title.content_key).await.expect("wrapped for it");
    ContentKey::from(*key.expose())
}

/// Every resource of a package as it comes out under that key; documents of the package itself are left out.
fn opened(package: &[u8], key: &ContentKey) -> Vec<(String, Vec<u8>)> {
    let opened = Package::open(&package, &Limits::default()).expect("a protected package");
    let own = ["META-INF/encryption.xml", "manifest.json"];
    let names = opened.entries().map(|(entry, _)| entry.name().to_owned()).filter(|name| !own.contains(&name.as_str()));
    names.map(|name| (name.clone(), opened.read_whole(&name, key, u64::MAX).expect("it comes out"))).collect()
}

fn plain(entries: &Entries) -> Vec<(String, Vec<u8>)> {
    entries.iter().map(|(name, data, _)| (name.clone(), data.clone())).collect()
}

/// Checks that a package of a title has these resources, and is what the record says of it.
async fn holds(library: &Library, title: &Title, version: u32, expected: &[(String, Vec<u8>)]) {
    let bytes = library.package(title, version).await;
    let package = title.version(version).expect("that version");
    assert_eq!(package.len, bytes.len() as u64);
    assert_eq!(package.sha256.as_slice(), ring::digest::digest(&ring::digest::SHA256, &bytes).as_ref());
    let key = content_key(library, title).await;
    assert!(opened(&bytes, &key) == expected, "what comes out is what went in");
}

fn is_protected(event: ProtectionEvent) -> bool {
    matches!(event, ProtectionEvent::Protected { .. })
}

fn reason(title: &Title) -> &str {
    match &title.standing {
        Standing::Failed { reason, .. } => reason,
        other => panic!("not failed: {other:?}"),
    }
}
