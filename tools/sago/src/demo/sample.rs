//! Files to look at: a small book and its cover.

use bytes::Bytes;

/// Keys and contents. Made by `assets/make.py`.
#[must_use]
pub fn files() -> [(&'static str, Bytes); 3] {
    [
        ("README.txt", Bytes::from_static(include_bytes!("../../assets/README.txt"))),
        ("samples/four-copies.epub", Bytes::from_static(include_bytes!("../../assets/four-copies.epub"))),
        ("samples/four-copies.png", Bytes::from_static(include_bytes!("../../assets/four-copies.png"))),
    ]
}
