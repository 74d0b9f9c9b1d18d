//! `bursar users`: who administrates, by the running gateway.

use std::io::{self, BufRead, Write};
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::directory::{Form, word};
use super::list::{self, Column};
use super::{Output, complain, control};
use crate::config::load::Sources;

const COLUMNS: [Column; 7] = [
    ("USER", "id"),
    ("ROLE", "role"),
    ("TEAM", "team"),
    ("DISABLED", "disabled"),
    ("PASSWORD", "has_password"),
    ("TOKENS", "tokens"),
    ("CREATED (s since 1970)", "created_unix_s"),
];

#[derive(Subcommand)]
pub enum UsersCommand {
    /// Make a user
    Create {
        /// Its id, as the books will call it
        id: String,
        /// viewer, auditor, operator, admin or team_admin
        #[arg(long)]
        role: String,
        /// The one team of a team_admin
        #[arg(long)]
        team: Option<String>,
    },
    /// List who administrates
    List {
        #[command(flatten)]
        form: Form,
    },
    /// Show all that is known of one
    Show { id: String },
    /// Give one another role
    Assign {
        id: String,
        /// viewer, auditor, operator, admin or team_admin
        #[arg(long)]
        role: String,
        /// The one team of a team_admin
        #[arg(long)]
        team: Option<String>,
    },
    /// Shut one out, at once and everywhere
    Disable { id: String },
    /// Let one in again
    Enable { id: String },
    /// Remove one with all tokens
    Delete { id: String },
    /// Make a token for the API and print it, this once; or take one away
    Token {
        id: String,
        /// Take away the token with this public part instead
        #[arg(long, value_name = "PUBLIC PART")]
        revoke: Option<String>,
    },
    /// Set a password, read from standard input; ends the user's sessions
    Password { id: String },
    /// Print a link that signs a browser in, once and within 15 minutes
    Link {
        /// Whom; the holder of the first token where nobody is named
        #[arg(default_value = "admin")]
        id: String,
    },
}

/// Runs `bursar users`.
pub fn run(command: UsersCommand, sources: &Sources, output: &mut dyn Write) -> io::Result<ExitCode> {
    let ask = |method: &str, path: &str, body: &Value| {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        control::order(sources, method, &format!("/admin/api/users{path}"), &body)
    };
    let about = |method: &str, id: &str, rest: &str, body: &Value| match word(id) {
        Some(id) => ask(method, &format!("/{id}{rest}"), body),
        None => Err(format!("`{id}` is no id; `bursar users list` shows them")),
    };
    let nothing = Value::Null;
    let answer = match command {
        UsersCommand::List { form } => return listed(ask("GET", "", &nothing), form.output, output),
        UsersCommand::Token { id, revoke: None } => return token(about("POST", &id, "/tokens", &nothing), output),
        UsersCommand::Link { id } => return link(sources, about("POST", &id, "/link", &nothing), output),
        UsersCommand::Create { id, role, team } => ask("POST", "", &json!({ "id": id, "role": role, "team": team })),
        UsersCommand::Show { id } => about("GET", &id, "", &nothing),
        UsersCommand::Assign { id, role, team } => about("POST", &id, "", &json!({ "role": role, "team": team })),
        UsersCommand::Disable { id } => about("POST", &id, "/disable", &nothing),
        UsersCommand::Enable { id } => about("POST", &id, "/enable", &nothing),
        UsersCommand::Delete { id } => about("DELETE", &id, "", &nothing),
        UsersCommand::Token { id, revoke: Some(public) } => match word(&public) {
            Some(public) => about("DELETE", &id, &format!("/tokens/{public}"), &nothing),
            None => Err(format!("`{public}` is no public part of a token; `bursar users show {id}` lists them")),
        },
        UsersCommand::Password { id } => {
            let mut password = String::new();
            io::stdin().lock().read_line(&mut password)?;
            about("POST", &id, "/password", &json!({ "password": password.trim_end_matches(['\r', '\n']) }))
        }
    };
    match answer {
        Ok(user) => writeln!(output, "{user:#}").map(|()| ExitCode::SUCCESS),
        Err(message) => Ok(complain(message)),
    }
}

fn listed(answer: Result<Value, String>, form: Output, output: &mut dyn Write) -> io::Result<ExitCode> {
    let mut rows = match answer {
        Ok(answer) => answer.as_array().cloned().unwrap_or_default(),
        Err(message) => return Ok(complain(message)),
    };
    if form != Output::Json {
        for row in &mut rows {
            row["tokens"] = row["tokens"].as_array().map_or(0, Vec::len).into();
        }
    }
    list::write(&rows, &COLUMNS, form, output)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a token alone on standard output, so that it can go straight to where it is needed.
fn token(answer: Result<Value, String>, output: &mut dyn Write) -> io::Result<ExitCode> {
    let user = match answer {
        Ok(user) => user,
        Err(message) => return Ok(complain(message)),
    };
    writeln!(output, "{}", user["token"].as_str().unwrap_or_default())?;
    let id = user["id"].as_str().unwrap_or_default();
    writeln!(io::stderr(), "token of user `{id}`; keep it now, it is not shown again")?;
    Ok(ExitCode::SUCCESS)
}

fn link(sources: &Sources, answer: Result<Value, String>, output: &mut dyn Write) -> io::Result<ExitCode> {
    let answered = answer.and_then(|link| {
        let status = control::order(sources, "GET", "/admin/api/status", "")?;
        Ok((link, status))
    });
    let (link, status) = match answered {
        Ok(answered) => answered,
        Err(message) => return Ok(complain(message)),
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    writeln!(output, "http://{}{}", text(&status["listen"]), text(&link["path"]))?;
    Ok(ExitCode::SUCCESS)
}
