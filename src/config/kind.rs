//! The kinds of provider: what has to be known of each before anything is sent there. How each is spoken to is the
//! matter of `providers`.

use serde::Deserialize;

/// Builds the enum and its table from one row per kind.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $name:literal, $base_url:expr, $variable:expr;)+) => {
        /// What a provider is: the wire format and where it answers.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
        pub enum ProviderKind {
            $($(#[$doc])* #[serde(rename = $name)] $kind,)+
        }

        impl ProviderKind {
            /// Every kind, in the order in which they are listed to people.
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// Returns its name in the configuration.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $name),+ }
            }

            /// Returns where it answers unless the configuration says otherwise; `None` where it has to.
            pub fn base_url(self) -> Option<&'static str> {
                match self { $(Self::$kind => $base_url),+ }
            }

            /// Returns the environment variable in which people keep its key; with an `S` at its end, a comma list.
            pub fn variable(self) -> Option<&'static str> {
                match self { $(Self::$kind => $variable),+ }
            }
        }
    };
}

kinds! {
    OpenAi "openai", Some("https://api.openai.com/v1"), Some("OPENAI_API_KEY");
    Anthropic "anthropic", Some("https://api.anthropic.com"), Some("ANTHROPIC_API_KEY");
    /// Google's Developer API ("AI Studio").
    Gemini "gemini", Some("https://generativelanguage.googleapis.com/v1beta"), Some("GEMINI_API_KEY");
    Vertex "vertex", None, None;
    Bedrock "bedrock", None, Some("AWS_BEARER_TOKEN_BEDROCK");
    AzureOpenAi "azure_openai", None, Some("AZURE_OPENAI_API_KEY");
    Mistral "mistral", Some("https://api.mistral.ai/v1"), Some("MISTRAL_API_KEY");
    Cohere "cohere", Some("https://api.cohere.com"), Some("COHERE_API_KEY");
    Groq "groq", Some("https://api.groq.com/openai/v1"), Some("GROQ_API_KEY");
    DeepSeek "deepseek", Some("https://api.deepseek.com"), Some("DEEPSEEK_API_KEY");
    XAi "xai", Some("https://api.x.ai/v1"), Some("XAI_API_KEY");
    Together "together", Some("https://api.together.ai/v1"), Some("TOGETHER_API_KEY");
    Fireworks "fireworks", Some("https://api.fireworks.ai/inference/v1"), Some("FIREWORKS_API_KEY");
    OpenRouter "openrouter", Some("https://openrouter.ai/api/v1"), Some("OPENROUTER_API_KEY");
    Perplexity "perplexity", Some("https://api.perplexity.ai"), Some("PERPLEXITY_API_KEY");
    Cerebras "cerebras", Some("https://api.cerebras.ai/v1"), Some("CEREBRAS_API_KEY");
    Moonshot "moonshot", Some("https://api.moonshot.ai/v1"), Some("MOONSHOT_API_KEY");
    Zai "zai", Some("https://api.z.ai/api/paas/v4"), Some("ZAI_API_KEY");
    HuggingFace "huggingface", Some("https://router.huggingface.co/v1"), Some("HF_TOKEN");
    Nvidia "nvidia", Some("https://integrate.api.nvidia.com/v1"), Some("NVIDIA_API_KEY");
    // The variable of its tokens, GITHUB_TOKEN, is set on many machines for other purposes.
    GitHubModels "github_models", Some("https://models.github.ai/inference"), None;
    SambaNova "sambanova", Some("https://api.sambanova.ai/v1"), Some("SAMBANOVA_API_KEY");
    DeepInfra "deepinfra", Some("https://api.deepinfra.com/v1/openai"), Some("DEEPINFRA_API_KEY");
    Nebius "nebius", Some("https://api.tokenfactory.nebius.com/v1"), Some("NEBIUS_API_KEY");
    Novita "novita", Some("https://api.novita.ai/openai/v1"), Some("NOVITA_API_KEY");
    Hyperbolic "hyperbolic", Some("https://api.hyperbolic.xyz/v1"), Some("HYPERBOLIC_API_KEY");
    /// Ollama by its own API, which knows context length, thinking and keep-alive.
    Ollama "ollama", Some("http://127.0.0.1:11434"), None;
    Vllm "vllm", None, None;
    SgLang "sglang", None, None;
    LlamaCpp "llama_cpp", None, None;
    LmStudio "lm_studio", Some("http://127.0.0.1:1234/v1"), None;
    Tgi "tgi", None, None;
    /// Whatever else copies OpenAI's API.
    OpenAiCompatible "openai_compatible", None, None;
    /// The one inside Bursar, which needs no network.
    Demo "demo", None, None;
}

impl ProviderKind {
    /// Returns headers that go with every call, unless the configuration has others of these names.
    pub fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            // Without it the version is whatever GitHub's default is by then ("API Versions", GitHub REST API).
            Self::GitHubModels => &[("x-github-api-version", "2022-11-28")],
            _ => &[],
        }
    }

    /// Returns whether it cannot be used without a key.
    pub fn needs_key(self) -> bool {
        !self.is_self_hosted() && !matches!(self, Self::OpenAiCompatible)
    }

    /// Returns whether such a provider usually runs on a machine of one's own.
    pub fn is_self_hosted(self) -> bool {
        use ProviderKind as Kind;
        matches!(
            self,
            Kind::Ollama | Kind::Vllm | Kind::SgLang | Kind::LlamaCpp | Kind::LmStudio | Kind::Tgi | Kind::Demo
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units;

    #[test]
    fn addresses_and_headers_are_as_a_configuration_would_have_them() {
        for kind in ProviderKind::ALL {
            if let Some(url) = kind.base_url() {
                assert_eq!(units::base_url(url).as_deref(), Ok(url), "{kind:?}");
            }
            assert!(kind.headers().iter().all(|(name, _)| name.to_ascii_lowercase() == **name), "{kind:?}");
        }
    }
}
