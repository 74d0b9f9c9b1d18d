//! AWS: keys from the environment or the shared credentials file, the role of a container, the role of an EC2 instance.
//!
//! Source: "Credential providers" (AWS SDKs and Tools Reference Guide), "Use IMDSv2" (EC2 User Guide).

use std::collections::HashMap;
use std::time::SystemTime;

use bursar_actors::Secret;
use serde::Deserialize;

use super::Kind;
use super::exchange::{Ask, json};
use super::surroundings::Surroundings;
use awc::http::Method;

/// Where an instance's metadata service answers.
const INSTANCE: &str = "http://169.254.169.254";
/// Where the service of ECS answers.
const CONTAINER: &str = "http://169.254.170.2";
/// How long a session with the metadata service may last, in seconds; it is used at once.
const SESSION_S: &str = "300";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

/// Returns the keys in the environment.
pub fn of_environment(surroundings: &Surroundings) -> Result<Kind, String> {
    let get = |name: &str| surroundings.get(name).ok_or_else(|| format!("{name} is not set"));
    Ok(kind(get("AWS_ACCESS_KEY_ID")?, get("AWS_SECRET_ACCESS_KEY")?, surroundings.get("AWS_SESSION_TOKEN")))
}

/// Why a file of profiles gives no keys.
#[derive(Debug, PartialEq, Eq)]
pub enum NoKeys {
    NoSection,
    /// In words; they quote nothing of the file.
    Other(String),
}

/// Keys of a profile that say how its credentials are come by in ways that are not ours, and what to do instead.
const OTHER_WAYS: [(&str, &str); 4] = [
    ("credential_process", "no program is run; let it write its keys to a profile, which is read every 5 minutes"),
    ("sso_session", "signing on is not supported; write the keys of `aws configure export-credentials` to a profile"),
    ("sso_start_url", "signing on is not supported; write the keys of `aws configure export-credentials` to a profile"),
    ("role_arn", "name the role in the configuration: aws = { role_arn = ..., source = \"profile:...\" }"),
];

/// Returns the keys of section `profile` in the text of a shared credentials or configuration file.
pub fn of_profile(text: &str, profile: &str) -> Result<Kind, NoKeys> {
    let mut inside = false;
    let mut found = false;
    let mut values: HashMap<String, &str> = HashMap::new();
    for line in text.lines() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(name, _)| name.trim()) {
            // The configuration file writes `profile` before all names but the default's.
            inside = name.strip_prefix("profile ").map_or(name, str::trim) == profile;
            found |= inside;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| inside && !line.starts_with(['#', ';'])) {
            values.insert(name.trim().to_ascii_lowercase(), value.trim());
        }
    }
    if !found {
        return Err(NoKeys::NoSection);
    }
    let get = |name: &str| {
        let value = values.get(name).copied().filter(|value| !value.is_empty());
        let other = OTHER_WAYS.iter().find(|(way, _)| values.contains_key(*way));
        value.ok_or_else(|| match other {
            Some((way, instead)) => format!("its section [{profile}] has {way} in place of {name}; {instead}"),
            None => format!("its section [{profile}] has no {name}"),
        })
    };
    let keys = || Ok(kind(get("aws_access_key_id")?, get("aws_secret_access_key")?, get("aws_session_token").ok()));
    keys().map_err(NoKeys::Other)
}

/// Returns keys as calls are signed with them.
pub fn kind(id: &str, secret: &str, token: Option<&str>) -> Kind {
    let secret_of = |text: &str| Secret::new(text.to_owned());
    Kind::Aws {
        access_key_id: secret_of(id),
        secret_access_key: secret_of(secret),
        session_token: token.map(secret_of),
    }
}

/// What the container's service wants to see.
pub enum Authorization {
    None,
    Text(String),
    /// The content of this file, which changes.
    File(String),
}

/// Returns where a container's keys are asked for, and with which authorization.
pub fn container(surroundings: &Surroundings) -> Result<(String, Authorization), String> {
    let url = match (
        surroundings.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
        surroundings.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    ) {
        (Some(path), _) => format!("{CONTAINER}/{}", path.trim_start_matches('/')),
        (None, Some(url)) => url.to_owned(),
        (None, None) => {
            return Err(
                "neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor AWS_CONTAINER_CREDENTIALS_FULL_URI is set; \
                 ECS and EKS Pod Identity set one of them in containers that have a role"
                    .to_owned(),
            );
        }
    };
    let file =
        surroundings.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").map(|file| Authorization::File(file.to_owned()));
    let text = surroundings.get("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(|text| Authorization::Text(text.to_owned()));
    Ok((url, file.or(text).unwrap_or(Authorization::None)))
}

/// Returns the first question to an instance's metadata service: for a session.
pub fn ask_session(surroundings: &Surroundings) -> Ask {
    let url = format!("{}/latest/api/token", instance(surroundings));
    let ask = Ask { method: Method::PUT, ..Ask::get(url) };
    ask.header("x-aws-ec2-metadata-token-ttl-seconds", SESSION_S)
}

/// Returns the second: which role the instance has.
pub fn ask_role(surroundings: &Surroundings, session: &str) -> Ask {
    Ask::get(format!("{}{ROLES}", instance(surroundings))).header("x-aws-ec2-metadata-token", session)
}

/// Returns the third: for the role's keys. `roles` is the answer to the second.
pub fn ask_keys(surroundings: &Surroundings, session: &str, roles: &str) -> Result<Ask, String> {
    let role = roles.lines().next().unwrap_or_default().trim();
    // Letters that a role's name may have (IAM, "CreateRole").
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
    if role.is_empty() || !role.bytes().all(fine) {
        return Err("the instance has no role".to_owned());
    }
    let url = format!("{}{ROLES}{role}", instance(surroundings));
    Ok(Ask::get(url).header("x-aws-ec2-metadata-token", session))
}

fn instance(surroundings: &Surroundings) -> String {
    surroundings.service("AWS_EC2_METADATA_SERVICE_ENDPOINT", INSTANCE)
}

/// Keys as instances and containers get them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Keys {
    code: Option<String>,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    token: Option<String>,
    expiration: Option<String>,
}

/// Reads keys and when they expire.
pub fn read(body: &[u8]) -> Result<(Kind, Option<SystemTime>), String> {
    let keys: Keys = json(body)?;
    if keys.code.as_deref().is_some_and(|code| code != "Success") {
        return Err("the metadata service has no keys for the instance's role".to_owned());
    }
    let (Some(id), Some(secret)) = (&keys.access_key_id, &keys.secret_access_key) else {
        return Err("what was answered is no credential".to_owned());
    };
    let expires = keys.expiration.as_deref().map(humantime::parse_rfc3339).transpose();
    let expires = expires.map_err(|_| "the expiry of what was answered is no date")?;
    Ok((kind(id, secret, keys.token.as_deref()), expires))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    fn surroundings(variables: &[(&str, &str)]) -> Surroundings {
        Surroundings::new(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn the_environment_gives_keys_with_or_without_a_session() {
        let pair = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")];
        let session = [pair[0], pair[1], ("AWS_SESSION_TOKEN", "token")];

        assert_eq!(of_environment(&surroundings(&pair)).unwrap(), kind("id", "secret", None));
        assert_eq!(of_environment(&surroundings(&session)).unwrap(), kind("id", "secret", Some("token")));
        assert_eq!(of_environment(&surroundings(&pair[..1])).unwrap_err(), "AWS_SECRET_ACCESS_KEY is not set");
    }

    #[test]
    fn a_profile_is_read_from_among_others() {
        let file = "\u{20}# made by hand\n[default]\naws_access_key_id=d\naws_secret_access_key = ds\n\n\
            [profile  dev ] ; comment\nAWS_ACCESS_KEY_ID = id\n;aws_access_key_id = old\naws_secret_access_key = a=b/c==\n\
            aws_session_token=\n[empty]\n[half]\naws_access_key_id = x\n";

        assert_eq!(of_profile(file, "default").unwrap(), kind("d", "ds", None));
        assert_eq!(of_profile(file, "dev").unwrap(), kind("id", "a=b/c==", None));
        assert_eq!(of_profile(file, "none").unwrap_err(), NoKeys::NoSection);
        let why = "its section [half] has no aws_secret_access_key";
        assert_eq!(of_profile(file, "half").unwrap_err(), NoKeys::Other(why.into()));
    }

    #[test]
    fn a_profile_that_comes_by_its_keys_in_another_way_says_what_to_do() {
        for (line, what) in [
            ("credential_process = /bin/hunter2", "no program is run"),
            ("sso_session = hunter2", "aws configure export-credentials"),
            ("role_arn = arn:hunter2\nsource_profile = base", "aws = { role_arn = ..., source = \"profile:...\" }"),
        ] {
            let file = format!("[profile dev]\n{line}\n");

            let Err(NoKeys::Other(why)) = of_profile(&file, "dev") else { panic!("{line}") };

            assert!(why.contains(what) && !why.contains("hunter2"), "{why}");
        }
    }

    #[test]
    fn a_container_is_told_where_to_ask() {
        let (url, none) = container(&surroundings(&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x")])).unwrap();
        let pod = [
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/var/token"),
        ];
        let (pod, file) = container(&surroundings(&pod)).unwrap();

        assert!(url == "http://169.254.170.2/v2/x" && matches!(none, Authorization::None));
        assert!(pod == "http://169.254.170.23/v1/credentials");
        assert!(matches!(file, Authorization::File(file) if file == "/var/token"));
        assert!(container(&surroundings(&[])).is_err());
    }

    #[test]
    fn an_instance_is_asked_for_a_session_then_its_role_then_its_keys() {
        let here = surroundings(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://[fd00:ec2::254]/")]);

        let session = ask_session(&here);
        assert_eq!((session.method, session.url.as_str()), (Method::PUT, "http://[fd00:ec2::254]/latest/api/token"));
        let role = ask_role(&surroundings(&[]), "s");
        assert_eq!(role.url, "http://169.254.169.254/latest/meta-data/iam/security-credentials/");
        assert_eq!((role.headers[0].0, role.headers[0].1.expose()), ("x-aws-ec2-metadata-token", "s"));
        let keys = ask_keys(&surroundings(&[]), "s", "my-role\nother").unwrap();
        assert_eq!(keys.url, "http://169.254.169.254/latest/meta-data/iam/security-credentials/my-role");
        for bad in ["", "\n", "../x", "<html>"] {
            assert!(ask_keys(&surroundings(&[]), "s", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_read_with_their_expiry() {
        let body = br#"{"Code":"Success","AccessKeyId":"id","SecretAccessKey":"s","Token":"t",
            "Expiration":"1970-01-01T01:00:00Z","Type":"AWS-HMAC"}"#;

        let (keys, expires) = read(body).unwrap();

        assert_eq!(keys, kind("id", "s", Some("t")));
        assert_eq!(expires, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(3600)));
        assert!(read(br#"{"Code":"Failed"}"#).is_err());
        assert!(read(br#"{"AccessKeyId":"id"}"#).is_err());
        assert!(read(br#"{"AccessKeyId":"i","SecretAccessKey":"s","Expiration":"soon"}"#).is_err());
    }
}
