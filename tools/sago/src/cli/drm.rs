//! `sago drm`.

use super::{ClientArgs, LicenceCommand, ReportArgs, RightCommand, TitleCommand, TokenArgs};
use clap::{Args, Subcommand};
use drm::licence::LicenceId;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  sago drm key new /etc/sago/kek                             the first key, or a newer one: keep a copy of the file apart from all backups
  sago drm key show /etc/sago/kek                            names, not keys
  sago drm ca-dev dev-ca --rsa                               a root, a provider and a revocation list, for development only
  sago drm ca-dev dev-ca-2 --root dev-ca --days 90           a renewed provider under the same root
  sago drm verify book.epub --passphrase-file pass --root dev-ca/root.pem --crl dev-ca/crl.pem
  sago drm verify licence.lcpl --root dev-ca/root.pem        a licence alone
  sago drm verify book.epub --passphrase-file pass --extract plain

docs/OPERATIONS.md, \"Keys for protected books\", says what there is to know about the keys.";

/// Protected books: Readium LCP.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum DrmCommand {
    /// Make a root, a provider's certificate and key, and a revocation list, for development and tests. No reading app trusts them.
    CaDev(CaDevArgs),
    /// Key-encryption keys in a file.
    #[command(subcommand)]
    Key(DrmKeyCommand),
    /// Titles: books that are lent or sold.
    #[command(subcommand)]
    Title(TitleCommand),
    /// Licences of readers.
    #[command(subcommand)]
    Licence(LicenceCommand),
    /// Show the status document of a licence, with all its events.
    Status {
        /// The licence.
        licence: LicenceId,
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Take a licence back: from then on no gateway sends a byte of the book for it. One that nobody has used is cancelled.
    Revoke {
        /// The licence.
        licence: LicenceId,
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Make a token that lets whoever has it download the book of a licence for a while.
    Token(TokenArgs),
    /// What was downloaded, by whom.
    Report(ReportArgs),
    /// Who may lend, download for readers, and read plain bytes of protected buckets.
    #[command(subcommand)]
    Right(RightCommand),
    /// Look at a protected book or a licence as a reading app does, and say of every check what came of it.
    Verify(VerifyArgs),
}

/// What to make.
#[derive(Debug, Args)]
pub struct CaDevArgs {
    /// Folder for the files; made if it is missing. Nothing in it is overwritten.
    #[arg(value_name = "OUT_DIR")]
    pub folder: PathBuf,
    /// Keys of RSA with 2048 bits, as the providers of today have them. The program `openssl` makes them.
    #[arg(long, conflicts_with = "ecdsa")]
    pub rsa: bool,
    /// Keys of ECDSA on P-256. The default.
    #[arg(long)]
    pub ecdsa: bool,
    /// Days for which the provider's certificate is valid.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
    /// Have the provider's certificate end yesterday.
    #[arg(long)]
    pub expired: bool,
    /// Have the revocation list name the provider's certificate.
    #[arg(long)]
    pub revoked: bool,
    /// Common name of the provider.
    #[arg(long, default_value = "Sago development provider", value_name = "NAME")]
    pub provider: String,
    /// Use the root in this folder, which was made by the same command, instead of a new one.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
}

/// Keys in a file.
#[derive(Debug, Subcommand)]
pub enum DrmKeyCommand {
    /// Add a new key as the newest of a file, and make the file if there is none.
    New {
        /// The key file.
        file: PathBuf,
        /// Name of the key: 1 to 64 of a-z A-Z 0-9 . _ -, which no key of the file has. Default: kek-YYYY-MM-DD-N.
        #[arg(long)]
        name: Option<String>,
    },
    /// Wrap every key of the cluster anew that is not under the newest key-encryption key: content keys, keys of sealed objects, secrets. What they encrypt stays as it
    /// is. Can be stopped and repeated.
    Rotate {
        /// Also make a new secret for download tokens; those that were made under the last one hold on until their end.
        #[arg(long)]
        tokens: bool,
        /// The cluster.
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List the names of a file's keys, the newest first.
    Show {
        /// The key file.
        file: PathBuf,
    },
}

/// What to look at.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A protected book, or a licence (`.lcpl`).
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// File with the reader's passphrase; a line break at its end is no part of it.
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase")]
    pub passphrase_file: Option<PathBuf>,
    /// The reader's passphrase. Other users of this machine can see it while this runs.
    #[arg(long)]
    pub passphrase: Option<String>,
    /// The root certificate to trust (PEM or DER). Without it nothing is known of who signed the licence.
    #[arg(long, value_name = "PEM")]
    pub root: Option<PathBuf>,
    /// The root's revocation list (PEM or DER).
    #[arg(long, value_name = "PEM", requires = "root")]
    pub crl: Option<PathBuf>,
    /// A licence to use instead of the one in the book; the book's length and hash are then held against it.
    #[arg(long, value_name = "LCPL")]
    pub licence: Option<PathBuf>,
    /// Write everything that is in the book, decrypted, into this folder, which is made or empty; only if all checks are right.
    #[arg(long, value_name = "DIR")]
    pub extract: Option<PathBuf>,
}
