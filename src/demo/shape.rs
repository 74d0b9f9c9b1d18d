//! The shapes that a strict provider's request may have, as tables, and where a request departs from them.
//!
//! Google and Anthropic refuse what they do not know, so the demo provider does, too: a gateway that leaves a foreign
//! field behind is found out here.

use serde_json::{Map, Value};

/// What a value may look like; null counts as absent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Any,
    Text,
    Flag,
    Number,
    Whole,
    /// An object of the client's own, with any fields.
    Free,
    Word(&'static [&'static str]),
    Object(&'static [Field]),
    List(&'static Shape),
    /// An object whose names are the client's own.
    Map(&'static Shape),
    TextOr(&'static Shape),
    /// An object whose other fields go by the text in the field of that name.
    Tagged(&'static str, &'static [(&'static str, &'static [Field])]),
    Same(&'static Shape),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    name: &'static str,
    shape: Shape,
    needed: bool,
}

/// A field that must be there.
pub(super) const fn needs(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, needed: true }
}

/// A field that may be there.
pub(super) const fn may(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, needed: false }
}

/// How field names are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    Exact,
    /// In camelCase as in the tables, or in snake_case, as Protocol Buffers' JSON mapping takes them.
    CamelOrSnake,
}

/// Where a value departs from its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// The names and indexes that lead to the object or the value at fault.
    pub(super) path: Vec<String>,
    pub(super) kind: FaultKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FaultKind {
    Unknown(String),
    Missing(&'static str),
    Wrong(&'static str),
    /// No word of those known.
    Word(String, Vec<&'static str>),
}

/// Checks a value, and returns it with its fields named as in the tables and without those that are null.
pub(super) fn read(value: &Value, shape: &Shape, names: Names) -> Result<Value, Fault> {
    Reader { names, path: Vec::new() }.value(value, shape)
}

struct Reader {
    names: Names,
    path: Vec<String>,
}

impl Reader {
    fn value(&mut self, value: &Value, shape: &Shape) -> Result<Value, Fault> {
        let fits = |fits: bool, wanted: &'static str| match fits {
            true => Ok(value.clone()),
            false => Err(FaultKind::Wrong(wanted)),
        };
        let plain = match shape {
            Shape::Any => Ok(value.clone()),
            Shape::Text => fits(value.is_string(), "a string"),
            Shape::Flag => fits(value.is_boolean(), "a boolean"),
            Shape::Number => fits(value.is_number(), "a number"),
            Shape::Whole => fits(value.is_i64() || value.is_u64(), "a whole number"),
            Shape::Free => fits(value.is_object(), "an object"),
            Shape::Word(known) => match value.as_str() {
                Some(word) if known.contains(&word) => Ok(value.clone()),
                Some(word) => Err(FaultKind::Word(word.to_owned(), known.to_vec())),
                None => Err(FaultKind::Wrong("a string")),
            },
            Shape::Same(shape) => return self.value(value, shape),
            Shape::TextOr(_) if value.is_string() => Ok(value.clone()),
            Shape::TextOr(shape) => return self.value(value, shape),
            Shape::Object(fields) => return self.object(value, None, fields),
            Shape::Tagged(tag, kinds) => return self.tagged(value, tag, kinds),
            Shape::List(shape) => return self.list(value, shape),
            Shape::Map(shape) => return self.map(value, shape),
        };
        plain.map_err(|kind| self.fault(kind))
    }

    fn fault(&self, kind: FaultKind) -> Fault {
        Fault { path: self.path.clone(), kind }
    }

    fn within(&mut self, step: &str, value: &Value, shape: &Shape) -> Result<Value, Fault> {
        self.path.push(step.to_owned());
        let read = self.value(value, shape)?;
        self.path.pop();
        Ok(read)
    }

    fn list(&mut self, value: &Value, shape: &Shape) -> Result<Value, Fault> {
        let Some(items) = value.as_array() else { return Err(self.fault(FaultKind::Wrong("an array"))) };
        items.iter().enumerate().map(|(index, item)| self.within(&index.to_string(), item, shape)).collect()
    }

    fn map(&mut self, value: &Value, shape: &Shape) -> Result<Value, Fault> {
        let Some(entries) = value.as_object() else { return Err(self.fault(FaultKind::Wrong("an object"))) };
        let mut read = Map::new();
        for (name, entry) in entries {
            read.insert(name.clone(), self.within(name, entry, shape)?);
        }
        Ok(Value::Object(read))
    }

    fn tagged(
        &mut self,
        value: &Value,
        tag: &'static str,
        kinds: &[(&'static str, &'static [Field])],
    ) -> Result<Value, Fault> {
        let Some(found) = value.get(tag).filter(|found| !found.is_null()) else {
            return Err(self.fault(if value.is_object() {
                FaultKind::Missing(tag)
            } else {
                FaultKind::Wrong("an object")
            }));
        };
        let word = found.as_str().unwrap_or_default();
        let Some((_, fields)) = kinds.iter().find(|(kind, _)| *kind == word) else {
            let known = kinds.iter().map(|(kind, _)| *kind).collect();
            return Err(self.fault(FaultKind::Word(word.to_owned(), known)));
        };
        self.object(value, Some(tag), fields)
    }

    fn object(&mut self, value: &Value, tag: Option<&str>, fields: &[Field]) -> Result<Value, Fault> {
        let Some(entries) = value.as_object() else { return Err(self.fault(FaultKind::Wrong("an object"))) };
        let mut read = Map::new();
        for (name, entry) in entries {
            let table_name = self.table_name(name);
            if tag == Some(name.as_str()) {
                read.insert(name.clone(), entry.clone());
                continue;
            }
            let Some(field) = fields.iter().find(|field| field.name == table_name) else {
                return Err(self.fault(FaultKind::Unknown(name.clone())));
            };
            if !entry.is_null() {
                read.insert(table_name, self.within(name, entry, &field.shape)?);
            }
        }
        match fields.iter().find(|field| field.needed && !read.contains_key(field.name)) {
            Some(field) => Err(self.fault(FaultKind::Missing(field.name))),
            None => Ok(Value::Object(read)),
        }
    }

    fn table_name(&self, name: &str) -> String {
        if self.names == Names::Exact || !name.contains('_') {
            return name.to_owned();
        }
        let mut words = name.split('_');
        let first = words.next().unwrap_or_default().to_owned();
        words.fold(first, |joined, word| {
            let mut letters = word.chars();
            joined + &letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    static TREE: Shape = Shape::Object(&TREE_FIELDS);
    static TREE_FIELDS: [Field; 3] = [
        needs("name", Shape::Text),
        may("bigLeaves", Shape::List(&Shape::Tagged("type", &[("leaf", &[may("green", Shape::Flag)])]))),
        may("child", Shape::Same(&TREE)),
    ];

    fn fault(value: &Value) -> (String, FaultKind) {
        let fault = read(value, &TREE, Names::Exact).unwrap_err();
        (fault.path.join("."), fault.kind)
    }

    #[test]
    fn what_departs_from_the_shape_is_told_with_its_path() {
        let leaf = |leaf: Value| json!({"name": "x", "bigLeaves": [leaf]});

        assert_eq!(fault(&json!({})), (String::new(), FaultKind::Missing("name")));
        assert_eq!(fault(&json!({"name": "x", "n": 1})), (String::new(), FaultKind::Unknown("n".into())));
        assert_eq!(
            fault(&json!({"name": "x", "child": {"name": 1}})),
            ("child.name".into(), FaultKind::Wrong("a string"))
        );
        assert_eq!(
            fault(&leaf(json!({"type": "bud"}))),
            ("bigLeaves.0".into(), FaultKind::Word("bud".into(), vec!["leaf"]))
        );
        assert_eq!(
            fault(&leaf(json!({"type": "leaf", "red": 1}))),
            ("bigLeaves.0".into(), FaultKind::Unknown("red".into()))
        );
    }

    #[test]
    fn snake_case_names_become_those_of_the_table_and_nulls_go() {
        let value = json!({"name": "x", "big_leaves": [{"type": "leaf", "green": null}], "child": null});

        let read = read(&value, &TREE, Names::CamelOrSnake).unwrap();

        assert_eq!(read, json!({"name": "x", "bigLeaves": [{"type": "leaf"}]}));
    }
}
