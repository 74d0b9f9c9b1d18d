//! Each way to come by a credential: what its issuer is asked, and what becomes of the answer.

use crate::credentials::{Peer, Store, token};

use std::time::Duration;

const SEC: Duration = Duration::from_secs(1);

#[actix_web::test]
async fn an_ec2_instance_gives_the_keys_of_its_role() {
    let peer = Peer::answering(|request, _| {
        let body = match request.lines().next().unwrap() {
            "PUT /latest/api/token HTTP/1.1" => "session",
            "GET /latest/meta-data/iam/security-credentials/ HTTP/1.1" => "role",
            "GET /latest/meta-data/iam/security-credentials/role HTTP/1.1" => {
                r#"{"Code":"Success","AccessKeyId":"id","SecretAccessKey":"s","Token":"t","Expiration":"2999-01-01T00:00:00Z"}"#
            }
            _ => return (404, String::new()),
        };
        (200, body.to_owned())
    });
    let url = peer.url();

    let store = Store::of("aws = 'instance'", &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &url)]);
    store.until_token("id s t").await;

    let asked = peer.asked();
    assert!(asked[0].contains("x-aws-ec2-metadata-token-ttl-seconds: 300\r\n"), "{}", asked[0]);
    assert!(asked[1..].iter().all(|asked| asked.contains("x-aws-ec2-metadata-token: session\r\n")) && asked.len() == 3);
}

#[actix_web::test]
async fn a_container_shows_the_token_of_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "let-me-in\n").unwrap();
    let peer = Peer::answering(|_, _| (200, r#"{"AccessKeyId":"id","SecretAccessKey":"s","Token":"t"}"#.to_owned()));
    let url = format!("{}/v1/credentials", peer.url());
    let pod = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.to_str().unwrap()),
    ];

    let store = Store::of("aws = 'container'", &pod);
    store.until_token("id s t").await;

    assert!(peer.asked()[0].contains("authorization: let-me-in\r\n"), "{}", peer.asked()[0]);
}

#[actix_web::test]
async fn a_profile_is_read_again_when_its_file_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials");
    let write = |secret: &str| {
        std::fs::write(&file, format!("[dev]\naws_access_key_id = id\naws_secret_access_key = {secret}\n")).unwrap();
    };
    write("one");
    let store = Store::of("aws = 'profile:dev'", &[("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap())]);
    store.until_token("id one -").await;

    write("two");
    store.advance(SEC * 301);

    store.until_token("id two -").await;
}

#[actix_web::test]
async fn the_machines_own_token_is_asked_for_in_each_cloud() {
    let peer = Peer::answering(|_, number| token(number, 3600));
    let (url, app) = (peer.url(), format!("{}/msi", peer.url()));

    let google = Store::of("google = 'metadata'", &[("GCE_METADATA_HOST", url.strip_prefix("http://").unwrap())]);
    google.until_token("token-1").await;
    let azure = Store::of("entra = 'managed'", &[("IDENTITY_ENDPOINT", &app), ("IDENTITY_HEADER", "h")]);
    azure.until_token("token-2").await;

    let asked = peer.asked();
    assert!(asked[0].starts_with("GET /computeMetadata/v1/instance/service-accounts/default/token "), "{}", asked[0]);
    assert!(asked[0].contains("metadata-flavor: Google\r\n"));
    assert!(
        asked[1].starts_with("GET /msi?api-version=2019-08-01&resource=") && asked[1].contains("x-identity-header: h")
    );
}

#[actix_web::test]
async fn a_service_account_asks_with_an_assertion() {
    let peer = Peer::answering(|_, number| token(number, 3600));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sa.json");
    let key = include_str!("../credentials/key.pem");
    let url = format!("{}/token", peer.url());
    let account = serde_json::json!({ "client_email": "a@b", "private_key": key, "token_uri": url });
    std::fs::write(&file, account.to_string()).unwrap();

    let store = Store::of(&format!("google = {{ service_account = '{}' }}", file.display()), &[]);
    store.until_token("token-1").await;

    assert!(peer.asked()[0].contains("&assertion=ey"), "{}", peer.asked()[0]);
}

/// What STS answers for a role.
fn role_keys(id: &str) -> (u16, String) {
    let expires = "<Expiration>2999-01-01T00:00:00Z</Expiration>";
    let keys = format!("<AccessKeyId>{id}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>{expires}");
    (200, format!("<R><Credentials>{keys}<SessionToken>t</SessionToken></Credentials></R>"))
}

#[actix_web::test]
async fn a_role_is_taken_on_with_the_keys_of_the_instance_and_again_before_it_ends() {
    let instance = Peer::answering(|request, _| {
        let body = match request.lines().next().unwrap() {
            "PUT /latest/api/token HTTP/1.1" => "session",
            "GET /latest/meta-data/iam/security-credentials/ HTTP/1.1" => "role",
            _ => r#"{"AccessKeyId":"machine","SecretAccessKey":"s","Token":"t"}"#,
        };
        (200, body.to_owned())
    });
    let sts = Peer::answering(|_, number| {
        let life = humantime::format_rfc3339(std::time::SystemTime::now() + SEC * 3600);
        let (status, body) = role_keys(&format!("role-{number}"));
        (status, body.replace("2999-01-01T00:00:00Z", &life.to_string()))
    });
    let (machine, url) = (instance.url(), sts.url());
    let places = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", machine.as_str()), ("AWS_ENDPOINT_URL_STS", url.as_str())];

    let key = "aws = { role_arn = 'arn:aws:iam::1:role/r', source = 'instance', external_id = 'x' }";
    let store = Store::of(key, &places);
    store.until_token("role-1 s t").await;
    store.advance(SEC * 2900);
    store.until_token("role-2 s t").await;

    let asked = sts.asked();
    let asked = &asked[0];
    assert!(asked.starts_with("POST / HTTP/1.1\r\n") && asked.contains("accept: text/xml\r\n"), "{asked}");
    assert!(asked.contains("Credential=machine/") && asked.contains("/eu-west-1/sts/aws4_request"), "{asked}");
    assert!(asked.contains("x-amz-security-token: t\r\n") && asked.ends_with("&ExternalId=x"), "{asked}");
}

#[actix_web::test]
async fn a_pod_shows_its_token_for_its_role_and_reads_it_again_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "jwt-1\n").unwrap();
    let sts = Peer::answering(|_, number| match number {
        1 => (403, "<E><Error><Code>ExpiredTokenException</Code><Message>too old</Message></Error></E>".to_owned()),
        _ => role_keys("role"),
    });
    let (url, file_name) = (sts.url(), file.to_str().unwrap());
    let eks = [
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file_name),
        ("AWS_ENDPOINT_URL_STS", url.as_str()),
    ];

    let store = Store::of("aws = 'web_identity'", &eks);
    store.until("it is refused", || store.why().contains("answered 403: ExpiredTokenException: too old")).await;
    std::fs::write(&file, "jwt-2\n").unwrap();
    store.advance(SEC * 2);
    store.until_token("role s t").await;

    let asked = sts.asked();
    assert!(asked[0].ends_with("&WebIdentityToken=jwt-1") && asked[1].ends_with("&WebIdentityToken=jwt-2"));
    assert!(!asked[1].contains("authorization:"), "nothing but the token signs it");
}

#[actix_web::test]
async fn a_profile_that_only_signs_on_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    std::fs::write(&file, "[profile dev]\nsso_session = corp\n").unwrap();
    let none = folder.path().join("none");
    let files = [("AWS_CONFIG_FILE", file.to_str().unwrap()), ("AWS_SHARED_CREDENTIALS_FILE", none.to_str().unwrap())];

    let store = Store::of("aws = 'profile:dev'", &files);

    store.until("it says why", || store.why().contains("aws configure export-credentials")).await;
}

/// Writes the file of a Google credential and returns the key that names it.
fn google(folder: &tempfile::TempDir, file: &serde_json::Value) -> String {
    let path = folder.path().join("adc.json");
    std::fs::write(&path, file.to_string()).unwrap();
    format!("google = {{ credentials = '{}' }}", path.display())
}

#[actix_web::test]
async fn a_persons_login_is_refreshed() {
    let (peer, folder) = (Peer::answering(|_, number| token(number, 3600)), tempfile::tempdir().unwrap());
    let user = serde_json::json!({
        "type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r",
        "token_uri": format!("{}/token", peer.url()),
    });

    let store = Store::of(&google(&folder, &user), &[]);
    store.until_token("token-1").await;

    let fields = "grant_type=refresh_token&client_id=c&client_secret=s&refresh_token=r";
    assert!(peer.asked()[0].ends_with(fields), "{}", peer.asked()[0]);
}

#[actix_web::test]
async fn the_token_of_another_issuer_is_exchanged_for_that_of_a_service_account() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("oidc"), r#"{"id_token":"theirs"}"#).unwrap();
    let peer = Peer::answering(|request, number| match request.starts_with("POST /sts ") {
        true => token(number, 3600),
        false => (200, r#"{"accessToken":"ours","expireTime":"2999-01-01T00:00:00Z"}"#.to_owned()),
    });
    let account = serde_json::json!({
        "type": "external_account", "audience": "//iam/pool", "subject_token_type": "urn:x:jwt",
        "token_url": format!("{}/sts", peer.url()),
        "service_account_impersonation_url": format!("{}/sa:generateAccessToken", peer.url()),
        "credential_source": {
            "file": folder.path().join("oidc"),
            "format": { "type": "json", "subject_token_field_name": "id_token" },
        },
    });

    let store = Store::of(&google(&folder, &account), &[]);
    store.until_token("ours").await;

    let asked = peer.asked();
    assert!(asked[0].contains("audience=%2F%2Fiam%2Fpool&") && asked[0].ends_with("&subject_token=theirs"));
    assert!(
        asked[1].starts_with("POST /sa:generateAccessToken ") && asked[1].contains("authorization: Bearer token-1")
    );
    assert!(asked[1].ends_with(r#"{"scope":["https://www.googleapis.com/auth/cloud-platform"]}"#), "{}", asked[1]);
}
