//! Programs that were not written by us read, lend and return the books of a cluster of real processes, and are refused when they have to be.
//!
//! The same programs are tried on what the crate `drm` makes, without a cluster, in `tests/drm-compat`: whatever fails there is found sooner.

use anyhow::{Context, ensure};
use cluster::{Bookshop, HINT, Loan};
use drm::licence::Licence;
use drm::rfc3339;
use drm_compat::{
    EXPECTED, Found, LicenceFiles, Needs, Opening, Sample, childrens_literature, hashed, json_of, lacks, made_up,
    mistakes, open, output_of, program, real,
};
use harness::{Cluster, Gateway, Options, must, until};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use types::Timestamp;

/// What the first reader types: a space at the end is part of it.
const PASSPHRASE: &str = "비밀 123 é ";
/// What the second types.
const OTHER: &str = "다른 비밀";
/// Within this a licence that is taken back opens nothing on any gateway.
const REVOKED_MAX: Duration = Duration::from_secs(5);
/// How long records of downloads may take until they are seen.
const RECORDED_MAX: Duration = Duration::from_secs(20);
const DAY_SECONDS: i64 = 86_400;
/// Days of a loan, and those that the demo adds when it is renewed.
const LOAN_DAYS: i64 = 14;

/// A book in the shop, and what the first reader has of it.
struct Held {
    sample: Sample,
    title: String,
    loan: Loan,
    path: PathBuf,
}

#[test]
fn readers_of_others_read_what_the_cluster_lends() {
    let _turn = harness::exclusive();
    let needs = [Needs::Readium, Needs::Python, Needs::Epubcheck, Needs::Openssl, Needs::Jq, Needs::Unzip];
    if lacks(&needs) {
        return;
    }
    must(readers());
}

fn readers() -> anyhow::Result<()> {
    let cluster = Cluster::start(Options::default())?;
    told(&cluster).with_context(|| cluster.last_words())
}

fn told(cluster: &Cluster) -> anyhow::Result<()> {
    let (shop, folder) = (Bookshop::open(cluster)?, tempfile::tempdir()?);
    let start = Instant::now();
    let step = |what: &str| println!("{:5.1} s: {what}", start.elapsed().as_secs_f64());
    let books = lent(&shop, folder.path())?;
    step("books are stored, protected, licensed and downloaded");
    opened_from_disk(cluster, &shop, &books, folder.path())?;
    step("Readium has opened the files");
    opened_where_they_lie(cluster, &shop, &books[..3])?;
    step("Readium has opened the Korean books where they lie");
    sound_archives(&books)?;
    step("unzip and EPUBCheck find nothing");
    two_readers(&shop, &books[0], folder.path())?;
    step("two readers share one package and no passphrase");
    kept_up_with(&shop, &books[1], folder.path())?;
    step("Readium has renewed and returned a loan");
    over_two_gateways(cluster, &shop, &books)?;
    step("a download went over two gateways, and a licence that was taken back opens nothing on either");
    Ok(())
}

/// The Korean EPUB, comic and PDF first.
fn samples(folder: &Path) -> anyhow::Result<Vec<Sample>> {
    let mut samples: Vec<Sample> = made_up(folder)?.into();
    samples.push(childrens_literature()?);
    samples.extend(real(folder)?);
    Ok(samples)
}

fn lent(shop: &Bookshop<'_>, folder: &Path) -> anyhow::Result<Vec<Held>> {
    let samples = samples(folder)?;
    let key = |sample: &Sample| {
        let name = sample.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        format!("서가 1/100% & +더하기 #1/{name}")
    };
    for sample in &samples {
        shop.store(&key(sample), fs::read(&sample.path)?)?;
    }
    let titles = shop.protect()?;
    ensure!(titles.len() == samples.len(), "{titles:?}");
    ensure!(!shop.is_plain_readable(&key(&samples[0]))?, "S3 gives the plain book out");
    let mut held = Vec::new();
    for (number, sample) in samples.into_iter().enumerate() {
        let title = titles.get(&key(&sample)).with_context(|| format!("{} is no title", key(&sample)))?.clone();
        let loan = shop.license(&title, "reader-1", &hashed(PASSPHRASE), Some(&in_days(LOAN_DAYS)))?;
        let path = download(shop, &loan, &folder.join(format!("download-{number}")))?;
        held.push(Held { sample, title, loan, path });
    }
    Ok(held)
}

/// A moment in so many days, as a store writes it.
fn in_days(days: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs().cast_signed());
    rfc3339::write(Timestamp::from_secs(now + days * DAY_SECONDS, 0))
}

/// Downloads the book of a licence into a file with the extension of its type.
fn download(shop: &Bookshop<'_>, loan: &Loan, stem: &Path) -> anyhow::Result<PathBuf> {
    let answer = shop.download(&shop.address(loan)?)?;
    let extension = match answer.header("content-type") {
        "application/epub+zip" => "epub",
        "application/pdf+lcp" => "lcpdf",
        "application/divina+lcp" => "lcpdi",
        other => anyhow::bail!("nobody reads {other}"),
    };
    let path = stem.with_extension(extension);
    fs::write(&path, &answer.body)?;
    Ok(path)
}

fn opened_from_disk(cluster: &Cluster, shop: &Bookshop<'_>, books: &[Held], folder: &Path) -> anyhow::Result<()> {
    let place = |book: &Held| book.path.to_string_lossy().into_owned();
    let right = books.iter().map(|book| Opening::new(place(book), PASSPHRASE));
    let wrong = books.iter().map(|book| Opening::new(place(book), PASSPHRASE.trim_end()));
    let mut found = open(&right.chain(wrong).collect::<Vec<_>>())?;
    ensure!(
        found.split_off(books.len()).iter().all(|found| !found.opened && found.plain.is_empty()),
        "a wrong one fits"
    );
    for (number, (book, mut found)) in books.iter().zip(found).enumerate() {
        let name = book.sample.path.display();
        ensure!(found.hint.as_deref() == Some(HINT), "{name}: {:?}", found.hint);
        found.leave_out_what_was_added();
        if !found.unlisted.is_empty() {
            let ours = extracted(cluster, shop, book, &folder.join(format!("extracted-{number}")))?;
            // Files that a manifest forgets are encrypted too. Other readers go by encryption.xml for them, this one does not.
            for path in std::mem::take(&mut found.unlisted) {
                let bytes = fs::read(ours.join(&path)).with_context(|| format!("{name}: {path}"))?;
                found.plain.insert(path, hex::encode(Sha256::digest(bytes)));
            }
        }
        same(book, &found)?;
        ensure!(found.plain == book.sample.resources()?, "{name}: something is missing, or too much");
        println!("{name}: {} of {} entries decrypted", found.encrypted.len(), found.plain.len());
    }
    Ok(())
}

/// What the reader has given out is as the source has it.
fn same(book: &Held, found: &Found) -> anyhow::Result<()> {
    let name = book.sample.path.display();
    ensure!(found.opened && !found.encrypted.is_empty(), "{name} is not opened");
    for (path, hash) in book.sample.resources()? {
        ensure!(found.plain.get(&path) == Some(&hash), "{name}: {path} is not as the source has it");
    }
    Ok(())
}

/// All that our own reader sees in a book.
fn extracted(cluster: &Cluster, shop: &Bookshop<'_>, book: &Held, into: &Path) -> anyhow::Result<PathBuf> {
    let passphrase = into.with_extension("passphrase");
    fs::write(&passphrase, PASSPHRASE)?;
    let mut verify = cluster.command();
    verify.args(["drm", "verify"]).arg(&book.path).arg("--passphrase-file").arg(passphrase);
    verify.arg("--root").arg(shop.authority("root.pem")).arg("--crl").arg(shop.authority("crl.pem"));
    output_of(verify.arg("--extract").arg(into))?;
    Ok(into.to_owned())
}

/// By HEAD and Range, at the address that a reader is given.
fn opened_where_they_lie(cluster: &Cluster, shop: &Bookshop<'_>, books: &[Held]) -> anyhow::Result<()> {
    let mut openings = Vec::new();
    for book in books {
        let address = shop.address(&book.loan)?;
        let (head, whole) = (shop.ask(Method::HEAD, &address, &[])?, fs::read(&book.path)?);
        let length = whole.len().to_string();
        ensure!((head.status, head.header("content-length")) == (200, &length), "{head:?}");
        ensure!(head.header("accept-ranges") == "bytes" && head.header("etag").starts_with('"'), "{head:?}");
        let end = shop.ask(Method::GET, &address, &[("range", "bytes=-22")])?;
        ensure!(end.status == 206 && end.body == whole[whole.len() - 22..], "the end of it: {}", end.status);
        // A token is good for a few copies, and this reader reads most of a book twice.
        openings.push(Opening::new(address, PASSPHRASE));
        openings.push(Opening::new(shop.address(&book.loan)?, OTHER));
    }
    let found = open(&openings)?;
    for (book, found) in books.iter().zip(found.chunks(2)) {
        same(book, &found[0])?;
        ensure!(!found[1].opened, "a wrong passphrase fits");
        let (name, mut ranges) = (book.sample.path.display(), Vec::new());
        let read = until("what Readium has read is recorded", RECORDED_MAX, || {
            ranges = by_range(cluster, &book.loan).unwrap_or_default();
            // One was ours.
            ranges.len() > 1
        });
        read.with_context(|| format!("{name}: {ranges:?}"))?;
        println!("{name}: {} bytes in {} ranges", ranges.iter().sum::<u64>(), ranges.len());
    }
    Ok(())
}

/// The bytes of each time that a part of the book of a licence was downloaded.
fn by_range(cluster: &Cluster, loan: &Loan) -> anyhow::Result<Vec<u64>> {
    let report = cluster.sago(&["drm", "report", "--licence", &loan.id, "--json"])?;
    let entries: Vec<Value> = report.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let ranges = entries.iter().filter(|entry| entry["range"].is_array());
    Ok(ranges.filter_map(|entry| entry["sent"].as_u64()).collect())
}

fn sound_archives(books: &[Held]) -> anyhow::Result<()> {
    for book in books {
        let said = output_of(Command::new("unzip").args(["-tqq"]).arg(&book.path))?;
        ensure!(said.is_empty(), "{}: {}", book.path.display(), String::from_utf8_lossy(&said));
    }
    // Those whose sources have no mistakes: the Korean one and EPUBCheck's own.
    let sound = [books[0].path.clone(), books[3].path.clone()];
    for (path, mistakes) in sound.iter().zip(mistakes(&sound)?) {
        let new: Vec<_> = mistakes.iter().filter(|mistake| !EXPECTED.contains(&mistake.as_str())).collect();
        ensure!(new.is_empty(), "{}: {new:?}", path.display());
    }
    Ok(())
}

/// Both files are the one package up to the licence, and neither's passphrase opens the other's.
fn two_readers(shop: &Bookshop<'_>, book: &Held, folder: &Path) -> anyhow::Result<()> {
    let other = shop.license(&book.title, "reader-2", &hashed(OTHER), None)?;
    let paths = [book.path.clone(), download(shop, &other, &folder.join("other"))?];
    let [first, second] = [fs::read(&paths[0])?, fs::read(&paths[1])?];
    let title = shop.title(&book.title)?;
    let packages = title["packages"].as_array().context("packages")?;
    ensure!(packages.len() == 1, "it is stored {} times", packages.len());
    let address = serde_json::from_str::<Value>(&other.document)?;
    let links = address["links"].as_array().context("links")?;
    let publication = links.iter().find(|link| link["rel"] == "publication").context("a publication")?;
    let package = shop.download(publication["href"].as_str().context("an address")?)?.body;
    let sha256 = hex::encode(Sha256::digest(&package));
    ensure!(publication["hash"] == sha256 && packages[0]["sha256"] == sha256, "{publication} {title}");
    // The record before the name of the licence has 30 bytes; in the package the directory begins there.
    let name = b"META-INF/license.lcpl";
    let position = |bytes: &[u8]| bytes.windows(name.len()).position(|window| window == name);
    let licence = position(&first).context("no licence")? - 30;
    ensure!(position(&second) == Some(licence + 30) && position(&package).is_none(), "the licence lies elsewhere");
    ensure!(first[..licence] == second[..licence], "the files differ before the licence");
    ensure!(first[..licence] == package[..licence], "the files are not the package");
    ensure!(
        package[licence..].starts_with(b"PK\x01\x02") && first[licence..] != second[licence..],
        "no licence of his"
    );
    println!("{licence} of {} and {} bytes are the package's", first.len(), second.len());
    let tries =
        paths.iter().flat_map(|path| [PASSPHRASE, OTHER].map(|phrase| Opening::new(path.to_string_lossy(), phrase)));
    let opened: Vec<bool> = open(&tries.collect::<Vec<_>>())?.iter().map(|found| found.opened).collect();
    ensure!(opened == [true, false, false, true], "{opened:?}");
    Ok(())
}

/// Readium registers, renews and returns.
fn kept_up_with(shop: &Bookshop<'_>, book: &Held, folder: &Path) -> anyhow::Result<()> {
    let pem = |name: &str| fs::read_to_string(shop.authority(name));
    let licences = LicenceFiles::under(&pem("root.pem")?, &pem("crl.pem")?)?;
    let sound = |document: &str| -> anyhow::Result<()> {
        let failures = licences.failures(document)?;
        ensure!(failures.is_empty(), "{failures:?}: {document}");
        Ok(())
    };
    let loan = shop.license(&book.title, "reader-1", &hashed(PASSPHRASE), Some(&in_days(LOAN_DAYS)))?;
    sound(&loan.document)?;
    let forged = loan.document.replace("reader-1", "reader-2");
    ensure!(licences.failures(&forged)? == ["signature"], "a forged licence passes");
    let address = shop.address(&loan)?;
    let path = folder.join("loan.lcpl");
    fs::write(&path, &loan.document)?;
    let mut reader = program("js/loan.js")?;
    let told: Vec<Value> = json_of(reader.arg(path).args(["open", "renew", "open", "return", "return-again", "open"]))?;

    let rels = json!(["license", "register", "renew", "return"]);
    ensure!(told[0]["status"] == "active" && told[0]["rels"] == rels && told[0]["fresh"].is_null(), "{}", told[0]);
    ensure!(told[1]["status"] == "active", "{}", told[1]);
    let fresh = told[2]["fresh"].as_str().with_context(|| format!("no new licence: {}", told[2]))?;
    sound(fresh)?;
    let end = |document: &str| -> anyhow::Result<i64> {
        let licence = Licence::parse(document.as_bytes())?;
        Ok(licence.terms().rights.end.context("an end")?.secs())
    };
    ensure!(end(fresh)? == end(&loan.document)? + LOAN_DAYS * DAY_SECONDS, "{fresh}");
    ensure!(told[3]["status"] == "returned", "{}", told[3]);
    let refusal = &told[4]["refusal"];
    ensure!(refusal["status"] == 403 && refusal["httpStatusCode"] == 403, "{refusal}");
    ensure!(refusal["type"] == "http://readium.org/license-status-document/error/return/already", "{refusal}");
    let last = told[5]["fresh"].as_str().with_context(|| format!("no last licence: {}", told[5]))?;
    sound(last)?;
    ensure!(end(last)? < end(&loan.document)?, "it did not end when it was returned: {last}");
    let answer = shop.ask(Method::GET, &address, &[])?;
    ensure!(answer.status == 403, "what was returned is downloaded: {}", answer.status);
    Ok(())
}

fn over_two_gateways(cluster: &Cluster, shop: &Bookshop<'_>, books: &[Held]) -> anyhow::Result<()> {
    let second = Gateway::start(cluster, "second-gateway")?;
    let large = books.iter().max_by_key(|book| fs::metadata(&book.path).map_or(0, |file| file.len()));
    let book = large.context("there are books")?;
    let (here, whole) = (shop.address(&book.loan)?, fs::read(&book.path)?);
    let there = shop.at(&here, second.endpoint())?;
    let (mut bytes, tag) = shop.begin(&here, whole.len() / 2)?;
    let range = format!("bytes={}-", bytes.len());
    let rest = shop.ask(Method::GET, &there, &[("range", &range), ("if-range", &tag)])?;
    ensure!(rest.status == 206 && rest.header("etag") == tag, "{} {:?}", rest.status, rest.headers);
    bytes.extend(rest.body);
    ensure!(bytes == whole, "the halves of two gateways are not the whole");

    // Both have just sent of it.
    cluster.sago(&["drm", "revoke", &book.loan.id])?;
    let mut said = String::new();
    let took = until("a licence that was taken back opens nothing", REVOKED_MAX, || {
        let asked = [&there, &here].map(|address| shop.ask(Method::GET, address, &[("range", "bytes=0-99")]));
        said = format!("{asked:?}");
        asked.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.status == 403))
    });
    println!("refused {} ms after it was taken back: {said}", took.with_context(|| said.clone())?.as_millis());
    Ok(())
}
