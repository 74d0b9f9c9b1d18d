//! Credentials that expire: how each is come by. The tokens themselves are minted in `upstream::credentials`.
//!
//! A key with such a credential carries a placeholder in place of a value. It names the credential by a hash over all of
//! it, so whatever changes in it makes the key a new one, and it begins with a character that no header may carry, so
//! that it can never be sent for a key.

use std::fmt;

use bursar_actors::Secret;

/// What every placeholder begins with.
pub const MARK: &str = "\u{1}minted:";

/// Scope of Azure's models.
pub const ENTRA_SCOPE: &str = "https://cognitiveservices.azure.com/.default";
/// Where Entra answers, but for sovereign clouds.
pub const ENTRA_AUTHORITY: &str = "https://login.microsoftonline.com";

/// How tokens are come by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    Google(Google),
    Entra(Entra),
    Aws(Aws),
}

/// `google = ...`: OAuth tokens for Vertex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Google {
    ServiceAccount(ServiceAccount),
    /// The account of the machine in Google's cloud.
    Metadata,
}

/// The key file of a service account; its key has been found to sign.
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceAccount {
    /// As the configuration names it.
    pub file: String,
    pub email: String,
    pub key_id: Option<String>,
    pub token_url: String,
    /// PEM.
    pub key: Secret,
}

/// `entra = ...`: OAuth tokens for Azure.
#[derive(Clone, PartialEq, Eq)]
pub enum Entra {
    Client {
        tenant: String,
        client_id: String,
        client_secret: Secret,
        scope: String,
        /// Without a trailing slash.
        authority: String,
    },
    /// The identity of the machine, container or app in Azure.
    Managed,
}

/// `aws = ...`: what calls to AWS are signed with.
#[derive(Clone, PartialEq, Eq)]
pub enum Aws {
    Static {
        access_key_id: String,
        secret_access_key: Secret,
        session_token: Option<Secret>,
    },
    /// `AWS_ACCESS_KEY_ID` and the like.
    Environment,
    /// A section of the shared credentials file.
    Profile(String),
    /// The role of the container or pod.
    Container,
    /// The role of the EC2 instance.
    Instance,
}

impl Credential {
    /// Returns what stands in place of the key's value.
    pub fn placeholder(&self) -> Secret {
        let mut hasher = blake3::Hasher::new();
        for part in self.parts() {
            // With its length, so that no two lists of parts are the same bytes.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        Secret::new(format!("{MARK}{}", hasher.finalize().to_hex()))
    }

    fn parts(&self) -> Vec<&str> {
        match self {
            Self::Google(Google::ServiceAccount(account)) => {
                let key_id = account.key_id.as_deref().unwrap_or_default();
                vec!["google", &account.email, key_id, &account.token_url, account.key.expose()]
            }
            Self::Google(Google::Metadata) => vec!["google metadata"],
            Self::Entra(Entra::Client { tenant, client_id, client_secret, scope, authority }) => {
                vec!["entra", tenant, client_id, client_secret.expose(), scope, authority]
            }
            Self::Entra(Entra::Managed) => vec!["entra managed"],
            Self::Aws(Aws::Static { access_key_id, secret_access_key, session_token }) => {
                let token = session_token.as_ref().map(Secret::expose).unwrap_or_default();
                vec!["aws", access_key_id, secret_access_key.expose(), token]
            }
            Self::Aws(Aws::Environment) => vec!["aws environment"],
            Self::Aws(Aws::Profile(name)) => vec!["aws profile", name],
            Self::Aws(Aws::Container) => vec!["aws container"],
            Self::Aws(Aws::Instance) => vec!["aws instance"],
        }
    }
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccount").field("file", &self.file).finish_non_exhaustive()
    }
}

impl fmt::Debug for Entra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client { tenant, client_id, .. } => {
                f.debug_struct("Client").field("tenant", tenant).field("client_id", client_id).finish_non_exhaustive()
            }
            Self::Managed => f.write_str("Managed"),
        }
    }
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The id of a key is no secret to AWS; operators hold it for one.
            Self::Static { .. } => f.write_str("Static"),
            Self::Environment => f.write_str("Environment"),
            Self::Profile(name) => f.debug_tuple("Profile").field(name).finish(),
            Self::Container => f.write_str("Container"),
            Self::Instance => f.write_str("Instance"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(secret: &str) -> Credential {
        Credential::Entra(Entra::Client {
            tenant: "t".into(),
            client_id: "c".into(),
            client_secret: Secret::new(secret.into()),
            scope: ENTRA_SCOPE.into(),
            authority: ENTRA_AUTHORITY.into(),
        })
    }

    #[test]
    fn equal_credentials_have_one_placeholder_and_others_another() {
        assert_eq!(client("a").placeholder(), client("a").placeholder());
        assert_ne!(client("a").placeholder(), client("b").placeholder());
        assert_ne!(
            Credential::Aws(Aws::Container).placeholder(),
            Credential::Aws(Aws::Profile("container".into())).placeholder()
        );
    }

    #[test]
    fn nothing_secret_shows() {
        let aws = Credential::Aws(Aws::Static {
            access_key_id: "AKIAhunter2".into(),
            secret_access_key: Secret::new("hunter2".into()),
            session_token: Some(Secret::new("hunter2".into())),
        });
        let account = Credential::Google(Google::ServiceAccount(ServiceAccount {
            file: "sa.json".into(),
            email: "a@b".into(),
            key_id: None,
            token_url: "https://x".into(),
            key: Secret::new("hunter2".into()),
        }));

        let shown = format!("{aws:?} {account:?} {:?} {:?}", client("hunter2"), client("hunter2").placeholder());

        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
