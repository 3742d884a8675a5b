//! A book that was protected, and what is downloaded of it.

use crate::{Format, Sample, Seeded};
use anyhow::Context;
use drm::ContentKey;
use drm::licence::{HashForm, Publication};
use drm::package::{Book, Options, Protected, protect};
use drm::splice::{Body, splice};
use drm::zip::Limits;
use std::fs;
use std::sync::Arc;

/// A book as it is stored after it was protected.
#[derive(Debug)]
pub struct Title {
    /// The package, without a licence.
    pub stored: Arc<Vec<u8>>,
    /// What is remembered of it.
    pub protected: Protected,
    /// Its key.
    pub key: ContentKey,
}

impl Title {
    /// Protects a book.
    ///
    /// # Errors
    /// It cannot be read, or is refused.
    pub fn protect(sample: &Sample, seed: u64) -> anyhow::Result<Self> {
        let (source, mut entropy) = (fs::read(&sample.path)?, Seeded::new(seed));
        let book = match sample.format {
            Format::Epub => Book::Epub(&source),
            Format::Pdf => Book::Pdf(&source),
            Format::Comic => Book::Comic(&source),
        };
        let options = Options { title: Some(&sample.title), cover: None, limits: Limits::default() };
        let key = ContentKey::random(&mut entropy);
        let mut stored = Vec::new();
        let protected = protect(&book, &options, &key, &mut entropy, &mut stored)
            .with_context(|| format!("{} is refused", sample.path.display()))?;
        Ok(Title { stored: Arc::new(stored), protected, key })
    }

    /// What a licence says of it.
    #[must_use]
    pub fn publication(&self) -> Publication {
        let layout = &self.protected.layout;
        Publication {
            href: format!("https://store.example/books/1{}", self.protected.kind.extension()),
            media_type: self.protected.kind.media_type().to_owned(),
            title: self.protected.title.clone(),
            length: layout.len,
            sha256: layout.sha256,
            hash_form: HashForm::Hex,
        }
    }

    /// What is sent to the owner of a licence, as a gateway would send it.
    ///
    /// # Errors
    /// They do not belong together.
    pub fn body(&self, licence: &str) -> anyhow::Result<Body> {
        let protected = &self.protected;
        let path = protected.kind.licence_path();
        Ok(splice(&protected.layout, &protected.directory, path, licence.as_bytes())?)
    }

    /// All of it.
    ///
    /// # Errors
    /// They do not belong together.
    pub fn download(&self, licence: &str) -> anyhow::Result<Vec<u8>> {
        let body = self.body(licence)?;
        let parts = body.parts(0..body.len())?;
        let stored = &self.stored[parts.stored.start as usize..parts.stored.end as usize];
        Ok([stored, &body.tail()[parts.tail]].concat())
    }
}
