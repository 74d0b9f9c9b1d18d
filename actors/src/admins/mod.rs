//! Who may administrate the gateway, and what: users of the admin API with their roles, tokens, passwords and sessions.
//!
//! [`Users`] is the one writer; it publishes [`Staff`], which every worker reads without a message.

mod copy;
mod lockout;
mod password;
mod role;
mod session;
mod user;
mod users;

pub use copy::USERS_COPY;
pub use lockout::Lockout;
pub use password::{PASSWORD_MAX, Password};
pub use role::{Right, Role};
pub use session::{ABSOLUTE, Holder, IDLE, LINK, Sessions, csrf_token};
pub use user::{NewToken, Token, User, UserAct, UserDenied};
pub use users::{Staff, UserDone, UserOrder, Users};
