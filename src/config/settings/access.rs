//! The settings of `[orgs]`, `[teams]`, `[[client_keys]]` and `[auth]`.

use bursar_actors::access::{Notes, Scope};

use super::List;
use crate::config::callers::Callers;
use crate::config::layer::{child, item};
use crate::config::oidc::{Issuer, Mapping};
use crate::config::{Config, units};

impl List<'_> {
    pub(super) fn access(&mut self, config: &Config) {
        for org in config.orgs.values() {
            let path = child("orgs", org.id.as_str());
            self.put(&child(&path, "name"), &org.name);
            self.scope(&path, &org.scope);
            self.limits(&child(&path, "limits"), &org.limits);
            self.notes(&path, &org.tags, &org.metadata);
        }
        for team in config.teams.values() {
            let path = child("teams", team.id.as_str());
            self.put(&child(&path, "name"), &team.name);
            self.optional(&child(&path, "org"), team.org.as_ref());
            self.scope(&path, &team.scope);
            self.limits(&child(&path, "limits"), &team.limits);
            self.limits(&child(&path, "user_limits"), &team.user_limits);
            self.notes(&path, &team.tags, &team.metadata);
        }
        for key in &config.client_keys {
            let path = child("client_keys", &key.id);
            let written = [child(&path, "value"), child(&path, "hash")];
            let written = written.iter().find(|path| config.origins.contains_key(*path)).unwrap_or(&written[0]);
            for secret in &key.secrets {
                self.secret(written, written, &secret.hash);
            }
            self.put(&child(&path, "name"), &key.name);
            self.put(&child(&path, "team"), &key.team);
            self.optional(&child(&path, "expires"), key.expires.map(units::time_text));
            self.scope(&path, &key.scope);
            self.limits(&child(&path, "limits"), &key.limits);
            self.notes(&path, &key.tags, &key.metadata);
        }
        let Callers { accept, end_user, session } = &config.auth.callers;
        self.put("auth.require_key", config.auth.require_key);
        self.words("auth.accept", accept);
        self.words("auth.end_user", end_user);
        self.words("auth.session", session);
        for (index, issuer) in config.auth.oidc.iter().enumerate() {
            self.issuer(&item("auth.oidc", index), issuer);
        }
    }

    fn issuer(&mut self, path: &str, issuer: &Issuer) {
        self.put(&child(path, "issuer"), &issuer.issuer);
        self.words(&child(path, "audience"), &issuer.audiences);
        self.put(&child(path, "jwks"), issuer.source.label());
        let algorithms: Vec<&str> = issuer.algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
        self.words(&child(path, "algorithms"), &algorithms);
        for (what, mapping) in [("team", &issuer.team), ("role", &issuer.role)] {
            let Some(Mapping { claim, map }) = mapping else { continue };
            self.put(&child(path, &format!("{what}_claim")), claim);
            for (value, meaning) in map {
                self.put(&child(&child(path, &format!("{what}_map")), value), meaning);
            }
        }
        self.put(&child(path, "user_claim"), &issuer.user_claim);
        self.time(path, "leeway", issuer.leeway);
    }

    fn scope(&mut self, path: &str, scope: &Scope) {
        let Scope { models, providers, regions, endpoints, networks } = scope;
        let lists = [("models", models), ("providers", providers), ("regions", regions), ("endpoints", endpoints)];
        for (key, names) in lists {
            self.words(&child(path, key), names.list().unwrap_or(&["*".to_owned()]));
        }
        if let Some(networks) = networks {
            self.words(&child(path, "networks"), networks);
        }
    }

    fn notes(&mut self, path: &str, tags: &Notes, metadata: &Notes) {
        for (key, notes) in [("tags", tags), ("metadata", metadata)] {
            for (name, text) in notes {
                self.put(&child(&child(path, key), name), text);
            }
        }
    }
}
