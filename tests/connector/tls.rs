//! Certificates, good and bad: a call whose upstream cannot be trusted is never sent.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use bursar::config::dial::{Dial, Identity};
use bursar_actors::ErrorClass;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::peers::{ANSWER, Caller, LOOPBACK, dial, listen, names, notes, read_request, relay, upstream};

const NAME: &str = "upstream.internal";

/// An authority of the test's own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
type Made = (CertificateDer<'static>, PrivateKeyDer<'static>);

impl Authority {
    fn new() -> Self {
        Self::called("an authority")
    }

    fn called(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn root(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Made {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into()))
    }

    fn server(&self, name: &str) -> ServerConfig {
        server(self.sign(name, |_| {}))
    }

    fn trusted(&self) -> Dial {
        Dial { roots: vec![self.root()], ..Dial::default() }
    }
}

fn builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(ring).with_safe_default_protocol_versions().unwrap()
}

fn server((certificate, key): Made) -> ServerConfig {
    builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap()
}

/// An upstream behind TLS that answers every request and tells the head of each.
fn secure_upstream(mut config: ServerConfig) -> (SocketAddr, Receiver<String>) {
    // HTTP/2 is offered too, and must not be taken.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let (note, heads) = notes();
    let address = listen(move |stream, _| {
        let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
        while let Some(head) = read_request(&mut stream) {
            note(head);
            if stream.write_all(ANSWER).is_err() {
                return;
            }
        }
    });
    (address, heads)
}

fn caller(address: SocketAddr, dial: &Dial) -> Caller {
    Caller::new(&format!("https://{NAME}:{}/v1", address.port()), dial, names(&[(NAME, &[LOOPBACK])]))
}

#[actix_web::test]
async fn an_authority_of_ca_file_is_trusted() {
    let authority = Authority::new();
    let (address, heads) = secure_upstream(authority.server(NAME));

    let answer = caller(address, &authority.trusted()).call().await;

    assert_eq!(answer.unwrap(), "{}");
    assert!(heads.try_recv().unwrap().starts_with("POST /v1/chat/completions HTTP/1.1\r\n"));
}

#[actix_web::test]
async fn a_certificate_that_does_not_fit_ends_the_call_unsent() {
    let authority = Authority::new();
    let expired = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    };
    let early = |params: &mut CertificateParams| params.not_before = date_time_ymd(4000, 1, 1);
    for (config, dial, expected) in [
        (authority.server("other.internal"), authority.trusted(), "is not valid for that name"),
        (server(authority.sign(NAME, expired)), authority.trusted(), "has expired"),
        (server(authority.sign(NAME, early)), authority.trusted(), "is not valid yet"),
        (authority.server(NAME), Authority::called("another").trusted(), "is from an unknown issuer"),
        (authority.server(NAME), Dial::default(), "is from an unknown issuer"),
    ] {
        let (address, heads) = secure_upstream(config);

        let why = caller(address, &dial).refusal().await;

        assert!(why.starts_with(&format!("TLS: the certificate of {NAME} {expected}")), "{why}");
        assert!(heads.try_recv().is_err(), "nothing was sent");
    }
}

#[actix_web::test]
async fn a_client_certificate_is_shown_to_an_upstream_that_asks() {
    let authority = Authority::new();
    let (address, heads) = secure_upstream(asking(&authority));
    let (certificate, key) = authority.sign("bursar", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let identity = Identity { chain: vec![certificate], key: Arc::new(key) };
    let dial = Dial { identity: Some(identity), ..authority.trusted() };

    let answer = caller(address, &dial).call().await;

    assert_eq!(answer.unwrap(), "{}");
    assert_eq!(heads.try_iter().count(), 1);
}

#[actix_web::test]
async fn without_a_client_certificate_the_message_says_which_keys_to_set() {
    let authority = Authority::new();
    let (address, heads) = secure_upstream(asking(&authority));

    let why = caller(address, &authority.trusted()).refusal().await;

    assert!(why.contains("asks for a client certificate") && why.contains("client_cert"), "{why}");
    assert!(heads.try_recv().is_err(), "nothing was read");
}

fn asking(authority: &Authority) -> ServerConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.root()).unwrap();
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), ring).build().unwrap();
    let (certificate, key) = authority.sign(NAME, |_| {});
    builder().with_client_cert_verifier(verifier).with_single_cert(vec![certificate], key).unwrap()
}

#[actix_web::test]
async fn an_upstream_without_tls_is_not_spoken_to_in_plain_text() {
    let (note, heads) = notes();
    let plain = listen(move |mut stream, _| {
        let mut hello = [0; 5];
        stream.read_exact(&mut hello).unwrap();
        note(hello);
        stream.write_all(ANSWER).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });

    let why = caller(plain, &Dial::default()).refusal().await;

    assert_eq!(why, format!("TLS: {NAME} does not speak TLS on this port"));
    let hello = heads.recv().unwrap();
    assert_eq!(hello[..2], [0x16, 3], "a TLS handshake and no request");
}

#[actix_web::test]
async fn tls_runs_through_a_proxy_to_the_upstream_itself() {
    let authority = Authority::new();
    let (address, heads) = secure_upstream(authority.server(NAME));
    let proxy = listen(move |mut stream, _| {
        read_request(&mut stream).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        relay(stream, TcpStream::connect(address).unwrap());
    });
    let dial = Dial { proxy: dial(Some(format!("http://{proxy}"))).proxy, ..authority.trusted() };

    let answer = caller(address, &dial).call().await;

    assert_eq!(answer.unwrap(), "{}");
    assert_eq!(heads.try_iter().count(), 1);
}

#[actix_web::test]
async fn an_upstream_that_hangs_up_in_the_handshake_is_said_to() {
    let closing = listen(|stream, _| drop(stream));

    let why = caller(closing, &Dial::default()).refusal().await;

    assert!(why.starts_with(&format!("TLS: the handshake with {NAME} broke off")), "{why}");
}

#[actix_web::test]
async fn the_same_host_with_other_settings_gets_its_own_connection() {
    let authority = Authority::new();
    let (address, _heads) = secure_upstream(authority.server(NAME));
    let trusting = caller(address, &authority.trusted());
    trusting.call().await.unwrap();
    let wary = caller(address, &Dial::default());

    let same_worker = Caller { upstream: trusting.upstream, destination: wary.destination };

    let failure = same_worker.call().await.unwrap_err();
    assert_eq!(failure.class, ErrorClass::ConnectFailed, "a connection of another trust must not serve");
}

#[actix_web::test]
async fn plain_upstreams_stay_plain() {
    let plain = upstream();

    let answer = Caller::new(&format!("http://{plain}/v1"), &Dial::default(), names(&[])).call().await;

    assert_eq!(answer.unwrap(), "{}");
}
