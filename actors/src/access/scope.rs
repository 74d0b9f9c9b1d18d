//! What a holder may use. Scopes are only ever made narrower on the way from organisation to key.

// `core::net` has addresses and no sockets.
use core::net::IpAddr;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::network::Network;

/// Names that are allowed: all of them, or what a list covers. An element that ends in `*` covers every name that begins
/// like it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Option<Vec<String>>", into = "Option<Vec<String>>")]
pub struct Names(Option<Arc<[String]>>);

impl Names {
    /// All names.
    pub const ALL: Self = Self(None);

    /// Returns the names that the list covers; `["*"]` covers all.
    pub fn of(list: impl IntoIterator<Item = String>) -> Self {
        let list: Vec<String> = list.into_iter().collect();
        if list.iter().any(|name| name == "*") { Self::ALL } else { Self(Some(list.into())) }
    }

    /// Returns the list, or `None` where all names are allowed.
    pub fn list(&self) -> Option<&[String]> {
        self.0.as_deref()
    }

    /// Returns whether `name` is allowed.
    pub fn allow(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|list| list.iter().any(|pattern| covers(pattern, name)))
    }

    /// Returns what both allow.
    pub fn within(&self, parent: &Self) -> Self {
        let (Some(own), Some(parents)) = (&self.0, &parent.0) else {
            return if self.0.is_none() { parent.clone() } else { self.clone() };
        };
        let mut both: Vec<String> = Vec::new();
        for name in own.iter() {
            let narrowest = parents.iter().filter_map(|parents| narrower(name, parents));
            for narrow in narrowest {
                if !both.iter().any(|known| known == narrow) {
                    both.push(narrow.to_owned());
                }
            }
        }
        Self(Some(both.into()))
    }

    /// Returns the first name that `parent` does not allow as a whole; `*` where all are asked for of a parent that has a
    /// list.
    pub fn exceeding(&self, parent: &Self) -> Option<&str> {
        let parents = parent.0.as_ref()?;
        let Some(own) = &self.0 else { return Some("*") };
        own.iter().map(String::as_str).find(|name| !parents.iter().any(|pattern| covers(pattern, name)))
    }
}

impl From<Option<Vec<String>>> for Names {
    fn from(list: Option<Vec<String>>) -> Self {
        list.map_or(Self::ALL, Self::of)
    }
}

impl From<Names> for Option<Vec<String>> {
    fn from(names: Names) -> Self {
        names.0.map(|list| list.to_vec())
    }
}

/// As people read it: `*`, or the list.
impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.as_ref().map_or_else(|| "*".to_owned(), |list| list.join(", ")))
    }
}

/// Returns whether everything that `name`, a pattern itself perhaps, stands for is covered by `pattern`.
fn covers(pattern: &str, name: &str) -> bool {
    pattern == name || pattern.strip_suffix('*').is_some_and(|beginning| name.starts_with(beginning))
}

/// Returns the narrower of two patterns, which are nested or have nothing in common.
fn narrower<'n>(one: &'n str, other: &'n str) -> Option<&'n str> {
    if covers(other, one) { Some(one) } else { covers(one, other).then_some(other) }
}

/// Where a call would go.
#[derive(Debug, Clone, Copy)]
pub struct Place<'p> {
    /// Id of the provider.
    pub provider: &'p str,
    /// Id of the endpoint.
    pub endpoint: &'p str,
    /// Of the endpoint, where its operator has named it.
    pub region: Option<&'p str>,
}

/// What a holder may use. Nothing said means everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scope {
    /// Names of models as clients send them: aliases, or `provider/model`.
    pub models: Names,
    /// Providers that may serve.
    pub providers: Names,
    /// Regions in which it may be served; an endpoint without a region is then in none of them.
    pub regions: Names,
    /// Endpoints that may serve.
    pub endpoints: Names,
    /// Networks that clients may be in; `None` means any.
    pub networks: Option<Vec<Network>>,
}

impl Scope {
    /// Returns what both allow: for every name, place and address, it is allowed if `self` and `parent` allow it.
    pub fn within(&self, parent: &Self) -> Self {
        Self {
            models: self.models.within(&parent.models),
            providers: self.providers.within(&parent.providers),
            regions: self.regions.within(&parent.regions),
            endpoints: self.endpoints.within(&parent.endpoints),
            networks: match (&self.networks, &parent.networks) {
                (Some(own), Some(parents)) => {
                    let pairs = own.iter().flat_map(|own| parents.iter().filter_map(|parent| own.overlap(*parent)));
                    Some(pairs.collect())
                }
                (own, parents) => own.clone().or_else(|| parents.clone()),
            },
        }
    }

    /// Returns what of it is more than `parent` has, as `models: fast`. What is left unsaid is no more than the parent's.
    pub fn exceeds(&self, parent: &Self) -> Option<String> {
        let lists = [
            ("models", &self.models, &parent.models),
            ("providers", &self.providers, &parent.providers),
            ("regions", &self.regions, &parent.regions),
            ("endpoints", &self.endpoints, &parent.endpoints),
        ];
        for (what, own, parents) in lists {
            let said = own.list().is_some();
            if let Some(name) = own.exceeding(parents).filter(|_| said) {
                return Some(format!("{what}: {name}"));
            }
        }
        let (own, parents) = (self.networks.as_ref()?, parent.networks.as_ref()?);
        let outside = own.iter().find(|own| !parents.iter().any(|parent| parent.covers(**own)));
        outside.map(|network| format!("networks: {network}"))
    }

    /// Returns whether a call may go to `place`.
    pub fn reaches(&self, place: &Place<'_>) -> bool {
        self.providers.allow(place.provider)
            && self.endpoints.allow(place.endpoint)
            && match place.region {
                Some(region) => self.regions.allow(region),
                None => self.regions.list().is_none(),
            }
    }

    /// Returns whether calls may go anywhere, so that nobody has to ask [`Scope::reaches`].
    pub fn reaches_all(&self) -> bool {
        [&self.providers, &self.regions, &self.endpoints].iter().all(|names| names.list().is_none())
    }

    /// Returns whether a client at `address` may come in; where that is not known, only one that may be anywhere.
    pub fn admits_from(&self, address: Option<IpAddr>) -> bool {
        self.networks.as_ref().is_none_or(|networks| {
            address.is_some_and(|address| networks.iter().any(|network| network.contains(address)))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn names() -> impl Strategy<Value = Names> {
        let list = prop::collection::vec("(a|b|ab|a/b|)\\*?", 0..4).prop_map(Names::of);
        prop_oneof![1 => Just(Names::ALL), 4 => list]
    }

    fn networks() -> impl Strategy<Value = Option<Vec<Network>>> {
        let network = (0_u8..4, 8_u8..=10).prop_map(|(second, length)| {
            let second = (second << 6) & (0xff_u16 << (16 - length)) as u8;
            format!("10.{second}.0.0/{length}").parse().unwrap()
        });
        prop::option::of(prop::collection::vec(network, 0..3))
    }

    fn scope() -> impl Strategy<Value = Scope> {
        (names(), names(), names(), names(), networks()).prop_map(
            |(models, providers, regions, endpoints, networks)| Scope {
                models,
                providers,
                regions,
                endpoints,
                networks,
            },
        )
    }

    proptest! {
        #[test]
        fn a_child_has_what_both_allow_and_nothing_else(
            own in scope(), parent in scope(), name in "(a|b|ab|a/b|abb|c|)", region in prop::option::of("(a|b|ab)"),
            second in 0_u8..=255,
        ) {
            let both = own.within(&parent);
            let place = Place { provider: &name, endpoint: &name, region: region.as_deref() };
            let address = Some(IpAddr::from([10, second, 0, 7]));

            prop_assert_eq!(both.models.allow(&name), own.models.allow(&name) && parent.models.allow(&name));
            prop_assert_eq!(both.reaches(&place), own.reaches(&place) && parent.reaches(&place));
            prop_assert_eq!(both.admits_from(address), own.admits_from(address) && parent.admits_from(address));
            prop_assert!(!both.reaches_all() || both.reaches(&place));
        }

        #[test]
        fn a_child_cut_to_its_parent_never_exceeds_it(own in scope(), parent in scope()) {
            prop_assert_eq!(own.within(&parent).exceeds(&parent), None);
        }

        #[test]
        fn who_exceeds_nothing_keeps_all_that_it_names(own in names(), parent in names(), name in "(a|b|ab|a/b|c|)") {
            if own.exceeding(&parent).is_none() {
                prop_assert_eq!(own.within(&parent).allow(&name), own.allow(&name));
            }
        }
    }

    #[test]
    fn what_exceeds_is_named() {
        let scope = |models: &[&str]| Scope {
            models: Names::of(models.iter().map(|name| (*name).to_owned())),
            ..Scope::default()
        };

        assert_eq!(scope(&["fast", "smart"]).exceeds(&scope(&["fast"])), Some("models: smart".to_owned()));
        assert_eq!(scope(&["openai/*"]).exceeds(&scope(&["openai/gpt-5"])), Some("models: openai/*".to_owned()));
        assert_eq!(scope(&["openai/gpt-5"]).exceeds(&scope(&["openai/*"])), None);
        assert_eq!(Scope::default().exceeds(&scope(&["fast"])), None, "silence is the parent's");
    }

    #[test]
    fn lists_without_a_common_name_allow_nothing_rather_than_everything() {
        let apart = Names::of(["a".to_owned()]).within(&Names::of(["b".to_owned()]));

        assert!(!apart.allow("a") && !apart.allow("b"));
        assert_eq!(apart.list(), Some(&[][..]));
    }
}
