//! PDF and images to packages with a `manifest.json`.
//!
//! ```text
//! resources, encrypted and stored | a cover, as it is, if one is given | manifest.json
//! ```
//! Source: LCP for PDF; LCP for Divina; Readium Web Publication Manifest.

use super::images::{self, is_page, natural_order};
use super::manifest::{self, Link, Manifest, Metadata};
use super::output::{Compression, Document, Output, Plain};
use super::recognise::{self, Found};
use super::{About, Image, Kind, Options, ProtectError, epub, opf, pdf};
use crate::Source;
use crate::zip::{Archive, Entry, Limits, NAME_BYTES_MAX, NameFault, ZipError, check_name};

/// The entry that a PDF becomes.
const PDF_PATH: &str = "publication.pdf";
const PDF_TYPE: &str = "application/pdf";

/// Writes a package of a PDF.
pub(super) fn protect_pdf(
    source: &dyn Source,
    options: &Options<'_>,
    output: &mut Output<'_>,
) -> Result<About, ProtectError> {
    recognise::check(source, "PDF", Found::Pdf)?;
    check_size(PDF_PATH, source, &options.limits)?;
    let mut metadata = metadata(options, "http://schema.org/Book", "https://readium.org/webpub-manifest/profiles/pdf")?;
    metadata.pages = Some(pdf::count_pages(source, &options.limits)?);
    let mut manifest = Manifest::new(metadata);
    let encrypted = output.encrypt(PDF_PATH, Plain::Source(source), Compression::Never)?;
    manifest.reading_order.push(Link::encrypted(&encrypted, PDF_TYPE));
    finish(Kind::Pdf, manifest, options, output)
}

/// Writes a package of the images of an archive.
pub(super) fn protect_comic(
    source: &dyn Source,
    options: &Options<'_>,
    output: &mut Output<'_>,
) -> Result<About, ProtectError> {
    recognise::check(source, "a comic", Found::Zip)?;
    let archive = Archive::open(source, &options.limits)?;
    check_comic(&archive, &options.limits)?;
    let entries: Vec<&Entry> = archive.entries().iter().filter(|entry| is_page(entry.name())).collect();
    let pages = entries.iter().map(|entry| (entry.name().to_owned(), Plain::Entry(&archive, entry)));
    protect_pages(pages.collect(), options, output)
}

/// Writes a package of images.
pub(super) fn protect_images(
    images: &[Image<'_>],
    options: &Options<'_>,
    output: &mut Output<'_>,
) -> Result<About, ProtectError> {
    let mut pages = Vec::new();
    for image in images {
        check_size(image.name, image.source, &options.limits)?;
        pages.push((image_name(image, &options.limits)?, Plain::Source(image.source)));
    }
    protect_pages(pages, options, output)
}

fn protect_pages(
    mut pages: Vec<(String, Plain<'_>)>,
    options: &Options<'_>,
    output: &mut Output<'_>,
) -> Result<About, ProtectError> {
    pages.sort_by(|(a, _), (b, _)| natural_order(a, b));
    check_pages(&pages, options.limits.pages)?;
    let kind = ("http://schema.org/VisualArtwork", "https://readium.org/webpub-manifest/profiles/divina");
    let mut manifest = Manifest::new(metadata(options, kind.0, kind.1)?);
    for (path, plain) in pages {
        let (media_type, _) = type_of(&path, plain)?;
        let encrypted = output.encrypt(&path, plain, Compression::of(media_type))?;
        manifest.reading_order.push(Link::encrypted(&encrypted, media_type));
    }
    finish(Kind::Images, manifest, options, output)
}

/// Writes the cover and the manifest.
fn finish(
    kind: Kind,
    mut manifest: Manifest,
    options: &Options<'_>,
    output: &mut Output<'_>,
) -> Result<About, ProtectError> {
    let mut cover = None;
    if let Some(bytes) = options.cover {
        let (media_type, extension) = type_of("cover", Plain::Source(&bytes))?;
        let path = free_path(&manifest, extension);
        output.store(&path, bytes)?;
        manifest.resources.push(Link::cover(&path, media_type));
        cover = Some(path);
    }
    let mut document = Document::new();
    document.push(&serde_json::to_vec(&manifest).expect("strings and numbers can be written"));
    output.document(manifest::PATH, document)?;
    Ok(About { kind, title: Some(manifest.metadata.title), cover })
}

/// A path for the cover that no page has.
fn free_path(manifest: &Manifest, extension: &str) -> String {
    let mut path = format!("cover.{extension}");
    while manifest.reading_order.iter().any(|page| page.is_to(&path)) {
        path.insert(0, '_');
    }
    path
}

fn metadata(options: &Options<'_>, kind: &'static str, profile: &'static str) -> Result<Metadata, ProtectError> {
    let title = options.title.and_then(opf::clean_title).ok_or(ProtectError::NoTitle)?;
    Ok(Metadata { kind, conforms_to: profile, title, pages: None })
}

/// Refuses archives that are books of another kind, or protected.
fn check_comic(archive: &Archive<'_>, limits: &Limits) -> Result<(), ProtectError> {
    if epub::says_epub(archive)? {
        return Err(ProtectError::Mislabelled { claimed: "a comic", found: "EPUB" });
    }
    let lcp = || ProtectError::AlreadyProtected("Readium LCP".to_owned());
    if archive.find(Kind::Images.licence_path()).is_some() {
        return Err(lcp());
    }
    if let Some(entry) = archive.find(manifest::PATH) {
        let text = archive.read_whole(entry, limits.document_bytes)?;
        if text.windows(manifest::SCHEME.len()).any(|window| window == manifest::SCHEME.as_bytes()) {
            return Err(lcp());
        }
    }
    Ok(())
}

fn check_pages(sorted: &[(String, Plain<'_>)], max: usize) -> Result<(), ProtectError> {
    if sorted.is_empty() {
        return Err(ProtectError::NoPages);
    }
    if sorted.len() > max {
        return Err(ProtectError::TooManyPages { pages: sorted.len(), max });
    }
    match sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(ProtectError::ImageTwice(pair[0].0.clone())),
        None => Ok(()),
    }
}

fn check_size(name: &str, source: &dyn Source, limits: &Limits) -> Result<(), ProtectError> {
    let (bytes, max) = (source.len(), limits.entry_bytes);
    if bytes > max { Err(ZipError::EntryTooLarge { name: name.to_owned(), bytes, max }.into()) } else { Ok(()) }
}

/// The path that an image gets, with an extension of an image: so it is never that of a document of the package.
fn image_name(image: &Image<'_>, limits: &Limits) -> Result<String, ProtectError> {
    let mut name = image.name.to_owned();
    let fault = if name.ends_with('/') { Err(NameFault::Traversal) } else { check_name(&name) };
    if let Err(fault) = fault {
        return Err(ProtectError::ImageName { name, fault });
    }
    if !is_page(&name) {
        let (_, extension) = type_of(&name, Plain::Source(image.source))?;
        name = format!("{name}.{extension}");
    }
    let max = limits.name_bytes.min(NAME_BYTES_MAX);
    if name.len() > max {
        return Err(ZipError::NameTooLong { bytes: name.len(), max }.into());
    }
    Ok(name)
}

fn type_of(path: &str, plain: Plain<'_>) -> Result<(&'static str, &'static str), ProtectError> {
    let head = plain.head(images::HEAD_BYTES)?;
    images::type_of(&head).map_err(|cause| ProtectError::Image { path: path.to_owned(), cause })
}
