//! The rules of the house, each a pure function from sources to faults (`file:line  what stands there`).

use crate::source::{Source, functions, item_end, line_of, words};

/// What a rule found, one entry per place.
pub type Faults = Vec<String>;

/// The floors of `src/`, by the module directly below it; `ARCHITECTURE.md` says what each is for.
pub const FLOORS: &[(&str, u8)] = &[
    ("schema", 1),
    ("privacy", 1),
    ("config", 2),
    ("call", 2),
    ("error", 2),
    ("dashboard", 2),
    ("providers", 3),
    ("policies", 3),
    ("demo", 3),
    ("telemetry", 3),
    ("quality", 3),
    ("books", 4),
    ("stored", 4),
    ("upstream", 4),
    ("pipeline", 5),
    ("oidc", 5),
    ("http", 6),
    ("cli", 7),
    ("main", 8),
];

/// Modules that their own floor may use as well: `Call`, `GatewayError` and `Config` belong to everybody above floor 1.
const SHARED_ON_FLOOR: &[&str] = &["call", "error", "config"];

/// Names that may stand at the top level of the repository.
pub const TOP_LEVEL: &[&str] = &[
    ".ci",
    ".dockerignore",
    ".editorconfig",
    ".gitattributes",
    ".github",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "Dockerfile",
    "LICENSE",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "actors",
    "benches",
    "clippy.toml",
    "config",
    "deny.toml",
    "deploy",
    "docs",
    "rustfmt.toml",
    "src",
    "tests",
];

const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 70;

/// Paths that begin with one of `names` in files of `scope`, unless the file lies in `allowed`.
pub fn names_outside(sources: &[Source], scope: &[&str], allowed: &[&str], names: &[&str]) -> Faults {
    let mut faults = Faults::new();
    for source in sources.iter().filter(|source| source.is_in(scope) && !source.is_in(allowed)) {
        for found in source.paths() {
            let path = found.segments.join("::");
            let is_below =
                |name: &str| path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
            if names.iter().any(|name| is_below(name)) {
                faults.push(format!("{}:{}  {path}", source.path, found.line));
            }
        }
    }
    faults
}

/// Paths in `scope` that hold `name` as any segment, as in `StatusCode::OK` or `http::StatusCode::OK`.
pub fn segments_outside(sources: &[Source], scope: &[&str], allowed: &[&str], name: &str) -> Faults {
    let mut faults = Faults::new();
    for source in sources.iter().filter(|source| source.is_in(scope) && !source.is_in(allowed)) {
        for found in source.paths() {
            // The last segment is the bare type, as in an import or a signature; what follows it would be a choice.
            if found.segments.iter().rev().skip(1).any(|segment| segment == name) {
                faults.push(format!("{}:{}  {}", source.path, found.line, found.segments.join("::")));
            }
        }
    }
    faults
}

/// Uses of a clock, such as `Instant::now`, or of the file system and network, in `scope`.
pub fn input_or_output(sources: &[Source], scope: &[&str]) -> Faults {
    let io = ["std::net", "std::fs", "std::process", "tokio::net", "tokio::fs", "tokio::process"];
    let mut faults = names_outside(sources, scope, &[], &io);
    // `use std::net::IpAddr` is a type without a socket, yet a pure room has no need of it either.
    for source in sources.iter().filter(|source| source.is_in(scope)) {
        for found in source.paths() {
            if let [.., kind, function] = found.segments.as_slice()
                && function == "now"
                && matches!(kind.as_str(), "Instant" | "SystemTime")
            {
                faults.push(format!("{}:{}  {kind}::now", source.path, found.line));
            }
        }
    }
    faults
}

/// Imports in `src/` that lead upward, or sideways into another module of the same floor.
pub fn upward_imports(sources: &[Source]) -> Faults {
    let floor = |name: &str| FLOORS.iter().find(|(module, _)| *module == name).map(|(_, floor)| *floor);
    let mut faults = Faults::new();
    for source in sources.iter().filter(|source| source.path.starts_with("src/") && source.path.ends_with(".rs")) {
        let module = source.path["src/".len()..].split(['/', '.']).next().unwrap_or_default();
        if module == "lib" {
            continue;
        }
        let Some(own) = floor(module) else {
            faults.push(format!("{}:1  module `{module}` has no floor: add it to FLOORS", source.path));
            continue;
        };
        for found in source.paths() {
            let [root, target, ..] = found.segments.as_slice() else { continue };
            let Some(other) = floor(target).filter(|_| root == "crate" || root == "bursar") else { continue };
            let sideways = other == own && target != module && !SHARED_ON_FLOOR.contains(&target.as_str());
            if other > own || sideways {
                let at = format!("{}:{}", source.path, found.line);
                faults.push(format!("{at}  `{module}` (floor {own}) uses `{target}` (floor {other})"));
            }
        }
    }
    faults
}

/// Money as a float: a field, binding, parameter, wrapper or function named for money whose type is `f32` or `f64`.
pub fn money_as_float(sources: &[Source]) -> Faults {
    let mut faults = Faults::new();
    for source in sources.iter().filter(|source| source.is_in(&["src/", "actors/src/"])) {
        let code = &source.shipped;
        for (at, word) in words(code) {
            let name = word.to_ascii_lowercase();
            if !["cost", "usd", "price"].iter().any(|money| name.contains(money)) {
                continue;
            }
            let behind = code[at + word.len()..].trim_start();
            let kind = match behind.as_bytes() {
                [b':', next, ..] if *next != b':' => until(&behind[1..], &[',', ';', '=', ')', '{', '}', '|']),
                [b'=', ..] if code[..at].trim_end().ends_with("type") => until(behind, &[';']),
                [b'(', ..] if code[..at].trim_end().ends_with("struct") => until(behind, &[';']),
                [b'(' | b'<', ..] if code[..at].trim_end().ends_with("fn") => {
                    until(behind, &['{', ';']).rsplit_once("->").map_or("", |(_, returned)| returned)
                }
                _ => "",
            };
            if words(kind).any(|(_, word)| matches!(word, "f32" | "f64")) {
                faults.push(format!("{}:{}  `{word}`", source.path, line_of(code, at)));
            }
        }
    }
    faults
}

fn until<'a>(code: &'a str, ends: &[char]) -> &'a str {
    &code[..code.find(ends).unwrap_or(code.len())]
}

/// Files above 500 lines and functions above 70, tests not counted.
pub fn long_files_and_functions(sources: &[Source]) -> Faults {
    let mut faults = Faults::new();
    for source in sources.iter().filter(|source| !source.shipped.trim().is_empty()) {
        let in_tests = |line: (&str, &str)| !line.0.trim().is_empty() && line.1.trim().is_empty();
        let tests = source.code.lines().zip(source.shipped.lines()).filter(|line| in_tests(*line)).count();
        let lines = source.text.lines().count() - tests;
        if lines > MAX_FILE_LINES {
            faults.push(format!("{}:1  {lines} lines, {MAX_FILE_LINES} allowed", source.path));
        }
        for (name, span) in functions(&source.shipped) {
            let lines = source.shipped[span.clone()].lines().count();
            if lines > MAX_FUNCTION_LINES {
                let at = line_of(&source.shipped, span.start);
                faults.push(format!("{}:{at}  `{name}` has {lines} lines, {MAX_FUNCTION_LINES} allowed", source.path));
            }
        }
    }
    faults
}

/// Files and folders whose name says nothing about what they hold.
pub fn drawer_names(sources: &[Source]) -> Faults {
    let drawers = ["utils", "util", "common", "helpers", "helper", "misc"];
    let is_drawer = |path: &str| path.split('/').any(|part| drawers.contains(&part.trim_end_matches(".rs")));
    sources.iter().filter(|source| is_drawer(&source.path)).map(|source| format!("{}:1", source.path)).collect()
}

/// What a finished change does not hold: placeholders, switched-off tests, debug prints.
pub fn leftovers(sources: &[Source]) -> Faults {
    let mut faults = Faults::new();
    for source in sources {
        for needle in ["todo!", "unimplemented!", "#[ignore", "dbg!"] {
            for (at, _) in source.code.match_indices(needle) {
                faults.push(format!("{}:{}  {needle}", source.path, line_of(&source.code, at)));
            }
        }
    }
    faults
}

/// Calls of `unwrap` in shipped code.
pub fn unwraps(sources: &[Source]) -> Faults {
    let mut faults = Faults::new();
    for source in sources.iter().filter(|source| source.is_in(&["src/", "actors/src/"])) {
        for line in source.shipped_lines_with(".unwrap()") {
            faults.push(format!("{}:{line}", source.path));
        }
    }
    faults
}

/// Calls of `do_send` that stand in no `impl Drop for …`.
pub fn do_send_outside_drop(sources: &[Source]) -> Faults {
    let mut faults = Faults::new();
    for source in sources.iter().filter(|source| source.is_in(&["src/", "actors/src/"])) {
        let code = &source.shipped;
        let drops: Vec<_> = words(code)
            .filter(|(_, word)| *word == "impl")
            .map(|(at, _)| at..item_end(code, at))
            .filter(|span| until(&code[span.clone()], &['{']).split_whitespace().any(|word| word.ends_with("Drop")))
            .collect();
        for (at, _) in words(code).filter(|(_, word)| *word == "do_send") {
            if !drops.iter().any(|span| span.contains(&at)) {
                faults.push(format!("{}:{}", source.path, line_of(code, at)));
            }
        }
    }
    faults
}

/// Rust files that do not begin by saying what they are.
pub fn missing_module_docs(sources: &[Source]) -> Faults {
    let bare = |source: &&Source| source.path.ends_with(".rs") && !source.text.starts_with("//!");
    sources.iter().filter(bare).map(|source| format!("{}:1", source.path)).collect()
}

/// Absolute paths that exist on somebody's machine only.
pub fn machine_paths(sources: &[Source]) -> Faults {
    // Written in two parts, so that this file does not accuse itself.
    let places = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/tmp", "/wt")];
    let mut faults = Faults::new();
    for source in sources {
        for place in places {
            for (at, _) in source.text.match_indices(place) {
                // `https://host/home/` and `crates/work/` are no absolute paths.
                let before = source.text[..at].chars().next_back();
                let inside = before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '}' | '/'));
                if !inside {
                    faults.push(format!("{}:{}  {place}", source.path, line_of(&source.text, at)));
                }
            }
        }
    }
    faults
}
