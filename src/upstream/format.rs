//! How an endpoint is spoken to: its dialect, where each operation goes, and how the key is shown.

use awc::http::Uri;
use awc::http::header::HeaderName;

use crate::config::{Provider, ProviderKind, Speaks};
use crate::providers::dialect::UpstreamDialect;
use crate::providers::upstreams;
use crate::schema::Operation;
use crate::schema::chat::Dialect;

/// How an endpoint is spoken to.
#[derive(Clone)]
pub struct Format {
    pub dialect: Dialect,
    /// What translates for it.
    pub upstream: &'static dyn UpstreamDialect,
    pub auth: Auth,
    /// It answers OpenAI's Responses by itself.
    pub responses: bool,
    /// It has OpenAI's legacy completions.
    completions: bool,
    /// Its OpenAI dialect has differences, so that what is sent there has to be written anew.
    pub particular: bool,
    /// It serves OpenAI's own models.
    pub openai_models: bool,
    /// Azure's dated API: the model is a part of the path.
    api_version: Option<String>,
}

/// How the key is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    Bearer,
    /// In a header of its own, as it is.
    Header(HeaderName),
    /// By a signature over the call (AWS, service `bedrock`); a plain key goes as a bearer token.
    Aws {
        region: String,
    },
}

impl std::fmt::Debug for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Format").field("dialect", &self.dialect).field("auth", &self.auth).finish_non_exhaustive()
    }
}

impl Format {
    /// Returns how plain copies of OpenAI's API are spoken to.
    pub fn openai() -> Self {
        Self {
            dialect: Dialect::OpenAi,
            upstream: upstreams::of(ProviderKind::OpenAiCompatible.as_str(), Dialect::OpenAi),
            auth: Auth::Bearer,
            responses: false,
            completions: true,
            particular: false,
            openai_models: false,
            api_version: None,
        }
    }

    /// Returns how the endpoints of `provider` are spoken to.
    pub fn of(provider: &Provider) -> Self {
        use ProviderKind as Kind;
        let dialect = match (provider.kind, provider.demo.as_ref().map(|demo| demo.speaks)) {
            (Kind::Anthropic, _) | (_, Some(Speaks::Anthropic)) => Dialect::Anthropic,
            (Kind::Gemini | Kind::Vertex, _) | (_, Some(Speaks::Gemini)) => Dialect::Gemini,
            (Kind::Bedrock, _) => Dialect::Bedrock,
            (Kind::Cohere, _) => Dialect::Cohere,
            (Kind::Ollama, _) => Dialect::Ollama,
            (_, Some(Speaks::Responses)) => Dialect::Responses,
            _ => Dialect::OpenAi,
        };
        let auth = match provider.kind {
            Kind::Anthropic => Auth::Header(HeaderName::from_static("x-api-key")),
            Kind::Gemini => Auth::Header(HeaderName::from_static("x-goog-api-key")),
            Kind::AzureOpenAi => Auth::Header(HeaderName::from_static("api-key")),
            Kind::Bedrock => Auth::Aws { region: provider.region.clone().unwrap_or_default() },
            _ => Auth::Bearer,
        };
        let dated = provider.api_version.is_some();
        Self {
            dialect,
            upstream: upstreams::of(provider.kind.as_str(), dialect),
            auth,
            responses: matches!(provider.kind, Kind::OpenAi | Kind::AzureOpenAi | Kind::XAi | Kind::OpenRouter)
                && !dated
                || dialect == Dialect::Responses,
            completions: dialect == Dialect::OpenAi && upstreams::has_completions(provider.kind.as_str()),
            particular: dialect == Dialect::OpenAi && upstreams::is_particular(provider.kind.as_str()),
            openai_models: matches!(provider.kind, Kind::OpenAi | Kind::AzureOpenAi),
            api_version: provider.api_version.clone(),
        }
    }

    /// Returns whether a client's request for `operation` is understood there as it stands, but for the model's name.
    pub fn passes(&self, operation: Operation) -> bool {
        match operation {
            Operation::Responses => self.responses,
            Operation::Completions => self.completions,
            Operation::Embeddings => self.dialect == Dialect::OpenAi,
            Operation::EmbedContent | Operation::BatchEmbedContents => {
                self.upstream.embeddings().is_some_and(|upstream| upstream.passes(operation))
            }
            _ => self.dialect == operation.dialect() && !self.particular,
        }
    }

    /// Returns the path of `operation`, behind the base URL, where the request passes as it stands.
    pub fn path(&self, operation: Operation, model: &str, stream: bool) -> String {
        let path = match operation {
            Operation::ChatCompletions => "/chat/completions",
            Operation::Completions => "/completions",
            Operation::Embeddings => "/embeddings",
            Operation::Responses => "/responses",
            Operation::Messages => "/v1/messages",
            Operation::GenerateContent if stream => {
                return format!("/models/{}:streamGenerateContent?alt=sse", in_path(model));
            }
            Operation::GenerateContent => return format!("/models/{}:generateContent", in_path(model)),
            Operation::EmbedContent => return format!("/models/{}:embedContent", in_path(model)),
            Operation::BatchEmbedContents => return format!("/models/{}:batchEmbedContents", in_path(model)),
        };
        path.to_owned()
    }

    /// Returns the path of its list of models.
    pub fn models_path(&self) -> &'static str {
        match self.dialect {
            // Ollama has OpenAI's list beside its own API.
            Dialect::Anthropic | Dialect::Cohere | Dialect::Ollama => "/v1/models",
            _ => "/models",
        }
    }

    /// Returns whether the model is a part of every path.
    pub fn is_dated(&self) -> bool {
        self.api_version.is_some()
    }

    /// Returns a path as Azure's dated API wants it; any other as it is.
    fn dated(&self, path: &str, model: &str) -> String {
        match &self.api_version {
            // A deployment's name is one segment.
            Some(version) => {
                format!("/deployments/{}{path}?api-version={version}", in_path(model).replace('/', "%2F"))
            }
            None => path.to_owned(),
        }
    }

    /// Returns the address of `path` below `base_url`. A version that both have stands once.
    pub fn uri(&self, base_url: &str, path: &str, model: &str) -> Option<Uri> {
        let path = self.dated(path, model);
        let base_url = base_url.trim_end_matches('/');
        let base_url = match path.strip_prefix("/v1/") {
            Some(_) => base_url.strip_suffix("/v1").unwrap_or(base_url),
            None => base_url,
        };
        Uri::try_from(format!("{base_url}{path}")).ok()
    }
}

/// Returns a model's name as a segment of a path; slashes stay, because some names are paths.
fn in_path(model: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/@:".contains(&byte);
    model.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
