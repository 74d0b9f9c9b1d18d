//! The headers that tell a client how its limits stand, in its dialect, and the words for one that is in the way.
//!
//! Sources: OpenAI, "Rate limits" (`x-ratelimit-*`, resets as Go writes durations); Anthropic, "Rate limits"
//! (`anthropic-ratelimit-*`, resets as RFC 3339). Both count to when all of it is left again.

use std::fmt::Write;
use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use bursar_actors::budget::{Exceeded, Tightest};
use bursar_actors::limits::{Amount, Denied, Holder, Rate, Standing, Which};

use crate::call::unix_s;
use crate::config::settings::dollars;
use crate::config::units::time_text;
use crate::error::CostLimit;
use crate::schema::chat::Dialect;

/// Names of limit, remaining and reset, for requests and for tokens.
type Names = [[HeaderName; 3]; 2];

const OPENAI: Names = [
    [
        HeaderName::from_static("x-ratelimit-limit-requests"),
        HeaderName::from_static("x-ratelimit-remaining-requests"),
        HeaderName::from_static("x-ratelimit-reset-requests"),
    ],
    [
        HeaderName::from_static("x-ratelimit-limit-tokens"),
        HeaderName::from_static("x-ratelimit-remaining-tokens"),
        HeaderName::from_static("x-ratelimit-reset-tokens"),
    ],
];

const ANTHROPIC: Names = [
    [
        HeaderName::from_static("anthropic-ratelimit-requests-limit"),
        HeaderName::from_static("anthropic-ratelimit-requests-remaining"),
        HeaderName::from_static("anthropic-ratelimit-requests-reset"),
    ],
    [
        HeaderName::from_static("anthropic-ratelimit-tokens-limit"),
        HeaderName::from_static("anthropic-ratelimit-tokens-remaining"),
        HeaderName::from_static("anthropic-ratelimit-tokens-reset"),
    ],
];

/// Adds how the limits stand, in `dialect`; nothing where there is none.
pub fn tell(headers: &mut HeaderMap, dialect: Dialect, standing: Option<Standing>) {
    let Some(standing) = standing else { return };
    let anthropic = dialect == Dialect::Anthropic;
    let names = if anthropic { &ANTHROPIC } else { &OPENAI };
    for (rate, [limit, remaining, reset]) in [standing.requests, standing.tokens].into_iter().zip(names) {
        let Some(rate) = rate else { continue };
        headers.insert(limit.clone(), rate.limit.into());
        headers.insert(remaining.clone(), rate.remaining.into());
        let text = if anthropic { date(rate.reset) } else { go_duration(rate.reset) };
        if let Ok(text) = HeaderValue::from_str(&text) {
            headers.insert(reset.clone(), text);
        }
    }
}

/// Returns the moment that is `after` from now, to the second and not too early.
fn date(after: Duration) -> String {
    time_text(unix_s().unsigned_abs().saturating_add(after.as_secs() + 1))
}

/// Returns `after` as Go writes a duration: `250ms`, `1.5s`, `6m0s`, `1h0m12.2s`.
fn go_duration(after: Duration) -> String {
    let millis = after.as_millis();
    if millis < 1_000 {
        return format!("{millis}ms");
    }
    let (hours, minutes, seconds, rest) =
        (millis / 3_600_000, millis / 60_000 % 60, millis / 1_000 % 60, millis % 1_000);
    let mut text = String::new();
    if hours > 0 {
        let _ = write!(text, "{hours}h");
    }
    if hours > 0 || minutes > 0 {
        let _ = write!(text, "{minutes}m");
    }
    let fraction = format!(".{rest:03}");
    let _ = write!(text, "{seconds}{}s", fraction.trim_end_matches('0').trim_end_matches('.'));
    text
}

/// Returns which limit is in the way, whose it is, and what helps.
pub fn in_words(denied: &Denied) -> String {
    let Denied { holder, which, limit, asked, retry_after, standing } = denied;
    let key = which.key();
    let when = retry_after.map(|after| format!("{} s", after.as_millis().div_ceil(1_000)));
    match (which, when) {
        (Which::Concurrency, _) => {
            format!(
                "{holder} may have {limit} requests at the same time (limits.{key}), and has; try again when one has ended"
            )
        }
        (Which::Window(Amount::Requests, span), Some(when)) => {
            format!(
                "{holder} may make {limit} requests in a {} (limits.{key}), and has; try again in {when}",
                span.word()
            )
        }
        (Which::Window(Amount::Requests, span), None) => {
            format!("{holder} may make no requests in a {} (limits.{key})", span.word())
        }
        (Which::Window(Amount::Tokens, span), Some(when)) => {
            let left = standing.tokens.map_or(0, |Rate { remaining, .. }| remaining);
            format!(
                "{holder} may use {limit} tokens in a {} (limits.{key}); {left} are left, and this request may need {asked} \
                 by its prompt and max_tokens; try again in {when}, or ask for less",
                span.word()
            )
        }
        (Which::Window(Amount::Tokens, span), None) => format!(
            "this request may need {asked} tokens by its prompt and max_tokens, more than the {limit} that {holder} may use in a \
             {} (limits.{key}), so it can never pass; send less, or a lower max_tokens",
            span.word()
        ),
    }
}

/// Returns what a request would cost, what it may, and what helps.
pub fn too_dear(refused: &CostLimit) -> String {
    let CostLimit { holder, most, cost, model, max_tokens } = refused;
    let (cost, most) = (dollars(*cost), dollars(*most));
    let help = match max_tokens {
        Some(bound) => format!("it passes with max_tokens = {bound}"),
        None => "its prompt alone is too dear; send less, or ask a cheaper model".to_owned(),
    };
    format!(
        "this request may cost {cost} dollars with `{model}`, more than the {most} that {holder} allows (limits.cost_per_request); {help}"
    )
}

/// Returns how the budget stands that is the nearest to its limit, in dollars, and the step that is in force:
/// `team support;spent=1840.2;limit=2000;step=downgrade`.
pub fn budget_header(tightest: &Tightest) -> String {
    let Tightest { holder, standing, step } = tightest;
    let name = match holder {
        // The pseudonym is for the books.
        Holder::User(..) => String::new(),
        Holder::Team(name) => format!(" {name}"),
        Holder::Org(name) => format!(" {name}"),
        Holder::Key(name) | Holder::Model(name) | Holder::Tag(name) => format!(" {name}"),
        Holder::FurtherUsers(_) | Holder::ProviderKey(..) => String::new(),
    };
    let (spent, limit) = (dollars(standing.used_nano()), dollars(standing.limit_nano));
    format!("{}{name};spent={spent};limit={limit};step={}", holder.kind(), step.act.word())
}

/// Returns which budget is in the way, how it stands, and when that ends.
pub fn budget_in_words(exceeded: &Exceeded) -> String {
    let Exceeded { holder, budget, zone, asked_nano, short, .. } = exceeded;
    let (used, limit, asked) = (dollars(short.used_nano), dollars(short.limit_nano), dollars(*asked_nano));
    let help = match short.resets_s {
        Some(at) => format!("there is room again at {}", zone.clock_at(at)),
        None => "no window has so much; send less, or a lower max_tokens".to_owned(),
    };
    format!(
        "the budget `{budget}` of {holder} has no room for this request: {used} of {limit} dollars are spent or held, and it may \
         cost {asked}; {help}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_writes_them() {
        let told = |millis: u64| go_duration(Duration::from_millis(millis));

        assert_eq!([told(0), told(12), told(1_750), told(60_000)], ["0ms", "12ms", "1.75s", "1m0s"]);
        assert_eq!([told(3_600_000), told(3_612_200)], ["1h0m0s", "1h0m12.2s"]);
    }
}
