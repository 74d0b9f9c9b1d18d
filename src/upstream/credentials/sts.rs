//! AWS's Security Token Service: a role's keys, for who shows other keys or the token of another issuer.
//!
//! Source: "AssumeRole" and "AssumeRoleWithWebIdentity" (AWS STS API Reference), "AWS STS Regional endpoints" (AWS SDKs
//! and Tools Reference Guide).

use std::time::SystemTime;

use zeroize::Zeroizing;

use super::Kind;
use super::aws;
use super::exchange::{Ask, element};
use super::surroundings::Surroundings;
use crate::config::credential::{Role, WebIdentity};
use crate::providers::bedrock::sigv4::{AwsCredentials, SigningInput, sign};

const VERSION: &str = "2011-06-15";
/// How we are called in the logs of a role's owner, unless the configuration says otherwise.
const SESSION_NAME: &str = "bursar";

/// Returns the question for the keys of `role`, signed with `keys`.
pub fn ask_role(surroundings: &Surroundings, role: &Role, keys: &Kind, now: SystemTime) -> Result<Ask, String> {
    let Kind::Aws { access_key_id, secret_access_key, session_token } = keys else {
        return Err("a role can be taken on with keys of AWS only".to_owned());
    };
    let region = region(surroundings, role.region.as_deref())?;
    let mut fields = vec![
        ("Action", "AssumeRole"),
        ("Version", VERSION),
        ("RoleArn", role.arn.as_str()),
        ("RoleSessionName", role.session_name.as_deref().unwrap_or(SESSION_NAME)),
    ];
    fields.extend(role.external_id.as_deref().map(|id| ("ExternalId", id)));
    let ask = ask(surroundings, &region, &fields);
    let own = |secret: &bursar_actors::Secret| Zeroizing::new(secret.expose().to_owned());
    let credentials = AwsCredentials {
        access_key_id: access_key_id.expose().to_owned(),
        secret_access_key: own(secret_access_key),
        session_token: session_token.as_ref().map(own),
    };
    let body = ask.body.as_ref().map(|body| body.text.expose()).unwrap_or_default();
    let input = SigningInput {
        method: "POST",
        host: ask.host(),
        path: "/",
        query: "",
        headers: &[],
        body: body.as_bytes(),
        region: &region,
        service: "sts",
    };
    let signed = sign(&input, &credentials, now);
    Ok(signed.into_iter().fold(ask, |ask, (name, value)| ask.header(name, value)))
}

/// Where the token of a web identity is, and for which role.
pub struct Identity<'i> {
    role_arn: &'i str,
    pub token_file: &'i str,
    session_name: &'i str,
    region: String,
}

impl<'i> Identity<'i> {
    /// Returns what `given` says, completed by the variables that EKS sets.
    pub fn of(surroundings: &'i Surroundings, given: &'i WebIdentity) -> Result<Self, String> {
        let or_variable = |given: &'i Option<String>, name: &str| given.as_deref().or_else(|| surroundings.get(name));
        let missing = |name: &str| {
            format!(
                "{name} is not set; EKS sets it in pods whose service account has a role (IRSA), or name it yourself"
            )
        };
        let role_arn = or_variable(&given.role_arn, "AWS_ROLE_ARN").ok_or_else(|| missing("AWS_ROLE_ARN"))?;
        let token_file = or_variable(&given.token_file, "AWS_WEB_IDENTITY_TOKEN_FILE");
        let token_file = token_file.ok_or_else(|| missing("AWS_WEB_IDENTITY_TOKEN_FILE"))?;
        let session_name = or_variable(&given.session_name, "AWS_ROLE_SESSION_NAME").unwrap_or(SESSION_NAME);
        Ok(Self { role_arn, token_file, session_name, region: region(surroundings, given.region.as_deref())? })
    }

    /// Returns the question for the role's keys; `token` is the content of the file. Nothing but the token signs it.
    pub fn ask(&self, surroundings: &Surroundings, token: &str) -> Ask {
        let fields = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", VERSION),
            ("RoleArn", self.role_arn),
            ("RoleSessionName", self.session_name),
            ("WebIdentityToken", token.trim()),
        ];
        ask(surroundings, &self.region, &fields)
    }
}

fn ask(surroundings: &Surroundings, region: &str, fields: &[(&str, &str)]) -> Ask {
    // China is a part of AWS with a domain of its own.
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let url = surroundings.service("AWS_ENDPOINT_URL_STS", &format!("https://sts.{region}.{domain}"));
    Ask::form(format!("{url}/"), fields).header("accept", "text/xml")
}

fn region(surroundings: &Surroundings, given: Option<&str>) -> Result<String, String> {
    let variable = || surroundings.get("AWS_REGION").or_else(|| surroundings.get("AWS_DEFAULT_REGION"));
    let region = given.or_else(variable).ok_or("no region is known for STS; give the provider a `region`")?;
    // It becomes a part of a host's name.
    if region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Ok(region.to_owned());
    }
    Err(format!("`{region}` is no region of AWS"))
}

/// Reads a role's keys and when they expire.
pub fn read(body: &[u8]) -> Result<(Kind, Option<SystemTime>), String> {
    let part = |name: &str| element(body, name).filter(|text| !text.is_empty());
    let (Some(id), Some(secret)) = (part("AccessKeyId"), part("SecretAccessKey")) else {
        return Err("what STS answered has no keys".to_owned());
    };
    let expires = part("Expiration").map(|text| humantime::parse_rfc3339(&text)).transpose();
    let expires = expires.map_err(|_| "the expiry of what STS answered is no date")?;
    Ok((aws::kind(&id, &secret, part("SessionToken").as_deref()), expires))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;
    use crate::config::credential::Aws;

    fn surroundings(variables: &[(&str, &str)]) -> Surroundings {
        Surroundings::new(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn role(region: Option<&str>) -> Role {
        Role {
            arn: "arn:aws:iam::123456789012:role/bursar".into(),
            external_id: Some("ex+1".into()),
            session_name: None,
            region: region.map(str::to_owned),
            source: Aws::Environment,
        }
    }

    fn header<'a>(ask: &'a Ask, name: &str) -> Option<&'a str> {
        ask.headers.iter().find(|(named, _)| *named == name).map(|(_, value)| value.expose())
    }

    #[test]
    fn a_role_is_asked_for_with_a_signature_of_the_region() {
        let keys = aws::kind("AKID", "secret", Some("session"));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160);

        let ask = ask_role(&surroundings(&[]), &role(Some("eu-central-1")), &keys, now).unwrap();

        assert_eq!(ask.url, "https://sts.eu-central-1.amazonaws.com/");
        assert_eq!(
            ask.body.as_ref().unwrap().text.expose(),
            "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fbursar\
             &RoleSessionName=bursar&ExternalId=ex%2B1"
        );
        let signature = header(&ask, "authorization").unwrap();
        assert!(signature.contains("AKID/20150830/eu-central-1/sts/aws4_request"), "{signature}");
        assert!(signature.contains("SignedHeaders=host;x-amz-date;x-amz-security-token"), "{signature}");
        assert_eq!(header(&ask, "x-amz-security-token"), Some("session"));
    }

    #[test]
    fn the_region_comes_from_the_environment_where_nobody_names_one() {
        let keys = aws::kind("AKID", "secret", None);
        let url = |variables: &[(&str, &str)]| {
            ask_role(&surroundings(variables), &role(None), &keys, SystemTime::UNIX_EPOCH).map(|ask| ask.url)
        };

        assert_eq!(url(&[("AWS_REGION", "cn-north-1")]).unwrap(), "https://sts.cn-north-1.amazonaws.com.cn/");
        assert_eq!(
            url(&[("AWS_DEFAULT_REGION", "us-east-1"), ("AWS_ENDPOINT_URL_STS", "https://sts.corp/")]).unwrap(),
            "https://sts.corp/"
        );
        assert!(url(&[]).unwrap_err().contains("give the provider a `region`"));
        assert!(url(&[("AWS_REGION", "evil.example/x")]).is_err());
    }

    #[test]
    fn a_web_identity_is_what_was_given_and_else_what_eks_sets() {
        let eks = [
            ("AWS_ROLE_ARN", "arn:eks"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/token"),
            ("AWS_ROLE_SESSION_NAME", "pod"),
            ("AWS_REGION", "eu-west-1"),
        ];
        let eks = surroundings(&eks);
        let given = WebIdentity { role_arn: Some("arn:own".into()), ..WebIdentity::default() };

        let nothing = WebIdentity::default();
        let of_eks = Identity::of(&eks, &nothing).map_err(drop).unwrap();
        let own = Identity::of(&eks, &given).map_err(drop).unwrap();

        assert_eq!(of_eks.token_file, "/var/token");
        let form = |identity: &Identity<'_>| identity.ask(&eks, "jwt\n").body.unwrap().text.expose().to_owned();
        assert!(form(&of_eks).ends_with("&RoleArn=arn%3Aeks&RoleSessionName=pod&WebIdentityToken=jwt"));
        assert!(form(&own).contains("&RoleArn=arn%3Aown&"));
        let missing = Identity::of(&surroundings(&[]), &given).err().unwrap();
        assert!(missing.starts_with("AWS_WEB_IDENTITY_TOKEN_FILE is not set"), "{missing}");
    }

    #[test]
    fn keys_are_read_with_their_expiry() {
        let body = br#"<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
            <AssumedRoleUser><Arn>arn:x</Arn></AssumedRoleUser><Credentials>
            <AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>a/b+c</SecretAccessKey>
            <SessionToken> t== </SessionToken><Expiration>1970-01-01T01:00:00.500Z</Expiration>
            </Credentials></AssumeRoleResult></AssumeRoleResponse>"#;

        let (keys, expires) = read(body).unwrap();

        assert_eq!(keys, aws::kind("ASIA1", "a/b+c", Some("t==")));
        assert_eq!(expires, Some(SystemTime::UNIX_EPOCH + Duration::from_millis(3_600_500)));
        assert!(read(b"<html>").is_err());
        let undated = b"<AccessKeyId>a</AccessKeyId><SecretAccessKey>b</SecretAccessKey><Expiration>soon</Expiration>";
        assert!(read(undated).is_err());
    }
}
