//! Owns every endpoint's actor, restarts those that die, and answers the one question each request asks.
//!
//! | message       | reply                        | sent by                |
//! |---------------|------------------------------|------------------------|
//! | `Acquire`     | `Result<Lease, Unavailable>` | HTTP workers           |
//! | `Refill`      | –, fills a `LeasePool`       | HTTP workers           |
//! | `Views`       | `Vec<EndpointStatus>`        | lists                  |
//! | `ProbesDue`   | `Vec<ProbeLease>`            | the prober             |
//! | `Reconfigure` | `Reconfigured`               | a reload               |
//! | `Exited`      | –                            | a child's `ExitNotice` |
//!
//! actix restarts an actor that stops, not one that panics, so each child carries a notice whose `Drop` reports here.
//! A child that dies more than [`RESTARTS_MAX`] times within [`RESTART_PERIOD`] is quarantined instead: a burst is
//! accepted, a flood is not.

mod probes;
mod reconfigure;
mod refill;
mod steer;

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, ResponseFuture};
use tracing::{error, warn};

use crate::acquire::{Acquire, Unavailable, acquire_from, order};
use crate::board::EndpointBoard;
use crate::clock::{Chance, Clock};
use crate::endpoint::lease::{Epoch, Lease};
use crate::endpoint::{Birth, Collect, Endpoint, EndpointSpec, EndpointStatus, ExitNotice, Inspect};
use crate::ids::EndpointId;
use crate::pool::LeasePool;

pub use probes::ProbesDue;
pub use reconfigure::{Reconfigure, Reconfigured};
pub use refill::Refill;
pub use steer::{Command, NoSuch, Steering};

/// Messages the supervisor's mailbox holds; a worker's `send` waits beyond that.
const MAILBOX: usize = 8_192;
/// Deaths within [`RESTART_PERIOD`] that are answered by a restart.
const RESTARTS_MAX: usize = 5;
/// See [`RESTARTS_MAX`].
const RESTART_PERIOD: Duration = Duration::from_secs(30);
/// After this a quarantined endpoint gets another chance, half open.
const QUARANTINE: Duration = Duration::from_secs(300);

/// Longest time that word from a lease waits on the board when nobody asks its endpoint anything. What it may change
/// meanwhile is only the order in which endpoints are asked, never an endpoint's own decision.
pub(crate) const COLLECT_EVERY: Duration = Duration::from_millis(20);

/// Makes the chance of one endpoint after so many restarts; tests supply draws of their own.
pub type ChanceFactory = Box<dyn Fn(&EndpointId, u64) -> Chance + Send>;

struct Child {
    spec: EndpointSpec,
    address: Addr<Endpoint>,
    incarnation: u64,
    restarts: u64,
    deaths: VecDeque<Instant>,
}

/// The actor.
pub struct Supervisor {
    children: HashMap<EndpointId, Child>,
    unborn: Vec<EndpointSpec>,
    board: Arc<EndpointBoard>,
    clock: Clock,
    chance: Chance,
    chance_for: ChanceFactory,
    turn: u64,
    /// A collection is due.
    collecting: bool,
    /// Those that were ever filled, until their route is gone.
    pools: Vec<Weak<LeasePool>>,
    /// A sweep is due.
    sweeping: bool,
    /// Actors started so far.
    births: u64,
    /// Configurations so far.
    generation: u64,
}

impl Supervisor {
    pub(crate) fn new(
        specs: Vec<EndpointSpec>,
        board: Arc<EndpointBoard>,
        clock: Clock,
        chance: Chance,
        chance_for: ChanceFactory,
    ) -> Self {
        Self {
            children: HashMap::new(),
            unborn: specs,
            board,
            clock,
            chance,
            chance_for,
            turn: 0,
            collecting: false,
            pools: vec![],
            sweeping: false,
            births: 0,
            generation: 0,
        }
    }

    /// Starts an actor that has died `restarts` times before; returns its address and the number of its incarnation.
    fn give_birth(&mut self, spec: &EndpointSpec, restarts: u64, context: &Context<Self>) -> (Addr<Endpoint>, u64) {
        self.births += 1;
        let incarnation = self.births;
        // What the operator took out stays out, whatever happens to the actor.
        let paused_until = self.board.view(&spec.id).and_then(|view| view.paused_until);
        let endpoint = Endpoint::new(Birth {
            paused_until,
            spec: spec.clone(),
            board: self.board.clone(),
            clock: self.clock.clone(),
            chance: (self.chance_for)(&spec.id, restarts),
            notice: ExitNotice {
                endpoint: spec.id.clone(),
                incarnation,
                supervisor: context.address().recipient(),
                epoch: Epoch::default(),
            },
            restarts,
            generation: self.generation,
        });
        let view = endpoint.view();
        let address = endpoint.start();
        self.board.place(spec.id.clone(), incarnation, view, address.clone());
        (address, incarnation)
    }

    fn adopt(&mut self, spec: EndpointSpec, context: &Context<Self>) {
        let (address, incarnation) = self.give_birth(&spec, 0, context);
        let child = Child { address, incarnation, restarts: 0, deaths: VecDeque::new(), spec };
        self.children.insert(child.spec.id.clone(), child);
    }

    /// Sees to it that word left on the board is collected, as long as leases are out.
    fn collect_later(&mut self, context: &mut Context<Self>) {
        if !std::mem::replace(&mut self.collecting, true) {
            context.run_later(COLLECT_EVERY, |supervisor, context| {
                supervisor.collecting = false;
                let ahead = supervisor.sweep_pools();
                let out = supervisor.board.leases_granted() != supervisor.board.leases_reported();
                let mut waits = false;
                for child in supervisor.children.values().filter(|child| supervisor.board.has_word(&child.spec.id)) {
                    // A full mailbox holds questions before which it will collect anyway.
                    let _ = child.address.try_send(Collect);
                    waits = true;
                }
                if out || waits {
                    supervisor.collect_later(context);
                } else if ahead {
                    supervisor.sweep_later(context);
                }
            });
        }
    }

    /// Starts the actor of `id` again, unless another has taken the place of the one that `died`.
    fn revive(&mut self, id: &EndpointId, died: u64, context: &Context<Self>) {
        let Some(mut child) = self.children.remove(id) else { return };
        if child.incarnation == died {
            child.restarts += 1;
            (child.address, child.incarnation) = self.give_birth(&child.spec, child.restarts, context);
            self.board.count_restart();
        }
        self.children.insert(id.clone(), child);
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(MAILBOX);
        for spec in std::mem::take(&mut self.unborn) {
            self.adopt(spec, context);
        }
    }
}

impl Handler<Acquire> for Supervisor {
    type Result = ResponseFuture<Result<Lease, Unavailable>>;

    fn handle(&mut self, acquire: Acquire, context: &mut Self::Context) -> Self::Result {
        self.turn += 1;
        self.collect_later(context);
        let now = self.clock.now();
        let (board, turn, chance) = (&self.board, self.turn, &mut self.chance);
        // A request whose mere ordering panics fails alone, and the supervisor lives.
        let ordered = catch_unwind(AssertUnwindSafe(|| order(&acquire, board, turn, now, chance)));
        match ordered {
            Ok(ordered) => Box::pin(acquire_from(acquire, ordered, self.board.clone(), self.clock.clone())),
            Err(_) => {
                error!("the choice of an endpoint panicked; this request fails, the others do not");
                Box::pin(std::future::ready(Err(Unavailable::poisoned())))
            }
        }
    }
}

/// Asks for every endpoint's state, for lists.
#[derive(Message)]
#[rtype(result = "Vec<EndpointStatus>")]
pub struct Views;

impl Handler<Views> for Supervisor {
    type Result = ResponseFuture<Vec<EndpointStatus>>;

    fn handle(&mut self, _: Views, _: &mut Self::Context) -> Self::Result {
        let mut children: Vec<_> =
            self.children.values().map(|child| (child.spec.id.clone(), child.address.clone())).collect();
        children.sort_by(|a, b| a.0.cmp(&b.0));
        let board = self.board.clone();
        Box::pin(async move {
            let mut all = Vec::with_capacity(children.len());
            for (id, address) in children {
                match address.send(Inspect).await {
                    Ok(status) => all.push(status),
                    // Dead or quarantined: the board's last word is what there is.
                    Err(_) => all.extend(board.view(&id).map(|view| EndpointStatus {
                        id,
                        view,
                        keys: vec![],
                        restarts: 0,
                        probe: None,
                    })),
                }
            }
            all
        })
    }
}

/// A child is gone. Sent by its `ExitNotice`.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Exited {
    pub endpoint: EndpointId,
    pub incarnation: u64,
}

impl Handler<Exited> for Supervisor {
    type Result = ();

    fn handle(&mut self, exited: Exited, context: &mut Self::Context) {
        let now = self.clock.now();
        let Some(child) = self.children.get_mut(&exited.endpoint) else { return };
        if child.incarnation != exited.incarnation {
            return;
        }
        child.deaths.push_back(now);
        while child.deaths.front().is_some_and(|&died| now.saturating_duration_since(died) > RESTART_PERIOD) {
            child.deaths.pop_front();
        }
        if child.deaths.len() <= RESTARTS_MAX {
            warn!(endpoint = %exited.endpoint, "the actor of `{}` died and is restarted, half open", exited.endpoint);
            self.revive(&exited.endpoint, exited.incarnation, context);
            return;
        }
        error!(
            endpoint = %exited.endpoint,
            "the actor of `{}` died {} times within {} s and is quarantined for {} s",
            exited.endpoint, child.deaths.len(), RESTART_PERIOD.as_secs(), QUARANTINE.as_secs(),
        );
        child.deaths.clear();
        self.board.update(&exited.endpoint, exited.incarnation, |view| view.quarantined = true);
        context.run_later(QUARANTINE, move |supervisor, context| {
            supervisor.revive(&exited.endpoint, exited.incarnation, context);
        });
    }
}
