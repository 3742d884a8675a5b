//! The partial licence of the first reference server: what a store says of a licence that it wants.
//!
//! ```text
//! { "provider": URI, "user": { "id", "email"?, "name"?, "encrypted"? }, "rights"?: { "print"?, "copy"?, "start"?, "end"? }, "links"?: [],
//!   "encryption": { "profile"?, "user_key": { "text_hint", "hex_value" or "value" } } }
//! ```
//! The hash of the passphrase is taken out of the document, used once and wiped. It is told to nobody, in no error either.

use super::call::Call;
use super::fields::{Fields, objects};
use super::problem::Problem;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drm::PassphraseHash;
use drm::licence::{Link, Reader, Rights};
use gateway_core::lcp::{Anew, LicenceChange, Limit, NewLicence, RightsChange, TitleId};
use http::HeaderName;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use types::Timestamp;
use zeroize::Zeroizing;

/// By which a store names a request that it may have to make again.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Bytes of it.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// What a store says of a licence.
pub(super) struct Asked {
    pub(super) reader: Reader,
    pub(super) hint: String,
    pub(super) passphrase: PassphraseHash,
    pub(super) rights: Rights,
    pub(super) links: Option<Vec<Link>>,
    pub(super) provider: Option<String>,
    pub(super) profile: Option<String>,
}

impl Asked {
    /// A partial licence.
    pub(super) fn partial(body: Value) -> Result<Self, Problem> {
        let mut body = Fields::of(body)?;
        let missing = |name| Problem::bad(format!("{name} is missing"));
        let user = body.object("user")?.ok_or_else(|| missing("user.id"))?;
        let mut encryption = body.object("encryption")?.ok_or_else(|| missing("encryption.user_key"))?;
        let mut user_key = encryption.object("user_key")?.ok_or_else(|| missing("encryption.user_key"))?;
        Ok(Asked {
            reader: reader(user)?,
            hint: user_key.required("text_hint")?,
            passphrase: passphrase(&mut user_key)?,
            rights: body.object("rights")?.map_or(Ok(Rights::default()), rights)?,
            links: body.array("links")?.map(links).transpose()?,
            provider: body.text("provider")?.filter(|uri| !uri.is_empty()),
            profile: encryption.text("profile")?.filter(|uri| !uri.is_empty()),
        })
    }

    /// A licence of that title.
    pub(super) fn of_title(self, title: TitleId, nonce: Option<[u8; 16]>) -> NewLicence {
        NewLicence {
            title,
            reader: self.reader,
            hint: self.hint,
            passphrase: self.passphrase,
            rights: self.rights,
            links: self.links.unwrap_or_default(),
            provider: self.provider,
            profile: self.profile,
            nonce,
        }
    }

    /// The same licence for a reader whose name or passphrase has changed. Its rights stay, and its store.
    pub(super) fn anew(self) -> Anew {
        Anew {
            reader: self.reader,
            hint: self.hint,
            passphrase: self.passphrase,
            links: self.links.filter(|links| !links.is_empty()),
            profile: self.profile,
        }
    }
}

/// The licence that a request to the first licence server asks for, of the title in its path.
///
/// # Errors
/// It does not say what is needed.
pub(crate) async fn new_licence(call: &mut Call) -> Result<NewLicence, Problem> {
    let title = call.name("id").parse().map_err(|_| Problem::no_title())?;
    let nonce = nonce(call)?;
    Ok(Asked::partial(call.json().await?)?.of_title(title, nonce))
}

/// How a store has named its request; two stores may choose the same name.
pub(super) fn nonce(call: &Call) -> Result<Option<[u8; 16]>, Problem> {
    let Some(key) = call.headers.get(&IDEMPOTENCY_KEY) else { return Ok(None) };
    if !(1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) {
        return Err(Problem::bad(format!("an idempotency key has 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes")));
    }
    let user = call.who.as_ref().map_or("", |who| who.user.as_str());
    let hash: [u8; 32] =
        Sha256::new().chain_update(user).chain_update([0]).chain_update(key.as_bytes()).finalize().into();
    let mut nonce = [0; 16];
    nonce.copy_from_slice(&hash[..16]);
    Ok(Some(nonce))
}

fn reader(mut user: Fields) -> Result<Reader, Problem> {
    let mut reader = Reader::new(&user.required("id")?);
    reader.email = user.text("email")?.filter(|text| !text.is_empty());
    reader.name = user.text("name")?.filter(|text| !text.is_empty());
    if let Some(encrypted) = user.texts("encrypted")? {
        reader.encrypted = encrypted.into_iter().collect();
    }
    reader.extensions = user.extensions()?;
    Ok(reader)
}

fn passphrase(user_key: &mut Fields) -> Result<PassphraseHash, Problem> {
    if let Some(text) = user_key.secret("hex_value")? {
        return hex_hash(&text).ok_or_else(|| user_key.wrong("hex_value", "no hash of 32 bytes in hex"));
    }
    let text = user_key.secret("value")?.ok_or_else(|| user_key.wrong("hex_value", "missing"))?;
    let bytes = STANDARD.decode(text.as_bytes()).ok().map(Zeroizing::new);
    let hash = bytes.and_then(|bytes| PassphraseHash::try_from(bytes.as_slice()).ok());
    hash.ok_or_else(|| user_key.wrong("value", "no hash of 32 bytes in base64"))
}

/// A hash in hex, of either case.
pub(super) fn hex_hash(text: &str) -> Option<PassphraseHash> {
    let digits = text.as_bytes().as_chunks::<2>();
    let mut bytes = Zeroizing::new([0; 32]);
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(digits.0) {
        let digit = |digit: &u8| char::from(*digit).to_digit(16);
        *byte = u8::try_from(digit(high)? << 4 | digit(low)?).ok()?;
    }
    Some(PassphraseHash::from(*bytes))
}

fn rights(mut rights: Fields) -> Result<Rights, Problem> {
    Ok(Rights {
        print: rights.limit("print")?.flatten(),
        copy: rights.limit("copy")?.flatten(),
        start: rights.date("start")?.flatten(),
        end: rights.date("end")?.flatten(),
        extensions: rights.extensions()?,
    })
}

/// Links but those that are always ours: to the publication and to the status document.
fn links(values: Vec<Value>) -> Result<Vec<Link>, Problem> {
    let mut links = Vec::new();
    for mut link in objects("links", values)? {
        let rel = link.texts("rel")?.unwrap_or_default();
        if rel.iter().any(|rel| rel == "publication" || rel == "status") {
            continue;
        }
        links.push(Link {
            rel,
            href: link.required("href")?,
            media_type: link.text("type")?.filter(|text| !text.is_empty()),
            title: link.text("title")?.filter(|text| !text.is_empty()),
            templated: link.flag("templated")?,
            profile: link.text("profile")?.filter(|text| !text.is_empty()),
            length: link.limit("length")?.flatten().filter(|length| *length > 0),
            hash: link.text("hash")?.filter(|text| !text.is_empty()),
            extensions: link.extensions()?,
        });
    }
    Ok(links)
}

/// What a partial licence says of one that is to change.
pub(super) fn change(body: Value) -> Result<LicenceChange, Problem> {
    let mut body = Fields::of(body)?;
    let user = body.object("user")?.map(|mut user| user.text("id")).transpose()?.flatten();
    let rights = body.object("rights")?.map_or(Ok(RightsChange::default()), |mut rights| rights_change(&mut rights))?;
    let provider = body.text("provider")?.filter(|uri| !uri.is_empty());
    Ok(LicenceChange { rights, user: user.filter(|id| !id.is_empty()), provider })
}

/// What is to become of the rights: what is not there stays, and a negative number or a zero date lifts a limit.
pub(super) fn rights_change(rights: &mut Fields) -> Result<RightsChange, Problem> {
    Ok(RightsChange {
        print: limit(rights.limit("print")?),
        copy: limit(rights.limit("copy")?),
        start: limit::<Timestamp>(rights.date("start")?),
        end: limit(rights.date("end")?),
    })
}

fn limit<T>(asked: Option<Option<T>>) -> Limit<T> {
    match asked {
        None => Limit::Keep,
        Some(None) => Limit::Lift,
        Some(Some(value)) => Limit::Set(value),
    }
}
