//! The command line: `serve` and what goes with it.

mod audit;
mod budgets;
pub mod catalog;
pub mod check;
pub mod config;
mod control;
mod data;
mod directory;
mod guardrails;
pub mod init;
mod list;
pub mod models;
mod providers;
mod redact;
mod reload;
pub mod serve;
mod status;
mod usage;
mod users;
mod watch;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::load::Sources;

/// An LLM gateway: one API, many providers, keys and budgets kept in order.
#[derive(Parser)]
#[command(name = "bursar", version, about)]
struct Arguments {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Where the settings come from, for every command.
#[derive(Args)]
struct Settings {
    /// A configuration file instead of ./bursar.toml; may be repeated, later files win
    #[arg(long, global = true, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// Address and port to listen on, for example 0.0.0.0:8080
    #[arg(long, global = true, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Data directory
    #[arg(long, global = true, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// One setting, for example server.max_body=50MB; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Settings {
    fn sources(self) -> Sources {
        let Self { config, listen, data, set } = self;
        Sources { files: config, set, listen, data, ..Sources::of_process() }
    }
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway (this is what happens without a command)
    Serve,
    /// Say whether the configuration is sound, and if not, everything that is wrong with it
    Check,
    /// Write a first bursar.toml
    Init {
        /// Ask nothing
        #[arg(long)]
        yes: bool,
        /// Replace a file that exists
        #[arg(long)]
        force: bool,
    },
    /// Ask the running gateway how it is
    Status {
        /// Form of the answer
        #[arg(long, value_enum, default_value_t)]
        output: Output,
        /// Print nothing; the exit code says it: 0 serving, 1 not
        #[arg(long)]
        quiet: bool,
    },
    /// Make the running gateway read its configuration again; says what changed, or what is wrong with it
    ///
    /// The gateway also does this by itself when a file changes, and on SIGHUP. A configuration with faults changes
    /// nothing. Exit code: 0 taken over, 1 not.
    Reload {
        /// Form of the list of changes
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Look into the configuration, or put a file in order
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Providers of the running gateway
    Providers {
        #[command(subcommand)]
        command: ProvidersCommand,
    },
    /// Client keys: what applications present
    Keys {
        #[command(subcommand)]
        command: Box<directory::KeysCommand>,
    },
    /// Teams, to which client keys belong
    Teams {
        #[command(subcommand)]
        command: directory::TeamsCommand,
    },
    /// Organisations, which teams may be in
    Orgs {
        #[command(subcommand)]
        command: directory::OrgsCommand,
    },
    /// Users of the admin API: who administrates, and in which role
    Users {
        #[command(subcommand)]
        command: users::UsersCommand,
    },
    /// Budgets: how they stand, where they are bound for, more for a while
    Budgets {
        #[command(subcommand)]
        command: budgets::BudgetsCommand,
    },
    /// Replace personal data and secrets in a text: stdin to stdout; needs no running gateway
    Redact(Box<redact::RedactOptions>),
    /// Policies of what must not leave
    Guardrails {
        #[command(subcommand)]
        command: GuardrailsCommand,
    },
    /// What is known of models: prices, limits, abilities; needs no running gateway
    Models {
        #[command(subcommand)]
        command: ModelsCommand,
    },
    /// The file of prices and abilities that is shipped with the program
    Catalog {
        #[command(subcommand)]
        command: CatalogCommand,
    },
    /// What was used and spent; a provider's bill held against it
    Usage(Box<usage::Usage>),
    /// The books: who asked what of whom, and what became of it
    Audit {
        #[command(subcommand)]
        command: Box<audit::AuditCommand>,
    },
    /// Copy the books, client keys and admin users made by hand to a folder, also while the gateway runs
    Backup {
        /// A folder that is empty or does not exist; the gateway writes it
        folder: PathBuf,
    },
    /// Make a data directory of a backup; nothing that is there is overwritten
    Restore {
        /// The backup
        folder: PathBuf,
    },
    /// Print the OpenAPI document of the gateway's API; needs no running gateway
    Openapi,
    /// Print the version
    Version,
}

#[derive(Subcommand)]
enum ModelsCommand {
    /// List aliases and the models of the providers that are configured
    List {
        /// Only one provider's: an id of the configuration, or any that the catalog knows
        #[arg(long, value_name = "PROVIDER", conflicts_with = "all")]
        provider: Option<String>,
        /// Every model that the catalog knows
        #[arg(long)]
        all: bool,
        /// Form of the list
        #[arg(long, visible_alias = "format", value_enum, default_value_t)]
        output: Output,
    },
    /// Say all that is known of one model, or of the targets of an alias
    Info {
        /// An alias, provider/model, or a model
        name: String,
        /// Form of the answer
        #[arg(long, visible_alias = "format", value_enum, default_value_t)]
        output: Output,
    },
}

#[derive(Subcommand)]
enum CatalogCommand {
    /// Make the file again from its two sources; the same sources and day give the same bytes
    Build {
        /// LiteLLM's model_prices_and_context_window.json
        #[arg(long, value_name = "FILE")]
        litellm: PathBuf,
        /// The prices of genai-prices, exported to JSON
        #[arg(long, value_name = "FILE")]
        genai: PathBuf,
        /// The day whose prices are wanted, as YYYY-MM-DD; some prices change with time
        #[arg(long, value_name = "DAY")]
        day: String,
        /// Where to write; standard output by default
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
enum ProvidersCommand {
    /// List every endpoint and key with its state
    List {
        /// Form of the list
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Give an endpoint or key no new calls for a while
    Rest {
        /// An endpoint, or endpoint/key
        name: String,
        /// How long, for example 30s or 10m
        #[arg(long = "for", value_name = "TIME", default_value = "10m")]
        time: String,
    },
    /// Give an endpoint or key no new calls until it is woken; running ones end normally
    Drain {
        /// An endpoint, or endpoint/key
        name: String,
    },
    /// Bring an endpoint or key back: ends rests, retirement, an open breaker
    Wake {
        /// An endpoint, or endpoint/key
        name: String,
    },
}

#[derive(Subcommand)]
enum GuardrailsCommand {
    /// Hold texts against the configuration; needs no running gateway
    ///
    /// Each line of the file is a JSON object: {"text": "mail ann@example.com", "expect": ["email"]}, where wanted with
    /// "blocked": true, "team", "route" and "stage" ("input" or "output"). Exit code: 0 all as expected, 1 not.
    Test {
        file: PathBuf,
        /// Form of the list
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// List every setting as it would be served, defaults included; secrets show as …
    Show {
        /// Say where each value came from: file:line:column, variable, option, or default
        #[arg(long)]
        origin: bool,
        /// Form of the list
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Print a JSON Schema of the file, for editors: bursar config schema > bursar.schema.json
    ///
    /// Then put `#:schema ./bursar.schema.json` on the first line of bursar.toml.
    Schema,
    /// Put the layout of files in order; comments, order of keys and values stay
    Fmt {
        /// Files; those that would be read, but not the machine's own, where none is named
        files: Vec<PathBuf>,
        /// Change nothing; exit with 1 if a file would change
        #[arg(long)]
        check: bool,
    },
    /// List what a reload would change in the running gateway, and what needs a restart
    Diff {
        /// Form of the list
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
}

/// Forms in which every list comes.
#[derive(Clone, Copy, Default, ValueEnum, PartialEq, Eq)]
pub enum Output {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
    /// For spreadsheets
    Csv,
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let Arguments { settings, command } = Arguments::parse();
    let mut output = io::stdout().lock();
    let done = match command.unwrap_or(Command::Serve) {
        Command::Serve => {
            drop(output);
            return serve::run(&settings.sources());
        }
        Command::Check => check::run(&settings.sources(), &mut output),
        Command::Init { yes, force } => {
            let asking = if yes { init::Asking::Nobody } else { init::Asking::Terminal };
            let existing = if force { init::Existing::Replace } else { init::Existing::Keep };
            let options = init::Options { existing, asking, ..init::Options::default() };
            init::run(&options, &settings.sources(), &mut io::stdin().lock(), &mut output)
        }
        Command::Status { output: form, quiet } => status::run(&settings.sources(), form, quiet, &mut output),
        Command::Reload { output: form } => reload::run(&settings.sources(), form, &mut output),
        Command::Config { command } => configure(command, &settings.sources(), &mut output),
        Command::Redact(options) => Ok(redact::redact(&options, &mut output)),
        Command::Guardrails { command: GuardrailsCommand::Test { file, output: form } } => {
            guardrails::test(&settings.sources(), &file, form, &mut output)
        }
        Command::Models { command } => models_command(command, &settings.sources(), &mut output),
        Command::Catalog { command: CatalogCommand::Build { litellm, genai, day, out } } => {
            let files = catalog::Files { litellm: &litellm, genai: &genai, out: out.as_ref() };
            catalog::run(&files, &day, &mut output)
        }
        Command::Providers { command } => {
            let sources = settings.sources();
            match command {
                ProvidersCommand::List { output: form } => providers::run(&sources, form, &mut output),
                ProvidersCommand::Rest { name, time } => {
                    providers::steer(&sources, "rest", &name, Some(&time), &mut output)
                }
                ProvidersCommand::Drain { name } => providers::steer(&sources, "drain", &name, None, &mut output),
                ProvidersCommand::Wake { name } => providers::steer(&sources, "wake", &name, None, &mut output),
            }
        }
        Command::Keys { command } => directory::keys(*command, &settings.sources(), &mut output),
        Command::Teams { command } => directory::teams(command, &settings.sources(), &mut output),
        Command::Orgs { command } => directory::orgs(command, &settings.sources(), &mut output),
        Command::Users { command } => users::run(command, &settings.sources(), &mut output),
        Command::Budgets { command } => budgets::run(command, &settings.sources(), &mut output),
        Command::Usage(usage) => usage::run(&usage, &settings.sources(), &mut output),
        Command::Audit { command } => audit::run(*command, &settings.sources(), &mut output),
        Command::Backup { folder } => audit::backup(&settings.sources(), &folder, &mut output),
        Command::Restore { folder } => audit::restore(&settings.sources(), &folder, &mut output),
        Command::Openapi => writeln!(output, "{:#}", crate::http::openapi_document()).map(|()| ExitCode::SUCCESS),
        Command::Version => writeln!(output, "bursar {}", env!("CARGO_PKG_VERSION")).map(|()| ExitCode::SUCCESS),
    };
    // A reader that closes the pipe early (`| head`) is no failure worth words.
    done.unwrap_or(ExitCode::FAILURE)
}

fn models_command(command: ModelsCommand, sources: &Sources, output: &mut dyn Write) -> io::Result<ExitCode> {
    match command {
        ModelsCommand::List { provider, all, output: form } => {
            let which = match provider {
                Some(provider) => models::Which::Of(provider),
                None if all => models::Which::All,
                None => models::Which::Configured,
            };
            models::list(sources, &which, form, output)
        }
        ModelsCommand::Info { name, output: form } => models::info(sources, &name, form, output),
    }
}

fn configure(command: ConfigCommand, sources: &Sources, output: &mut dyn Write) -> io::Result<ExitCode> {
    match command {
        ConfigCommand::Show { origin, output: form } => {
            let origins = if origin { config::Origins::Shown } else { config::Origins::Hidden };
            config::show(sources, origins, form, output)
        }
        ConfigCommand::Schema => config::schema(output),
        ConfigCommand::Diff { output: form } => reload::preview(sources, form, output),
        ConfigCommand::Fmt { files, check } => {
            let mode = if check { config::Fmt::Check } else { config::Fmt::Write };
            config::fmt(sources, &files, mode, output)
        }
    }
}

/// Says on standard error why a command failed.
fn complain(message: impl std::fmt::Display) -> ExitCode {
    let _ = writeln!(io::stderr(), "bursar: {message}");
    ExitCode::FAILURE
}
