//! The routes that clients use, and those for whoever watches the process.

use actix_web::web;

use super::{Row, Serves, Verb};
use crate::http::counting;
use crate::http::health;
use crate::http::inference;
use crate::http::models;
use crate::http::responses;
use crate::schema::Operation;

const OPENAI: &[&str] = &["/v1", "/openai/v1", ""];
const ANTHROPIC: &[&str] = &["/v1", "/anthropic/v1", ""];
/// The last two are for Google's SDKs, which can be told to use the stable version of its API.
const GEMINI: &[&str] = &["/v1beta", "/v1", "/gemini/v1beta", "/gemini/v1"];
/// Without `/v1`, where models are listed in the shape of whoever asks.
const GEMINI_MODELS: &[&str] = &["/v1beta", "/gemini/v1beta", "/gemini/v1"];

/// Any method behind a model's name, but for those of [`GOOGLE`].
pub const NO_GOOGLE_METHOD: &str = "/models/{model:.+}:{method:[A-Za-z]+}";

/// The busy routes.
pub const CALLS: &[Row] = &[
    call(OPENAI, "/chat/completions", "create_chat_completion", "Answers a chat.", || {
        serving(Operation::ChatCompletions)
    }),
    call(OPENAI, "/completions", "create_completion", "Continues a text.", || serving(Operation::Completions)),
    call(OPENAI, "/embeddings", "create_embedding", "Embeds texts.", || serving(Operation::Embeddings)),
    call(OPENAI, "/responses", "create_response", "Answers in the shape of OpenAI's Responses.", || {
        serving(Operation::Responses)
    }),
    call(ANTHROPIC, "/messages", "create_message", "Answers in the shape of Anthropic's Messages.", || {
        serving(Operation::Messages)
    }),
    call(ANTHROPIC, "/messages/count_tokens", "count_message_tokens", "Counts the tokens of a message.", || {
        counting(Operation::Messages)
    }),
    call(
        OPENAI,
        "/responses/input_tokens",
        "count_response_tokens",
        "Counts the tokens of a response's input.",
        || counting(Operation::Responses),
    ),
];

/// Answers that are kept for the team of the client key.
pub const STORED: &[Row] = &[
    stored(Verb::Get, "/responses/{id}", "show_response", "Shows a stored response.", || web::to(responses::show)),
    stored(Verb::Delete, "/responses/{id}", "delete_response", "Deletes a stored response.", || {
        web::to(responses::delete)
    }),
    stored(
        Verb::Get,
        "/responses/{id}/input_items",
        "list_response_input",
        "Lists what was put before the model for a stored response.",
        || web::to(responses::items),
    ),
];

/// For probes and for people who try the address.
pub const HEALTH: &[Row] = &[
    watching("/", "root", "Says what this is.", || web::to(health::root)),
    watching("/healthz", "live", "Answers as long as the process runs.", || web::to(health::live)),
    watching("/readyz", "ready", "Tells whether new requests are welcome.", || web::to(health::ready)),
    watching("/metrics", "metrics", "Tells figures in Prometheus' text format.", || web::to(health::metrics)),
    watching("/openapi.json", "openapi", "Describes this API.", || web::to(health::openapi)),
];

/// Google's methods of a model.
pub const GOOGLE: &[Row] = &[
    google(
        "/models/{model}:generateContent",
        "/models/{model:.+}:{method:generateContent|streamGenerateContent}",
        "generate_content",
        "Answers in the shape of Google's Gemini.",
        || serving(Operation::GenerateContent),
    ),
    google(
        "/models/{model}:streamGenerateContent",
        "/models/{model:.+}:{method:generateContent|streamGenerateContent}",
        "stream_generate_content",
        "Streams an answer in the shape of Google's Gemini.",
        || serving(Operation::GenerateContent),
    ),
    google(
        "/models/{model}:countTokens",
        "/models/{model:.+}:{method:countTokens}",
        "count_content_tokens",
        "Counts the tokens of contents.",
        || counting(Operation::GenerateContent),
    ),
    google(
        "/models/{model}:embedContent",
        "/models/{model:.+}:{method:embedContent}",
        "embed_content",
        "Embeds a content.",
        || serving(Operation::EmbedContent),
    ),
    google(
        "/models/{model}:batchEmbedContents",
        "/models/{model:.+}:{method:batchEmbedContents}",
        "batch_embed_contents",
        "Embeds several contents.",
        || serving(Operation::BatchEmbedContents),
    ),
];

/// What the caller may ask for.
pub const MODELS: &[Row] = &[
    listing(GEMINI_MODELS, "/models", None, "list_gemini_models", "Lists models in Google's shape.", || {
        web::to(models::list_gemini)
    }),
    listing(
        GEMINI_MODELS,
        "/models/{id}",
        Some("/models/{id:.+}"),
        "show_gemini_model",
        "Shows one model in Google's shape.",
        || web::to(models::show_gemini),
    ),
    listing(OPENAI, "/models", None, "list_models", "Lists the models that the caller may use.", || {
        web::to(models::list)
    }),
    listing(OPENAI, "/models/{id}", Some("/models/{id:.+}"), "show_model", "Shows one model.", || {
        web::to(models::show)
    }),
];

type Route = fn() -> actix_web::Route;

const fn call(
    prefixes: &'static [&'static str],
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    route: Route,
) -> Row {
    Row { prefixes, ..Row::new(Verb::Post, path, id, summary, Serves::Client(route)) }
}

const fn stored(method: Verb, path: &'static str, id: &'static str, summary: &'static str, route: Route) -> Row {
    Row { prefixes: OPENAI, ..Row::new(method, path, id, summary, Serves::Client(route)) }
}

const fn watching(path: &'static str, id: &'static str, summary: &'static str, route: Route) -> Row {
    Row::new(Verb::Get, path, id, summary, Serves::Public(route))
}

const fn google(
    path: &'static str,
    pattern: &'static str,
    id: &'static str,
    summary: &'static str,
    route: Route,
) -> Row {
    Row { pattern: Some(pattern), ..call(GEMINI, path, id, summary, route) }
}

const fn listing(
    prefixes: &'static [&'static str],
    path: &'static str,
    pattern: Option<&'static str>,
    id: &'static str,
    summary: &'static str,
    route: Route,
) -> Row {
    Row { prefixes, pattern, ..Row::new(Verb::Get, path, id, summary, Serves::Client(route)) }
}

/// Answers requests for `operation`.
fn serving(operation: Operation) -> actix_web::Route {
    web::to(move |request, payload, worker| inference::serve(operation, request, payload, worker))
}

/// Answers how many tokens requests for `operation` have.
fn counting(operation: Operation) -> actix_web::Route {
    web::to(move |request, payload, worker| counting::count(operation, request, payload, worker))
}
