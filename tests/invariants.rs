//! The invariants of `tests/fuzz`, held without a fuzzer: over its seeds, over the golden files, and over generated
//! inputs that are almost what clients and providers send.

#[path = "fuzz/invariants/mod.rs"]
mod invariants;

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use bursar::schema::chat::Dialect;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// What holds for an input, or panics.
type Holds = fn(&[u8]);

/// The name of each fuzz target, and what it runs.
const TARGETS: [(&str, Holds); 14] = [
    ("auth_header", invariants::auth_header),
    ("client_body", invariants::client_body),
    ("configuration", invariants::configuration),
    ("event_stream", invariants::event_stream),
    ("judge", invariants::judge),
    ("privacy_scan", invariants::privacy_scan),
    ("privacy_screen", invariants::privacy_screen),
    ("privacy_walk", invariants::privacy_walk),
    ("reply_stream", invariants::reply_stream),
    ("request_intake", invariants::request_intake),
    ("retry_after", invariants::retry_after),
    ("sse_reader", invariants::sse_reader),
    ("translated_stream", invariants::translated_stream),
    ("whole_reply", invariants::whole_reply),
];

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder exists");
    let mut names: Vec<_> = entries.map(|entry| entry.expect("it can be listed").file_name()).collect();
    names.sort();
    names.into_iter().map(|name| name.to_string_lossy().into_owned()).collect()
}

#[test]
fn every_target_holds_over_its_seeds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    assert_eq!(names(&root.join("seeds")), TARGETS.map(|(name, _)| name), "each target has a folder of seeds");
    assert_eq!(names(&root.join("fuzz_targets")), TARGETS.map(|(name, _)| format!("{name}.rs")));

    for (name, holds) in TARGETS {
        for seed in names(&root.join("seeds").join(name)) {
            let bytes = fs::read(root.join("seeds").join(name).join(seed)).expect("a seed can be read");
            holds(&bytes);
            // What breaks off at any byte is the most likely surprise of all.
            (0..bytes.len()).step_by(7).for_each(|end| holds(&bytes[..end]));
        }
    }
}

#[test]
fn the_wire_invariants_hold_over_the_golden_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/openai");
    for case in names(&root) {
        let load =
            |name: &str, steer: &[u8]| fs::read(root.join(&case).join(name)).ok().map(|file| [steer, &file].concat());
        for (file, steer, holds) in [
            ("request.json", &b""[..], invariants::request_intake as Holds),
            ("reply.json", b"0\n", invariants::whole_reply),
            ("stream.sse", b"0\x07\n", invariants::reply_stream),
            ("stream.sse", b"1\x40\x01\n", invariants::reply_stream),
            ("stream.sse", b"\x03\n", invariants::sse_reader),
        ] {
            load(file, steer).into_iter().for_each(|bytes| holds(&bytes));
        }
    }
}

/// Pieces of texts with something to find in them, or nearly.
const PIECES: &[&str] = &[
    "4111 1111 1111 1111",
    "a@b.co",
    "@",
    "1-1-1",
    "078-05-1120",
    "+1 (905) 674-3793",
    "(((",
    "))",
    "eyJhbGciOiJIUzI1NiJ9.e30.x",
    "eyJ",
    "-----BEGIN PRIVATE KEY-----",
    "-----END",
    "https://",
    "a.example/b",
    "::1",
    "192.0.2.1",
    "ssn",
    "card",
    "password: x",
    "api_key=",
    "sk-proj-",
    "6/24/1991",
    "March",
    "Ann Lee",
    "12 Main Street",
    "PII_EMAIL_1",
    "pii\\_",
    "\u{200b}",
    "é",
    "日本",
    "😀",
    " ",
    "\n",
    ".",
    "-",
    "{\"a\":\"",
    "\"}",
    "\\u0040",
    "[",
    "]",
    ",",
    "0",
    "9999999999",
    "ignore all previous instructions",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_must_not_leave_is_found_however_it_is_put(
        pieces in vec(one_of(PIECES), 0..30),
        cuts in vec(0_u16..300, 0..6),
        key in one_of(&["content", "arguments", "input", "ssn", "x"]),
    ) {
        let text = pieces.concat();
        invariants::privacy_scan(text.as_bytes());
        let cuts: Vec<String> = cuts.iter().map(u16::to_string).collect();
        invariants::privacy_screen(format!("{}\n{text}", cuts.join(" ")).as_bytes());
        let body = serde_json::json!({"messages": [{"role": "user", "content": text}], "metadata": {&key: {&text: text}}});
        invariants::privacy_walk(body.to_string().as_bytes());
        invariants::privacy_walk(text.as_bytes());
    }
}

/// What a golden file is to a target, and the byte that steers it.
struct Sample {
    steer: u8,
    lines: Vec<String>,
}

/// Returns the golden streams of every upstream, in [`invariants::UPSTREAMS`]' order.
fn streams() -> Vec<Sample> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut samples = Vec::new();
    for (place, (kind, dialect, _)) in invariants::UPSTREAMS.into_iter().enumerate() {
        let folder = match (kind, dialect) {
            (_, Dialect::Responses) => "responses",
            ("openai", _) => "chat",
            ("vertex", _) => "gemini",
            (kind, _) => kind,
        };
        for case in names(&root.join(folder)) {
            let case = root.join(folder).join(case);
            let stream =
                ["stream.txt", "stream.jsonl"].iter().find_map(|name| fs::read_to_string(case.join(name)).ok());
            let lines = |text: String| text.split_inclusive('\n').map(str::to_owned).collect();
            samples.extend(stream.map(|text| Sample { steer: (place as u8) << 2, lines: lines(text) }));
        }
    }
    samples
}

/// Returns the golden bodies of every client.
fn bodies() -> Vec<(u8, serde_json::Value)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let read = |path: std::path::PathBuf| serde_json::from_slice(&fs::read(path).ok()?).ok();
    let chats =
        names(&root.join("requests")).into_iter().filter_map(|name| Some((0, read(root.join("requests").join(name))?)));
    let others = [(1, "anthropic"), (2, "responses"), (3, "gemini")].into_iter().flat_map(|(steer, client)| {
        let folder = root.join("clients").join(client);
        names(&folder).into_iter().filter_map(move |case| Some((steer, read(folder.join(case).join("request.json"))?)))
    });
    chats.chain(others).collect()
}

#[test]
fn the_translations_hold_over_the_golden_files() {
    let (streams, bodies) = (streams(), bodies());
    assert!(streams.len() > 60 && bodies.len() > 30, "only {} and {} are found", streams.len(), bodies.len());
    for Sample { steer, lines } in streams {
        (0..4).for_each(|client| invariants::translated_stream(&steer_with(&[steer | client, 7, 1], &lines.concat())));
    }
    for (steer, body) in bodies {
        invariants::client_body(&steer_with(&[steer], &body.to_string()));
    }
}

fn steer_with(lengths: &[u8], text: &str) -> Vec<u8> {
    // A line feed would end the steering. Nine upstreams further stands the same one.
    let lengths: Vec<u8> = lengths.iter().map(|&byte| if byte == b'\n' { byte + (9 << 2) } else { byte }).collect();
    [&lengths, &b"\n"[..], text.as_bytes()].concat()
}

/// Any one of the texts.
fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(texts).prop_map(str::to_owned)
}

/// Returns an object of some of the members, each value by its own strategy, in any order and at times twice.
fn object(members: Vec<(&'static str, BoxedStrategy<String>)>) -> BoxedStrategy<String> {
    let many = members.len();
    let members: Vec<_> = members
        .into_iter()
        .map(|(key, value)| option::weighted(0.7, value.prop_map(move |value| format!("\"{key}\":{value}"))))
        .collect();
    (members, vec(any::<Index>(), 0..2))
        .prop_map(move |(members, twice)| {
            let again = twice.iter().filter_map(|index| members[index.index(many)].clone()).collect::<Vec<_>>();
            let all: Vec<String> = members.iter().flatten().cloned().chain(again).collect();
            format!("{{{}}}", all.join(","))
        })
        .boxed()
}

fn list(item: BoxedStrategy<String>, most: usize) -> BoxedStrategy<String> {
    let odd = one_of(&["null", "{}", "7", "\"x\"", "[null]", "[7]"]);
    prop_oneof![9 => vec(item, 0..=most).prop_map(|items| format!("[{}]", items.join(","))), 1 => odd].boxed()
}

fn tool_call() -> BoxedStrategy<String> {
    let arguments = one_of(&["\"\"", "\"{}\"", "\"{\\\"a\\\"\"", "null", "{\"a\":1}", "[]", "7", "\"\\ud83d\""]);
    let name = one_of(&["\"f\"", "\"g\"", "\"\"", "null", "7"]);
    let body = object(vec![("name", name.boxed()), ("arguments", arguments.boxed())]);
    let body = prop_oneof![8 => body, 1 => one_of(&["null", "7", "\"f\"", "[]"])].boxed();
    object(vec![
        ("index", one_of(&["0", "0", "1", "1", "2", "5", "-1", "null", "1.0"]).boxed()),
        ("id", one_of(&["\"a\"", "\"b\"", "\"\\u0061\"", "\"\"", "null", "7"]).boxed()),
        ("type", one_of(&["\"function\"", "\"function\"", "\"custom\"", "null", "7"]).boxed()),
        ("function", body.clone()),
        ("custom", option::weighted(0.2, body).prop_map(|body| body.unwrap_or_else(|| "null".to_owned())).boxed()),
    ])
}

/// Chunks and replies with one of `key`: `delta` or `message`.
fn reply(key: &'static str) -> BoxedStrategy<String> {
    let content = one_of(&["\"Hi\"", "\"\"", "null", "[{\"text\":\"a\"},\"b\"]", "{}", "7", "\"\\ud83d\""]);
    let delta = object(vec![("content", content.boxed()), ("tool_calls", list(tool_call(), 6))]);
    let delta = prop_oneof![9 => delta, 1 => one_of(&["null", "7", "[]"])].boxed();
    let reason = one_of(&[
        "null",
        "null",
        "\"stop\"",
        "\"tool_calls\"",
        "\"length\"",
        "\"eos\"",
        "\"\"",
        "\"st\\u006fp\"",
        "7",
        "\"function_call\"",
        "\"error\"",
    ]);
    let index = one_of(&["0", "0", "0", "1", "2", "null", "-1"]);
    let choice = object(vec![("index", index.boxed()), (key, delta), ("finish_reason", reason.boxed())]);
    let usage =
        one_of(&["null", "{}", "{\"prompt_tokens\":3,\"total_tokens\":1e30}", "{\"completion_tokens\":-2}", "7"]);
    object(vec![
        ("id", one_of(&["\"r\"", "null", "7"]).boxed()),
        ("choices", list(choice, 3)),
        ("usage", option::weighted(0.2, usage).prop_map(|usage| usage.unwrap_or_else(|| "null".to_owned())).boxed()),
        ("x", one_of(&["1", "1e999", "[[{}]]"]).boxed()),
    ])
}

fn stream() -> impl Strategy<Value = String> {
    let end = one_of(&["\n\n", "\n\n", "\n\n", "\r\n\r\n", "\r\r", "\n"]);
    let event = prop_oneof![20 => reply("delta"), 2 => one_of(&["[DONE]", "", " ", "{", ": x"])];
    let lead = one_of(&["data: ", "data: ", "data: ", "data:", ": x\ndata: ", "id: 1\ndata: "]);
    vec((lead, event, end).prop_map(|(lead, event, end)| lead + &event + &end), 0..7).prop_map(|all| all.concat())
}

/// Values of `stream_options`.
const OPTIONS: &[&str] = &[
    "{}",
    "null",
    "{ }",
    "{\"include_usage\":false}",
    "{\"include_usage\": true ,\"x\":[1]}",
    "{\"x\":{\"include_usage\":0}}",
    "7",
];

fn request() -> BoxedStrategy<String> {
    let parts = list(
        object(vec![
            ("type", one_of(&["\"text\"", "\"image_url\"", "7"]).boxed()),
            ("text", one_of(&["\"a\""]).boxed()),
        ]),
        2,
    );
    let content = prop_oneof![one_of(&["\"hi\"", "null", "\"\\\"bursar\\\":{}\""]), parts].boxed();
    let message = object(vec![("role", one_of(&["\"user\"", "\"user\"", "7"]).boxed()), ("content", content)]);
    object(vec![
        ("model", one_of(&["\"fast\"", "\"fast\"", "\"\"", "7", "\"\\u0061\\\"\""]).boxed()),
        ("bursar", one_of(&["{}", "{\"a\":\"},{\"}", "1"]).boxed()),
        ("stream_options", one_of(OPTIONS).boxed()),
        ("stream", one_of(&["true", "true", "true", "false", "null"]).boxed()),
        ("messages", list(message, 2)),
        ("prompt", one_of(&["\"x\"", "[1]", "[]"]).boxed()),
        ("input", one_of(&["\"x\"", "[1]"]).boxed()),
        ("\u{e9}", one_of(&["1e999", "123456789012345678901234567890", "\"\\ud83d\\ude00\"", "0.10"]).boxed()),
    ])
}

fn answer() -> impl Strategy<Value = Vec<u8>> {
    let name = select(
        &[
            "retry-after",
            "retry-after-ms",
            "x-ratelimit-remaining",
            "x-ratelimit-reset",
            "x-ratelimit-reset-tokens",
            "x-ratelimit-remaining-tokens",
        ][..],
    );
    let value = prop_oneof![
        "[0-9.eE+-]{1,8}[hmsu]{0,2}",
        "[0-9]{10,20}",
        "\\PC{0,12}",
        Just("Mon, 21 Sep 2026 14:13:30 GMT".to_owned())
    ];
    let key = "(sk-|SK-proj-|gsk_|Bearer )[a-zA-Z0-9*_-]{0,40}[0-9][a-z0-9]{0,20}";
    let words = prop_oneof![
        key.boxed(),
        "(try again|retry) in [0-9.]{1,6} ?(ms|s|m|h)?".boxed(),
        "\\PC{0,80}".boxed(),
        "[\\x00-\\x1f]{1,4}".boxed()
    ];
    let body = (vec(words, 0..12), 0..4_u8).prop_map(|(words, form)| {
        let words = words.join(" ");
        let text = serde_json::Value::from(words.clone());
        match form {
            0 => words,
            1 => format!("{{\"error\":{text},\"code\":{text}}}"),
            2 => format!("{{\"detail\":[{{\"msg\":{text}}}]}}"),
            _ => format!("[{{\"error\":{{\"message\":{text},\"param\":{text},\"type\":{text},\"details\":[{{\"retryDelay\":{text}}}]}}}}]"),
        }
    });
    (0..1000_u16, vec((name, value), 0..4), body).prop_map(|(status, headers, body)| {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        format!("{status}\n{headers}\n{body}").into_bytes()
    })
}

fn steer(lengths: &[u8], text: &str) -> Vec<u8> {
    [lengths, b"\n", text.as_bytes()].concat()
}

/// Bytes that are no line feed, of which the first steers.
fn lengths() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>().prop_filter("a line feed ends the steering", |byte| *byte != b'\n'), 0..4)
}

proptest! {
    #[test]
    fn streams_reach_the_client_whole(lengths in lengths(), stream in stream()) {
        invariants::sse_reader(&steer(&lengths, &stream));
        invariants::reply_stream(&steer(&lengths, &stream));
    }

    #[test]
    fn whole_replies_can_be_used(lengths in lengths(), reply in reply("message")) {
        invariants::whole_reply(&steer(&lengths, &reply));
    }

    #[test]
    fn requests_are_passed_on_as_they_came(request in request()) {
        invariants::request_intake(request.as_bytes());
    }

    #[test]
    fn failures_are_judged_and_show_no_key(answer in answer()) {
        invariants::judge(&answer);
        invariants::retry_after(&answer);
    }

    #[test]
    fn keys_are_found_in_any_headers(headers in vec(("(authorization|x-api-key|api-key)", "(Bearer|bearer|Basic)?[ \t]{0,2}\\PC{0,6}[ \t]?"), 0..4)) {
        let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        invariants::auth_header(lines.join("\n").as_bytes());
    }
}

/// What goes wrong with one line of a stream.
#[derive(Debug, Clone)]
enum Mishap {
    Lost,
    Twice,
    Moved(Index),
    Byte(Index, u8),
    Value(Index, &'static str),
}

/// Values that nobody expects.
const ODD: &[&str] =
    &["null", "\"\"", "\"x\"", "7", "-1", "1e99", "[]", "{}", "[null]", "true", "\"\\u0000\"", "{\"type\":\"x\"}"];

fn mishap() -> impl Strategy<Value = (Index, Mishap)> {
    let what = prop_oneof![
        1 => Just(Mishap::Lost),
        1 => Just(Mishap::Twice),
        1 => any::<Index>().prop_map(Mishap::Moved),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mishap::Byte(at, byte)),
        4 => (any::<Index>(), select(ODD)).prop_map(|(at, value)| Mishap::Value(at, value)),
    ];
    (any::<Index>(), what)
}

fn befall(lines: &mut Vec<Vec<u8>>, at: Index, mishap: &Mishap) {
    if lines.is_empty() {
        return;
    }
    let at = at.index(lines.len());
    match mishap {
        Mishap::Lost => _ = lines.remove(at),
        Mishap::Twice => lines.insert(at, lines[at].clone()),
        Mishap::Moved(to) => {
            let line = lines.remove(at);
            lines.insert(to.index(lines.len() + 1), line);
        }
        Mishap::Byte(place, byte) => {
            let place = place.index(lines[at].len());
            lines[at][place] = *byte;
        }
        Mishap::Value(place, odd) => {
            let start = lines[at].iter().position(|byte| *byte == b'{').unwrap_or(lines[at].len());
            let Ok(mut value) = serde_json::from_slice(&lines[at][start..]) else { return };
            replace(&mut value, *place, odd);
            lines[at].truncate(start);
            lines[at].extend(format!("{value}\n").bytes());
        }
    }
}

/// Puts `odd` in the place of one of the values within `value`, all of them as likely.
fn replace(value: &mut serde_json::Value, place: Index, odd: &str) {
    fn count(value: &serde_json::Value) -> usize {
        1 + value
            .as_object()
            .into_iter()
            .flat_map(|all| all.values())
            .chain(value.as_array().into_iter().flatten())
            .map(count)
            .sum::<usize>()
    }
    fn put(value: &mut serde_json::Value, left: &mut usize, odd: &serde_json::Value) {
        if *left == 0 {
            value.clone_from(odd);
        }
        *left = left.wrapping_sub(1);
        match value {
            serde_json::Value::Object(all) => all.values_mut().for_each(|value| put(value, left, odd)),
            serde_json::Value::Array(all) => all.iter_mut().for_each(|value| put(value, left, odd)),
            _ => {}
        }
    }
    let mut left = place.index(count(value));
    put(value, &mut left, &serde_json::from_str(odd).expect("the odd values are JSON"));
}

static STREAMS: LazyLock<Vec<Sample>> = LazyLock::new(streams);
static BODIES: LazyLock<Vec<(u8, serde_json::Value)>> = LazyLock::new(bodies);

proptest! {
    #[test]
    fn damaged_streams_are_translated_or_refused(
        sample in any::<Index>(), client in 0..4_u8, lengths in lengths(), mishaps in vec(mishap(), 1..4),
    ) {
        let Sample { steer, lines } = &STREAMS[sample.index(STREAMS.len())];
        let mut lines: Vec<Vec<u8>> = lines.iter().map(|line| line.clone().into_bytes()).collect();
        mishaps.iter().for_each(|(at, mishap)| befall(&mut lines, *at, mishap));

        let mut input = steer_with(&[&[steer | client][..], &lengths].concat(), "");
        input.extend(lines.concat());
        invariants::translated_stream(&input);
    }

    #[test]
    fn odd_bodies_are_read_or_refused(body in any::<Index>(), odd in vec((any::<Index>(), select(ODD)), 1..4)) {
        let (steer, mut body) = BODIES[body.index(BODIES.len())].clone();
        odd.iter().for_each(|(place, odd)| replace(&mut body, *place, odd));

        invariants::client_body(&steer_with(&[steer], &body.to_string()));
    }

    #[test]
    fn messages_of_aws_are_read_however_they_come(lengths in lengths(), name in "\\PC{0,12}", body in vec(any::<u8>(), 0..80), sound in any::<bool>()) {
        let head = steer_with(&[&[u8::from(sound)][..], &lengths].concat(), "");
        invariants::event_stream(&[&head[..], name.as_bytes(), b"\n", &body].concat());
    }
}

proptest! {
    // Each case writes a file.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_settings_are_read_or_refused_in_words(lines in vec(
        ("(\\[|\\[\\[)?(providers|models\\.alias|server|client_keys|teams)(\\.[a-z]{1,3})?(\\]|\\]\\])?( = )?", r#"("|\$\{SECRET\}|\$\{file:key\}|[0-9]{1,4}(s|MB)?|\[|\]|\{|\}|=|[a-z_]{1,12}|é|\\){0,8}"#), 0..6,
    )) {
        let text: Vec<String> = lines.iter().map(|(lead, rest)| format!("{lead}\nvalue = \"{rest}\"\n{rest}")).collect();
        invariants::configuration(text.join("\n").as_bytes());
    }
}
