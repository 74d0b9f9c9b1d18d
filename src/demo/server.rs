//! The demo provider's event loop: accepts connections and takes each request from its first byte to its ending.

use std::net::TcpListener as StdListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};

use super::DemoOptions;
use super::cache::PromptCache;
use super::dialect::{self, Arrival, Dialect};
use super::dice::Dice;
use super::models;
use super::record::{Connected, Ending, Exchange, Record};
use super::reply::{Pace, Refusal, Reply};
use super::request::{self, Request, Unread};
use super::script::{Asked, Behaviour};
use super::wire::{self, Sent, Terms};

/// Share of its requests that `demo-flaky` fails when the configured rate is lower.
const FLAKY_RATE: f64 = 0.4;
/// Bytes a client may send ahead while its request is being answered; more stay in the kernel.
const MAX_AHEAD: usize = 1024 * 1024;
/// How long a refused client may go on sending before the connection closes on it.
const DRAIN: Duration = Duration::from_secs(5);
/// The wait after a failed `accept`, which is most often a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

struct Context {
    options: DemoOptions,
    record: Arc<Record>,
    cache: PromptCache,
}

/// Serves until told to stop; the tasks of open connections end with the `LocalSet` that runs this.
pub(super) async fn run(
    listener: StdListener,
    options: DemoOptions,
    record: Arc<Record>,
    stopped: oneshot::Receiver<()>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the demo provider cannot watch its port"),
    };
    let context = Rc::new(Context { options, record, cache: PromptCache::default() });
    tokio::select! {
        _ = stopped => {}
        () = accept(&listener, &context) => {}
    }
}

async fn accept(listener: &TcpListener, context: &Rc<Context>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let connected = context.record.connect();
        match context.record.behaviour_at_accept(context.options.seed) {
            Some(behaviour) if behaviour.reset_after.is_some() => reset_on_close(&stream),
            Some(_) => {}
            None => drop(spawn_local(serve(stream, Rc::clone(context), connected))),
        }
    }
}

fn reset_on_close(stream: &TcpStream) {
    // Fails only on a socket that is closed already.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

async fn serve(mut stream: TcpStream, context: Rc<Context>, connected: Connected) {
    // Without it each small event would wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let (mut reader, mut writer) = stream.split();
    let mut buffer = BytesMut::new();
    loop {
        let request = match request::read(&mut reader, &mut writer, &mut buffer).await {
            Ok(request) => request,
            Err(Unread::Gone) => return,
            Err(Unread::Refused(refusal)) => return refuse(&mut reader, &mut writer, &refusal).await,
        };
        match exchange(&context, &connected, &request, &mut reader, &mut writer, &mut buffer).await {
            Some(Sent::Reusable) => {}
            Some(Sent::Last | Sent::Cut) => {
                // A client that is gone needs no goodbye.
                let _ = writer.shutdown().await;
                return;
            }
            Some(Sent::Reset) => return reset_on_close(reader.as_ref()),
            None => return,
        }
    }
}

/// Answers what could not be read as a request, then reads on for a while: closing on unread bytes would reset the
/// connection, and the client would lose the answer.
async fn refuse(reader: &mut ReadHalf<'_>, writer: &mut WriteHalf<'_>, refusal: &Refusal) {
    let terms = Terms { keep_alive: false, http_1_0: false, head_only: false, received: Instant::now() };
    let reply = Dialect::OpenAi.refuse(refusal);
    if wire::send(writer, &reply, &Behaviour::default(), terms).await.is_err() || writer.shutdown().await.is_err() {
        return;
    }
    let mut waste = vec![0; 64 * 1024];
    let _ = timeout(DRAIN, async { while reader.read(&mut waste).await.is_ok_and(|read| read > 0) {} }).await;
}

/// Answers one request; none when the client hung up meanwhile.
async fn exchange(
    context: &Context,
    connected: &Connected,
    request: &Request,
    reader: &mut ReadHalf<'_>,
    writer: &mut WriteHalf<'_>,
    ahead: &mut BytesMut,
) -> Option<Sent> {
    let received = Instant::now();
    let number = context.record.next_request();
    let json = serde_json::from_slice(&request.body);
    let body = json.as_ref().unwrap_or(&Value::Null);
    let (behaviour, reply) = plan(context, request, number, body, json.as_ref().err());
    if context.record.remembers() {
        context.record.begin(arrived(number, connected.number, request, body));
    }
    let terms = Terms {
        keep_alive: request.keep_alive,
        http_1_0: request.http_1_0,
        head_only: request.method == "HEAD",
        received,
    };
    let sent = tokio::select! {
        biased;
        sent = wire::send(writer, &reply, &behaviour, terms) => sent.ok(),
        () = hung_up(reader, ahead) => None,
    };
    let ending = match sent {
        Some(Sent::Reusable | Sent::Last) => Ending::Complete,
        Some(Sent::Cut | Sent::Reset) => Ending::Cut,
        None => Ending::PeerClosed { after: received.elapsed() },
    };
    let status = (behaviour.garbage.is_none() && !behaviour.stall_head).then_some(reply.status);
    context.record.end(number, status, ending);
    sent
}

/// Returns once the client has closed; what it sends meanwhile is kept for the next request.
async fn hung_up(reader: &mut ReadHalf<'_>, ahead: &mut BytesMut) {
    while ahead.len() < MAX_AHEAD {
        if !reader.read_buf(ahead).await.is_ok_and(|read| read > 0) {
            return;
        }
    }
    std::future::pending().await
}

fn arrived(number: usize, connection: usize, request: &Request, body: &Value) -> Exchange {
    Exchange {
        number,
        connection,
        method: request.method.clone(),
        path: request.target.clone(),
        headers: request.headers.clone(),
        key: request.key().map(str::to_owned),
        body: body.clone(),
        raw_body: request.body.clone(),
        status: None,
        ending: Ending::InProgress,
    }
}

/// Decides what happens to a request: its own script first, then the provider's, then chance.
fn plan(
    context: &Context,
    request: &Request,
    number: usize,
    body: &Value,
    not_json: Option<&serde_json::Error>,
) -> (Behaviour, Reply) {
    let seed = context.options.seed;
    let dialect = Dialect::of(request);
    let model = dialect::model(request.path(), body);
    let asked = Asked { key: request.key(), model, path: request.path() };
    let own = body.get("demo").map(serde_path_to_error::deserialize);
    let mut unreadable = None;
    let behaviour = match own {
        Some(Ok(behaviour)) => behaviour,
        Some(Err(error)) => {
            unreadable = Some(Refusal::invalid("demo", "invalid_value", format!("`demo` is no behaviour: {error}")));
            Behaviour::default()
        }
        None => context
            .record
            .behaviour(&asked, seed)
            .or_else(|| mishap(&context.options, request, model, number))
            .unwrap_or_default(),
    };
    let pace = pace(&context.options, model, &behaviour, &request.body);
    let mut reply = match (unreadable, behaviour.status) {
        (Some(refusal), _) => dialect.refuse(&refusal),
        (None, Some(status @ 400..)) => {
            let retry_after = behaviour.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("retry-after"));
            dialect.scripted(status, retry_after.map(|(_, seconds)| seconds.as_str()))
        }
        (None, _) => {
            let (options, cache) = (&context.options, &context.cache);
            dialect.answer(Arrival { options, request, body, not_json, pace: pace.clone(), cache })
        }
    };
    reply.tells_time = dialect.tells_time();
    let id = Dice::new(seed, format!("request {number}").as_bytes()).letters(24);
    let reply = reply.with_header(dialect.id_header(), format!("req_{id}")).scripted(&behaviour, dialect, pace);
    (behaviour, reply)
}

/// Returns the failure that chance has in store for the request of that number, if any.
fn mishap(options: &DemoOptions, request: &Request, model: Option<&str>, number: usize) -> Option<Behaviour> {
    let rate = if model == Some(models::FLAKY) { options.error_rate.max(FLAKY_RATE) } else { options.error_rate };
    let mut dice = Dice::new(options.seed, format!("mishap {number}").as_bytes());
    if request.method != "POST" || dice.share() >= rate {
        return None;
    }
    Some(match dice.below(4) {
        0 => Behaviour::status(500),
        1 => Behaviour::status(503),
        2 => Behaviour { headers: vec![("retry-after".into(), "1".into())], ..Behaviour::status(429) },
        _ => Behaviour { cut_after: Some(dice.below(120)), ..Behaviour::default() },
    })
}

fn pace(options: &DemoOptions, model: Option<&str>, behaviour: &Behaviour, body: &[u8]) -> Pace {
    let (first, each) = if model == Some(models::SLOW) { (5, 3) } else { (1, 1) };
    Pace {
        first_token: behaviour.first_token.unwrap_or(options.first_token * first),
        per_token: behaviour.per_token.unwrap_or(options.per_token * each),
        jitter: options.jitter,
        dice: Dice::new(options.seed, body),
        begun: false,
    }
}
