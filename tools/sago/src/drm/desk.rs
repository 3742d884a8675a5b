//! A connection for commands about books, and how titles are named.

use crate::cli::ClientArgs;
use crate::connect::{Session, connect, load};
use crate::exit::{Done, Failure, Kind};
use crate::lending::Shop;
use crate::object::ObjectPath;
use gateway_core::Store;
use gateway_core::lcp::{Held, LcpError, Lending, Title};

/// A connection and what lends books over it.
pub struct Desk {
    /// The cluster.
    pub session: Session,
    /// Books.
    pub lending: Lending,
}

impl Desk {
    /// Connects, with keys and certificate of the file's `[gateway.lcp]`.
    ///
    /// # Errors
    /// [`Failure`]: there is no such section, or something in it cannot be used.
    pub async fn open(args: &ClientArgs) -> Done<Self> {
        let (file, path) = load(args)?;
        let missing = || {
            let what = "no [gateway.lcp]: the command needs the keys and the certificate that the gateways have";
            Failure::new(Kind::Usage, format!("{}: {what} (docs/OPERATIONS.md, \"Books\")", path.display()))
        };
        let section = file.gateway.lcp.as_ref().ok_or_else(missing)?;
        let shop = Shop::open(section, &path).await?;
        let session = connect(args, "tool").await?;
        let lending = shop.lending(&session.store)?;
        Ok(Desk { session, lending })
    }

    /// The store, with keys.
    #[must_use]
    pub fn store(&self) -> &Store {
        self.lending.store()
    }

    /// A title by its id, or by BUCKET/KEY.
    ///
    /// # Errors
    /// There is none.
    pub async fn title(&self, named: &str) -> Done<Held<Title>> {
        if named.contains('/') {
            let path = ObjectPath::parse_key(named)?;
            let found = self.lending.title_of(&path.bucket, &path.key).await?;
            return found.ok_or_else(|| LcpError::NoSuchTitle.into());
        }
        let id = named.parse().map_err(|error| Failure::new(Kind::Usage, format!("{named:?}: {error}")))?;
        Ok(self.lending.title(&id).await?)
    }
}

impl From<LcpError> for Failure {
    fn from(error: LcpError) -> Self {
        let kind = match &error {
            LcpError::Cluster(error) => crate::exit::cluster_kind(error),
            LcpError::NoSuchTitle | LcpError::NoSuchLicence => Kind::NotFound,
            LcpError::Invalid { .. } | LcpError::Grant(_) => Kind::Usage,
            LcpError::Key(_) | LcpError::Contention => Kind::Unavailable,
            LcpError::Damaged(_) => Kind::Damaged,
            LcpError::OtherKey(_)
            | LcpError::InUse
            | LcpError::NonceUsed
            | LcpError::Open
            | LcpError::NotReady
            | LcpError::Unprotectable(_)
            | LcpError::Elsewhere
            | LcpError::Signing(_)
            | LcpError::Refused(_)
            | LcpError::AccessDenied
            | LcpError::Closed(_)
            | LcpError::Token(_)
            | LcpError::TooMany { .. } => Kind::Failed,
        };
        Failure::new(kind, format!("{:#}", anyhow::Error::from(error)))
    }
}
