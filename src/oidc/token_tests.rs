//! What lets somebody in, and everything that must not.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::oidc::{Mapping, Source};

#[path = "../../tests/e2e/signer.rs"]
mod signer;
use signer::{Signer, key_set};

const NOW: u64 = 1_800_000_000;

fn expected() -> Issuer {
    Issuer {
        issuer: "https://login.example.com".into(),
        audiences: vec!["bursar".into()],
        algorithms: vec![Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa],
        source: Source::File("keys.json".into()),
        team: Some(Mapping { claim: "team".into(), map: BTreeMap::new() }),
        role: None,
        user_claim: "sub".into(),
        leeway: Duration::from_secs(60),
    }
}

fn claims() -> Value {
    json!({ "iss": "https://login.example.com", "aud": "bursar", "sub": "ann", "iat": NOW - 10, "exp": NOW + 300 })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn keys(signers: &[&Signer]) -> KeySet {
    KeySet::read(key_set(signers).as_bytes()).unwrap()
}

fn verify(token: &str, keys: &KeySet) -> Result<Claims, Untrusted> {
    Token::read(token)?.verify(&expected(), keys, NOW)
}

#[test]
fn a_genuine_token_is_believed_whatever_kind_of_key_signed_it() {
    let signers = [Signer::rsa("r"), Signer::p256("p"), Signer::ed25519("e")];
    let keys = keys(&signers.each_ref());

    for signer in &signers {
        let believed = verify(&signer.token(&claims()), &keys).unwrap();

        assert_eq!((believed.subject.as_str(), believed.until_s), ("ann", NOW + 360), "{}", signer.kid);
        let no_kid = json!({ "alg": signer.algorithm() });
        assert!(verify(&signer.token_with(&no_kid, &claims()), &keys).is_ok(), "{}", signer.kid);
    }
}

#[test]
fn no_claim_lets_in_that_is_not_exactly_right() {
    let signer = Signer::ed25519("e");
    let keys = keys(&[&signer]);
    for (name, value, why) in [
        ("iss", json!("https://login.example.com/"), Untrusted::Issuer),
        ("aud", json!("other"), Untrusted::Audience),
        ("aud", json!(["other", "bursar2"]), Untrusted::Audience),
        ("aud", Value::Null, Untrusted::Audience),
        ("exp", json!(NOW - 60), Untrusted::Over),
        ("exp", json!(-1.0), Untrusted::Over),
        ("exp", Value::Null, Untrusted::Over),
        ("nbf", json!(NOW + 61), Untrusted::NotYet),
        ("iat", json!(NOW + 61), Untrusted::NotYet),
        ("sub", json!(""), Untrusted::Subject),
        ("sub", json!("x".repeat(300)), Untrusted::Subject),
        ("sub", Value::Null, Untrusted::Subject),
        ("exp", json!("2099-01-01"), Untrusted::Malformed),
        ("iss", json!(7), Untrusted::Malformed),
    ] {
        assert_eq!(verify(&signer.token(&with(name, value.clone())), &keys), Err(why), "{name}: {value}");
    }
    for (name, value) in [
        ("aud", json!(["other", "bursar"])),
        ("exp", json!(NOW - 59)),
        ("exp", json!((NOW as f64) + 0.5)),
        ("nbf", json!(NOW + 60)),
    ] {
        assert!(verify(&signer.token(&with(name, value.clone())), &keys).is_ok(), "{name}: {value}");
    }
}

#[test]
fn no_key_is_taken_for_one_of_another_kind() {
    let (rsa, p256) = (Signer::rsa("k"), Signer::p256("k"));
    let of_rsa = keys(&[&rsa]);
    let header = |alg: &str| json!({ "alg": alg, "kid": "k" });

    for alg in ["none", "None", "NONE", "", "HS256", "hs256", "rs256", "RS1", "PS256", "ES384"] {
        assert_eq!(verify(&rsa.token_with(&header(alg), &claims()), &of_rsa), Err(Untrusted::Algorithm), "{alg}");
    }
    for alg in ["ES256", "EdDSA"] {
        assert_eq!(verify(&rsa.token_with(&header(alg), &claims()), &of_rsa), Err(Untrusted::Signature), "{alg}");
    }
    assert_eq!(verify(&p256.token(&claims()), &of_rsa), Err(Untrusted::Signature));
    // The classic: the public key as the secret of an HMAC, under an algorithm that the issuer does not use.
    let mut allowing = expected();
    allowing.algorithms = Algorithm::ALL.map(|(_, algorithm)| algorithm).to_vec();
    let forged = rsa.token_with(&header("HS256"), &claims());
    let verified = Token::read(&forged).unwrap().verify(&allowing, &of_rsa, NOW);
    assert_eq!(verified, Err(Untrusted::Algorithm));
    let bare = rsa.token_with(&header("none"), &claims());
    let bare = format!("{}.", bare.rsplit_once('.').unwrap().0);
    assert_eq!(verify(&bare, &of_rsa), Err(Untrusted::Algorithm));
}

#[test]
fn a_key_set_gives_only_what_is_for_signatures() {
    let signer = Signer::p256("p");
    let token = signer.token(&claims());
    let changed = |name: &str, value: Value| {
        let mut key = signer.public();
        key[name] = value;
        KeySet::read(json!({ "keys": [key, Signer::ed25519("e").public()] }).to_string().as_bytes()).unwrap()
    };

    assert!(verify(&token, &changed("use", Value::Null)).is_ok());
    assert!(verify(&token, &changed("key_ops", json!(["verify"]))).is_ok());
    for (name, value) in [
        ("use", json!("enc")),
        ("key_ops", json!(["sign"])),
        ("alg", json!("HS256")),
        ("alg", json!("RS256")),
        ("crv", json!("P-384")),
        ("kty", json!("oct")),
        ("x", json!("AA")),
        ("kid", json!("other")),
    ] {
        let refused = verify(&token, &changed(name, value.clone())).unwrap_err();
        assert!(matches!(refused, Untrusted::UnknownKey | Untrusted::Signature), "{name}: {value}: {refused}");
    }
    for set in ["", "[]", "{}", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#, r#"{"keys":[7]}"#] {
        assert!(KeySet::read(set.as_bytes()).is_err(), "{set}");
    }
}

#[test]
fn what_means_something_else_is_no_token() {
    let signer = Signer::ed25519("e");
    let keys = keys(&[&signer]);
    let header = |name: &str, value: Value| {
        let mut header = json!({ "alg": "EdDSA", "kid": "e" });
        header[name] = value;
        header
    };

    for typ in ["jwt", "JWT", "at+jwt", "application/at+jwt"] {
        assert!(verify(&signer.token_with(&header("typ", json!(typ)), &claims()), &keys).is_ok(), "{typ}");
    }
    for (name, value) in [("typ", json!("logout+jwt")), ("typ", json!("dpop+jwt")), ("crit", json!(["b64"]))] {
        let token = signer.token_with(&header(name, value.clone()), &claims());
        assert_eq!(verify(&token, &keys), Err(Untrusted::Type), "{name}: {value}");
    }
    // What a token says of keys of its own is nobody's business.
    let own = header("jwk", Signer::ed25519("e").public());
    assert!(verify(&signer.token_with(&own, &claims()), &keys).is_ok());
    let stranger = Signer::ed25519("e");
    let forged = stranger.token_with(&header("jwk", stranger.public()), &claims());
    assert_eq!(verify(&forged, &keys), Err(Untrusted::Signature));
    let long = with("pad", json!("x".repeat(TOKEN_MAX)));
    assert_eq!(verify(&signer.token(&long), &keys), Err(Untrusted::Malformed));
    let twice = format!("{{\"iss\":\"a\",{}", &claims().to_string()[1..]);
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let twice = format!("{}.{}.AA", part(r#"{"alg":"EdDSA"}"#), part(&twice));
    assert!(matches!(Token::read(&twice).err(), Some(Untrusted::Malformed)));
}

#[test]
fn every_changed_letter_of_a_token_is_noticed() {
    let signer = Signer::ed25519("e");
    let keys = keys(&[&signer]);
    let token = signer.token(&claims());
    let dots = token.match_indices('.').map(|(at, _)| at).collect::<Vec<_>>();

    for at in (0..token.len()).filter(|at| !dots.contains(at)) {
        let other = if &token[at..=at] == "A" { "B" } else { "A" };
        let changed = format!("{}{other}{}", &token[..at], &token[at + 1..]);
        assert!(verify(&changed, &keys).is_err(), "letter {at}");
    }
}

proptest! {
    #[test]
    fn no_text_is_believed_or_panics(text in "\\PC{0,40}(\\.\\PC{0,40}){0,3}", bytes in any::<Vec<u8>>()) {
        let keys = keys(&[&Signer::ed25519("e")]);

        prop_assert!(verify(&text, &keys).is_err());
        let part = URL_SAFE_NO_PAD.encode(&bytes);
        let whole = format!("{part}.{part}.{part}");
        prop_assert!(verify(&whole, &keys).is_err());
        let _ = KeySet::read(&bytes);
    }
}
