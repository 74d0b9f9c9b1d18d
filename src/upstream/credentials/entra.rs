//! Azure's Entra: a token for an application's secret, or for the identity of the machine or app the gateway runs on.
//!
//! Source: "OAuth 2.0 client credentials flow" and "How to use managed identities to acquire an access token", Microsoft.

use bursar_actors::Secret;

use super::exchange::{Ask, encoded};
use super::surroundings::Surroundings;
use crate::config::credential::ENTRA_SCOPE;

/// Returns the question for an application's token.
pub fn ask(authority: &str, tenant: &str, client_id: &str, client_secret: &Secret, scope: &str) -> Ask {
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", client_id),
        ("client_secret", client_secret.expose()),
        ("scope", scope),
    ];
    Ask::form(format!("{authority}/{tenant}/oauth2/v2.0/token"), &fields)
}

/// Returns the question for the token of the place the gateway runs on: an app's own service where the environment names
/// one, else the machine's.
pub fn ask_managed(surroundings: &Surroundings) -> Ask {
    let resource = encoded(ENTRA_SCOPE.trim_end_matches("/.default"));
    // Tells which of several identities is meant.
    let client =
        surroundings.get("AZURE_CLIENT_ID").map_or_else(String::new, |id| format!("&client_id={}", encoded(id)));
    match (surroundings.get("IDENTITY_ENDPOINT"), surroundings.get("IDENTITY_HEADER")) {
        (Some(endpoint), Some(header)) => {
            let url = format!("{endpoint}?api-version=2019-08-01&resource={resource}{client}");
            Ask::get(url).header("x-identity-header", header)
        }
        _ => {
            let host = surroundings.service("AZURE_POD_IDENTITY_AUTHORITY_HOST", "169.254.169.254");
            let path = "/metadata/identity/oauth2/token?api-version=2018-02-01";
            Ask::get(format!("{host}{path}&resource={resource}{client}")).header("metadata", "true")
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn surroundings(variables: &[(&str, &str)]) -> Surroundings {
        Surroundings::new(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn an_application_asks_with_its_secret_in_the_form() {
        let ask = ask("https://login", "tenant", "app", &Secret::new("s+1".into()), "https://ai.azure.com/.default");

        assert_eq!(ask.url, "https://login/tenant/oauth2/v2.0/token");
        assert_eq!(
            ask.body.unwrap().text.expose(),
            "grant_type=client_credentials&client_id=app&client_secret=s%2B1&scope=https%3A%2F%2Fai.azure.com%2F.default"
        );
    }

    #[test]
    fn a_machine_is_asked_by_its_address_and_an_app_by_its_own_service() {
        let machine = ask_managed(&surroundings(&[]));
        let app = [("IDENTITY_ENDPOINT", "http://127.0.0.1:4/msi"), ("IDENTITY_HEADER", "h"), ("AZURE_CLIENT_ID", "c")];
        let app = ask_managed(&surroundings(&app));

        assert_eq!(
            machine.url,
            "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01\
             &resource=https%3A%2F%2Fcognitiveservices.azure.com"
        );
        assert_eq!(machine.headers[0].0, "metadata");
        assert_eq!(
            app.url,
            "http://127.0.0.1:4/msi?api-version=2019-08-01&resource=https%3A%2F%2Fcognitiveservices.azure.com&client_id=c"
        );
        assert_eq!((app.headers[0].0, app.headers[0].1.expose()), ("x-identity-header", "h"));
    }
}
