//! Tells webhooks of the steps that budgets have reached, each in its own time: one that is slow or gone holds up nobody.
//!
//! Messages follow the Standard Webhooks specification (standardwebhooks.com): an id that stays the same over all tries, so
//! that whoever takes one twice can tell, the time of the try, and both signed with the body. They may come in any order.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bursar_actors::Secret;
use bursar_actors::budget::{HolderName, Notice};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rand::RngExt;
use ring::hmac;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};
use tracing::{error, info, warn};

use crate::call::unix_s;
use crate::config::budgets::Webhook;
use crate::config::dial::Dial;
use crate::config::settings::dollars;
use crate::config::units::time_text;
use crate::config::webhook::{label, signing_key};
use crate::telemetry::metrics::{Delivery, Metrics};
use crate::upstream::Upstream;
use crate::upstream::dial::DialSettings;

/// Messages that may wait for one webhook; what comes beyond is dropped.
const WAITING_MAX: usize = 1_000;
/// Calls to one webhook at the same time.
const CALLS_MAX: usize = 4;
/// A message that could not be delivered is given up after this.
const TRIED_FOR: Duration = Duration::from_secs(3_600);
/// The first wait between two tries is up to this, each further one up to twice as long.
const BACKOFF: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(300);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the end of the process waits for messages that are on their way.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// All webhooks.
pub struct Webhooks {
    hooks: ArcSwap<Vec<Hook>>,
    /// Held in bounds by those of the lanes.
    messages: mpsc::UnboundedSender<Posting>,
    /// Until somebody runs.
    inbox: Mutex<Option<mpsc::UnboundedReceiver<Posting>>>,
    metrics: Arc<Metrics>,
}

/// One webhook as it is configured now, and what waits for it.
#[derive(Clone)]
struct Hook {
    settings: Webhook,
    lane: Arc<Lane>,
}

/// What outlives a reload of one webhook.
struct Lane {
    label: String,
    waiting: AtomicUsize,
    calls: Semaphore,
    /// The last try failed.
    failing: AtomicBool,
}

/// One message to one webhook.
struct Posting {
    lane: Arc<Lane>,
    message: Arc<Message>,
    since: Instant,
}

/// What is sent.
#[derive(Debug, PartialEq, Eq)]
struct Message {
    id: String,
    body: String,
}

impl Webhooks {
    /// Returns those that are configured; nobody is told anything before [`run`](Self::run).
    pub fn new(webhooks: &[Webhook], metrics: &Arc<Metrics>) -> Self {
        let (messages, inbox) = mpsc::unbounded_channel();
        let told =
            Self { hooks: ArcSwap::default(), messages, inbox: Mutex::new(Some(inbox)), metrics: metrics.clone() };
        told.reload(webhooks);
        told
    }

    /// Takes over another configuration. Messages on their way to a webhook that stays go there as it says now; what waits
    /// for one that is gone is dropped.
    pub fn reload(&self, webhooks: &[Webhook]) {
        let mut old = self.hooks.load().to_vec();
        let hook = |settings: &Webhook| {
            let known = old.iter().position(|hook| hook.settings.url == settings.url);
            let lane = known.map_or_else(|| Arc::new(Lane::of(settings)), |known| old.swap_remove(known).lane);
            self.metrics.knows_webhook(&lane.label);
            Hook { settings: settings.clone(), lane }
        };
        self.hooks.store(Arc::new(webhooks.iter().map(hook).collect()));
    }

    /// Tells all webhooks that want to know of it. Waits for nobody; may be called on any thread.
    pub fn tell(&self, notice: &Notice) {
        let mut message = None;
        for hook in self.hooks.load().iter().filter(|hook| hook.wants(notice)) {
            let message = message.get_or_insert_with(|| Arc::new(Message::of(notice, unix_s()))).clone();
            let lane = hook.lane.clone();
            if lane.waiting.fetch_add(1, Ordering::AcqRel) >= WAITING_MAX {
                self.end(&lane, Delivery::Dropped);
                let (webhook, id) = (&lane.label, &message.id);
                error!(%webhook, %id, "the webhook {webhook} is not told {id}: {WAITING_MAX} messages wait for it already");
                continue;
            }
            // Nobody runs any more: the process is about to end.
            let _ = self.messages.send(Posting { lane, message, since: Instant::now() });
        }
    }

    /// Delivers what is told, for as long as it is polled. The second to run has nothing to do.
    pub async fn run(self: Arc<Self>, upstream: Upstream) {
        let inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut inbox) = inbox else { return };
        // Often a neighbour, and no key goes there.
        let dial = DialSettings::of(CONNECT_TIMEOUT, &Dial { allow_private: true, ..Dial::default() });
        let mut under_way = FuturesUnordered::new();
        loop {
            tokio::select! {
                posting = inbox.recv() => match posting {
                    Some(posting) => under_way.push(self.deliver(posting, &upstream, &dial)),
                    None => return,
                },
                Some(()) = under_way.next() => {}
            }
        }
    }

    /// Waits until nothing is on its way any more, but not long: for the end of the process.
    pub async fn finish(&self) {
        let until = Instant::now() + LAST_WORDS;
        let waiting = || self.hooks.load().iter().map(|hook| hook.lane.waiting.load(Ordering::Acquire)).sum::<usize>();
        while waiting() > 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let left = waiting();
        if left > 0 {
            warn!(left, "{left} messages to webhooks could not be delivered before the end");
        }
    }

    async fn deliver(&self, Posting { lane, message, since }: Posting, upstream: &Upstream, dial: &Arc<DialSettings>) {
        let (webhook, id) = (&lane.label, &message.id);
        let mut failures = 0;
        let ending = loop {
            let call = lane.calls.acquire().await;
            let Some(settings) = self.settings_of(&lane) else {
                info!(%webhook, %id, "the webhook {webhook} is not configured any more, and not told {id}");
                break Delivery::Dropped;
            };
            let headers = message.headers(&settings, unix_s());
            let sent = upstream.post_json(dial, settings.url.expose(), &headers, message.body.clone()).await;
            drop(call);
            let Err(why) = sent else {
                if lane.failing.swap(false, Ordering::AcqRel) {
                    info!(%webhook, "the webhook {webhook} can be told again");
                }
                break Delivery::Delivered;
            };
            self.metrics.webhook(webhook, Delivery::Failed);
            // Once per outage.
            if !lane.failing.swap(true, Ordering::AcqRel) {
                warn!(%webhook, %id, "the webhook {webhook} cannot be told {id} and will be tried again: {why}");
            }
            let wait = backoff(failures, rand::rng().random());
            failures += 1;
            if since.elapsed() + wait > TRIED_FOR {
                error!(%webhook, %id, "the webhook {webhook} is not told {id}, which was tried for an hour: {why}");
                break Delivery::GivenUp;
            }
            tokio::time::sleep(wait).await;
        };
        self.end(&lane, ending);
    }

    fn end(&self, lane: &Lane, ending: Delivery) {
        lane.waiting.fetch_sub(1, Ordering::AcqRel);
        self.metrics.webhook(&lane.label, ending);
    }

    fn settings_of(&self, lane: &Arc<Lane>) -> Option<Webhook> {
        let hooks = self.hooks.load();
        hooks.iter().find(|hook| Arc::ptr_eq(&hook.lane, lane)).map(|hook| hook.settings.clone())
    }
}

impl Hook {
    fn wants(&self, notice: &Notice) -> bool {
        self.settings.events.iter().any(|deed| deed.as_str() == &*notice.act)
    }
}

impl Lane {
    fn of(settings: &Webhook) -> Self {
        let (label, waiting, failing) = (label(&settings.url), AtomicUsize::new(0), AtomicBool::new(false));
        Self { label, waiting, calls: Semaphore::new(CALLS_MAX), failing }
    }
}

impl Message {
    /// Returns what is said of `notice`, which was told at `now_s`. The same step in the same window has the same id.
    fn of(notice: &Notice, now_s: i64) -> Self {
        let Notice { holder, budget, period, window, at_ppm, act, limit_nano, posted_nano } = notice;
        let (holder, budget, period, act) = (HolderName::of(holder), &**budget, &**period, &**act);
        let which = json!([holder, budget, period, window.start_s, window.end_s, at_ppm, act]).to_string();
        let id = format!("msg_{}", &blake3::hash(which.as_bytes()).to_hex()[..24]);
        let body = json!({
            "type": "budget.step",
            "id": id,
            "time": moment(now_s),
            "holder": holder,
            "budget": budget,
            "period": period,
            "window": { "from": moment(window.start_s), "to": moment(window.end_s) },
            "step": { "at": share(*at_ppm), "do": act },
            "limit_usd": dollars(*limit_nano),
            "spent_usd": dollars(*posted_nano),
        });
        Self { id, body: body.to_string() }
    }

    /// Returns the headers of a try at `now_s`, in seconds since 1970.
    fn headers(&self, settings: &Webhook, now_s: i64) -> Vec<(&'static str, String)> {
        headers(&self.id, now_s, &self.body, settings.secret.as_ref())
    }
}

/// Returns what Standard Webhooks puts above `body`, which is sent at `now_s`, in seconds since 1970.
pub(super) fn headers(id: &str, now_s: i64, body: &str, secret: Option<&Secret>) -> Vec<(&'static str, String)> {
    let mut headers = vec![("webhook-id", id.to_owned()), ("webhook-timestamp", now_s.to_string())];
    if let Some(key) = signing_key(secret) {
        let signed = format!("{id}.{now_s}.{body}");
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), signed.as_bytes());
        headers.push(("webhook-signature", format!("v1,{}", STANDARD.encode(tag.as_ref()))));
    }
    headers
}

/// Full jitter over base × 2ⁿ ("Exponential Backoff and Jitter", AWS Architecture Blog, 2015); `chance` is from 0 to 1.
fn backoff(failures: u32, chance: f64) -> Duration {
    BACKOFF.saturating_mul(1 << failures.min(16)).min(BACKOFF_MAX).mul_f64(chance)
}

fn moment(unix_s: i64) -> String {
    time_text(unix_s.max(0).unsigned_abs())
}

/// Returns the share as a number: `0.85`.
fn share(ppm: u32) -> Value {
    (f64::from(ppm) / 1e6).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bursar_actors::budget::Window;
    use bursar_actors::limits::Holder;

    use super::*;
    use crate::config::budgets::Deed;

    fn notice(act: &str) -> Notice {
        Notice {
            holder: Holder::Team("search".into()),
            budget: "month".into(),
            period: "month".into(),
            window: Window { start_s: 1_796_083_200, end_s: 1_798_761_600 },
            at_ppm: 850_000,
            act: act.into(),
            limit_nano: 50_000_000_000,
            posted_nano: 42_500_000_001,
        }
    }

    fn webhook(url: &str, secret: Option<&str>) -> Webhook {
        let secret = secret.map(|secret| Secret::new(secret.to_owned()));
        Webhook { url: Secret::new(url.to_owned()), secret, events: vec![Deed::Block] }
    }

    #[test]
    fn a_message_says_all_of_a_step_in_exact_figures() {
        let message = Message::of(&notice("downgrade"), 1_796_083_201);

        let body: Value = serde_json::from_str(&message.body).unwrap();
        let expected = json!({
            "type": "budget.step",
            "id": message.id,
            "time": "2026-12-01T00:00:01Z",
            "holder": { "kind": "team", "name": "search" },
            "budget": "month",
            "period": "month",
            "window": { "from": "2026-12-01T00:00:00Z", "to": "2027-01-01T00:00:00Z" },
            "step": { "at": 0.85, "do": "downgrade" },
            "limit_usd": "50",
            "spent_usd": "42.500000001",
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn the_same_step_of_the_same_window_has_one_id_and_any_other_another() {
        let (told, again) = (Message::of(&notice("block"), 5), Message::of(&notice("block"), 9));
        let later = Notice { window: Window { start_s: 1, end_s: 2 }, ..notice("block") };

        assert_eq!(told.id, again.id);
        assert!(told.id != Message::of(&later, 5).id && told.id != Message::of(&notice("notify"), 5).id);
    }

    #[test]
    fn a_secret_of_the_standards_form_stands_for_its_bytes_and_any_other_for_itself() {
        let key = |secret: &str| signing_key(webhook("https://a", Some(secret)).secret.as_ref()).unwrap().to_vec();

        assert_eq!(key("whsec_c2VjcmV0LW9mLXRoZS10ZXN0cw=="), b"secret-of-the-tests");
        assert_eq!(key("secret-of-the-tests"), b"secret-of-the-tests");
        assert!(signing_key(None).is_none());
        let message = Message { id: "msg_1".to_owned(), body: "{}".to_owned() };
        assert_eq!(message.headers(&webhook("https://a", None), 7).len(), 2);
    }

    #[test]
    fn waits_grow_to_five_minutes_at_most() {
        assert_eq!(backoff(0, 0.5), Duration::from_millis(500));
        assert_eq!(backoff(3, 1.0), Duration::from_secs(8));
        assert_eq!(backoff(u32::MAX, 1.0), BACKOFF_MAX);
        assert_eq!(backoff(9, 0.0), Duration::ZERO);
    }

    #[test]
    fn who_is_slow_has_a_thousand_messages_waiting_and_no_more() {
        let webhooks = Webhooks::new(&[webhook("https://a/b", None), webhook("https://b/b", None)], &Arc::default());
        let waiting = || webhooks.hooks.load()[0].lane.waiting.load(Ordering::Relaxed);

        (0..WAITING_MAX + 3).for_each(|_| webhooks.tell(&notice("block")));
        webhooks.tell(&notice("notify"));

        assert_eq!(waiting(), WAITING_MAX);
        webhooks.reload(&[webhook("https://b/b", None), webhook("https://a/b", Some("another-secret-01"))]);
        assert_eq!(waiting(), WAITING_MAX, "what waits for a webhook that stays is kept");
        webhooks.reload(&[webhook("https://c/b", None)]);
        assert_eq!(waiting(), 0);
    }
}
