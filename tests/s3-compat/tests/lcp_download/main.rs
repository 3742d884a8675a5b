//! Downloads over real state machines in memory: every byte of them, who gets none, what is counted and what is recorded.

mod audit;
mod http;
mod limits;
mod memory;
mod refusals;
mod tokens;
mod whole;

use bytes::Bytes;
use drm::PassphraseHash;
use drm::licence::{LicenceId, Reader, Rights};
use futures::TryStreamExt as _;
use gateway_core::lcp::{
    Client, Download, DownloadRequest, LcpConfig, LcpError, Lending, LicenceEntry, NewLicence, Permit, ProtectionEvent,
    Title, TitleId,
};
use s3_compat::lcp::{BUCKET, Library, epub, noise, passphrase};
use std::ops::Range;

/// The book.
const KEY: &str = "시/별 헤는 밤.epub";

/// A sale of that title to that reader.
fn sale(title: &TitleId, reader: &str, passphrase: PassphraseHash) -> NewLicence {
    NewLicence {
        title: title.clone(),
        reader: Reader::new(reader),
        hint: "늘 쓰던 것".to_owned(),
        passphrase,
        rights: Rights::default(),
        links: Vec::new(),
        provider: None,
        profile: None,
        nonce: None,
    }
}

/// A library whose books are protected one by one.
struct Lent {
    library: Library,
    title: Title,
    licence: LicenceEntry,
}

impl Lent {
    /// With one book and one licence of it.
    async fn new(change: impl FnOnce(&mut LcpConfig)) -> Self {
        Lent::of(KEY, &epub("가을로"), change).await
    }

    async fn of(key: &str, book: &[u8], change: impl FnOnce(&mut LcpConfig)) -> Self {
        let mut library = Library::open(change).await;
        let title = protected(&mut library, key, book).await;
        let licence =
            library.shop.lending.issue(sale(&title.id, "독자-1", passphrase())).await.expect("issued").licence;
        Lent { library, title, licence }
    }

    fn lending(&self) -> &Lending {
        &self.library.shop.lending
    }

    async fn another(&self, reader: &str, passphrase: PassphraseHash) -> LicenceEntry {
        self.lending().issue(sale(&self.title.id, reader, passphrase)).await.expect("issued").licence
    }

    /// All of the reader's file.
    async fn file(&self) -> Vec<u8> {
        read(open(self.lending(), self.licence.id).await.expect("open"), None).await
    }
}

/// Puts a book and has it protected.
async fn protected(library: &mut Library, key: &str, book: &[u8]) -> Title {
    library.put(key, book).await;
    let workers = library.work();
    let event = library.event().await;
    assert!(matches!(event, ProtectionEvent::Protected { .. }), "{event:?}");
    workers.stop().await;
    library.title(key).await
}

fn request(licence: LicenceId) -> DownloadRequest<'static> {
    let client = Client { address: "192.0.2.7".parse().ok(), agent: Some("Thorium/3".to_owned()) };
    let permit = Permit::User("back-end".to_owned());
    DownloadRequest { licence, source: Some((BUCKET, KEY)), permit, client }
}

async fn open(lending: &Lending, licence: LicenceId) -> Result<Download, LcpError> {
    lending.open(request(licence)).await
}

/// Opens with a token.
async fn open_with(lending: &Lending, licence: LicenceId, token: &str) -> Result<Download, LcpError> {
    let token = lending.check_token(token, licence).await?;
    lending.open(DownloadRequest { permit: Permit::Token(token), ..request(licence) }).await
}

async fn read(download: Download, range: Option<Range<u64>>) -> Vec<u8> {
    let pieces: Vec<Bytes> = download.read(range).await.expect("readable").try_collect().await.expect("readable");
    pieces.concat()
}

/// Ranges of `0..len`, the same ones for a seed.
fn ranges(len: u64, count: usize, seed: u64) -> Vec<Range<u64>> {
    let random = noise(16 * count, seed);
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight"));
    let range = |bytes: &[u8]| {
        let start = number(&bytes[..8]) % len;
        start..start + 1 + number(&bytes[8..]) % (len - start)
    };
    random.chunks(16).map(range).collect()
}
