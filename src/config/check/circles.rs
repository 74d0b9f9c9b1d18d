//! Circles among names that lead to each other.

use std::collections::{BTreeMap, BTreeSet};

/// Returns each circle once, beginning with its first name in alphabetical order. `next` holds what each name leads to.
pub fn circles(next: &BTreeMap<String, Vec<String>>) -> Vec<Vec<String>> {
    let mut done = BTreeSet::new();
    let mut found = Vec::new();
    for start in next.keys() {
        // An explicit stack: each entry is a name and how many of those behind it have been followed.
        let mut walk: Vec<(&str, usize)> = vec![(start, 0)];
        while let Some((name, followed)) = walk.last().copied() {
            let following = next.get(name).and_then(|names| names.get(followed)).map(String::as_str);
            let Some(following) = following.filter(|_| !done.contains(name)) else {
                done.insert(name);
                walk.pop();
                continue;
            };
            if let Some(top) = walk.last_mut() {
                top.1 += 1;
            }
            match walk.iter().position(|(name, _)| *name == following) {
                Some(at) => found.push(rotated(walk[at..].iter().map(|(name, _)| (*name).to_owned()).collect())),
                None if done.contains(following) => {}
                None => walk.push((following, 0)),
            }
        }
    }
    found
}

fn rotated(mut cycle: Vec<String>) -> Vec<String> {
    let first = cycle.iter().enumerate().min_by_key(|(_, name)| (*name).clone()).map_or(0, |(index, _)| index);
    cycle.rotate_left(first);
    cycle
}

/// Returns a circle as messages show it: `a -> b -> a`.
pub fn walk(circle: &[String]) -> String {
    circle.iter().chain(circle.first()).map(String::as_str).collect::<Vec<_>>().join(" -> ")
}
