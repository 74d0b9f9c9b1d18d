//! The operator's hand: an endpoint or a key is taken out for a while, or brought back before its time.

use std::time::Duration;

use actix::{Context, Handler, Message, ResponseFuture};
use tracing::info;

use super::Supervisor;
use crate::endpoint::Steer;
use crate::ids::{EndpointId, KeyId};

/// A rest without an end, for endpoints that are drained: longer than any process runs.
const UNTIL_WOKEN: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What shall become of an endpoint or a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steering {
    /// No new calls for this long; those in flight end normally.
    Rest(Duration),
    /// No new calls until it is woken.
    Drain,
    /// Takes calls again: ends rests, retirement, an open breaker, quarantine.
    Wake,
}

/// Asks for it.
#[derive(Message, Debug, Clone)]
#[rtype(result = "Result<(), NoSuch>")]
pub struct Command {
    /// Which endpoint.
    pub endpoint: EndpointId,
    /// Which of its keys; `None` means the endpoint as a whole.
    pub key: Option<KeyId>,
    /// What to do.
    pub steering: Steering,
}

/// There is no endpoint or key of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSuch {
    /// Endpoint.
    Endpoint,
    /// Key.
    Key,
}

impl Handler<Command> for Supervisor {
    type Result = ResponseFuture<Result<(), NoSuch>>;

    fn handle(&mut self, command: Command, context: &mut Self::Context) -> Self::Result {
        let Command { endpoint, key, steering } = command;
        let now = self.clock.now();
        let until = match steering {
            Steering::Rest(time) => Some(now + time.min(UNTIL_WOKEN)),
            Steering::Drain => Some(now + UNTIL_WOKEN),
            Steering::Wake => None,
        };
        if steering == Steering::Wake {
            self.release(&endpoint, context);
        }
        let Some(child) = self.children.get(&endpoint) else {
            return Box::pin(std::future::ready(Err(NoSuch::Endpoint)));
        };
        info!(endpoint = %endpoint, key = key.as_ref().map(KeyId::as_str), "the operator says {steering:?}");
        let asked = child.address.send(Steer { key, until });
        Box::pin(async move {
            // An actor that died over it is restarted with everything awake, which the lists show.
            if asked.await.unwrap_or(true) { Ok(()) } else { Err(NoSuch::Key) }
        })
    }
}

impl Supervisor {
    /// Lets an endpoint out of quarantine before its time.
    fn release(&mut self, endpoint: &EndpointId, context: &Context<Self>) {
        let quarantined = self.board.view(endpoint).is_some_and(|view| view.quarantined);
        if let Some(died) = self.children.get(endpoint).filter(|_| quarantined).map(|child| child.incarnation) {
            self.revive(endpoint, died, context);
        }
    }
}
