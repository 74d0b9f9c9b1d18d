//! Prometheus metrics: counted where things happen, completed from the endpoint board when they are read.
//!
//! Labels are names the operator chose (alias, team, endpoint), never what a client sent, so their number is bounded.

use std::fmt::Write;
use std::time::{Duration, Instant};

use bursar_actors::{BreakerState, EndpointBoard, Usage};
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use super::audit::AuditFigures;

/// Buckets for seconds that a request or its first token takes: 5 ms to 10 min.
const SECONDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0];
/// Buckets for seconds that the gateway adds: 10 µs to 1 s.
const OVERHEAD: [f64; 12] = [1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 1e-1, 1.0];

/// How a request ended, for the conservation of requests: admitted = served + failed + cancelled + in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Served,
    Failed,
    Cancelled,
}

impl Ending {
    /// Returns the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What became of a message to a webhook, or of one try to deliver it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    Delivered,
    /// One try, which is followed by another as a rule.
    Failed,
    /// It was tried for too long.
    GivenUp,
    /// It was not tried, or not tried on.
    Dropped,
}

impl Delivery {
    const ALL: [Self; 4] = [Self::Delivered, Self::Failed, Self::GivenUp, Self::Dropped];

    fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::GivenUp => "given_up",
            Self::Dropped => "dropped",
        }
    }
}

/// One finished request, as the metrics want it.
pub struct Finished<'a> {
    pub alias: &'a str,
    pub team: &'a str,
    pub operation: &'static str,
    pub ending: Ending,
    pub error_code: Option<&'static str>,
    pub took: Duration,
    pub first_token: Option<Duration>,
    pub overhead: Option<Duration>,
    pub usage: Option<Usage>,
    /// What it cost, in nano-dollars, or why nobody knows; neither where nothing answered.
    pub cost_nano: Option<u64>,
    pub unpriced: Option<&'static str>,
}

/// Every metric of the process.
pub struct Metrics {
    registry: Registry,
    started: Instant,
    admitted: IntCounter,
    in_flight: IntGauge,
    /// Bytes of large bodies, see `pipeline::memory`.
    pub bodies_held: IntGauge,
    shed: IntCounter,
    requests: IntCounterVec,
    errors: IntCounterVec,
    attempts: IntCounterVec,
    probes: IntCounterVec,
    reloads: IntCounterVec,
    witness_failures: IntCounterVec,
    webhooks: IntCounterVec,
    limited: IntCounterVec,
    guarded: IntCounterVec,
    tokens: IntCounterVec,
    cost: IntCounterVec,
    unpriced: IntCounterVec,
    reviewed: HistogramVec,
    duration: HistogramVec,
    first_token: HistogramVec,
    overhead: HistogramVec,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Returns the metrics, all at zero.
    pub fn new() -> Self {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels).expect("names and labels are constant");
            registry.register(Box::new(counters.clone())).expect("each name stands once");
            counters
        };
        let histogram = |name: &str, help: &str, labels: &[&str], buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let histogram = HistogramVec::new(options, labels).expect("names and labels are constant");
            registry.register(Box::new(histogram.clone())).expect("each name stands once");
            histogram
        };
        let single = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help).expect("the name is constant");
            registry.register(Box::new(counter.clone())).expect("each name stands once");
            counter
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help).expect("the name is constant");
            registry.register(Box::new(gauge.clone())).expect("each name stands once");
            gauge
        };
        Self {
            started: Instant::now(),
            admitted: single("bursar_requests_admitted_total", "Requests that came in on an API route"),
            in_flight: gauge("bursar_requests_in_flight", "Requests admitted and not yet ended"),
            bodies_held: gauge("bursar_bodies_held_bytes", "Memory counted for large bodies"),
            shed: single("bursar_requests_shed_total", "Requests refused because the memory limit was reached"),
            requests: counters(
                "bursar_requests_total",
                "Requests ended, by outcome: served, failed, cancelled",
                &["alias", "team", "operation", "outcome"],
            ),
            errors: counters("bursar_errors_total", "Failed requests by error code", &["code"]),
            attempts: counters("bursar_attempts_total", "Upstream calls by outcome", &["endpoint", "outcome"]),
            probes: counters("bursar_probes_total", "Probes of quiet endpoints by outcome", &["endpoint", "outcome"]),
            reloads: counters("bursar_config_reload_total", "Configurations read again, by result", &["result"]),
            witness_failures: counters(
                "bursar_audit_witness_failures_total",
                "Checkpoints of the books that a witness could not be told, each try counted",
                &["witness"],
            ),
            webhooks: counters(
                "bursar_webhook_deliveries_total",
                "Messages to webhooks: delivered, given_up, dropped; and tries that failed",
                &["webhook", "outcome"],
            ),
            limited: counters("bursar_limits_denied_total", "Requests that a limit refused", &["limit", "holder"]),
            guarded: counters("bursar_guardrail_hits_total", "What guardrails found", &["rule", "stage", "action"]),
            tokens: counters("bursar_tokens_total", "Tokens by kind, as upstreams tell", &["alias", "team", "kind"]),
            cost: counters("bursar_cost_nano_dollars_total", "Cost of answers in nano-dollars", &["alias", "team"]),
            unpriced: counters("bursar_unpriced_requests_total", "Answers whose cost nobody knows", &["reason"]),
            reviewed: histogram("bursar_guardrail_duration_seconds", "Of those asked", &["rule", "stage"], &SECONDS),
            duration: histogram("bursar_request_duration_seconds", "From request to last byte", &["alias"], &SECONDS),
            first_token: histogram(
                "bursar_first_token_seconds",
                "To the first token of a stream",
                &["alias"],
                &SECONDS,
            ),
            overhead: histogram(
                "bursar_overhead_seconds",
                "Time in the gateway itself before the answer began",
                &["operation"],
                &OVERHEAD,
            ),
            registry,
        }
    }

    /// Counts a request in.
    pub fn admit(&self) {
        self.admitted.inc();
        self.in_flight.inc();
    }

    /// Counts a request that was refused before it could be admitted.
    pub fn refuse(&self, code: &str) {
        self.errors.with_label_values(&[code]).inc();
    }

    /// Counts a request that the memory limit refused.
    pub fn shed(&self) {
        self.shed.inc();
    }

    /// Counts one upstream call out.
    pub fn attempt(&self, endpoint: &str, outcome: &str) {
        self.attempts.with_label_values(&[endpoint, outcome]).inc();
    }

    /// Counts one probe out.
    pub fn probe(&self, endpoint: &str, outcome: &str) {
        self.probes.with_label_values(&[endpoint, outcome]).inc();
    }

    /// Counts a configuration that was read again, and taken over or not.
    pub fn reloaded(&self, taken_over: bool) {
        self.reloads.with_label_values(&[if taken_over { "ok" } else { "error" }]).inc();
    }

    /// Shows the failures of a witness from now on, even while there are none.
    pub fn knows_witness(&self, witness: &str) {
        let _ = self.witness_failures.with_label_values(&[witness]);
    }

    /// Counts a checkpoint that a witness could not be told.
    pub fn witness_failed(&self, witness: &str) {
        self.witness_failures.with_label_values(&[witness]).inc();
    }

    /// Shows the deliveries to a webhook from now on, even while there are none.
    pub fn knows_webhook(&self, webhook: &str) {
        for outcome in Delivery::ALL {
            let _ = self.webhooks.with_label_values(&[webhook, outcome.as_str()]);
        }
    }

    /// Counts what became of a message to a webhook, or of a try.
    pub fn webhook(&self, webhook: &str, delivery: Delivery) {
        self.webhooks.with_label_values(&[webhook, delivery.as_str()]).inc();
    }

    /// Counts a request that the limit `limit` of such a holder refused.
    pub fn limited(&self, limit: &str, holder: &str) {
        self.limited.with_label_values(&[limit, holder]).inc();
    }

    /// Counts what a guardrail found at a stage, and what it did.
    pub fn guarded(&self, rule: &str, stage: &str, action: &str, count: u32) {
        self.guarded.with_label_values(&[rule, stage, action]).inc_by(count.into());
    }

    /// Counts how long a guardrail that is asked took to answer, or not to.
    pub fn reviewed(&self, rule: &str, stage: &str, took: Duration) {
        self.reviewed.with_label_values(&[rule, stage]).observe(took.as_secs_f64());
    }

    /// Counts a request out.
    pub fn finish(&self, finished: &Finished<'_>) {
        let Finished { alias, team, operation, ending, .. } = *finished;
        self.in_flight.dec();
        self.requests.with_label_values(&[alias, team, operation, ending.as_str()]).inc();
        if let Some(code) = finished.error_code {
            self.errors.with_label_values(&[code]).inc();
        }
        if ending == Ending::Served {
            self.duration.with_label_values(&[alias]).observe(finished.took.as_secs_f64());
        }
        if let Some(first_token) = finished.first_token {
            self.first_token.with_label_values(&[alias]).observe(first_token.as_secs_f64());
        }
        if let Some(overhead) = finished.overhead {
            self.overhead.with_label_values(&[operation]).observe(overhead.as_secs_f64());
        }
        if let Some(cost_nano) = finished.cost_nano {
            self.cost.with_label_values(&[alias, team]).inc_by(cost_nano);
        }
        if let Some(reason) = finished.unpriced {
            self.unpriced.with_label_values(&[reason]).inc();
        }
        if let Some(usage) = &finished.usage {
            self.count_tokens(alias, team, usage);
        }
    }

    fn count_tokens(&self, alias: &str, team: &str, usage: &Usage) {
        let kinds = [
            ("prompt", usage.prompt),
            ("completion", usage.completion),
            ("cached", usage.cached),
            ("cache_write", usage.cache_write),
            ("reasoning", usage.reasoning),
            ("audio_prompt", usage.audio_prompt),
            ("audio_completion", usage.audio_completion),
            ("image_prompt", usage.image_prompt),
            ("image_completion", usage.image_completion),
        ];
        for (kind, count) in kinds.into_iter().filter(|(_, count)| *count > 0) {
            self.tokens.with_label_values(&[alias, team, kind]).inc_by(count);
        }
    }

    /// Returns how many requests are in flight.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.get().max(0) as u64
    }

    /// Returns how many requests were admitted since start.
    pub fn admitted(&self) -> u64 {
        self.admitted.get()
    }

    /// Returns how long the process has served.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Writes everything in Prometheus' text format, the figures of the board and of the books included.
    pub fn render(&self, board: &EndpointBoard, books: Option<&AuditFigures>) -> String {
        let mut text = Vec::new();
        let written = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        let mut text = String::from_utf8(text).unwrap_or_default();
        if let Err(error) = written {
            tracing::error!(%error, "metrics could not be written: {error}");
        }
        self.render_process(&mut text);
        render_board(board, &mut text);
        if let Some(books) = books {
            books.render(&mut text);
        }
        text
    }

    fn render_process(&self, text: &mut String) {
        let version = env!("CARGO_PKG_VERSION");
        let uptime_s = self.started.elapsed().as_secs_f64();
        gauge(text, "bursar_build_info", "Version of the running gateway", [(format!("version=\"{version}\""), 1.0)]);
        gauge(text, "bursar_uptime_seconds", "Seconds since start", [(String::new(), uptime_s)]);
        if let Some(resident) = resident_bytes() {
            gauge(text, "process_resident_memory_bytes", "Resident memory", [(String::new(), resident)]);
        }
    }
}

fn render_board(board: &EndpointBoard, text: &mut String) {
    let now = Instant::now();
    let views = board.views();
    let each = |value: &dyn Fn(&bursar_actors::EndpointView) -> f64| -> Vec<(String, f64)> {
        views.iter().map(|(id, view)| (format!("endpoint=\"{id}\""), value(view))).collect()
    };
    gauge(text, "bursar_endpoint_in_flight", "Upstream calls in flight", each(&|view| f64::from(view.pulse.in_flight)));
    gauge(
        text,
        "bursar_endpoint_breaker_open",
        "0 closed, 0.5 half open, 1 open or quarantined",
        each(&|view| match view.breaker {
            _ if view.quarantined => 1.0,
            BreakerState::Closed => 0.0,
            BreakerState::HalfOpen { .. } => 0.5,
            BreakerState::Open { .. } => 1.0,
        }),
    );
    gauge(
        text,
        "bursar_endpoint_error_ratio",
        "Share of failed calls, last half minute",
        each(&|view| view.pulse.errors.share(now)),
    );
    let forms = [("streamed", 0), ("whole", 1)];
    let latencies = views.iter().flat_map(|(id, view)| {
        forms.iter().filter_map(move |(form, at)| {
            let seconds = view.pulse.latency[*at].last_us()? / 1e6;
            Some((format!("endpoint=\"{id}\",form=\"{form}\""), seconds))
        })
    });
    gauge(
        text,
        "bursar_endpoint_latency_seconds",
        "Peak EWMA: first token of streams, whole of whole replies",
        latencies,
    );
    let total = |value: u64| [(String::new(), value as f64)];
    counter(
        text,
        "bursar_leases_granted_total",
        "Permissions for upstream calls given out",
        total(board.leases_granted()),
    );
    counter(text, "bursar_leases_reported_total", "Permissions whose call has ended", total(board.leases_reported()));
    counter(
        text,
        "bursar_endpoint_restarts_total",
        "Endpoint actors restarted after they died",
        total(board.restarts()),
    );
}

pub(super) fn gauge(text: &mut String, name: &str, help: &str, samples: impl IntoIterator<Item = (String, f64)>) {
    family(text, "gauge", name, help, samples);
}

pub(super) fn counter(text: &mut String, name: &str, help: &str, samples: impl IntoIterator<Item = (String, f64)>) {
    family(text, "counter", name, help, samples);
}

fn family(text: &mut String, kind: &str, name: &str, help: &str, samples: impl IntoIterator<Item = (String, f64)>) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (labels, value) in samples {
        let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(text, "{name}{braces} {value}");
    }
}

/// Returns the resident memory of this process, where the system tells it (Linux).
fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024.0)
}
