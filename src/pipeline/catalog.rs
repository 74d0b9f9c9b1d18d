//! The models that upstreams said they have: a snapshot that probes fill and `GET /v1/models` reads.
//!
//! It only adds names to lists. Whether a name is served is for the routes to say, and a name that stands in no list is
//! tried all the same.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bursar_actors::EndpointId;

use super::route::{PublicModel, Routes};
use crate::call::Caller;
use crate::schema::Operation;

/// A list is read again after this; until then a probe does without it, because some are a megabyte long.
const KEPT: Duration = Duration::from_secs(600);

/// What one endpoint said.
#[derive(Debug, Clone)]
struct List {
    home: u64,
    names: Arc<[String]>,
    at: Instant,
}

/// All lists. Written by one task, read by every worker.
#[derive(Debug, Default)]
pub struct Catalog {
    lists: ArcSwap<BTreeMap<EndpointId, List>>,
}

impl Catalog {
    /// Takes in what `endpoint` at the address `home` said.
    pub fn learn(&self, endpoint: &EndpointId, home: u64, names: Vec<String>, now: Instant) {
        let mut lists = BTreeMap::clone(&self.lists.load());
        lists.insert(endpoint.clone(), List { home, names: names.into(), at: now });
        self.lists.store(Arc::new(lists));
    }

    /// Forgets every endpoint that is not among these.
    pub fn keep_only(&self, endpoints: &[(EndpointId, u64)]) {
        let lists = self.lists.load();
        let stays =
            |id: &EndpointId, list: &List| endpoints.iter().any(|(known, home)| known == id && *home == list.home);
        if lists.iter().any(|(id, list)| !stays(id, list)) {
            let kept = lists.iter().filter(|(id, list)| stays(id, list));
            self.lists.store(Arc::new(kept.map(|(id, list)| (id.clone(), list.clone())).collect()));
        }
    }

    /// Returns whether what `endpoint` said is still to be relied on.
    pub fn is_fresh(&self, endpoint: &EndpointId, home: u64, now: Instant) -> bool {
        let lists = self.lists.load();
        let list = lists.get(endpoint).filter(|list| list.home == home);
        list.is_some_and(|list| now.saturating_duration_since(list.at) < KEPT)
    }

    /// Returns how many models `endpoint` named; `None` where it named none yet.
    pub fn count(&self, endpoint: &EndpointId) -> Option<usize> {
        self.lists.load().get(endpoint).map(|list| list.names.len())
    }

    /// Returns what `caller` may ask for: aliases, what they lead to, what its rights name, and then what the upstreams
    /// said, sorted by provider and name. Each name once.
    pub fn models_of(&self, routes: &Routes, caller: &Caller) -> Vec<PublicModel> {
        let mut models = routes.public_models(caller);
        let mut listed: HashSet<String> = models.iter().map(|model| model.id.clone()).collect();
        let named = caller.scope().and_then(|scope| scope.models.list()).unwrap_or_default();
        for name in named.iter().filter(|name| !name.ends_with('*')) {
            let route = || routes.resolve(Some(name), Operation::ChatCompletions);
            let served = || route().is_some_and(|route| route.serves(caller));
            let Some((provider, _)) = name.split_once('/').filter(|_| served()) else { continue };
            if listed.insert(name.clone()) {
                models.push(PublicModel { id: name.clone(), owned_by: provider.into() });
            }
        }
        if routes.allows_direct() {
            for (provider, name) in self.learned(routes) {
                let id = format!("{provider}/{name}");
                if caller.may_use(&id) && routes.reaches(&provider, caller) && listed.insert(id.clone()) {
                    models.push(PublicModel { id, owned_by: provider });
                }
            }
        }
        models
    }

    /// Returns providers and the names that any of their endpoints knows, as far as the routes still lead there.
    fn learned(&self, routes: &Routes) -> BTreeSet<(String, String)> {
        let lists = self.lists.load();
        let mut learned = BTreeSet::new();
        for destination in routes.probed() {
            let list = lists.get(&destination.endpoint).filter(|list| list.home == destination.home);
            for name in list.iter().flat_map(|list| list.names.iter()) {
                learned.insert((destination.provider.clone(), name.clone()));
            }
        }
        learned
    }
}

#[cfg(test)]
mod tests {
    use bursar_actors::access::{Identity, Names, Scope};
    use bursar_actors::limits::Limits;

    use super::*;
    use crate::config::load::{Sources, load};

    fn routes(text: &str) -> Routes {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("bursar.toml"), text).unwrap();
        let sources = Sources {
            working_dir: folder.path().to_owned(),
            system_file: folder.path().join("none.toml"),
            ..Sources::default()
        };
        Routes::new(&load(&sources).unwrap_or_else(|faults| panic!("{faults}")))
    }

    const TWO: &str = "[providers.b]\nkind = 'openai_compatible'\nkeys = []\n\
        endpoints = [{ base_url = 'http://127.0.0.1:1/v1' }, { base_url = 'http://127.0.0.1:2/v1' }]\n\
        [providers.a]\nkind = 'openai_compatible'\nbase_url = 'http://127.0.0.1:3/v1'\nkeys = []\n\
        [models.alias.m]\ntargets = [{ provider = 'b', model = 'y' }]\n";

    fn ids(catalog: &Catalog, routes: &Routes, caller: &Caller) -> Vec<String> {
        catalog.models_of(routes, caller).into_iter().map(|model| model.id).collect()
    }

    fn caller(scope: Scope) -> Caller {
        let (key, team, tags) = ("k".into(), "t".into(), Arc::default());
        let (limits, user_limits) = (Arc::default(), Limits::default());
        Caller::of(Arc::new(Identity { key, team, org: None, scope, limits, user_limits, until: None, tags }))
    }

    fn learned(routes: &Routes) -> Catalog {
        let catalog = Catalog::default();
        for destination in routes.probed() {
            let own = format!("of-{}", destination.endpoint);
            let names = vec![own, "x".to_owned(), "y".to_owned()];
            catalog.learn(&destination.endpoint, destination.home, names, Instant::now());
        }
        catalog
    }

    #[test]
    fn what_upstreams_said_follows_the_aliases_sorted_and_once() {
        let routes = routes(TWO);
        let catalog = learned(&routes);

        assert_eq!(
            ids(&catalog, &routes, &Caller::default()),
            ["m", "b/y", "a/of-a", "a/x", "a/y", "b/of-b_1", "b/of-b_2", "b/x"]
        );
    }

    #[test]
    fn a_caller_sees_what_it_may_use() {
        let routes = routes(TWO);
        let catalog = learned(&routes);
        let models = Names::of(["m", "a/x", "b/new"].map(str::to_owned));

        assert_eq!(ids(&catalog, &routes, &caller(Scope { models, ..Scope::default() })), ["m", "a/x", "b/new"]);
    }

    #[test]
    fn a_caller_sees_what_its_providers_and_endpoints_serve() {
        let routes = routes(TWO);
        let catalog = learned(&routes);
        let names = |name: &str| Names::of([name.to_owned()]);
        let seen = |scope| ids(&catalog, &routes, &caller(scope));

        assert_eq!(seen(Scope { providers: names("a"), ..Scope::default() }), ["a/of-a", "a/x", "a/y"]);
        assert_eq!(
            seen(Scope { endpoints: names("b_*"), models: names("b/y"), ..Scope::default() }),
            ["b/y"],
            "by name and by place"
        );
        assert_eq!(seen(Scope { regions: names("eu"), ..Scope::default() }), [""; 0], "nobody says where it is");
    }

    #[test]
    fn where_only_aliases_may_be_asked_for_nothing_else_is_listed() {
        let routes = routes(&TWO.replace("[models.alias.m]", "[models]\nallow_direct = false\n[models.alias.m]"));

        assert_eq!(ids(&learned(&routes), &routes, &Caller::default()), ["m"]);
    }

    #[test]
    fn what_an_endpoint_said_at_another_address_is_neither_shown_nor_kept() {
        let (before, after) = (routes(TWO), routes(&TWO.replace(":3/", ":4/")));
        let catalog = learned(&before);
        let endpoints: Vec<_> = after.probed().map(|to| (to.endpoint.clone(), to.home)).collect();

        assert!(!ids(&catalog, &after, &Caller::default()).contains(&"a/x".to_owned()));
        assert_eq!(catalog.count(&"a".into()), Some(3));
        catalog.keep_only(&endpoints);

        assert_eq!((catalog.count(&"a".into()), catalog.count(&"b_1".into())), (None, Some(3)));
    }

    #[test]
    fn a_list_is_fresh_for_a_while_and_only_at_its_address() {
        let (catalog, now, id) = (Catalog::default(), Instant::now(), EndpointId::from("a"));

        assert!(!catalog.is_fresh(&id, 1, now));
        catalog.learn(&id, 1, vec![], now);

        assert!(catalog.is_fresh(&id, 1, now + KEPT - Duration::from_secs(1)));
        assert!(!catalog.is_fresh(&id, 1, now + KEPT));
        assert!(!catalog.is_fresh(&id, 2, now));
    }
}
