//! Where settings come from, and which one wins.
//!
//! Weakest first: defaults (in `check`), providers found by their variables, the files (see `files`), variables named
//! `BURSAR__…`, `--set`, `--listen` and `--data`.
//!
//! Each layer is compared with the schema while its places are known, and handed to the `config` crate as a ready
//! table. Its own sources are not used: the one for the environment lower-cases and guesses types, and overrides by
//! path split at every dot, so an alias named "gpt-4.1" would not survive either. Its merge does what we want: tables
//! join, lists and values replace.

use std::path::PathBuf;

use toml::{Table, Value};

use super::discover::{self, DEMO};
use super::expand::{Lookup, expand_all};
use super::fault::{Fault, Faults, Origin};
use super::files::Files;
use super::layer::{Layer, Origins};
use super::raw::RawConfig;
use super::settings::labels;
use super::{Config, check, overrides};

/// Where the settings of one start come from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Files of `--config`, weakest first; they must exist. Where empty, `./bursar.toml` is read if it exists.
    pub files: Vec<PathBuf>,
    /// The `path=value` pairs of `--set`.
    pub set: Vec<String>,
    /// `--listen`.
    pub listen: Option<String>,
    /// `--data`.
    pub data: Option<PathBuf>,
    /// All environment variables, for overrides, references and found providers.
    pub environment: Vec<(String, String)>,
    pub working_dir: PathBuf,
    /// The machine's own file, read if it exists.
    pub system_file: PathBuf,
}

impl Default for Sources {
    /// Nothing but the working directory: no environment, no options.
    fn default() -> Self {
        Self {
            files: Vec::new(),
            set: Vec::new(),
            listen: None,
            data: None,
            environment: Vec::new(),
            working_dir: PathBuf::from("."),
            system_file: PathBuf::from("/etc/bursar/bursar.toml"),
        }
    }
}

impl Sources {
    /// Returns this process's environment and working directory; the options are still to be filled in.
    pub fn of_process() -> Self {
        // A variable that is not UTF-8 cannot be one of ours.
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self {
            environment: std::env::vars_os().filter_map(text).collect(),
            working_dir: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
            ..Self::default()
        }
    }
}

/// Reads, merges and checks all settings. Gives a configuration that works, or everything that is wrong with it.
pub fn load(sources: &Sources) -> Result<Config, Faults> {
    let mut faults = Faults::default();
    let result = load_into(sources, &mut faults);
    faults.sort();
    match result {
        Some(mut config) if !faults.is_fatal() => {
            config.warnings = faults.iter().map(Fault::one_line).collect();
            Ok(config)
        }
        _ => Err(faults),
    }
}

/// Returns the data directory even where the configuration has faults, so that the running gateway can be found and
/// told to read it again.
pub fn data_path(sources: &Sources) -> PathBuf {
    let config = load_into(sources, &mut Faults::default());
    config.map_or_else(|| PathBuf::from("./data"), |config| config.storage.path)
}

fn load_into(sources: &Sources, faults: &mut Faults) -> Option<Config> {
    let Files { layers, names: mut named, watched, incomplete, .. } = Files::read(sources, faults);
    // What follows would only be misled by a file that is missing or is not TOML.
    if incomplete {
        return None;
    }
    let mut merged = Merged { layers };
    let lookup = Lookup::new(sources.environment.iter().cloned().collect(), sources.working_dir.clone());
    let found = discover::discover(&lookup.environment, &merged.table(faults)?, faults);
    merged.layers.insert(0, found.layer);
    named.extend(found.sources);
    command_layers(sources, &mut merged, &mut named, faults)?;

    let without_demo = merged.table(faults)?;
    let has_providers = without_demo.get("providers").and_then(Value::as_table).is_some_and(|all| !all.is_empty());
    if !has_providers {
        merged.layers.insert(0, discover::demo(&without_demo));
        named.push(format!("built-in {DEMO} provider"));
    }
    let mut table = merged.table(faults)?;
    let mut origins = merged.origins();
    expand_all(&mut table, &lookup, &mut origins, faults);
    let labels = labels(&table, &origins);
    let raw = deserialize(table, faults)?;
    let mut config = check::check(raw, origins, named, faults)?;
    config.origins = labels;
    config.files = watched.into_iter().chain(lookup.files_read()).collect();
    Some(config)
}

/// Adds what environment and command line say. `None` where an internal merge fails.
fn command_layers(sources: &Sources, merged: &mut Merged, named: &mut Vec<String>, faults: &mut Faults) -> Option<()> {
    let (layer, count) = overrides::from_environment(&sources.environment, &merged.table(faults)?, faults);
    merged.layers.push(layer);
    if count > 0 {
        named.push(format!("{count} from environment"));
    }
    for assignment in &sources.set {
        merged.layers.push(overrides::from_set(assignment, faults));
    }
    let data = sources.data.as_ref().map(|path| path.to_string_lossy().into_owned());
    let options = [("server", "listen", "--listen", sources.listen.clone()), ("storage", "path", "--data", data)];
    let mut count = sources.set.len();
    for (table, key, option, value) in options {
        let Some(value) = value else { continue };
        let mut layer = Layer::default();
        let steps = [table.to_owned(), key.to_owned()];
        overrides::insert(&mut layer.table, &steps, Value::String(value.replace("${", "$${")));
        layer.origins.insert(&format!("{table}.{key}"), Origin::CommandLine(option.to_owned()));
        merged.layers.push(layer);
        count += 1;
    }
    if count > 0 {
        named.push(format!("{count} from the command line"));
    }
    Some(())
}

/// The layers so far, weakest first.
struct Merged {
    layers: Vec<Layer>,
}

impl Merged {
    fn table(&self, faults: &mut Faults) -> Option<Table> {
        let mut builder = config::Config::builder();
        for layer in &self.layers {
            builder = builder.add_source(Ready(layer.table.clone()));
        }
        let merged = builder.build().and_then(config::Config::try_deserialize::<Table>);
        // The error's text may hold a value, and a value may be a secret.
        merged.map_err(|_| faults.push(Fault::error("the layers of the configuration do not fit together"))).ok()
    }

    fn origins(&self) -> Origins {
        self.layers.iter().fold(Origins::default(), |mut origins, layer| {
            origins.extend(layer.origins.clone());
            origins
        })
    }
}

/// A parsed table as a source of the `config` crate. Its debug output, which the trait asks for, has no values.
#[derive(Clone)]
struct Ready(Table);

impl std::fmt::Debug for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ready")
    }
}

impl config::Source for Ready {
    fn clone_into_box(&self) -> Box<dyn config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<config::Map<String, config::Value>, config::ConfigError> {
        Ok(self.0.iter().map(|(key, value)| (key.clone(), converted(value))).collect())
    }
}

fn converted(value: &Value) -> config::Value {
    let kind = match value {
        Value::String(text) => config::ValueKind::String(text.clone()),
        Value::Integer(number) => config::ValueKind::I64(*number),
        Value::Float(number) => config::ValueKind::Float(*number),
        Value::Boolean(truth) => config::ValueKind::Boolean(*truth),
        Value::Datetime(date) => config::ValueKind::String(date.to_string()),
        Value::Array(list) => config::ValueKind::Array(list.iter().map(converted).collect()),
        Value::Table(table) => {
            config::ValueKind::Table(table.iter().map(|(key, value)| (key.clone(), converted(value))).collect())
        }
    };
    config::Value::new(None, kind)
}

fn deserialize(table: Table, faults: &mut Faults) -> Option<RawConfig> {
    // Types were compared with the schema before, so a fault here is one of ours. Only the path is safe to show.
    serde_path_to_error::deserialize(Value::Table(table))
        .map_err(|error| faults.push(Fault::error(format!("{} has the wrong type", error.path()))))
        .ok()
}
