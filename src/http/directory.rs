//! Organisations, teams and client keys by the admin API.
//!
//! What is asked is written into the books before it is done, and what it came to afterwards; the key itself never is. A
//! key is disabled or revoked even where the books cannot be written: in an emergency a full disk must not keep it alive.

mod budgets;
mod limits;

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use bursar_actors::access::{
    Act, ClientKey, Denied, Done, Holder, Kind, LimitChange, List, Names, Network, Notes, Order, Owner, Scope, Show,
    Wish,
};
use bursar_actors::audit::record::{Phase, Record};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::authorize::{Asked, invalid};
use super::gateway::Gateway;
use crate::call::unix_s;
use crate::config::{Config, units};
use crate::error::{Cause, GatewayError};

/// How long the old value of a rotated key stays good where nobody says otherwise.
const OVERLAP: &str = "24h";

/// Query of the list.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ListQuery {
    team: Option<String>,
}

/// What a holder shall be: all fields of all kinds.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Fields {
    id: Option<String>,
    name: Option<String>,
    #[serde(deserialize_with = "said")]
    #[schemars(with = "Option<String>")]
    org: Option<Option<String>>,
    team: Option<String>,
    #[serde(deserialize_with = "said")]
    #[schemars(with = "Option<Vec<String>>")]
    models: Option<Names>,
    #[serde(deserialize_with = "said")]
    #[schemars(with = "Option<Vec<String>>")]
    providers: Option<Names>,
    #[serde(deserialize_with = "said")]
    #[schemars(with = "Option<Vec<String>>")]
    regions: Option<Names>,
    #[serde(deserialize_with = "said")]
    #[schemars(with = "Option<Vec<String>>")]
    endpoints: Option<Names>,
    #[serde(deserialize_with = "said")]
    #[schemars(with = "Option<Vec<String>>")]
    networks: Option<Option<Vec<Network>>>,
    #[serde(deserialize_with = "said")]
    #[schemars(schema_with = "limits::schema")]
    limits: Option<Value>,
    #[serde(deserialize_with = "said")]
    #[schemars(schema_with = "limits::schema")]
    user_limits: Option<Value>,
    #[serde(deserialize_with = "said")]
    #[schemars(schema_with = "budgets::schema")]
    budget: Option<Value>,
    #[serde(deserialize_with = "said")]
    #[schemars(schema_with = "budgets::schema")]
    members_budget: Option<Value>,
    #[serde(deserialize_with = "said")]
    #[schemars(with = "Option<String>")]
    expires: Option<Option<String>>,
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    tags: Option<Notes>,
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    metadata: Option<Notes>,
}

/// Body of a rotation.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Rotation {
    overlap: Option<String>,
}

/// `null` is something that was said.
fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Fields {
    fn read(asked: &Asked, kind: Kind) -> Result<Self, GatewayError> {
        let fields: Self = asked.fields()?;
        let foreign = [
            ("org", fields.org.is_some() && kind != Kind::Team),
            ("team", fields.team.is_some() && kind != Kind::Key),
            ("expires", fields.expires.is_some() && kind != Kind::Key),
            ("user_limits", fields.user_limits.is_some() && kind != Kind::Team),
            ("members_budget", fields.members_budget.is_some() && kind != Kind::Team),
        ];
        match foreign.iter().find(|(_, is_foreign)| *is_foreign) {
            Some((field, _)) => Err(invalid(format!(
                "the body has `{field}`, which has no place here; known: id, name, {}models, providers, regions, \
                 endpoints, networks, limits, budget, tags, metadata",
                match kind {
                    Kind::Org => "",
                    Kind::Team => "org, user_limits, members_budget, ",
                    Kind::Key => "team, expires, ",
                },
            ))),
            None => Ok(fields),
        }
    }

    fn wish(self, gateway: &Gateway) -> Result<Wish, GatewayError> {
        let moment = |text: String| units::time(&text).map_err(|why| invalid(format!("expires: {why}")));
        Ok(Wish {
            name: self.name,
            org: self.org.map(|org| org.map(Into::into)),
            team: self.team.map(Into::into),
            models: self.models,
            providers: self.providers,
            regions: self.regions,
            endpoints: self.endpoints,
            networks: self.networks,
            limits: limits::read("limits", self.limits).map_err(invalid)?,
            user_limits: limits::read("user_limits", self.user_limits).map_err(invalid)?,
            budgets: budgets::read("budget", self.budget, gateway)?,
            members_budgets: budgets::read("members_budget", self.members_budget, gateway)?,
            expires: self.expires.map(|expires| expires.map(moment).transpose()).transpose()?,
            tags: self.tags,
            metadata: self.metadata,
        })
    }
}

/// Lists what there is, with `?team=` the client keys of one team.
pub async fn list(asked: Asked, kind: Kind) -> Result<HttpResponse, GatewayError> {
    let ListQuery { team } = asked.query()?;
    if team.is_some() && kind != Kind::Key {
        return Err(invalid(format!("a list of {}s takes no `team`", kind.as_str())));
    }
    let within = asked.admin.role.team().cloned();
    let holders = asked.worker.gateway.directory.send(List { kind, within }).await;
    let holders = holders.map_err(|_| GatewayError::ShuttingDown)?;
    let of_team = |holder: &&Holder| match (holder, &team) {
        (Holder::Key(key), Some(team)) => key.team.as_str() == team,
        _ => true,
    };
    let config = asked.worker.gateway.config.load();
    let shown: Vec<Value> = holders.iter().filter(of_team).map(|holder| shown(holder, &config)).collect();
    Ok(HttpResponse::Ok().json(shown))
}

/// Shows one.
pub async fn show(asked: Asked, kind: Kind) -> Result<HttpResponse, GatewayError> {
    let show = Show { kind, id: asked.part("id").to_owned(), within: asked.admin.role.team().cloned() };
    let found = asked.worker.gateway.directory.send(show).await.map_err(|_| GatewayError::ShuttingDown)?;
    let config = asked.worker.gateway.config.load();
    Ok(HttpResponse::Ok().json(shown(&found.map_err(refusal)?, &config)))
}

/// Makes one. A new client key is in the answer, and nowhere else ever again.
pub async fn create(asked: Asked, kind: Kind) -> Result<HttpResponse, GatewayError> {
    let mut fields = Fields::read(&asked, kind)?;
    let id = fields.id.take().unwrap_or_default();
    if id.is_empty() && kind != Kind::Key {
        return Err(invalid(format!("a new {} needs an `id`", kind.as_str())));
    }
    let wish = fields.wish(&asked.worker.gateway)?;
    carry_out(&asked, kind, id, Act::Create(wish)).await
}

/// Changes one: what the body does not name stays as it is.
pub async fn update(asked: Asked, kind: Kind) -> Result<HttpResponse, GatewayError> {
    let fields = Fields::read(&asked, kind)?;
    if fields.id.is_some() || fields.team.is_some() {
        return Err(invalid("neither the id nor the team can be changed; create another".to_owned()));
    }
    let (id, wish) = (asked.part("id").to_owned(), fields.wish(&asked.worker.gateway)?);
    carry_out(&asked, kind, id, Act::Update(wish)).await
}

/// Removes one.
pub async fn delete(asked: Asked, kind: Kind) -> Result<HttpResponse, GatewayError> {
    carry_out(&asked, kind, asked.part("id").to_owned(), Act::Delete).await
}

/// Rotates, disables, enables or revokes a client key.
pub async fn act(asked: Asked) -> Result<HttpResponse, GatewayError> {
    let act = match asked.part("action") {
        "rotate" => {
            let rotation: Rotation = if asked.body.is_empty() { Rotation::default() } else { asked.fields()? };
            let overlap = units::duration(rotation.overlap.as_deref().unwrap_or(OVERLAP));
            Act::Rotate { overlap_s: overlap.map_err(|why| invalid(format!("overlap: {why}")))?.as_secs() }
        }
        "disable" => Act::Disable,
        "enable" => Act::Enable,
        "revoke" => Act::Revoke,
        other => {
            return Err(invalid(format!(
                "`{other}` is nothing that can be done; known: rotate, disable, enable, revoke"
            )));
        }
    };
    carry_out(&asked, Kind::Key, asked.part("id").to_owned(), act).await
}

fn changes_budgets(act: &Act) -> bool {
    match act {
        Act::Create(wish) | Act::Update(wish) => wish.budgets.is_some() || wish.members_budgets.is_some(),
        Act::Delete => true,
        _ => false,
    }
}

async fn carry_out(asked: &Asked, kind: Kind, id: String, act: Act) -> Result<HttpResponse, GatewayError> {
    let gateway = &asked.worker.gateway;
    let action = format!("{}.{}", plural(kind), word(&act));
    let urgent = matches!(act, Act::Disable | Act::Revoke);
    let changes_budgets = changes_budgets(&act);
    let within = asked.admin.role.team().cloned();
    let note = format!("{} {id}{}", kind.as_str(), wished(&act));
    if let (Some(books), false) = (&gateway.books, urgent) {
        let mut record = books.by_hand(Phase::Admin, &asked.admin.id, &action);
        record.note = Some(note.as_str().into());
        books.note(record).await.map_err(|why| GatewayError::NotRecorded { why: why.to_string() })?;
    }
    let order = Order { kind, id, act, within, now_s: unix_s().unsigned_abs() };
    let done = gateway.directory.send(order).await.map_err(|_| GatewayError::ShuttingDown)?;
    if let Some(books) = &gateway.books {
        let record = books.by_hand(Phase::Admin, &asked.admin.id, &action);
        let team = done.as_ref().ok().and_then(|done| team_of(&done.holder));
        let (outcome, note) = match &done {
            Ok(done) => ("done", format!("{} {}", kind.as_str(), id_of(&done.holder))),
            Err(_) => ("failed", note),
        };
        books.tell(Record {
            outcome: Some(outcome.into()),
            note: Some(note.into()),
            team: team.map(Into::into),
            ..record
        });
    }
    let Done { holder, value } = done.map_err(refusal)?;
    if changes_budgets {
        gateway.renew_budgets().await?;
    }
    let mut answer = shown(&holder, &gateway.config.load());
    if let Some(value) = value {
        answer["value"] = value.expose().into();
    }
    Ok(HttpResponse::Ok().json(answer))
}

fn refusal(denied: Denied) -> GatewayError {
    let cause = match &denied {
        Denied::NotFound(..) => Cause::Missing,
        Denied::Taken(..) | Denied::OfFile(..) | Denied::Conflict(_) => Cause::Conflict,
        Denied::Invalid(_) => Cause::Invalid,
        Denied::NotStored(_) => Cause::Failed,
    };
    GatewayError::Refused { cause, faults: vec![denied.to_string()] }
}

fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::Org => "orgs",
        Kind::Team => "teams",
        Kind::Key => "keys",
    }
}

fn word(act: &Act) -> &'static str {
    match act {
        Act::Create(_) => "create",
        Act::Update(_) => "update",
        Act::Delete => "delete",
        Act::Rotate { .. } => "rotate",
        Act::Disable => "disable",
        Act::Enable => "enable",
        Act::Revoke => "revoke",
    }
}

/// Says what was wished for, for the books: rights by their values, notes by their names.
fn wished(act: &Act) -> String {
    let wish = match act {
        Act::Create(wish) | Act::Update(wish) => wish,
        Act::Rotate { overlap_s } => return format!(", the old value good for {overlap_s} s more"),
        _ => return String::new(),
    };
    let mut words = String::new();
    let mut say = |what: &str, value: Option<String>| {
        if let Some(value) = value {
            words.push_str(&format!("; {what} = {value}"));
        }
    };
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
    say("team", wish.team.as_ref().map(ToString::to_string));
    say("org", wish.org.as_ref().map(|org| or_none(org.as_ref().map(ToString::to_string))));
    say("models", wish.models.as_ref().map(ToString::to_string));
    say("providers", wish.providers.as_ref().map(ToString::to_string));
    say("regions", wish.regions.as_ref().map(ToString::to_string));
    say("endpoints", wish.endpoints.as_ref().map(ToString::to_string));
    say("networks", wish.networks.as_ref().map(|list| or_none(list.as_deref().map(addresses))));
    let list = |changes: &[LimitChange]| {
        (!changes.is_empty()).then(|| changes.iter().map(limits::in_words).collect::<Vec<_>>().join(", "))
    };
    say("limits", list(&wish.limits));
    say("user_limits", list(&wish.user_limits));
    say("budget", wish.budgets.as_deref().map(budgets::in_words));
    say("members_budget", wish.members_budgets.as_deref().map(budgets::in_words));
    say("expires", wish.expires.map(|expires| or_none(expires.map(units::time_text))));
    let names = |notes: &Notes| notes.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    say("tags", wish.tags.as_ref().map(names));
    say("metadata", wish.metadata.as_ref().map(names));
    words
}

fn addresses(networks: &[Network]) -> String {
    networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn id_of(holder: &Holder) -> &str {
    match holder {
        Holder::Org(org) => org.id.as_str(),
        Holder::Team(team) => team.id.as_str(),
        Holder::Key(key) => &key.id,
    }
}

fn team_of(holder: &Holder) -> Option<&str> {
    match holder {
        Holder::Org(_) => None,
        Holder::Team(team) => Some(team.id.as_str()),
        Holder::Key(key) => Some(key.team.as_str()),
    }
}

/// Returns a holder as the admin API shows it: everything but the hashes.
fn shown(holder: &Holder, config: &Config) -> Value {
    let (mut shown, scope, limits, name, tags, metadata, owner) = match holder {
        Holder::Org(org) => {
            let own = json!({ "id": org.id });
            (own, &org.scope, &org.limits, &org.name, &org.tags, &org.metadata, &org.owner)
        }
        Holder::Team(team) => {
            let own = json!({
                "id": team.id,
                "org": team.org,
                "user_limits": limits::shown(&team.user_limits),
                "members_budget": budgets::shown(&budgets::of_members(team, config)),
            });
            (own, &team.scope, &team.limits, &team.name, &team.tags, &team.metadata, &team.owner)
        }
        Holder::Key(key) => (key_shown(key), &key.scope, &key.limits, &key.name, &key.tags, &key.metadata, &key.owner),
    };
    let names = |names: &Names| json!(names.list().unwrap_or(&["*".to_owned()]));
    let Scope { models, providers, regions, endpoints, networks } = scope;
    shown["name"] = name.as_str().into();
    shown["models"] = names(models);
    shown["providers"] = names(providers);
    shown["regions"] = names(regions);
    shown["endpoints"] = names(endpoints);
    shown["networks"] = json!(networks);
    shown["limits"] = limits::shown(limits);
    shown["budget"] = budgets::shown(&budgets::of(holder, config));
    shown["tags"] = json!(tags);
    shown["metadata"] = json!(metadata);
    shown["owner"] = owner.to_string().into();
    shown["read_only"] = matches!(owner, Owner::File(_)).into();
    shown
}

fn key_shown(key: &ClientKey) -> Value {
    let now_s = unix_s().unsigned_abs();
    let older = key.secrets.iter().filter_map(|secret| secret.until).filter(|until| *until > now_s).max();
    json!({
        "id": key.id,
        "team": key.team,
        "public": key.public,
        "state": key.standing(now_s).as_str(),
        "expires": key.expires.map(units::time_text),
        "old_value_until": older.map(units::time_text),
        "created": Some(key.created).filter(|created| *created > 0).map(units::time_text),
    })
}
