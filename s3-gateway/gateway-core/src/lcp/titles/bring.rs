//! Titles that a store has encrypted itself, as both reference servers take them.

use crate::lcp::records::{Held, put};
use crate::lcp::{LcpError, Lending, Package, Place, Standing, Title, TitleId};
use drm::ContentKey;
use proto::record::{Expected, RecordChange};
use types::Timestamp;

/// Bytes of an address.
const HREF_BYTES_MAX: usize = 2048;
/// Bytes of another id, of a media type.
const WORD_BYTES_MAX: usize = 255;
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 1024;

/// A title as it is brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BroughtTitle {
    /// Its id.
    pub id: TitleId,
    /// Another id, by which the store knows it.
    pub alt_id: Option<String>,
    /// What the book is called.
    pub name: Option<String>,
    /// The key that its resources are encrypted with; `None`: that of the title that is there.
    pub content_key: Option<ContentKey>,
    /// Where the package lies: an `http` or `https` address.
    pub href: String,
    /// Bytes of the package.
    pub len: u64,
    /// SHA-256 of the package.
    pub sha256: [u8; 32],
    /// Media type of the package.
    pub media_type: String,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brought {
    /// There was none of that id.
    New,
    /// There was one; its licences name the new package from when they are next asked for.
    Replaced,
}

impl BroughtTitle {
    fn check(&self) -> Result<(), LcpError> {
        let web = self.href.starts_with("https://") || self.href.starts_with("http://");
        if !web || self.href.len() > HREF_BYTES_MAX || !self.href.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(LcpError::invalid("location", "not an http or https address"));
        }
        if self.len == 0 {
            return Err(LcpError::invalid("length", "a package has bytes"));
        }
        let media_type =
            self.media_type.split_once('/').is_some_and(|(kind, name)| !kind.is_empty() && !name.is_empty());
        if !media_type
            || self.media_type.len() > WORD_BYTES_MAX
            || !self.media_type.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(LcpError::invalid("type", "not a media type"));
        }
        check_names(self.alt_id.as_deref(), self.name.as_deref())
    }

    fn package(&self, version: u32, now: Timestamp) -> Package {
        Package {
            version,
            place: Place::There { href: self.href.clone() },
            len: self.len,
            sha256: self.sha256,
            media_type: self.media_type.clone(),
            made: now,
            source_etag: None,
            replaced: None,
        }
    }
}

fn check_names(alt_id: Option<&str>, name: Option<&str>) -> Result<(), LcpError> {
    // What readers and signatures stumble over, as in licences.
    let bad = |text: &str| text.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'));
    if alt_id.is_some_and(|alt_id| alt_id.is_empty() || alt_id.len() > WORD_BYTES_MAX || bad(alt_id)) {
        return Err(LcpError::invalid("alt_id", "1 to 255 bytes without control characters"));
    }
    if name.is_some_and(|name| name.len() > NAME_BYTES_MAX || bad(name)) {
        return Err(LcpError::invalid("title", "at most 1,024 bytes without control characters"));
    }
    Ok(())
}

impl Lending {
    /// Takes a title that was encrypted elsewhere, or a new package of one. The same again changes nothing.
    ///
    /// # Errors
    /// [`LcpError::Invalid`]: a field; [`LcpError::OtherKey`]: it has licences under another content key. Or the cluster's, or the key service's.
    pub async fn bring_title(&self, brought: &BroughtTitle) -> Result<Brought, LcpError> {
        brought.check()?;
        self.store.change_by(|| self.take(brought)).await
    }

    /// Names a title anew: what people call it, and how the store knows it; `None` leaves each as it is.
    ///
    /// # Errors
    /// [`LcpError::NoSuchTitle`], [`LcpError::Invalid`], or the cluster's.
    pub async fn name_title(&self, id: &TitleId, name: Option<&str>, alt_id: Option<&str>) -> Result<(), LcpError> {
        check_names(alt_id, name)?;
        let now = self.config.clock.now();
        let plan = || async move {
            let Held { revision, mut value } = self.title(id).await?;
            value.name = name.map(str::to_owned).or(value.name);
            value.alt_id = alt_id.map(str::to_owned).or(value.alt_id);
            value.updated = now;
            Ok((vec![put(&value, Expected::Revision(revision))?], ()))
        };
        self.store.change_by(plan).await
    }

    async fn take(&self, brought: &BroughtTitle) -> Result<(Vec<RecordChange>, Brought), LcpError> {
        match self.title(&brought.id).await {
            Ok(title) => Ok((self.replace(title, brought).await?, Brought::Replaced)),
            Err(LcpError::NoSuchTitle) => Ok((vec![self.first(brought).await?], Brought::New)),
            Err(error) => Err(error),
        }
    }

    async fn first(&self, brought: &BroughtTitle) -> Result<RecordChange, LcpError> {
        let key = brought.content_key.as_ref();
        let key = key.ok_or_else(|| LcpError::invalid("content key", "a new title has to have one"))?;
        let now = self.config.clock.now();
        let title = Title {
            id: brought.id.clone(),
            alt_id: brought.alt_id.clone(),
            name: brought.name.clone(),
            source: None,
            content_key: self.wrap(&brought.id, key).await?,
            standing: Standing::Ready,
            packages: vec![brought.package(1, now)],
            created: now,
            updated: now,
        };
        put(&title, Expected::Absent)
    }

    async fn replace(&self, title: Held<Title>, brought: &BroughtTitle) -> Result<Vec<RecordChange>, LcpError> {
        let (revision, mut title) = (title.revision, title.value);
        if title.source.is_some() {
            return Err(LcpError::invalid("id", "that title is made of an object of this cluster"));
        }
        let now = self.config.clock.now();
        let before = title.clone();
        if let Some(key) = &brought.content_key
            && *key != self.content_key(&title).await?
        {
            if self.has_licences(&title.id).await? {
                return Err(LcpError::OtherKey(title.id.to_string()));
            }
            title.content_key = self.wrap(&title.id, key).await?;
        }
        title.name = brought.name.clone().or(title.name);
        title.alt_id = brought.alt_id.clone().or(title.alt_id);
        let version = title.package().map_or(1, |package| package.version.saturating_add(1));
        let new = brought.package(version, now);
        let same = title.package().is_some_and(|old| {
            (&old.place, old.len, old.sha256, &old.media_type) == (&new.place, new.len, new.sha256, &new.media_type)
        });
        if !same {
            title.add_package(new, now);
        }
        if title == before {
            return Ok(Vec::new());
        }
        title.updated = now;
        Ok(vec![put(&title, Expected::Revision(revision))?])
    }
}

impl Title {
    /// Adds a package, which is the newest from now on; gives back those that there is no room for any more.
    pub(in crate::lcp) fn add_package(&mut self, package: Package, now: Timestamp) -> Vec<Package> {
        if let Some(last) = self.packages.last_mut() {
            last.replaced = Some(now);
        }
        self.packages.push(package);
        let over = self.packages.len().saturating_sub(Title::PACKAGES_MAX);
        self.packages.drain(..over).collect()
    }
}
