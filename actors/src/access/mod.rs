//! Who may ask for what: organisations, their teams, the teams' client keys.
//!
//! Plain data and pure rules. A [`Scope`] says what its holder may use; a child's is cut to its parent's whenever an
//! [`Identity`] is made, so that nobody gets more than the team, and no team more than its organisation, whatever was
//! written when.

mod holder;
mod identity;
mod key;
mod network;
mod scope;

pub use holder::{ClientKey, KeyHash, KeySecret, Notes, Org, Owner, Standing, Team};
pub use identity::{Identity, identity};
pub use key::{NewKey, PREFIX, well_formed};
pub use network::Network;
pub use scope::{Names, Place, Scope};
