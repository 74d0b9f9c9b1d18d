//! What a Messages request may contain, as Anthropic's reference lists it.

use super::super::shape::Shape::{Any, Flag, Free, List, Number, Tagged, Text, TextOr, Whole, Word};
use super::super::shape::{Field, Shape, may, needs};

const CACHE: Field = may("cache_control", CACHE_CONTROL);
const CACHE_CONTROL: Shape = Tagged("type", &[("ephemeral", &[may("ttl", Word(&["5m", "1h"]))])]);

/// The fields of a request to `/v1/messages`.
pub(super) static MESSAGES: Shape = Shape::Object(&[
    needs("model", Text),
    needs("messages", List(&MESSAGE)),
    needs("max_tokens", Whole),
    may("system", SYSTEM),
    may("stop_sequences", List(&Text)),
    may("stream", Flag),
    may("tools", List(&Free)),
    may("tool_choice", TOOL_CHOICE),
    may("thinking", THINKING),
    may("output_config", OUTPUT_CONFIG),
    may("metadata", Shape::Object(&[may("user_id", Text)])),
    may("service_tier", Word(&["auto", "standard_only"])),
    may("speed", Word(&["standard", "fast"])),
    CACHE,
    may("container", Any),
    may("diagnostics", Free),
    may("inference_geo", Text),
    may("temperature", Number),
    may("top_p", Number),
    may("top_k", Whole),
]);

/// The fields of a request to `/v1/messages/count_tokens`.
pub(super) static COUNT_TOKENS: Shape = Shape::Object(&[
    needs("model", Text),
    needs("messages", List(&MESSAGE)),
    may("system", SYSTEM),
    may("tools", List(&Free)),
    may("tool_choice", TOOL_CHOICE),
    may("thinking", THINKING),
    may("output_config", OUTPUT_CONFIG),
    CACHE,
]);

/// Fields that are known only to a request with an `anthropic-beta` header.
pub(super) const BETA: [&str; 7] =
    ["fallbacks", "mcp_servers", "context_management", "compaction", "thread", "billing_policy", "output_format"];

/// A tool that the client runs.
pub(super) static TOOL: Shape = Shape::Object(&[
    may("type", Word(&["custom"])),
    needs("name", Text),
    may("description", Text),
    needs("input_schema", Free),
    may("strict", Flag),
    CACHE,
    may("defer_loading", Flag),
    may("allowed_callers", List(&Text)),
    may("eager_input_streaming", Flag),
    may("input_examples", List(&Free)),
]);

const SYSTEM: Shape = TextOr(&List(&Tagged("type", &[("text", TEXT)])));
const TEXT: &[Field] = &[needs("text", Text), may("citations", Any), CACHE];

const TOOL_CHOICE: Shape = Tagged(
    "type",
    &[
        ("auto", &[may("disable_parallel_tool_use", Flag)]),
        ("any", &[may("disable_parallel_tool_use", Flag)]),
        ("tool", &[needs("name", Text), may("disable_parallel_tool_use", Flag)]),
        ("none", &[]),
    ],
);

const DISPLAY: Field = may("display", Word(&["summarized", "omitted"]));
const THINKING: Shape = Tagged(
    "type",
    &[
        ("adaptive", &[DISPLAY]),
        ("enabled", &[needs("budget_tokens", Whole), DISPLAY]),
        ("between_tools", &[DISPLAY]),
        ("disabled", &[]),
    ],
);

const OUTPUT_CONFIG: Shape = Shape::Object(&[
    may("effort", Word(&["low", "medium", "high", "xhigh", "max"])),
    may("format", Tagged("type", &[("json_schema", &[needs("schema", Free)])])),
    may("task_budget", Free),
]);

static MESSAGE: Shape =
    Shape::Object(&[needs("role", Word(&["user", "assistant", "system"])), needs("content", TextOr(&List(&BLOCK)))]);

const SOURCE: Shape = Tagged(
    "type",
    &[
        ("base64", &[needs("media_type", Text), needs("data", Text)]),
        ("url", &[needs("url", Text)]),
        ("file", &[needs("file_id", Text)]),
        ("text", &[needs("media_type", Word(&["text/plain"])), needs("data", Text)]),
        ("content", &[needs("content", Any)]),
    ],
);
const IMAGE: &[Field] = &[needs("source", SOURCE), CACHE];
const DOCUMENT: &[Field] =
    &[needs("source", SOURCE), may("title", Text), may("context", Text), may("citations", Free), CACHE];
const SEARCH_RESULT: &[Field] =
    &[needs("source", Text), needs("title", Text), needs("content", Any), may("citations", Free), CACHE];
const SERVER_RESULT: &[Field] = &[needs("tool_use_id", Text), needs("content", Any), may("caller", Any), CACHE];
const TOOL_USE: &[Field] = &[needs("id", Text), needs("name", Text), needs("input", Free), may("caller", Any), CACHE];

static RESULT_BLOCK: Shape = Tagged(
    "type",
    &[
        ("text", TEXT),
        ("image", IMAGE),
        ("document", DOCUMENT),
        ("search_result", SEARCH_RESULT),
        ("tool_reference", &[needs("tool_name", Text), CACHE]),
    ],
);

static BLOCK: Shape = Tagged(
    "type",
    &[
        ("text", TEXT),
        ("image", IMAGE),
        ("document", DOCUMENT),
        ("search_result", SEARCH_RESULT),
        ("thinking", &[needs("thinking", Text), needs("signature", Text)]),
        ("redacted_thinking", &[needs("data", Text)]),
        ("tool_use", TOOL_USE),
        (
            "tool_result",
            &[needs("tool_use_id", Text), may("content", TextOr(&List(&RESULT_BLOCK))), may("is_error", Flag), CACHE],
        ),
        ("server_tool_use", TOOL_USE),
        ("web_search_tool_result", SERVER_RESULT),
        ("web_fetch_tool_result", SERVER_RESULT),
        ("code_execution_tool_result", SERVER_RESULT),
        ("bash_code_execution_tool_result", SERVER_RESULT),
        ("text_editor_code_execution_tool_result", SERVER_RESULT),
        ("tool_search_tool_result", SERVER_RESULT),
        ("container_upload", &[needs("file_id", Text), CACHE]),
    ],
);
