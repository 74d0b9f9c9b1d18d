//! `bursar redact`: what a policy would do to a text, for trying it and for use in a shell.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::privacy::scan::Custom;
use crate::privacy::{Action, Entity, EntitySet, Layer, Policy, Redactor, Scanner};

/// Exit code of an order that was given wrongly.
const USAGE: u8 = 2;

/// What to look for, and what to do about it.
#[derive(Args)]
pub struct RedactOptions {
    /// A set of entities: hipaa, pci, gdpr or secrets
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// An entity to look for, such as email; may be repeated, and adds to the profile
    #[arg(long, value_name = "ENTITY")]
    entity: Vec<String>,
    /// What is done with what is found
    #[arg(long, value_enum, default_value_t)]
    action: Does,
    /// A value that is left alone, with * for any characters; may be repeated
    #[arg(long, value_name = "VALUE")]
    allow: Vec<String>,
    /// A regular expression to find besides; may be repeated
    #[arg(long, value_name = "REGEX")]
    pattern: Vec<String>,
    /// A term to find besides, in any case; may be repeated
    #[arg(long, value_name = "TERM")]
    deny: Vec<String>,
    /// Read a JSON text: a request of any dialect, of which only what is said is looked into
    #[arg(long)]
    json: bool,
    /// Say on stderr how many of each kind were found
    #[arg(long)]
    count: bool,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Does {
    #[default]
    Mask,
    Tokenize,
    Hash,
    Flag,
    Block,
}

impl Does {
    fn action(self) -> Action {
        match self {
            Self::Mask => Action::Mask,
            Self::Tokenize => Action::Tokenize,
            Self::Hash => Action::Hash,
            Self::Flag => Action::Flag,
            Self::Block => Action::Block,
        }
    }
}

/// Reads stdin and writes it to stdout with everything replaced. Exit code: 0 done, 1 refused by `--action block`, 2 a wrong
/// order, or a text that is no JSON after `--json`.
pub fn redact(options: &RedactOptions, output: &mut impl Write) -> ExitCode {
    let mut text = String::new();
    let done = policy(options).and_then(|policy| {
        io::stdin().read_to_string(&mut text).map_err(|fault| format!("stdin cannot be read as UTF-8: {fault}"))?;
        apply(options, &policy, &text, output)
    });
    match done {
        Ok(code) => code,
        Err(fault) => {
            let _ = writeln!(io::stderr(), "bursar: {fault}");
            ExitCode::from(USAGE)
        }
    }
}

fn policy(options: &RedactOptions) -> Result<Policy, String> {
    let mut entities = EntitySet::NONE;
    if let Some(profile) = &options.profile {
        let known = EntitySet::of_profile(profile);
        entities = known.ok_or_else(|| format!("no profile `{profile}`; there are hipaa, pci, gdpr and secrets"))?;
    }
    for name in &options.entity {
        let entity = Entity::from_name(name).ok_or_else(|| {
            let known: Vec<&str> = Entity::all().map(Entity::as_str).collect();
            format!("no entity `{name}`; there are {}", known.join(", "))
        })?;
        entities = entities.with(entity);
    }
    if entities.is_empty() && options.pattern.is_empty() && options.deny.is_empty() {
        entities = crate::config::privacy::usual_entities();
    }
    let custom = options.pattern.iter().map(|pattern| Custom { name: pattern.clone(), pattern: pattern.clone() });
    let custom: Vec<Custom> = custom.collect();
    let scanner = Scanner::with_custom(entities.with(Entity::Custom), &custom, &options.deny)?;
    let layer = Layer::new("pii", scanner, options.action.action());
    Ok(Policy::default().with(layer.allowing(options.allow.iter().map(String::as_str))))
}

fn apply(options: &RedactOptions, policy: &Policy, text: &str, output: &mut impl Write) -> Result<ExitCode, String> {
    let mut redactor = Redactor::new(policy, rand::random());
    let new = if options.json {
        redactor
            .request(text)
            .map_err(|_| "stdin holds no JSON text; leave out --json to read it as it is".to_owned())?
    } else {
        redactor.text(text)
    };
    let (_, report) = redactor.finish();
    if options.count {
        for ((_, entity, action), count) in &report.counts {
            let _ = writeln!(io::stderr(), "{count} {} {}", entity.as_str(), action.as_str());
        }
    }
    if let Some((_, entity)) = report.blocked {
        let _ = writeln!(io::stderr(), "bursar: refused, it holds `{}`", entity.as_str());
        return Ok(ExitCode::FAILURE);
    }
    // Whoever reads it may have enough of it.
    let _ = output.write_all(new.as_deref().unwrap_or(text).as_bytes());
    Ok(ExitCode::SUCCESS)
}
