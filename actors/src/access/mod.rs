//! Who may ask for what: organisations, their teams, the teams' client keys.
//!
//! Plain data and pure rules. A [`Scope`] says what its holder may use; a child's is cut to its parent's whenever an
//! [`Identity`] is made, so that nobody gets more than the team, and no team more than its organisation, whatever was
//! written when. The [`Directory`] is their one writer; it publishes a [`Roster`], in which every worker looks keys up.

mod budgets;
mod copy;
mod directory;
mod holder;
mod identity;
mod key;
mod network;
mod order;
mod register;
mod roster;
mod scope;

pub use budgets::Budgets;
pub use copy::{Copied, DIRECTORY_COPY};
pub use directory::{Directory, List, Show, TakeFiles};
pub use holder::{ClientKey, KeyHash, KeySecret, Notes, Org, Owner, Standing, Team};
pub use identity::{Identity, identity};
pub use key::{NewKey, PREFIX, well_formed};
pub use network::Network;
pub use order::{Act, Denied, Done, Holder, Kind, LimitChange, Order, Wish};
pub use register::{DEFAULT_TEAM, Holders, Register, Step, is_id};
pub use roster::{HashKey, Roster};
pub use scope::{Names, Place, Scope};
