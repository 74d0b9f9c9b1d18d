//! How much work it is to hold a value to a client's schema, before anybody does it: a few lines of schema can ask for more
//! than a worker has time for, by subschemas that stand for ever more of each other.

use std::collections::HashMap;

use regex::RegexBuilder;
use serde_json::Value;

/// Most subschemas of a schema once every reference stands for what it refers to.
const SIZE_MAX: u64 = 10_000;
/// Most subschemas that are held against the values of one answer: a quarter of a second at worst.
const WORK_MAX: u64 = 100_000;

/// Most patterns of a schema, and most bytes that each may take up once it is compiled: a short one may ask for megabytes.
const PATTERNS_MAX: usize = 100;
const PATTERN_SIZE: usize = 64 * 1024;

/// Keywords whose schemas are held against the same value.
const SAME: [&str; 7] = ["allOf", "anyOf", "oneOf", "not", "if", "then", "else"];
/// Keywords whose schemas are held against any of the values inside.
const INSIDE: [&str; 9] = [
    "additionalItems",
    "additionalProperties",
    "contains",
    "items",
    "patternProperties",
    "prefixItems",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
];

/// How much work a schema asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Most subschemas that are held against one value.
    each: u64,
    /// How many times as many one level further down, where the schema contains itself.
    growth: u64,
}

/// What is counted on the way.
#[derive(Default)]
struct Tally {
    size: u64,
    patterns: usize,
    /// By the place of the value.
    at: HashMap<String, u64>,
    /// Where the schema begins again, by what begins and the place within it.
    again: HashMap<(String, String), u64>,
    /// The references that are being followed, with the place where each began.
    open: Vec<(String, usize)>,
}

impl Extent {
    /// Returns it; `None` where the schema is too large, or refers to anything but a place in itself.
    pub fn of(schema: &Value) -> Option<Self> {
        let mut tally = Tally::default();
        tally.open.push((String::new(), 0));
        tally.walk(schema, schema, &mut String::new())?;
        // A star may be any name.
        let (stars, named): (Vec<_>, Vec<_>) = tally.again.iter().partition(|((_, place), _)| place.contains('*'));
        let stars: u64 = stars.into_iter().map(|(_, count)| count).sum();
        let named = named.into_iter().map(|(_, count)| *count).max().unwrap_or(0);
        Some(Self { each: tally.at.into_values().max().unwrap_or(1), growth: (stars + named).max(1) })
    }

    /// Returns whether `value` can be held to it in time.
    pub fn affords(&self, value: &Value) -> bool {
        let (count, depth) = size_of(value);
        let grown = self.growth.saturating_pow(u32::try_from(depth).unwrap_or(u32::MAX));
        self.each.saturating_mul(count).saturating_mul(grown) <= WORK_MAX
    }
}

impl Tally {
    fn walk(&mut self, root: &Value, schema: &Value, place: &mut String) -> Option<()> {
        self.size += 1;
        *self.at.entry(place.clone()).or_default() += 1;
        let Value::Object(keywords) = schema else { return (self.size <= SIZE_MAX).then_some(()) };
        if self.size > SIZE_MAX {
            return None;
        }
        for (keyword, value) in keywords {
            match keyword.as_str() {
                "$ref" | "$dynamicRef" | "$recursiveRef" => self.follow(root, value.as_str()?, place)?,
                "properties" => {
                    for (name, schema) in value.as_object().into_iter().flatten() {
                        self.inside(root, schema, place, &name.replace(['*', '/'], "_"))?;
                    }
                }
                "pattern" => self.pattern(value.as_str()?)?,
                "dependentSchemas" => self.each(root, value, place, None)?,
                keyword if SAME.contains(&keyword) => self.each(root, value, place, None)?,
                keyword if INSIDE.contains(&keyword) => {
                    if keyword == "patternProperties" {
                        value.as_object()?.keys().try_for_each(|pattern| self.pattern(pattern))?;
                    }
                    self.each(root, value, place, Some("*"))?;
                }
                _ => {}
            }
        }
        Some(())
    }

    fn pattern(&mut self, pattern: &str) -> Option<()> {
        self.patterns += 1;
        let fits = self.patterns <= PATTERNS_MAX;
        (fits && RegexBuilder::new(pattern).size_limit(PATTERN_SIZE).build().is_ok()).then_some(())
    }

    /// Walks over a schema, or all of a list or of a map of names.
    fn each(&mut self, root: &Value, value: &Value, place: &mut String, name: Option<&str>) -> Option<()> {
        let is_map = value.as_object().is_some_and(|map| map.values().all(|one| one.is_object() || one.is_boolean()));
        let mut walk = |schema: &Value| match name {
            Some(name) => self.inside(root, schema, place, name),
            None => self.walk(root, schema, place),
        };
        match value {
            Value::Array(all) => all.iter().try_for_each(&mut walk),
            // What may be a map of schemas or one with members that are schemas counts as both.
            Value::Object(map) if is_map => {
                walk(value)?;
                map.values().try_for_each(&mut walk)
            }
            one => walk(one),
        }
    }

    fn inside(&mut self, root: &Value, schema: &Value, place: &mut String, name: &str) -> Option<()> {
        let length = place.len();
        place.push('/');
        place.push_str(name);
        let walked = self.walk(root, schema, place);
        place.truncate(length);
        walked
    }

    fn follow(&mut self, root: &Value, reference: &str, place: &mut String) -> Option<()> {
        let pointer = reference.strip_prefix('#')?.replace("%24", "$").replace("%25", "%");
        if let Some((_, began)) = self.open.iter().find(|(open, _)| *open == pointer) {
            let within = place.get(*began..).unwrap_or_default().to_owned();
            self.size += 1;
            *self.again.entry((pointer, within)).or_default() += 1;
            return (self.size <= SIZE_MAX).then_some(());
        }
        let target = root.pointer(&pointer)?;
        self.open.push((pointer, place.len()));
        let walked = self.walk(root, target, place);
        self.open.pop();
        walked
    }
}

/// How many values there are in `value`, and how deep they lie.
fn size_of(value: &Value) -> (u64, usize) {
    let (mut count, mut deepest) = (0, 0);
    let mut open = vec![(value, 0)];
    while let Some((value, depth)) = open.pop() {
        count += 1;
        deepest = deepest.max(depth);
        match value {
            Value::Array(all) => open.extend(all.iter().map(|one| (one, depth + 1))),
            Value::Object(all) => open.extend(all.values().map(|one| (one, depth + 1))),
            _ => {}
        }
    }
    (count, deepest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn doubling(levels: usize, keyword: &str) -> Value {
        let name = |level: usize| format!("a{level}");
        let level = |level: usize| {
            let next = json!({"$ref": format!("#/$defs/{}", name(level + 1))});
            (name(level), json!({keyword: [next, next]}))
        };
        let mut defs: serde_json::Map<String, Value> = (0..levels).map(level).collect();
        defs.insert(name(levels), json!({"type": "string"}));
        json!({"$defs": defs, "$ref": "#/$defs/a0"})
    }

    #[test]
    fn a_schema_that_doubles_at_every_level_is_too_large() {
        for keyword in ["allOf", "anyOf", "oneOf"] {
            assert!(Extent::of(&doubling(8, keyword)).is_some_and(|extent| extent.affords(&json!({}))));
            assert_eq!(Extent::of(&doubling(16, keyword)), None);
            assert_eq!(Extent::of(&doubling(200, keyword)), None);
        }
    }

    #[test]
    fn patterns_are_few_and_small() {
        assert!(Extent::of(&json!({"pattern": "^[A-Z]{2}\\d{6}$", "patternProperties": {"^x-": {}}})).is_some());
        assert_eq!(Extent::of(&json!({"pattern": "(a{1000}){1000}"})), None);
        assert_eq!(Extent::of(&json!({"patternProperties": {"(\\pL{500}){500}": {}}})), None);
        assert_eq!(Extent::of(&json!({"allOf": vec![json!({"pattern": "a"}); 101]})), None);
    }

    #[test]
    fn a_schema_of_itself_is_fine_unless_it_doubles() {
        let deep = |levels: usize| (0..levels).fold(json!({}), |inner, _| json!({"next": inner, "all": [1]}));
        let next = json!({"$ref": "#/$defs/node"});
        let tree = |node: Value| json!({"$defs": {"node": node}, "$ref": "#/$defs/node"});

        let list = tree(json!({"properties": {"next": next, "other": next}}));
        assert!(Extent::of(&list).is_some_and(|extent| extent.growth == 1 && extent.affords(&deep(100))));
        let twice = tree(json!({"anyOf": [{"properties": {"next": next}}, {"properties": {"next": next}}]}));
        assert!(Extent::of(&twice).is_some_and(|extent| extent.affords(&deep(5)) && !extent.affords(&deep(100))));
        let overlapping = tree(json!({"properties": {"next": next}, "patternProperties": {".": next}}));
        assert!(Extent::of(&overlapping).is_some_and(|extent| !extent.affords(&deep(100))));
    }

    #[test]
    fn what_people_write_is_afforded_and_what_points_elsewhere_is_not() {
        let field = json!({"type": "string", "description": "x"});
        let row = json!({"type": "object", "properties": {"a": field, "b": field, "c": {"anyOf": [field, {"type": "null"}]}}});
        let table = json!({"type": "object", "properties": {"rows": {"type": "array", "items": row}}, "additionalProperties": false});
        let rows: Vec<Value> = (0..2_000).map(|_| json!({"a": "1", "b": "2", "c": null})).collect();
        assert!(Extent::of(&table).is_some_and(|extent| extent.affords(&json!({"rows": rows}))));
        assert_eq!(Extent::of(&json!({"$ref": "https://example.com/s.json"})), None);
        assert_eq!(Extent::of(&json!({"$ref": "#/$defs/missing"})), None);
    }
}
