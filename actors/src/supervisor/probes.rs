//! Which endpoints are to be probed now. Each decides for itself; here they are only asked, one after the other.

use std::time::Duration;

use actix::{Context, Handler, Message, ResponseFuture};

use super::Supervisor;
use crate::endpoint::probe::{Probe, ProbeLease};
use crate::ids::EndpointId;

/// Asks for permission to probe whatever of these has been quiet for `every` and has a key ready.
#[derive(Message, Debug, Clone)]
#[rtype(result = "Vec<ProbeLease>")]
pub struct ProbesDue {
    /// Endpoints and the address each is meant to have, in the order in which they are asked.
    pub endpoints: Vec<(EndpointId, u64)>,
    /// How long nothing was answered; above zero.
    pub every: Duration,
    /// No more than this many.
    pub most: usize,
}

impl Handler<ProbesDue> for Supervisor {
    type Result = ResponseFuture<Vec<ProbeLease>>;

    fn handle(&mut self, due: ProbesDue, _: &mut Context<Self>) -> Self::Result {
        let ProbesDue { endpoints, every, most } = due;
        let address = |(id, home): (EndpointId, u64)| Some((self.children.get(&id)?.address.clone(), home));
        let asked: Vec<_> = endpoints.into_iter().filter_map(address).collect();
        Box::pin(async move {
            let mut granted = Vec::new();
            for (endpoint, home) in asked {
                if granted.len() >= most {
                    break;
                }
                // One that is dead is asked again when it has been restarted.
                granted.extend(endpoint.send(Probe { home, every }).await.ok().flatten());
            }
            granted
        })
    }
}
