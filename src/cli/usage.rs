//! `bursar usage`: what was used and spent, by the running gateway.

mod bill;
mod exact;
mod formats;
mod matching;
mod reconcile;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::list::{self, Column};
use super::{Output, complain, control};
use crate::config::load::Sources;

/// Headings of what usage can be told apart by. All tags have one.
const DIMENSIONS: [Column; 10] = [
    ("DAY (UTC)", "day"),
    ("MONTH (UTC)", "month"),
    ("ORGANISATION", "org"),
    ("TEAM", "team"),
    ("KEY", "key"),
    ("USER", "user"),
    ("ALIAS", "alias"),
    ("PROVIDER", "provider"),
    ("MODEL", "model"),
    ("PROVIDER KEY", "provider_key"),
];
const FIGURES: [Column; 8] = [
    ("REQUESTS", "requests"),
    ("FAILED (REQUESTS)", "failed"),
    ("PROMPT (TOKENS)", "prompt_tokens"),
    ("CACHED (TOKENS)", "cached_tokens"),
    ("COMPLETION (TOKENS)", "completion_tokens"),
    ("COST (USD)", "cost_usd"),
    ("ESTIMATED (USD)", "estimated_usd"),
    ("WITHOUT PRICE (REQUESTS)", "unpriced_requests"),
];
/// Fields under which the values of tags stand in a row of a list, in their order.
const TAGS: [&str; 4] = ["tag_1", "tag_2", "tag_3", "tag_4"];

/// Lists what was used and spent, or does what the command says.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Usage {
    #[command(flatten)]
    question: Question,
    #[command(subcommand)]
    command: Option<UsageCommand>,
}

/// What is listed.
#[derive(Args)]
struct Question {
    /// What it is told apart by, split at commas: day, month, org, team, key, user, alias, provider, model, provider_key,
    /// tag:<name>
    #[arg(long, value_delimiter = ',', value_name = "LIST", default_value = "team,model")]
    by: Vec<String>,
    /// How long until now, or until --to
    #[arg(long, value_name = "TIME", default_value = "30d", conflicts_with = "from")]
    last: String,
    /// Since when: 2026-11-01 or 2026-11-01T12:00:00Z
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Before when; now where nothing is said
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Only of this organisation
    #[arg(long, value_name = "ID")]
    org: Option<String>,
    /// Only of this team
    #[arg(long, value_name = "ID")]
    team: Option<String>,
    /// Only of this client key
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    /// Only of the end user with this pseudonym
    #[arg(long, value_name = "PSEUDONYM")]
    user: Option<String>,
    /// Only by this alias
    #[arg(long, value_name = "NAME")]
    alias: Option<String>,
    /// Only by this provider
    #[arg(long, value_name = "ID")]
    provider: Option<String>,
    /// Only by this model, as its provider calls it
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Only with this tag
    #[arg(long, value_name = "NAME=VALUE")]
    tag: Option<String>,
    /// Form of the list
    #[arg(long, visible_alias = "format", value_enum, default_value_t)]
    output: Output,
}

#[derive(Subcommand)]
enum UsageCommand {
    /// Hold a provider's bill, or its export of usage, against what Bursar counted
    ///
    /// Exit code: 0 where both sums agree, 2 where they differ by more than the tolerance, 1 where they cannot be compared.
    Reconcile(reconcile::Reconcile),
}

/// Runs `bursar usage`.
pub fn run(usage: &Usage, sources: &Sources, output: &mut dyn Write) -> io::Result<ExitCode> {
    let question = match &usage.command {
        Some(UsageCommand::Reconcile(command)) => return reconcile::run(command, sources, output),
        None => &usage.question,
    };
    let mut rows = match control::get(sources, &question.path()) {
        Ok(answer) => answer.as_array().cloned().unwrap_or_default(),
        Err(message) => return Ok(complain(message)),
    };
    if question.output != Output::Json {
        question.name_tags(&mut rows);
    }
    list::write(&rows, &question.columns(), question.output, output)?;
    Ok(ExitCode::SUCCESS)
}

impl Question {
    fn path(&self) -> String {
        let by = self.by.join(",");
        // Where it is said since when, the default for how long has no meaning.
        let last = self.from.is_none().then_some(self.last.as_str());
        let asked = [
            ("by", Some(by.as_str())),
            ("last", last),
            ("from", self.from.as_deref()),
            ("to", self.to.as_deref()),
            ("org", self.org.as_deref()),
            ("team", self.team.as_deref()),
            ("key", self.key.as_deref()),
            ("user", self.user.as_deref()),
            ("alias", self.alias.as_deref()),
            ("provider", self.provider.as_deref()),
            ("model", self.model.as_deref()),
            ("tag", self.tag.as_deref()),
        ];
        let asked = asked.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let asked: Vec<String> = asked.map(|(name, value)| format!("{name}={}", control::escaped(value))).collect();
        format!("/admin/api/usage?{}", asked.join("&"))
    }

    fn tags(&self) -> impl Iterator<Item = (&'static str, &str)> {
        TAGS.into_iter().zip(self.by.iter().map(|name| name.trim()).filter(|name| name.starts_with("tag:")))
    }

    /// Puts the values of tags where the columns look for them: a tag's name may be anything.
    fn name_tags(&self, rows: &mut [Value]) {
        for row in rows {
            for (field, tag) in self.tags() {
                row[field] = row[tag].take();
            }
        }
    }

    fn columns(&self) -> Vec<Column> {
        let mut tags = self.tags().map(|(field, _)| ("TAG", field));
        let column = |name: &String| {
            let known = DIMENSIONS.into_iter().find(|(_, field)| field == &name.trim());
            known.or_else(|| name.trim().starts_with("tag:").then(|| tags.next()).flatten())
        };
        self.by.iter().filter_map(column).chain(FIGURES).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        usage: Usage,
    }

    fn question(words: &[&str]) -> Question {
        Line::try_parse_from([&["usage"], words].concat()).unwrap().usage.question
    }

    #[test]
    fn what_is_said_is_asked() {
        let asked = question(&["--by", "team,tag:cost center", "--from", "2026-11-01", "--model", "a/b&c"]);

        let by = "by=team%2Ctag%3Acost%20center";
        assert_eq!(asked.path(), format!("/admin/api/usage?{by}&from=2026-11-01&model=a%2Fb%26c"));
        assert_eq!(question(&[]).path(), "/admin/api/usage?by=team%2Cmodel&last=30d");
        let both = ["usage", "--from", "2026-11-01", "--last", "3d"];
        assert!(Line::try_parse_from(both).is_err());
    }

    #[test]
    fn every_dimension_has_its_column_and_tags_stand_in_their_order() {
        let asked = question(&["--by", "tag:env,day,tag:team"]);
        let mut rows = [json!({ "tag:env": "prod", "day": "2026-11-01", "tag:team": "x", "requests": 3 })];

        asked.name_tags(&mut rows);

        let columns = asked.columns();
        assert_eq!(columns[..4], [("TAG", "tag_1"), ("DAY (UTC)", "day"), ("TAG", "tag_2"), ("REQUESTS", "requests")]);
        assert_eq!((&rows[0]["tag_1"], &rows[0]["tag_2"]), (&json!("prod"), &json!("x")));
    }
}
