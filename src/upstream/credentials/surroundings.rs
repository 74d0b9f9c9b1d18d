//! What the machine tells the process about where its credentials are: a few variables of the environment.

use std::collections::HashMap;
use std::path::PathBuf;

/// The environment at the start of the process.
#[derive(Clone, Default)]
pub struct Surroundings(HashMap<String, String>);

impl Surroundings {
    /// Returns those with these variables.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(variables.into_iter().collect())
    }

    /// Returns those of this process.
    pub fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(text).collect())
    }

    /// Returns the variable `name`, if it is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns the address of a service: the one in the variable `name`, else `usual`; without a trailing slash.
    pub fn service(&self, name: &str, usual: &str) -> String {
        let address = self.get(name).unwrap_or(usual).trim_end_matches('/');
        if address.contains("://") { address.to_owned() } else { format!("http://{address}") }
    }

    /// Returns the path of AWS's shared credentials file.
    pub fn aws_credentials_file(&self) -> PathBuf {
        self.aws_file("AWS_SHARED_CREDENTIALS_FILE", "credentials")
    }

    /// Returns the path of AWS's shared configuration file.
    pub fn aws_config_file(&self) -> PathBuf {
        self.aws_file("AWS_CONFIG_FILE", "config")
    }

    fn aws_file(&self, variable: &str, name: &str) -> PathBuf {
        let home = || PathBuf::from(self.get("HOME").unwrap_or(".")).join(".aws").join(name);
        self.get(variable).map_or_else(home, PathBuf::from)
    }
}

impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}
