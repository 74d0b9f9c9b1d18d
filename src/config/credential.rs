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
    AuthorizedUser(AuthorizedUser),
    ExternalAccount(ExternalAccount),
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

/// What `gcloud auth application-default login` leaves of a person.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthorizedUser {
    /// As the configuration names it.
    pub file: String,
    pub client_id: String,
    pub client_secret: Secret,
    pub refresh_token: Secret,
    pub token_url: String,
}

/// Workload identity federation: the token of another issuer, exchanged for one of Google's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalAccount {
    /// As the configuration names it.
    pub file: String,
    pub audience: String,
    /// Kind of the other issuer's token, as a URN.
    pub token_type: String,
    pub token_url: String,
    /// Where the other issuer's token is kept current by somebody else.
    pub token_file: String,
    /// The field of that file which holds the token, where the file is JSON.
    pub token_field: Option<String>,
    /// Who gives the token of a service account in exchange; without it the exchanged token itself is used.
    pub impersonation_url: Option<String>,
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
    /// A role taken on with a token that another issuer leaves in a file (EKS calls it IRSA).
    WebIdentity(WebIdentity),
    /// A role taken on with other keys.
    Role(Box<Role>),
}

/// A role to be taken on, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    pub arn: String,
    /// What the role's owner asks the caller to name.
    pub external_id: Option<String>,
    /// How the caller is called in the owner's logs.
    pub session_name: Option<String>,
    /// Whose STS is asked; without it the one of the region in the environment.
    pub region: Option<String>,
    /// The keys that the role is taken on with.
    pub source: Aws,
}

/// A role and a token for it; what is missing stands in the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebIdentity {
    pub role_arn: Option<String>,
    pub token_file: Option<String>,
    pub session_name: Option<String>,
    /// As in [`Role`].
    pub region: Option<String>,
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
            Self::Google(google) => google.parts(),
            Self::Entra(Entra::Client { tenant, client_id, client_secret, scope, authority }) => {
                vec!["entra", tenant, client_id, client_secret.expose(), scope, authority]
            }
            Self::Entra(Entra::Managed) => vec!["entra managed"],
            Self::Aws(aws) => aws.parts(),
        }
    }
}

impl Google {
    fn parts(&self) -> Vec<&str> {
        match self {
            Self::ServiceAccount(account) => {
                let key_id = account.key_id.as_deref().unwrap_or_default();
                vec!["google", &account.email, key_id, &account.token_url, account.key.expose()]
            }
            Self::AuthorizedUser(user) => {
                let (secret, token) = (user.client_secret.expose(), user.refresh_token.expose());
                vec!["google user", &user.client_id, secret, token, &user.token_url]
            }
            Self::ExternalAccount(account) => {
                let impersonation = account.impersonation_url.as_deref().unwrap_or_default();
                let field = account.token_field.as_deref().unwrap_or_default();
                let of_token = [account.token_type.as_str(), &account.token_file, field];
                let head = ["google external", &account.audience, &account.token_url, impersonation];
                [head.as_slice(), of_token.as_slice()].concat()
            }
            Self::Metadata => vec!["google metadata"],
        }
    }
}

impl Aws {
    fn parts(&self) -> Vec<&str> {
        fn or_none(part: &Option<String>) -> &str {
            part.as_deref().unwrap_or_default()
        }
        match self {
            Self::Static { access_key_id, secret_access_key, session_token } => {
                let token = session_token.as_ref().map(Secret::expose).unwrap_or_default();
                vec!["aws", access_key_id, secret_access_key.expose(), token]
            }
            Self::Environment => vec!["aws environment"],
            Self::Profile(name) => vec!["aws profile", name],
            Self::Container => vec!["aws container"],
            Self::Instance => vec!["aws instance"],
            Self::WebIdentity(WebIdentity { role_arn, token_file, session_name, region }) => {
                let rest = [role_arn, token_file, session_name, region].map(or_none);
                [["aws web identity"].as_slice(), &rest].concat()
            }
            Self::Role(role) => {
                let rest = [&role.external_id, &role.session_name, &role.region].map(or_none);
                [["aws role", &role.arn].as_slice(), &rest, &role.source.parts()].concat()
            }
        }
    }
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccount").field("file", &self.file).finish_non_exhaustive()
    }
}

impl fmt::Debug for AuthorizedUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizedUser").field("file", &self.file).finish_non_exhaustive()
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
            Self::WebIdentity(identity) => identity.fmt(f),
            Self::Role(role) => role.fmt(f),
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
    fn a_role_is_another_credential_for_each_of_its_parts() {
        let role = Role {
            arn: "arn:aws:iam::1:role/a".into(),
            external_id: None,
            session_name: None,
            region: None,
            source: Aws::Instance,
        };
        let others = [
            Role { arn: "arn:aws:iam::1:role/b".into(), ..role.clone() },
            Role { external_id: Some("x".into()), ..role.clone() },
            Role { session_name: Some("x".into()), ..role.clone() },
            Role { region: Some("x".into()), ..role.clone() },
            Role { source: Aws::Container, ..role.clone() },
        ];
        let placeholder = |role: &Role| Credential::Aws(Aws::Role(Box::new(role.clone()))).placeholder();
        let mut all: Vec<_> = others.iter().chain([&role]).map(|role| placeholder(role).expose().to_owned()).collect();
        all.sort();
        all.dedup();

        assert_eq!(all.len(), 6);
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

        let user = Google::AuthorizedUser(AuthorizedUser {
            file: "adc.json".into(),
            client_id: "c".into(),
            client_secret: Secret::new("hunter2".into()),
            refresh_token: Secret::new("hunter2".into()),
            token_url: "https://x".into(),
        });

        let shown =
            format!("{aws:?} {account:?} {user:?} {:?} {:?}", client("hunter2"), client("hunter2").placeholder());

        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
