//! The state of the gateway, as actors: which endpoint is healthy, which key is next, who waits for what.
//!
//! ```text
//! Supervisor            owns all others; answers Acquire; survives the panics of its children
//! └─ Endpoint × N       health, circuit breaker, key ring; grants a Lease per upstream call
//! ```
//!
//! | actor        | message      | reply                        | sent by                |
//! |--------------|--------------|------------------------------|------------------------|
//! | `Supervisor` | `Acquire`    | `Result<Lease, Unavailable>` | HTTP workers           |
//! |              | `Refill`     | –, fills a `LeasePool`       | HTTP workers           |
//! |              | `Views`      | `Vec<EndpointStatus>`        | lists                  |
//! |              | `Reconfigure`| `Reconfigured`               | a reload               |
//! |              | `Command`    | `Result<(), NoSuch>`         | the operator           |
//! |              | `ProbesDue`  | `Vec<ProbeLease>`            | the prober             |
//! |              | `Exited`     | –                            | a child's `ExitNotice` |
//! | `Stored`     | see [`stored`]|                              |                        |
//! | `Budget`     | `Configure`  | –, puts budgets in force     | a reload, the admin API|
//! |              | `Statements` | how budgets stand            | the admin API          |
//! |              | `UsageOf`    | `Vec<UsageRow>`              | the admin API          |
//! |              | `Raise`      | `Result<(), RaiseError>`     | the admin API          |
//! | `Endpoint`   | `Admit`      | `Result<Lease, Refusal>`     | `Supervisor`           |
//! |              | `GrantAhead` | –, fills a `LeasePool`       | `Supervisor`           |
//! |              | `Collect`    | –                            | `Supervisor`           |
//! |              | `Inspect`    | `EndpointStatus`             | `Supervisor`           |
//! |              | `Renew`      | –                            | `Supervisor`           |
//! |              | `Probe`      | `Option<ProbeLease>`         | `Supervisor`           |
//! |              | `ProbeEnded` | –                            | a `ProbeLease`, once   |
//!
//! This crate knows no HTTP, no wire format and no socket. State is plain data, each decision a pure method with time
//! and chance passed in; handlers are glue.

#![warn(missing_docs)]

pub mod access;
mod acquire;
pub mod admins;
pub mod audit;
mod board;
pub mod budget;
mod clock;
mod endpoint;
mod ids;
pub mod limits;
mod outcome;
mod pool;
mod retry_budget;
mod routing;
pub mod store;
pub mod stored;
mod supervisor;
mod system;
mod usage;
pub mod vault;

pub use acquire::{Acquire, Candidate, Repeat, Tried, Unavailable, passed_over};
pub use board::{EndpointBoard, EndpointView};
pub use clock::{Chance, Clock};
pub use endpoint::breaker::{BreakerPolicy, BreakerState};
pub use endpoint::keyring::{KeyPolicy, KeySpec, KeyState, KeyView, NoKey};
pub use endpoint::lease::Lease;
pub use endpoint::probe::{ProbeLease, ProbeView, Probed};
pub use endpoint::{EndpointSpec, EndpointStatus, Refusal};
pub use ids::{EndpointId, KeyId, ModelName, OrgId, Secret, TeamId};
pub use outcome::{ErrorClass, KeyEffect, Learned, LearnedLimits, Outcome, ReplyForm, Retry};
pub use pool::{LeasePool, Taken};
pub use retry_budget::RetryBudget;
pub use routing::{Load, Pulse, Strategy, choose};
pub use supervisor::{
    ChanceFactory, Command, NoSuch, ProbesDue, Reconfigure, Reconfigured, Refill, Steering, Supervisor, Views,
};
pub use system::{Handles, SystemOptions, start};
pub use usage::{SearchSize, Tier, Usage};
