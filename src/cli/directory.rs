//! `bursar keys`, `bursar teams` and `bursar orgs`: who may call, by the running gateway.

mod budgets;

use std::io::{self, BufRead, Write};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::control;
use super::list::{self, Column};
use super::{Output, complain};
use crate::config::load::Sources;

const KEYS: [Column; 12] = [
    ("KEY", "id"),
    ("TEAM", "team"),
    ("NAME", "name"),
    ("STATE", "state"),
    ("PUBLIC PART", "public"),
    ("MODELS", "models"),
    ("LIMITS", "limits"),
    ("BUDGETS (USD)", "budget"),
    ("EXPIRES (UTC)", "expires"),
    ("OLD VALUE UNTIL (UTC)", "old_value_until"),
    ("CREATED (UTC)", "created"),
    ("DEFINED BY", "owner"),
];
const TEAMS: [Column; 7] = [
    ("TEAM", "id"),
    ("NAME", "name"),
    ("ORGANISATION", "org"),
    ("MODELS", "models"),
    ("LIMITS", "limits"),
    ("BUDGETS (USD)", "budget"),
    ("DEFINED BY", "owner"),
];
const ORGS: [Column; 6] = [
    ("ORGANISATION", "id"),
    ("NAME", "name"),
    ("MODELS", "models"),
    ("LIMITS", "limits"),
    ("BUDGETS (USD)", "budget"),
    ("DEFINED BY", "owner"),
];

/// What a command is about.
#[derive(Clone, Copy, PartialEq)]
pub enum Of {
    Keys,
    Teams,
    Orgs,
}

/// Form of a list.
#[derive(Args)]
pub struct Form {
    /// Form of the list
    #[arg(long, visible_alias = "format", value_enum, default_value_t)]
    pub(super) output: Output,
}

/// What whoever is made or changed may use.
#[derive(Args)]
pub struct Rights {
    /// For people
    #[arg(long)]
    name: Option<String>,
    /// Aliases or provider/model names it may ask for, split at commas; "*" for all
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    models: Option<Vec<String>>,
    /// Providers that may serve it; "*" for all
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    providers: Option<Vec<String>>,
    /// Regions it may be served in; "*" for all
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    regions: Option<Vec<String>>,
    /// Endpoints that may serve it; "*" for all
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    endpoints: Option<Vec<String>>,
    /// Networks it may be used from, such as 10.0.0.0/8; "*" for any
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    networks: Option<Vec<String>>,
    /// rpm=600, tpm=40000, concurrency=8, cost_per_request=0.50 (dollars) …; `rpm=` takes one away, others stay
    #[arg(long, value_name = "NAME=NUMBER")]
    limit: Vec<String>,
    /// What it may spend, as in a file: '{ amount = 50, period = "month" }'; several make the whole set, `none` takes all away
    #[arg(long, value_name = "TOML")]
    budget: Vec<String>,
    /// NAME=TEXT of every request, for reports; several make the whole set
    #[arg(long, value_name = "NAME=TEXT")]
    tag: Vec<String>,
    /// NAME=TEXT for people; several make the whole set
    #[arg(long, value_name = "NAME=TEXT")]
    metadata: Vec<String>,
}

#[derive(Subcommand)]
pub enum KeysCommand {
    /// Make a client key and print it, this once
    Create {
        /// Its id; made up where none is given
        id: Option<String>,
        /// Its team; `default` where none is given
        #[arg(long)]
        team: Option<String>,
        /// When it ends: 2027-06-30 or 2027-06-30T12:00:00Z
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
        #[command(flatten)]
        rights: Box<Rights>,
        #[command(flatten)]
        form: Form,
    },
    /// List the client keys
    List {
        /// Only those of this team
        #[arg(long)]
        team: Option<String>,
        #[command(flatten)]
        form: Form,
    },
    /// Show all that is known of one
    Show { id: String },
    /// Change one; what is not named stays as it is
    Update {
        id: String,
        /// When it ends: 2027-06-30 or 2027-06-30T12:00:00Z; `never` takes it back
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
        #[command(flatten)]
        rights: Box<Rights>,
    },
    /// Give one a new value and print it, this once
    Rotate {
        id: String,
        /// How long the old value stays good, for example 24h; 0s ends it at once
        #[arg(long, default_value = "24h", value_name = "TIME")]
        overlap: String,
        #[command(flatten)]
        form: Form,
    },
    /// Refuse one until it is enabled
    Disable { id: String },
    /// Let a disabled one in again
    Enable { id: String },
    /// Refuse one for good, from the next request on
    Revoke { id: String },
    /// Remove one from the list; its id may be given again
    Delete { id: String },
    /// Read a key from standard input and print its hash, for `hash` in [[client_keys]]; needs no running gateway
    Hash,
}

#[derive(Subcommand)]
pub enum TeamsCommand {
    /// List the teams
    List {
        #[command(flatten)]
        form: Form,
    },
    /// Show all that is known of one
    Show { id: String },
    /// Make one
    Create {
        id: String,
        /// The organisation it is in
        #[arg(long)]
        org: Option<String>,
        /// As --limit, of each end user of the team
        #[arg(long, value_name = "NAME=NUMBER")]
        user_limit: Vec<String>,
        /// As --budget, of each end user of the team
        #[arg(long, value_name = "TOML")]
        members_budget: Vec<String>,
        #[command(flatten)]
        rights: Box<Rights>,
    },
    /// Change one; what is not named stays as it is
    Update {
        id: String,
        /// The organisation it is in; `none` for none
        #[arg(long)]
        org: Option<String>,
        /// As --limit, of each end user of the team
        #[arg(long, value_name = "NAME=NUMBER")]
        user_limit: Vec<String>,
        /// As --budget, of each end user of the team
        #[arg(long, value_name = "TOML")]
        members_budget: Vec<String>,
        #[command(flatten)]
        rights: Box<Rights>,
    },
    /// Remove one that has no keys
    Delete { id: String },
}

#[derive(Subcommand)]
pub enum OrgsCommand {
    /// List the organisations
    List {
        #[command(flatten)]
        form: Form,
    },
    /// Show all that is known of one
    Show { id: String },
    /// Make one
    Create {
        id: String,
        #[command(flatten)]
        rights: Box<Rights>,
    },
    /// Change one; what is not named stays as it is
    Update {
        id: String,
        #[command(flatten)]
        rights: Box<Rights>,
    },
    /// Remove one that has no teams
    Delete { id: String },
}

/// Runs `bursar keys`.
pub fn keys(command: KeysCommand, sources: &Sources, output: &mut dyn Write) -> io::Result<ExitCode> {
    let of = Of::Keys;
    match command {
        KeysCommand::Create { id, team, expires, rights, form } => {
            let more = [("id", id.map(Value::from)), ("team", team.map(Value::from)), ("expires", expires.map(moment))];
            let body = body(*rights, more);
            fresh(wished(sources, of, None, body), form.output, output)
        }
        KeysCommand::List { team, form } => {
            let Some(query) = team.map_or(Some(String::new()), |team| Some(format!("?team={}", word(&team)?))) else {
                return Ok(complain("this is the name of no team"));
            };
            listed(asked(sources, "GET", of, &query, ""), &KEYS, form.output, output)
        }
        KeysCommand::Show { id } => one(sources, "GET", of, &id, output),
        KeysCommand::Update { id, expires, rights } => {
            let body = body(*rights, [("expires", expires.map(moment))]);
            print(wished(sources, of, Some(&id), body), output)
        }
        KeysCommand::Rotate { id, overlap, form } => {
            let Some(id) = word(&id) else { return Ok(complain(format!("`{id}` is no id"))) };
            let body = json!({ "overlap": overlap }).to_string();
            fresh(asked(sources, "POST", of, &format!("/{id}/rotate"), &body), form.output, output)
        }
        KeysCommand::Disable { id } => act(sources, &id, "disable", output),
        KeysCommand::Enable { id } => act(sources, &id, "enable", output),
        KeysCommand::Revoke { id } => act(sources, &id, "revoke", output),
        KeysCommand::Delete { id } => one(sources, "DELETE", of, &id, output),
        KeysCommand::Hash => hash(&mut io::stdin().lock(), output),
    }
}

/// Runs `bursar teams`.
pub fn teams(command: TeamsCommand, sources: &Sources, output: &mut dyn Write) -> io::Result<ExitCode> {
    let of = Of::Teams;
    match command {
        TeamsCommand::List { form } => listed(asked(sources, "GET", of, "", ""), &TEAMS, form.output, output),
        TeamsCommand::Show { id } => one(sources, "GET", of, &id, output),
        TeamsCommand::Create { id, org, user_limit, members_budget, rights } => {
            let own = [("id", Some(id.into())), ("org", org.map(Value::from))];
            let body = team(*rights, &user_limit, &members_budget, own);
            print(wished(sources, of, None, body), output)
        }
        TeamsCommand::Update { id, org, user_limit, members_budget, rights } => {
            let org = org.map(|org| if org == "none" { Value::Null } else { org.into() });
            let body = team(*rights, &user_limit, &members_budget, [("id", None), ("org", org)]);
            print(wished(sources, of, Some(&id), body), output)
        }
        TeamsCommand::Delete { id } => one(sources, "DELETE", of, &id, output),
    }
}

/// Runs `bursar orgs`.
pub fn orgs(command: OrgsCommand, sources: &Sources, output: &mut dyn Write) -> io::Result<ExitCode> {
    let of = Of::Orgs;
    match command {
        OrgsCommand::List { form } => listed(asked(sources, "GET", of, "", ""), &ORGS, form.output, output),
        OrgsCommand::Show { id } => one(sources, "GET", of, &id, output),
        OrgsCommand::Create { id, rights } => {
            let body = body(*rights, [("id", Some(id.into()))]);
            print(wished(sources, of, None, body), output)
        }
        OrgsCommand::Update { id, rights } => {
            let body = body(*rights, []);
            print(wished(sources, of, Some(&id), body), output)
        }
        OrgsCommand::Delete { id } => one(sources, "DELETE", of, &id, output),
    }
}

fn moment(text: String) -> Value {
    if text == "never" { Value::Null } else { text.into() }
}

/// Returns `text` if it may stand in a path as it is.
pub(super) fn word(text: &str) -> Option<&str> {
    let fine = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    fine.then_some(text)
}

/// Returns the body of an order, or what is wrong with the words it is made of.
fn body<const N: usize>(rights: Rights, more: [(&str, Option<Value>); N]) -> Result<String, String> {
    let mut body = Map::new();
    let mut put = |field: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(field.to_owned(), value);
        }
    };
    more.into_iter().for_each(|(field, value)| put(field, value));
    put("name", rights.name.map(Value::from));
    for (field, names) in [
        ("models", rights.models),
        ("providers", rights.providers),
        ("regions", rights.regions),
        ("endpoints", rights.endpoints),
    ] {
        put(field, names.map(Value::from));
    }
    let networks = rights.networks.map(|list| if list == ["*"] { Value::Null } else { list.into() });
    put("networks", networks);
    for (field, notes) in [("tags", &rights.tag), ("metadata", &rights.metadata)] {
        if notes.is_empty() {
            continue;
        }
        let pair = |note: &String| {
            let (name, text) = note.split_once('=').ok_or_else(|| format!("`{note}` is not of the form NAME=TEXT"))?;
            Ok((name.to_owned(), text.into()))
        };
        put(field, Some(Value::Object(notes.iter().map(pair).collect::<Result<_, String>>()?)));
    }
    put("limits", limits(&rights.limit)?);
    put("budget", budgets::read(&rights.budget)?);
    Ok(Value::Object(body).to_string())
}

fn team(
    rights: Rights,
    user_limit: &[String],
    members_budget: &[String],
    [id, org]: [(&str, Option<Value>); 2],
) -> Result<String, String> {
    let (limits, budgets) = (limits(user_limit)?, budgets::read(members_budget)?);
    body(rights, [id, org, ("user_limits", limits), ("members_budget", budgets)])
}

/// Returns what `words` of the form NAME=NUMBER say about limits, if anything; the gateway judges names and figures.
fn limits(words: &[String]) -> Result<Option<Value>, String> {
    if words.is_empty() {
        return Ok(None);
    }
    let figure = |word: &String| {
        let form =
            || format!("`{word}` is not of the form NAME=NUMBER; write for example rpm=600, or rpm= for no limit");
        let (name, figure) = word.split_once('=').ok_or_else(form)?;
        let value = match figure.parse::<u64>() {
            _ if figure.is_empty() => Value::Null,
            Ok(figure) if name != "cost_per_request" => figure.into(),
            _ => figure.into(),
        };
        Ok((name.to_owned(), value))
    };
    words.iter().map(figure).collect::<Result<_, String>>().map(|figures| Some(Value::Object(figures)))
}

fn asked(sources: &Sources, method: &str, of: Of, rest: &str, body: &str) -> Result<Value, String> {
    let kind = match of {
        Of::Keys => "keys",
        Of::Teams => "teams",
        Of::Orgs => "orgs",
    };
    let path = format!("/admin/api/{kind}{rest}");
    control::order(sources, method, &path, body)
}

fn one(sources: &Sources, method: &str, of: Of, id: &str, output: &mut dyn Write) -> io::Result<ExitCode> {
    let Some(id) = word(id) else { return Ok(complain(format!("`{id}` is no id"))) };
    print(asked(sources, method, of, &format!("/{id}"), ""), output)
}

/// Makes one, or changes the one with this id.
fn wished(sources: &Sources, of: Of, id: Option<&str>, body: Result<String, String>) -> Result<Value, String> {
    let rest = match id {
        Some(id) => format!("/{}", word(id).ok_or_else(|| format!("`{id}` is no id"))?),
        None => String::new(),
    };
    asked(sources, "POST", of, &rest, &body?)
}

fn act(sources: &Sources, id: &str, action: &str, output: &mut dyn Write) -> io::Result<ExitCode> {
    let Some(id) = word(id) else { return Ok(complain(format!("`{id}` is no id"))) };
    match asked(sources, "POST", Of::Keys, &format!("/{id}/{action}"), "") {
        Ok(key) => {
            writeln!(output, "{action} {id}: done, {}", key["state"].as_str().unwrap_or_default())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(message) => Ok(complain(message)),
    }
}

fn print(answer: Result<Value, String>, output: &mut dyn Write) -> io::Result<ExitCode> {
    match answer {
        Ok(answer) => writeln!(output, "{answer:#}").map(|()| ExitCode::SUCCESS),
        Err(message) => Ok(complain(message)),
    }
}

/// Prints a new value: alone on standard output, so that it can go straight to where it is needed; JSON has all the rest.
fn fresh(answer: Result<Value, String>, form: Output, output: &mut dyn Write) -> io::Result<ExitCode> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(message) => return Ok(complain(message)),
    };
    match form {
        Output::Json => writeln!(output, "{answer:#}")?,
        Output::Csv => list::write(&[answer], &[("KEY", "id"), ("TEAM", "team"), ("VALUE", "value")], form, output)?,
        Output::Table => {
            writeln!(output, "{}", answer["value"].as_str().unwrap_or_default())?;
            let (id, team) = (answer["id"].as_str().unwrap_or_default(), answer["team"].as_str().unwrap_or_default());
            writeln!(io::stderr(), "client key `{id}` of team `{team}`; keep it now, it is not shown again")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn listed(
    answer: Result<Value, String>,
    columns: &[Column],
    form: Output,
    output: &mut dyn Write,
) -> io::Result<ExitCode> {
    let mut rows = match answer {
        Ok(answer) => answer.as_array().cloned().unwrap_or_default(),
        Err(message) => return Ok(complain(message)),
    };
    if form != Output::Json {
        for row in &mut rows {
            let names = row["models"].as_array().into_iter().flatten().filter_map(Value::as_str);
            row["models"] = names.collect::<Vec<_>>().join(" ").into();
            let limits = row["limits"].as_object().into_iter().flatten();
            let limits = limits.map(|(name, figure)| format!("{name}={}", list::text(figure)));
            row["limits"] = limits.collect::<Vec<_>>().join(" ").into();
            row["budget"] = budgets::in_short(&row["budget"]).into();
        }
    }
    list::write(&rows, columns, form, output)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the hash of the key on the first line of `input`.
fn hash(input: &mut dyn BufRead, output: &mut dyn Write) -> io::Result<ExitCode> {
    let mut key = String::new();
    input.read_line(&mut key)?;
    let key = key.trim();
    if key.len() < 16 || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(complain(
            "a key has 16 characters at least, without spaces; `openssl rand -hex 24` makes a good one",
        ));
    }
    writeln!(output, "blake3:{}", blake3::hash(key.as_bytes()).to_hex())?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_the_one_that_a_file_takes() {
        let mut said = Vec::new();

        hash(&mut &b"0123456789abcdef\n"[..], &mut said).unwrap();

        let expected = format!("blake3:{}\n", blake3::hash(b"0123456789abcdef").to_hex());
        assert_eq!(String::from_utf8(said).unwrap(), expected);
        assert_eq!(hash(&mut &b"short\n"[..], &mut Vec::new()).unwrap(), ExitCode::FAILURE);
    }
}
