//! The handshake of a SOCKS5 proxy (RFC 1928) with its user and password (RFC 1929), after which the stream is the
//! upstream's. Every message has its length in front or fixed, so that nothing is read beyond its end.

use std::net::IpAddr;

use actix_rt::net::TcpStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroizing;

use super::in_words;
use crate::config::dial::Login;

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Opens a tunnel to `host` (an address, or a name for the proxy to resolve) through the proxy at the other end of
/// `stream`; else says what the proxy did, as the words after its name.
pub async fn tunnel(stream: &mut TcpStream, host: &str, port: u16, login: Option<&Login>) -> Result<(), String> {
    let method = if login.is_some() { USER_AND_PASSWORD } else { NO_LOGIN };
    write(stream, &[VERSION, 1, method]).await?;
    let [version, chosen] = read(stream).await?;
    if version != VERSION {
        return Err("does not answer like a SOCKS5 proxy".into());
    }
    match (chosen == method, login) {
        (true, None) => {}
        (true, Some(login)) => log_in(stream, login).await?,
        (false, None) => return Err("refused the tunnel: it wants a user and password".into()),
        (false, Some(_)) => return Err("refused the tunnel: it takes no user and password".into()),
    }
    write(stream, &request(host, port)?).await?;
    let [version, reply, _, kind] = read(stream).await?;
    if version != VERSION {
        return Err("does not answer like a SOCKS5 proxy".into());
    }
    if reply != 0 {
        return Err(format!("refused the tunnel: {}", reply_words(reply)));
    }
    // The address that the proxy connects from; it has to be read, though nobody needs it.
    match kind {
        IPV4 => read::<6>(stream).await.map(|_| ()),
        IPV6 => read::<18>(stream).await.map(|_| ()),
        NAME => {
            let [length] = read(stream).await?;
            let mut rest = vec![0; usize::from(length) + 2];
            stream.read_exact(&mut rest).await.map(|_| ()).map_err(|error| format!("broke off: {}", in_words(&error)))
        }
        _ => Err("does not answer like a SOCKS5 proxy".into()),
    }
}

async fn log_in(stream: &mut TcpStream, login: &Login) -> Result<(), String> {
    let mut message = Zeroizing::new(vec![1]);
    for part in [&login.user, &login.password] {
        let part = part.expose().as_bytes();
        let length =
            u8::try_from(part.len()).map_err(|_| "cannot be given a user or password of more than 255 bytes")?;
        message.push(length);
        message.extend_from_slice(part);
    }
    write(stream, &message).await?;
    let [_, status] = read(stream).await?;
    if status == 0 { Ok(()) } else { Err("refused the tunnel: wrong user or password".into()) }
}

fn request(host: &str, port: u16) -> Result<Vec<u8>, String> {
    let mut request = vec![VERSION, CONNECT, 0];
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(IPV4);
            request.extend_from_slice(&address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(IPV6);
            request.extend_from_slice(&address.octets());
        }
        Err(_) => {
            let length = u8::try_from(host.len()).map_err(|_| "cannot be given a name of more than 255 bytes")?;
            request.extend_from_slice(&[NAME, length]);
            request.extend_from_slice(host.as_bytes());
        }
    }
    request.extend_from_slice(&port.to_be_bytes());
    Ok(request)
}

fn reply_words(reply: u8) -> &'static str {
    match reply {
        1 => "it failed",
        2 => "its rules do not allow it",
        3 => "it cannot reach the network",
        4 => "it cannot reach the host",
        5 => "the host refused the connection",
        6 => "the host did not answer",
        7 => "it knows no CONNECT",
        8 => "it knows no addresses of that kind",
        _ => "for a reason that SOCKS5 does not know",
    }
}

async fn write(stream: &mut TcpStream, message: &[u8]) -> Result<(), String> {
    stream.write_all(message).await.map_err(|error| format!("broke off: {}", in_words(&error)))
}

async fn read<const LENGTH: usize>(stream: &mut TcpStream) -> Result<[u8; LENGTH], String> {
    let mut message = [0; LENGTH];
    match stream.read_exact(&mut message).await {
        Ok(_) => Ok(message),
        Err(error) => Err(format!("broke off: {}", in_words(&error))),
    }
}
