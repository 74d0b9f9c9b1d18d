//! What becomes of the endpoints when the configuration changes while they serve.
//!
//! New ones are started, changed ones are told, the rest is let go: it gets no more calls, those that are out end as
//! they would have, and its actor ends when the last message to it is read. Whoever sends this keeps an endpoint in the
//! list for as long as somebody may still ask for it.

use std::collections::{HashMap, HashSet};

use actix::{Context, Handler, Message, ResponseFuture};
use tracing::info;

use super::Supervisor;
use crate::endpoint::{EndpointSpec, Renew};
use crate::ids::EndpointId;

/// Asks for exactly these endpoints, each as it is described here.
#[derive(Message, Debug, Clone)]
#[rtype(result = "Reconfigured")]
pub struct Reconfigure {
    /// All of them; an id stands here once.
    pub endpoints: Vec<EndpointSpec>,
}

/// What a [`Reconfigure`] came to, once every endpoint has taken it in. Sorted by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reconfigured {
    /// Were not there before.
    pub started: Vec<EndpointId>,
    /// Were there, and are described differently.
    pub renewed: Vec<EndpointId>,
    /// Are no longer there.
    pub stopped: Vec<EndpointId>,
}

/// What has to be done.
#[derive(Debug, Default)]
struct Plan {
    start: Vec<EndpointSpec>,
    renew: Vec<EndpointSpec>,
    stop: Vec<EndpointId>,
}

/// Returns how to come from `running` to `wanted`.
fn plan(running: &HashMap<&EndpointId, &EndpointSpec>, wanted: Vec<EndpointSpec>) -> Plan {
    let mut plan = Plan::default();
    let mut named = HashSet::new();
    for spec in wanted {
        if !named.insert(spec.id.clone()) {
            continue;
        }
        match running.get(&spec.id) {
            None => plan.start.push(spec),
            Some(running) if **running != spec => plan.renew.push(spec),
            Some(_) => {}
        }
    }
    plan.stop = running.keys().filter(|id| !named.contains(**id)).map(|id| (*id).clone()).collect();
    plan
}

impl Plan {
    fn summary(&self) -> Reconfigured {
        let ids = |specs: &[EndpointSpec]| sorted(specs.iter().map(|spec| spec.id.clone()).collect());
        Reconfigured { started: ids(&self.start), renewed: ids(&self.renew), stopped: sorted(self.stop.clone()) }
    }
}

fn sorted(mut ids: Vec<EndpointId>) -> Vec<EndpointId> {
    ids.sort();
    ids
}

impl Handler<Reconfigure> for Supervisor {
    type Result = ResponseFuture<Reconfigured>;

    fn handle(&mut self, reconfigure: Reconfigure, context: &mut Context<Self>) -> Self::Result {
        self.generation += 1;
        let running = self.children.iter().map(|(id, child)| (id, &child.spec)).collect();
        let plan = plan(&running, reconfigure.endpoints);
        let summary = plan.summary();
        for id in plan.stop {
            self.children.remove(&id);
            self.board.remove(&id);
            info!(endpoint = %id, "endpoint `{id}` is let go: the configuration no longer has it");
        }
        for spec in plan.start {
            self.adopt(spec, context);
        }
        let mut told = Vec::with_capacity(plan.renew.len());
        for spec in plan.renew {
            let Some(child) = self.children.get_mut(&spec.id) else { continue };
            child.spec = spec.clone();
            told.push(child.address.send(Renew { spec, generation: self.generation }));
        }
        Box::pin(async move {
            for renewal in told {
                // An actor that is dead is born again with the new description.
                let _ = renewal.await;
            }
            summary
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::breaker::BreakerPolicy;
    use crate::endpoint::keyring::KeyPolicy;
    use crate::routing::Strategy;

    fn spec(id: &str, in_flight_max: u32) -> EndpointSpec {
        EndpointSpec {
            home: 0,
            id: id.into(),
            keys: vec![],
            in_flight_max,
            breaker: BreakerPolicy::default(),
            key_policy: KeyPolicy {
                strategy: Strategy::P2cEwma,
                headroom: 0.9,
                quota_rest: std::time::Duration::from_secs(1),
                breaker: BreakerPolicy::default(),
            },
        }
    }

    #[test]
    fn only_what_differs_is_touched() {
        let specs = [spec("same", 1), spec("changed", 1), spec("gone", 1)];
        let running = specs.iter().map(|spec| (&spec.id, spec)).collect();

        let plan = plan(&running, vec![spec("same", 1), spec("changed", 2), spec("new", 1), spec("new", 7)]);

        let summary = plan.summary();
        assert_eq!(summary.started, ["new".into()]);
        assert_eq!(summary.renewed, ["changed".into()]);
        assert_eq!(summary.stopped, ["gone".into()]);
        assert_eq!(plan.start[0].in_flight_max, 1);
    }
}
