//! What every webhook has, whatever it is told: an address, and a secret by which it knows who speaks.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bursar_actors::Secret;
use zeroize::Zeroizing;

/// How the secrets begin that Standard Webhooks describes: the rest is the key in Base64.
pub const SECRET_PREFIX: &str = "whsec_";

/// Returns the bytes that messages are signed with; `None` where they are not.
pub fn signing_key(secret: Option<&Secret>) -> Option<Zeroizing<Vec<u8>>> {
    let secret = secret?.expose();
    let decoded = secret.strip_prefix(SECRET_PREFIX).and_then(|key| STANDARD.decode(key).ok());
    Some(Zeroizing::new(decoded.unwrap_or_else(|| secret.as_bytes().to_vec())))
}

/// Returns where it is, without the part that may be a secret: `https://hooks.example.com`.
pub fn label(url: &Secret) -> String {
    let url = url.expose();
    let host = url.find("://").map_or(0, |at| at + 3);
    url[host..].find(['/', '?', '#']).map_or(url, |end| &url[..host + end]).to_owned()
}
