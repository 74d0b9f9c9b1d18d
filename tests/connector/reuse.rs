//! Connections that serve more than once, and those that were closed meanwhile.

use std::io::Write;
use std::net::Shutdown;

use bursar::config::dial::Dial;
use bursar::demo::{Behaviour, Demo, DemoOptions, Rule};
use bursar_actors::ErrorClass;

use crate::peers::{ANSWER, Caller, listen, names, notes, read_request};

fn caller(base_url: &str) -> Caller {
    Caller::new(base_url, &Dial::default(), names(&[]))
}

#[actix_web::test]
async fn an_error_body_is_read_so_that_its_connection_serves_again() {
    let demo = Demo::start(DemoOptions::default()).unwrap();
    demo.script(vec![Rule { then: Behaviour::status(500), ..Rule::default() }]);
    let caller = caller(&demo.base_url());

    for _ in 0..5 {
        assert_eq!(caller.call().await.unwrap_err().class, ErrorClass::ServerError);
    }

    assert_eq!(demo.connections_accepted(), 1);
}

#[actix_web::test]
async fn a_call_on_a_connection_that_was_just_closed_is_made_once_more() {
    // The first connection answers once and hangs up when the second request has arrived, the others serve.
    let address = listen(|mut stream, index| {
        while read_request(&mut stream).is_some() {
            stream.write_all(ANSWER).unwrap();
            if index == 0 {
                read_request(&mut stream);
                return;
            }
        }
    });
    let caller = caller(&format!("http://{address}/v1"));

    assert_eq!(caller.call().await.unwrap(), "{}");
    assert_eq!(caller.call().await.unwrap(), "{}");
}

#[actix_web::test]
async fn a_new_connection_that_is_closed_unanswered_is_not_tried_again() {
    let (note, requests) = notes();
    let address = listen(move |mut stream, _| {
        if read_request(&mut stream).is_some() {
            note(());
        }
        let _ = stream.shutdown(Shutdown::Both);
    });

    let failure = caller(&format!("http://{address}/v1")).call().await.unwrap_err();

    assert_eq!(failure.class, ErrorClass::StreamBroken);
    assert_eq!(failure.message, "127.0.0.1 closed the connection before it answered");
    assert_eq!(requests.try_iter().count(), 1);
}

#[actix_web::test]
async fn an_answer_that_is_no_http_is_said_to_be_none() {
    let address = listen(|mut stream, _| {
        read_request(&mut stream);
        stream.write_all(b"SSH-2.0-OpenSSH\r\n\r\n").unwrap();
    });

    let failure = caller(&format!("http://{address}/v1")).call().await.unwrap_err();

    assert_eq!(failure.message, "127.0.0.1 answered with something that is not HTTP/1.1");
}

#[actix_web::test]
async fn a_redirect_is_not_followed() {
    let (note, visits) = notes();
    let elsewhere = listen(move |_, _| note(()));
    let address = listen(move |mut stream, _| {
        read_request(&mut stream);
        let head = format!("HTTP/1.1 302 Found\r\nlocation: http://{elsewhere}/\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
    });

    let failure = caller(&format!("http://{address}/v1")).call().await.unwrap_err();

    assert_eq!(failure.status, Some(302));
    assert!(visits.try_recv().is_err());
}
