//! Misspelt variables: a setting that silently does nothing is worse than an error.

use super::ConfigError;

/// Every variable under these is a setting of ours.
const PREFIXES: [&str; 4] = ["SAGO_NODE_", "SAGO_GATEWAY_", "SAGO_MOUNT_", "SAGO_DEMO_"];

/// Refuses variables that look like settings and are none. `command` knows those that are.
///
/// # Errors
/// [`ConfigError::Value`] names the first one.
pub fn check_environment(command: &clap::Command, names: impl Iterator<Item = String>) -> Result<(), ConfigError> {
    let known = known(command);
    for name in names.filter(|name| PREFIXES.iter().any(|prefix| name.starts_with(prefix))) {
        if !known.contains(&name) {
            return Err(ConfigError::value(format!("environment variable {name}"), "no such setting; see --help"));
        }
    }
    Ok(())
}

fn known(command: &clap::Command) -> Vec<String> {
    let own = command.get_arguments().filter_map(|arg| arg.get_env()).map(|name| name.to_string_lossy().into_owned());
    own.chain(command.get_subcommands().flat_map(known)).collect()
}
