//! What a store puts into all of its licences.

use super::field::{self, BadField, UriKind};
use super::{LicenceId, Link, STATUS_TYPE};
use serde::{Deserialize, Serialize};

/// Stands in links for the id of the licence.
const PLACEHOLDER: &str = "{license_id}";

/// Puts the id of the licence in place of each `{license_id}`.
#[must_use]
pub fn expand(href: &str, id: LicenceId) -> String {
    href.replace(PLACEHOLDER, &id.to_string())
}

/// A store. `{license_id}` in the links stands for the id of each licence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// The URI by which licences name it, `http` or `https`.
    pub uri: String,
    /// A page that helps whoever has forgotten his passphrase. Required unless the grant has a link for it.
    pub hint_href: Option<String>,
    /// Where the status document is. Without it a licence can be neither returned nor revoked, and no reader learns of a change.
    pub status_href: Option<String>,
    /// Further links, such as `support`.
    pub links: Vec<Link>,
}

impl Provider {
    /// Its links for one licence, without those for which the grant has its own.
    pub(super) fn links(&self, id: LicenceId, of_grant: &[Link]) -> Vec<Link> {
        let hint = self.hint_href.iter().map(|href| Link::new("hint", &expand(href, id), "text/html"));
        let status = self.status_href.iter().map(|href| Link::new("status", &expand(href, id), STATUS_TYPE));
        let further = self.links.iter().map(|link| Link { href: expand(&link.href, id), ..link.clone() });
        let replaced = |link: &Link| of_grant.iter().any(|other| link.rel.iter().any(|rel| other.is(rel)));
        hint.chain(status).chain(further).filter(|link| !replaced(link)).collect()
    }

    /// Whether licences can have all this, for a configuration that is read.
    ///
    /// # Errors
    /// [`BadField`].
    pub fn check(&self) -> Result<(), BadField> {
        field::uri("provider", &self.uri, UriKind::Web, false)?;
        self.links(LicenceId::example(), &[]).iter().try_for_each(Link::check)
    }
}
