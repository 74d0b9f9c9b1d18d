//! The page of one request: what is known of it when it is let in, what comes to light on the way, how it ends.
//!
//! Two records come of it, `admitted` before anything is sent to a provider and `completed` at the end; a request that was
//! turned away has one, `refused`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bursar_actors::Usage;
use bursar_actors::access::Identity;
use bursar_actors::audit::journal::{Durability, Refused, Ticket};
use bursar_actors::audit::record::{Attempt, Content, Latency, Phase, Record, Rejected};
use bursar_actors::vault::{ContentHasher, Subject};
use bytes::Bytes;

use super::redacting::{masked_body, masked_reply};
use super::{Books, month};
use crate::call::{Call, RequestId, Session, unix_us};
use crate::config::audit::{Commit, Kept};
use crate::privacy::Policy;

/// Most attempts and rejected candidates that a page notes; a record lists fewer.
const NOTED_MAX: usize = 16;

/// What is told when a page is closed.
#[derive(Default)]
pub struct Closing<'a> {
    /// `served`, `failed` or `cancelled`.
    pub outcome: &'static str,
    pub error: Option<&'static str>,
    /// Why the answer's first choice ended: `stop`, `length`, `tool_calls` or `content_filter`.
    pub finish: Option<&'static str>,
    pub alias: &'a str,
    pub provider: Option<&'a str>,
    pub model: Option<&'a str>,
    pub endpoint: Option<&'a str>,
    pub region: Option<&'a str>,
    pub key: Option<&'a str>,
    pub usage: Option<Usage>,
    pub cost_nano: Option<u64>,
    pub estimated: bool,
    pub price: Option<&'a str>,
    pub overhead: Option<Duration>,
    pub queued: Duration,
    pub first_token: Option<Duration>,
    /// What was held of budgets in the end, and how much of the cost no budget had room for. In nano-dollars.
    pub held_nano: Option<u64>,
    pub overrun_nano: u64,
    /// Nobody knows the price of what served, or of a part of it.
    pub unpriced: bool,
}

/// One request's page.
pub struct Page {
    books: Arc<Books>,
    call: u64,
    request: RequestId,
    identity: Option<Arc<Identity>>,
    user: Option<String>,
    network: Option<String>,
    session: Option<Session>,
    action: &'static str,
    asked: Option<String>,
    streamed: bool,
    received: Instant,
    /// When the body was complete.
    read: Instant,
    admission: Admission,
    reply: Reply,
    attempts: Vec<Attempt<'static>>,
    attempts_made: u32,
    rejected: Vec<Rejected<'static>>,
    rules: Vec<Cow<'static, str>>,
    latency: Latency,
    /// When the request was let in, by the wall clock in microseconds.
    began_us: Option<u64>,
    downgraded_from: Option<String>,
    redactions: BTreeMap<&'static str, u32>,
    /// What is masked in what is kept; nothing is kept without it where only what is redacted may be.
    redacts: Option<Arc<Policy>>,
    closed: bool,
}

enum Admission {
    /// Nothing is written yet.
    Open,
    /// The record is on its way.
    Pending(Ticket),
    /// It is durable, or nobody waits for it.
    Settled,
    /// It was not taken after all.
    Lost(Refused),
}

/// Sealed content and its hash.
type Sealed = (Vec<u8>, String);

/// What is noted of the answer as it goes out.
enum Reply {
    Nothing,
    Hashed(Hashing),
    Kept { hasher: Hashing, bytes: Vec<u8>, cut: bool },
}

/// The fingerprint of an answer. What could not be made is empty: a hash over the rest would be taken for one over all.
enum Hashing {
    /// An answer that never was has none.
    Nothing,
    Begun(Option<Box<ContentHasher>>),
    Whole(Option<String>),
}

impl Page {
    /// Opens the page of a request that was understood.
    pub fn open(books: &Arc<Books>, call: &Call, action: &'static str) -> Self {
        let reply = match books.kept {
            Kept::None => Reply::Nothing,
            Kept::Hash => Reply::Hashed(Hashing::Nothing),
            Kept::Redacted | Kept::Full => Reply::Kept { hasher: Hashing::Nothing, bytes: Vec::new(), cut: false },
        };
        Self {
            call: books.next_call(),
            request: call.id.clone(),
            identity: call.caller.identity().cloned(),
            user: call.head.user.clone(),
            network: call.network.clone(),
            session: call.session.clone(),
            action,
            asked: call.head.model.clone(),
            streamed: call.head.stream,
            received: call.received,
            read: call.read,
            admission: Admission::Open,
            reply,
            attempts: Vec::new(),
            attempts_made: 0,
            rejected: Vec::new(),
            rules: Vec::new(),
            latency: Latency::default(),
            began_us: None,
            downgraded_from: None,
            redactions: BTreeMap::new(),
            redacts: None,
            closed: false,
            books: books.clone(),
        }
    }

    fn team(&self) -> &str {
        team_of(&self.identity)
    }

    /// Returns the request's number within this run of the process.
    pub fn number(&self) -> u64 {
        self.call
    }

    /// Returns the name of the end user in the books.
    pub fn pseudonym(&self) -> Option<String> {
        let user = self.user.as_deref()?;
        Some(self.books.vault.pseudonym(self.team(), user))
    }

    fn subject(&self) -> Subject<'_> {
        Subject { team: self.team(), user: self.user.as_deref(), month: month() }
    }

    /// Returns what every record of this request says.
    fn record(&self, phase: Phase) -> Record<'_> {
        let identity = self.identity.as_deref();
        let tags = identity.into_iter().flat_map(|identity| identity.tags.iter());
        Record {
            phase: Some(phase),
            request: Some(self.request.as_str().into()),
            call: Some(self.call),
            actor: identity.map(|identity| (&*identity.key).into()),
            team: identity.map(|identity| identity.team.as_str().into()),
            org: identity.and_then(|identity| Some(identity.org.as_ref()?.as_str().into())),
            tags: tags.map(|(name, value)| format!("{name}={value}").into()).collect(),
            user: self.pseudonym().map(Cow::from),
            network: self.network.as_deref().map(Cow::from),
            action: self.action.into(),
            asked: self.asked.as_deref().map(Cow::from),
            stream: self.streamed,
            session: self.session.as_ref().map(|session| session.as_str().into()),
            began_us: self.began_us,
            downgraded_from: self.downgraded_from.as_deref().map(Cow::from),
            redactions: self.redactions.iter().map(|(entity, count)| ((*entity).into(), *count)).collect(),
            ..Record::default()
        }
    }

    /// Notes what is masked in what is kept of the request and its answer.
    pub fn redacted_by(&mut self, policy: Arc<Policy>) {
        self.redacts = Some(policy);
    }

    /// Returns how much is kept of an answer before values are put back into it: nothing where it is kept as it goes out.
    pub fn keeps_unrestored(&self) -> usize {
        if self.books.kept == Kept::Redacted { self.books.content_max } else { 0 }
    }

    /// Notes the answer as it was before values were put back into it, which is what is kept of it.
    pub fn unrestored(&mut self, answer: Vec<u8>) {
        if let Reply::Kept { bytes, cut, .. } = &mut self.reply {
            *cut = answer.len() >= self.books.content_max;
            *bytes = answer;
        }
    }

    /// Returns `content` as it may be kept.
    fn keepable(&self, content: Vec<u8>, masked: impl Fn(&Arc<Policy>, &[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
        match self.books.kept {
            Kept::None | Kept::Hash => None,
            Kept::Redacted => masked(self.redacts.as_ref()?, &content),
            Kept::Full => Some(content),
        }
    }

    /// Notes what a guardrail found, in numbers: what was replaced by its kind, what was not by the rule.
    pub fn guarded(&mut self, rule: &str, entity: &'static str, action: &'static str, count: u32) {
        if matches!(action, "mask" | "tokenize" | "hash") {
            *self.redactions.entry(entity).or_default() += count;
        } else {
            self.rule(format!("{rule}: {action} {count} {entity}"));
        }
    }

    /// Notes what was asked for, where something cheaper serves.
    pub fn downgraded(&mut self, from: Option<String>) {
        self.downgraded_from = from;
    }

    /// Writes down that the request is let in, before anything is sent; refused where the journal cannot take it. `held_nano` is
    /// what it holds of budgets since `began_us`.
    pub fn admit(&mut self, alias: &str, body: &Bytes, held: Option<(u64, u64)>) -> Result<(), Refused> {
        let durability = if self.books.commit == Commit::Async { Durability::Lazy } else { Durability::Strict };
        self.books.journal.admits(durability)?;
        self.latency.receive = micros(self.read.saturating_duration_since(self.received));
        self.began_us = Some(held.map_or_else(unix_us, |(began_us, _)| began_us));
        let mut record = self.record(Phase::Admitted);
        record.alias = Some(alias.into());
        record.held_nano = held.map(|(_, nano)| nano);
        record.config = self.books.config_hash();
        let (content, sealed) = self.request_content(body);
        record.content = content;
        record.body_hash = sealed.as_ref().map(|(_, hash)| hash.clone().into());
        let ticket = self.books.append(record, sealed.map(|(bytes, _)| bytes), durability);
        self.latency.policies = micros(self.read.elapsed());
        self.admission = if durability == Durability::Lazy { Admission::Settled } else { Admission::Pending(ticket) };
        Ok(())
    }

    fn request_content(&self, body: &Bytes) -> (Option<Content<'static>>, Option<Sealed>) {
        if self.books.kept == Kept::None {
            return (None, None);
        }
        let request = self.books.content_hash(self.team(), self.user.as_deref(), body).map(Cow::from);
        let kept = &body[..body.len().min(self.books.content_max)];
        let keepable = self.keepable(kept.to_vec(), |policy, body| masked_body(policy, body));
        let sealed = keepable
            .and_then(|kept| self.books.seal(&self.subject(), self.request.as_str(), self.call, "request", &kept));
        (Some(Content { request, reply: None, cut: sealed.is_some() && kept.len() < body.len() }), sealed)
    }

    /// Returns whether nothing may be sent to a provider before the admission is durable.
    pub fn waits_before_dispatch(&self) -> bool {
        self.books.commit == Commit::BeforeDispatch
    }

    /// Returns once the admission is durable, or at once where nobody waits for it.
    pub async fn durable(&mut self) -> Result<(), Refused> {
        let ticket = match &mut self.admission {
            Admission::Pending(ticket) => ticket,
            Admission::Lost(why) => return Err(why.clone()),
            Admission::Open | Admission::Settled => return Ok(()),
        };
        let waited = Instant::now();
        let durable = match ticket.ready() {
            Some(told) => told,
            None => ticket.await,
        };
        self.latency.queue += micros(waited.elapsed());
        self.admission = match &durable {
            Ok(_) => Admission::Settled,
            Err(why) => Admission::Lost(why.clone()),
        };
        durable.map(|_| ())
    }

    /// Notes a candidate that is not called, and why, however often it is said.
    pub fn rejected(&mut self, target: String, why: String) {
        let rejected = Rejected { target: target.into(), why: why.into() };
        if self.rejected.len() < NOTED_MAX && !self.rejected.contains(&rejected) {
            self.rejected.push(rejected);
        }
    }

    /// Notes a rule by which the candidates were chosen or narrowed.
    pub fn rule(&mut self, rule: impl Into<Cow<'static, str>>) {
        if self.rules.len() < NOTED_MAX {
            self.rules.push(rule.into());
        }
    }

    /// Notes a call that goes out now, and what it took to come by the permission.
    pub fn dispatched(&mut self, target: String, endpoint: String, key: String, acquire: Duration) {
        self.attempts_made += 1;
        self.latency.acquire += micros(acquire);
        if self.attempts.len() == NOTED_MAX {
            self.attempts.remove(NOTED_MAX / 2);
        }
        self.attempts.push(Attempt {
            target: target.into(),
            endpoint: endpoint.into(),
            key: key.into(),
            outcome: "".into(),
            start_us: micros(self.received.elapsed()),
            acquire_us: micros(acquire),
            first_byte_us: None,
            took_us: 0,
        });
    }

    /// Notes that the call's answer has begun, and how long its connection took to open.
    pub fn headed(&mut self, connect: Duration, first_byte: Duration) {
        (self.latency.connect, self.latency.first_byte) = (micros(connect), micros(first_byte));
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.first_byte_us = Some(micros(first_byte));
        }
    }

    /// Notes how the last call ended.
    pub fn attempted(&mut self, outcome: &str) {
        let since = micros(self.received.elapsed());
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.outcome = Cow::Owned(outcome.to_owned());
            attempt.took_us = since.saturating_sub(attempt.start_us);
        }
    }

    /// Notes bytes of the answer that go out: of a stream all of them, comments and a last error event, too.
    ///
    /// Returns how many bytes more are kept of it.
    pub fn sent(&mut self, bytes: &[u8]) -> usize {
        let most = self.kept_max();
        let (books, team, user) = (&self.books, team_of(&self.identity), self.user.as_deref());
        let begin = || Hashing::Begun(books.content_hasher(team, user).map(Box::new));
        Self::note_reply(&mut self.reply, most, bytes, |hashing| {
            if matches!(hashing, Hashing::Nothing) {
                *hashing = begin();
            }
            if let Hashing::Begun(Some(hasher)) = hashing {
                hasher.update(bytes);
            }
        })
    }

    /// Notes an answer that goes out as a whole. Returns how many bytes are kept of it.
    pub fn sent_whole(&mut self, body: &[u8]) -> usize {
        let most = self.kept_max();
        let (books, team, user) = (&self.books, team_of(&self.identity), self.user.as_deref());
        Self::note_reply(&mut self.reply, most, body, |hashing| {
            *hashing = Hashing::Whole(books.content_hash(team, user, body));
        })
    }

    /// Most bytes that are kept of an answer as it goes out.
    fn kept_max(&self) -> usize {
        if self.books.kept == Kept::Full { self.books.content_max } else { 0 }
    }

    fn note_reply(reply: &mut Reply, content_max: usize, bytes: &[u8], hash: impl FnOnce(&mut Hashing)) -> usize {
        if bytes.is_empty() {
            return 0;
        }
        match reply {
            Reply::Nothing => {}
            Reply::Hashed(hasher) => hash(hasher),
            Reply::Kept { hasher, bytes: kept, cut } => {
                hash(hasher);
                // Of what goes out with values put back nothing is kept.
                if content_max == 0 {
                    return 0;
                }
                let room = content_max.saturating_sub(kept.len()).min(bytes.len());
                kept.extend_from_slice(&bytes[..room]);
                *cut |= room < bytes.len();
                return room;
            }
        }
        0
    }

    /// Returns whether the request was let in, as far as anybody knows by now.
    pub fn is_admitted(&mut self) -> bool {
        if let Admission::Pending(ticket) = &mut self.admission
            && let Some(told) = ticket.ready()
        {
            self.admission = told.map_or_else(Admission::Lost, |_| Admission::Settled);
        }
        matches!(self.admission, Admission::Pending(_) | Admission::Settled)
    }

    /// Closes the page: `completed` where the request was let in, else `refused`.
    pub fn close(&mut self, closing: &Closing<'_>) {
        self.closed = true;
        let phase = if self.is_admitted() { Phase::Completed } else { Phase::Refused };
        let undecided = match mem::replace(&mut self.admission, Admission::Open) {
            Admission::Pending(ticket) => Some(ticket),
            _ => None,
        };
        if phase == Phase::Refused && self.books.journal.admits(Durability::Lazy).is_err() {
            // Whoever is turned away because nothing can be written must not fill the memory with records of it.
            self.books.unwritten.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let (content, sealed) = self.reply_content();
        let mut latency = self.latency;
        let total = self.received.elapsed();
        latency.queue += micros(closing.queued);
        latency.total = micros(total);
        latency.overhead = closing.overhead.map_or(0, micros);
        latency.first_token = closing.first_token.map_or(0, micros);
        latency.stream = closing.first_token.map_or(0, |first| micros(total.saturating_sub(first)));
        let mut record = self.record(phase);
        record.outcome = Some(closing.outcome.into());
        record.error = closing.error.map(Cow::from);
        record.finish = closing.finish.map(Cow::from);
        record.alias = Some(closing.alias.into());
        record.provider = closing.provider.map(Cow::from);
        record.model = closing.model.map(Cow::from);
        record.endpoint = closing.endpoint.map(Cow::from);
        record.region = closing.region.map(Cow::from);
        record.key = closing.key.map(Cow::from);
        record.tokens = closing.usage;
        record.cost_nano = closing.cost_nano;
        record.held_nano = closing.held_nano;
        record.overrun_nano = closing.overrun_nano;
        record.unpriced = closing.unpriced;
        record.estimated = closing.estimated;
        record.price = closing.price.map(Cow::from);
        record.attempts_made = self.attempts_made;
        record.attempts = self.attempts.clone();
        record.rejected = self.rejected.clone();
        record.rules = self.rules.clone();
        record.latency_us = Some(latency);
        record.config = self.books.config_hash();
        record.content = content;
        record.body_hash = sealed.as_ref().map(|(_, hash)| hash.clone().into());
        let entry = self.books.entry(record, sealed.map(|(bytes, _)| bytes));
        // A request whose client left before it was known to be in the books ends there only if it begins there.
        drop(match undecided {
            Some(admitted) => self.books.journal.append_after(admitted, entry),
            None => self.books.journal.append(entry, Durability::Lazy),
        });
    }

    /// Returns what is said of the answer, if any of it went out, and what is kept of it.
    fn reply_content(&mut self) -> (Option<Content<'static>>, Option<Sealed>) {
        let (hasher, bytes, cut) = match mem::replace(&mut self.reply, Reply::Nothing) {
            Reply::Nothing => return (None, None),
            Reply::Hashed(hasher) => (hasher, Vec::new(), false),
            Reply::Kept { hasher, bytes, cut } => (hasher, bytes, cut),
        };
        let keepable = if bytes.is_empty() { None } else { self.keepable(bytes, masked_reply) };
        let sealed = keepable
            .and_then(|kept| self.books.seal(&self.subject(), self.request.as_str(), self.call, "reply", &kept));
        let hash = match hasher {
            Hashing::Nothing => None,
            Hashing::Begun(hasher) => hasher.map(|hasher| hasher.finish()),
            Hashing::Whole(hash) => hash,
        };
        let content = hash.map(|hash| Content { request: None, reply: Some(hash.into()), cut });
        (content, sealed)
    }
}

impl Drop for Page {
    /// What was let in and never closed was cut short.
    fn drop(&mut self) {
        if !self.closed && !matches!(self.admission, Admission::Open) {
            self.close(&Closing { outcome: "cancelled", alias: "none", ..Closing::default() });
        }
    }
}

fn team_of(identity: &Option<Arc<Identity>>) -> &str {
    identity.as_ref().map_or("", |identity| identity.team.as_str())
}

fn micros(time: Duration) -> u64 {
    time.as_micros() as u64
}
