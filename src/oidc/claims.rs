//! From what a token says to what the gateway knows: a team, a role of administration, a user.

use serde_json::Value;

use crate::config::oidc::Mapping;

/// Returns what the claim of `mapping` means: of several values that mean something the first.
pub fn meaning<'a>(mapping: &'a Mapping, claims: &'a Value) -> Option<&'a str> {
    let mut values = texts(find(claims, &mapping.claim)?);
    if mapping.map.is_empty() {
        return values.next();
    }
    values.find_map(|value| mapping.map.get(value)).map(String::as_str)
}

/// Returns the claim of that name.
pub fn find<'a>(claims: &'a Value, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| name.split('.').try_fold(claims, |within, part| within.get(part)))
}

/// Returns a text, or the texts of a list.
fn texts(value: &Value) -> impl Iterator<Item = &str> {
    let one = value.as_str().into_iter();
    one.chain(value.as_array().into_iter().flatten().filter_map(Value::as_str)).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn mapping(claim: &str, map: &[(&str, &str)]) -> Mapping {
        let map = map.iter().map(|(from, to)| (from.to_string(), to.to_string())).collect();
        Mapping { claim: claim.into(), map }
    }

    #[test]
    fn a_claim_is_found_by_its_name_or_within_others() {
        let claims =
            json!({ "team": "care", "a.b": "named so", "a": { "b": "within" }, "realm": { "roles": ["x", "ops"] } });

        assert_eq!(meaning(&mapping("team", &[]), &claims), Some("care"));
        assert_eq!(meaning(&mapping("a.b", &[]), &claims), Some("named so"));
        assert_eq!(meaning(&mapping("realm.roles", &[("ops", "operator")]), &claims), Some("operator"));
        assert_eq!(meaning(&mapping("realm.none", &[]), &claims), None);
    }

    #[test]
    fn with_a_map_only_what_it_names_means_anything() {
        let claims = json!({ "groups": ["all", "clinic", "lab"], "n": 7, "none": [] });

        assert_eq!(
            meaning(&mapping("groups", &[("lab", "b"), ("clinic", "a")]), &claims),
            Some("a"),
            "the token's order"
        );
        assert_eq!(meaning(&mapping("groups", &[("other", "a")]), &claims), None);
        assert_eq!(meaning(&mapping("n", &[]), &claims), None);
        assert_eq!(meaning(&mapping("none", &[]), &claims), None);
    }
}
