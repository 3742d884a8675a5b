//! What kind of book an object is, by its type and its name. Whether that is true is found out when it is read.

use crate::lcp::Fault;

/// What an object is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BookKind {
    Epub,
    Pdf,
    /// An archive of images.
    Comic,
    /// One image.
    Image,
}

/// Types that say no more than that there are bytes, or a ZIP archive, which all of these are.
const VAGUE: [&str; 6] = [
    "application/octet-stream",
    "binary/octet-stream",
    "application/zip",
    "application/x-zip-compressed",
    "application/x-zip",
    "application/force-download",
];

/// Extensions of images that packages can have.
const IMAGES: [&str; 13] =
    ["jpg", "jpeg", "jpe", "png", "gif", "webp", "avif", "heic", "heif", "jxl", "bmp", "tif", "tiff"];

impl BookKind {
    fn name(self) -> &'static str {
        match self {
            BookKind::Epub => "EPUB",
            BookKind::Pdf => "PDF",
            BookKind::Comic => "a comic",
            BookKind::Image => "an image",
        }
    }
}

/// The kind of the object at `key` with that media type. The type counts, if it says anything, and the name must not contradict it.
pub(super) fn kind_of(key: &str, media_type: Option<&str>) -> Result<BookKind, (Fault, String)> {
    let media_type = media_type.map(essence).filter(|text| !text.is_empty() && !VAGUE.contains(&text.as_str()));
    match (media_type.as_deref().map(by_type), by_name(key)) {
        (Some(Some(said)), Some(named)) if said != named => {
            let reason = format!("its type says {}, its name {}", said.name(), named.name());
            Err((Fault::Mislabelled, reason))
        }
        (Some(Some(kind)), _) | (None, Some(kind)) => Ok(kind),
        (Some(None), _) => {
            let reason = "books of its media type cannot be protected: EPUB, PDF, comics and images can".to_owned();
            Err((Fault::Unsupported, reason))
        }
        (None, None) => {
            let reason = "neither its type nor its name is that of an EPUB, a PDF, a comic or an image".to_owned();
            Err((Fault::Unsupported, reason))
        }
    }
}

/// A media type without its parameters.
fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn by_type(media_type: &str) -> Option<BookKind> {
    match media_type {
        "application/epub+zip" | "application/epub" => Some(BookKind::Epub),
        "application/pdf" | "application/x-pdf" => Some(BookKind::Pdf),
        "application/vnd.comicbook+zip" | "application/x-cbz" | "application/cbz" => Some(BookKind::Comic),
        // A drawing is a document, which no reader of images takes.
        _ if media_type.starts_with("image/") && !media_type.starts_with("image/svg") => Some(BookKind::Image),
        _ => None,
    }
}

fn by_name(key: &str) -> Option<BookKind> {
    let file = key.rsplit('/').next().unwrap_or_default();
    let extension = file.rsplit_once('.')?.1.to_ascii_lowercase();
    match extension.as_str() {
        "epub" => Some(BookKind::Epub),
        "pdf" => Some(BookKind::Pdf),
        "cbz" | "zip" => Some(BookKind::Comic),
        image if IMAGES.contains(&image) => Some(BookKind::Image),
        _ => None,
    }
}

/// What a book is called that does not say so itself: its file, without the extension.
pub(super) fn name_of(key: &str) -> &str {
    let file = key.rsplit('/').next().unwrap_or(key);
    match file.rsplit_once('.') {
        Some((name, _)) if !name.is_empty() => name,
        _ => file,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_counts_and_the_name_must_not_contradict_it() {
        for (key, media_type, kind) in [
            ("a.epub", None, BookKind::Epub),
            ("시/별 헤는 밤.EPUB", Some("binary/octet-stream"), BookKind::Epub),
            ("a.epub", Some("application/zip"), BookKind::Epub),
            ("a", Some("application/epub+zip; charset=binary"), BookKind::Epub),
            ("a.v2", Some("Application/PDF"), BookKind::Pdf),
            ("a.cbz", Some("application/vnd.comicbook+zip"), BookKind::Comic),
            ("a.zip", Some("application/zip"), BookKind::Comic),
            ("a.b/c.jpeg", Some("image/jpeg"), BookKind::Image),
            ("a.png", Some("image/jpeg"), BookKind::Image),
        ] {
            assert_eq!(kind_of(key, media_type), Ok(kind), "{key} {media_type:?}");
        }
        for (key, media_type, fault) in [
            ("a.epub", Some("application/pdf"), Fault::Mislabelled),
            ("a.pdf", Some("text/plain"), Fault::Unsupported),
            ("a.svg", Some("image/svg+xml"), Fault::Unsupported),
            ("a.mobi", None, Fault::Unsupported),
            ("epub", None, Fault::Unsupported),
            ("a.epub/", None, Fault::Unsupported),
            ("a.lcpdf", Some("application/pdf+lcp"), Fault::Unsupported),
        ] {
            assert_eq!(kind_of(key, media_type).map_err(|(fault, _)| fault), Err(fault), "{key} {media_type:?}");
        }
    }

    #[test]
    fn a_book_is_called_as_its_file_is() {
        for (key, name) in [("a/별 헤는 밤.pdf", "별 헤는 밤"), ("a", "a"), (".pdf", ".pdf"), ("a/b.c.cbz", "b.c")]
        {
            assert_eq!(name_of(key), name);
        }
    }
}
