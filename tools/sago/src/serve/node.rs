//! `sago node`.

use crate::cli::NodeArgs;
use crate::exit::Done;

/// Carries out `sago node`.
///
/// # Errors
/// [`Failure`].
pub async fn node(args: NodeArgs) -> Done {
    let _ = args;
    Ok(())
}
