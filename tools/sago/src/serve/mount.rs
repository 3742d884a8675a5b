//! `sago mount`.

use crate::cli::MountArgs;
use crate::exit::Done;

/// Carries out `sago mount`.
///
/// # Errors
/// [`Failure`].
pub async fn mount(args: MountArgs) -> Done {
    let _ = args;
    Ok(())
}
