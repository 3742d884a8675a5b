//! A bar for long transfers, on standard error if it is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;

/// Shorter transfers are over before a bar can be read.
const BAR_BYTES_MIN: u64 = 8 << 20;

/// A bar for `bytes`; without a length if it is not known. Hidden where nobody can see it, and for programs.
#[must_use]
pub fn bar(name: &str, bytes: Option<u64>, json: bool) -> ProgressBar {
    let short = bytes.is_some_and(|bytes| bytes < BAR_BYTES_MIN);
    if json || short || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = match bytes {
        Some(bytes) => ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr()),
        None => ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
    };
    let known = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    let unknown = "{msg} {spinner} {bytes} {bytes_per_sec}";
    let template = if bytes.is_some() { known } else { unknown };
    let style = ProgressStyle::with_template(template).expect("the template is constant");
    bar.with_style(style).with_message(name.to_owned())
}
