//! A user of the admin API, and what can be done to one.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Role;
use super::password::Password;
use crate::access::is_id;

/// Ids that mean somebody else in the books.
const RESERVED: [&str; 3] = ["admin", "socket", "offline"];
/// Longest id, in bytes.
const ID_MAX: usize = 64;
/// Most tokens of one user.
const TOKENS_MAX: usize = 20;
/// How every token begins.
const PREFIX: &str = "bursar-admin-";

/// A user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct User {
    /// As the books call it.
    pub id: String,
    /// Name of the role.
    role: String,
    /// The one team that it is for.
    team: Option<String>,
    /// None where the user may not sign in by one.
    pub password: Option<Password>,
    /// Of programs that act for the user.
    pub tokens: Vec<Token>,
    /// Whether the user is shut out for now.
    pub disabled: bool,
    /// In seconds since 1970.
    pub created_unix_s: i64,
    /// Changes whenever sessions that began before have to end.
    pub epoch: u64,
}

/// A token, without its secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Token {
    /// The part that may be shown.
    pub public: String,
    /// BLAKE3 of the whole.
    pub hash: [u8; 32],
    /// In seconds since 1970.
    pub created_unix_s: i64,
}

/// A token just made. It is shown once, by whoever takes it out.
pub struct NewToken(Zeroizing<String>);

impl NewToken {
    fn generate() -> (Self, String) {
        let public: [u8; 6] = rand::random();
        let public: String = public.iter().map(|byte| format!("{byte:02x}")).collect();
        let secret = Zeroizing::new(rand::random::<[u8; 32]>());
        let secret = blake3::Hash::from_bytes(*secret).to_hex();
        (Self(Zeroizing::new(format!("{PREFIX}{public}-{secret}"))), public)
    }

    /// Returns the token itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// What is done to a user.
#[derive(Debug, Clone)]
pub enum UserAct {
    /// Makes one.
    Create(Role),
    /// Gives another role.
    Assign(Role),
    /// Shuts the user out, at once and everywhere.
    Disable,
    /// Ends that.
    Enable,
    /// Removes the user with all tokens.
    Delete,
    /// Makes a token.
    MakeToken,
    /// Removes the token with this public part.
    RevokeToken(String),
    /// Sets the password, and ends all sessions.
    SetPassword(Password),
}

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserDenied {
    /// It cannot be done so.
    #[error("{0}")]
    Invalid(String),
    /// There is one already.
    #[error("the user `{0}` exists already")]
    Exists(String),
    /// There is none.
    #[error("there is no user `{0}`; `bursar users list` shows them")]
    Unknown(String),
    /// The user has no such token.
    #[error("the user has no token `{0}`; `bursar users show` lists them")]
    NoToken(String),
    /// The disk would not take it.
    #[error("the change could not be written, so nothing was changed: {0}")]
    NotStored(String),
}

impl User {
    /// Returns the role. One that a newer version wrote and this one does not know has no rights but a viewer's.
    pub fn role(&self) -> Role {
        Role::read(&self.role, self.team.as_deref()).unwrap_or(Role::Viewer)
    }

    /// Returns the user as it is after `act`, none where it is gone, and the token that was made.
    ///
    /// `at_s` is in seconds since 1970, `chance` a number that nobody had before.
    pub fn after(
        before: Option<&Self>,
        id: &str,
        act: &UserAct,
        at_s: i64,
        chance: u64,
    ) -> Result<(Option<Self>, Option<NewToken>), UserDenied> {
        if let UserAct::Create(role) = act {
            return Self::create(before, id, role, at_s, chance).map(|user| (Some(user), None));
        }
        let mut user = before.cloned().ok_or_else(|| UserDenied::Unknown(id.to_owned()))?;
        let mut made = None;
        match act {
            UserAct::Create(_) => {}
            UserAct::Assign(role) => user.assign(role),
            UserAct::Disable => (user.disabled, user.epoch) = (true, chance),
            UserAct::Enable => user.disabled = false,
            UserAct::Delete => return Ok((None, None)),
            UserAct::MakeToken if user.tokens.len() >= TOKENS_MAX => {
                let why = format!("the user `{id}` has {TOKENS_MAX} tokens, the most there may be; revoke one first");
                return Err(UserDenied::Invalid(why));
            }
            UserAct::MakeToken => {
                let (token, public) = NewToken::generate();
                let hash = *blake3::hash(token.expose().as_bytes()).as_bytes();
                user.tokens.push(Token { public, hash, created_unix_s: at_s });
                made = Some(token);
            }
            UserAct::RevokeToken(public) => {
                let count = user.tokens.len();
                user.tokens.retain(|token| token.public != *public);
                if user.tokens.len() == count {
                    return Err(UserDenied::NoToken(public.clone()));
                }
            }
            UserAct::SetPassword(password) => (user.password, user.epoch) = (Some(password.clone()), chance),
        }
        Ok((Some(user), made))
    }

    fn create(before: Option<&Self>, id: &str, role: &Role, at_s: i64, chance: u64) -> Result<Self, UserDenied> {
        if before.is_some() {
            return Err(UserDenied::Exists(id.to_owned()));
        }
        if RESERVED.contains(&id) {
            let why = format!("`{id}` is how the books call somebody else; choose another id");
            return Err(UserDenied::Invalid(why));
        }
        if !is_id(id) || id.len() > ID_MAX {
            let why = format!("`{id}` is no id: a letter, then letters, digits and `_`, all small, at most {ID_MAX}");
            return Err(UserDenied::Invalid(why));
        }
        let mut user = Self {
            id: id.to_owned(),
            role: String::new(),
            team: None,
            password: None,
            tokens: Vec::new(),
            disabled: false,
            created_unix_s: at_s,
            epoch: chance,
        };
        user.assign(role);
        Ok(user)
    }

    fn assign(&mut self, role: &Role) {
        self.role = role.as_str().to_owned();
        self.team = role.team().map(ToString::to_string);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> User {
        User::after(None, "ann", &UserAct::Create(Role::Auditor), 7, 1).unwrap().0.unwrap()
    }

    fn act(user: &User, act: &UserAct) -> Result<(Option<User>, Option<NewToken>), UserDenied> {
        User::after(Some(user), "ann", act, 8, 2)
    }

    #[test]
    fn a_user_is_made_once_and_not_under_a_name_of_somebody_else() {
        let user = made();

        assert_eq!((user.role(), user.tokens.len(), user.disabled), (Role::Auditor, 0, false));
        assert_eq!(act(&user, &UserAct::Create(Role::Admin)).unwrap_err(), UserDenied::Exists("ann".into()));
        for id in ["admin", "socket", "offline", "", "a/b", "a b"] {
            let made = User::after(None, id, &UserAct::Create(Role::Admin), 7, 1);
            assert!(matches!(made, Err(UserDenied::Invalid(_))), "{id}");
        }
    }

    #[test]
    fn a_token_is_kept_by_its_hash_and_can_be_taken_away() {
        let (user, token) = act(&made(), &UserAct::MakeToken).unwrap();
        let (user, token) = (user.unwrap(), token.unwrap());

        let kept = &user.tokens[0];
        assert_eq!(kept.hash, *blake3::hash(token.expose().as_bytes()).as_bytes());
        assert!(token.expose().starts_with(&format!("bursar-admin-{}-", kept.public)));
        assert_eq!((kept.public.len(), token.expose().len()), (12, 90));
        assert_eq!(format!("{token:?}"), "…");
        assert!(!serde_json::to_string(&user).unwrap().contains(token.expose()));
        assert!(act(&user, &UserAct::RevokeToken("nope".into())).is_err());
        let revoked = act(&user, &UserAct::RevokeToken(kept.public.clone())).unwrap().0.unwrap();
        assert!(revoked.tokens.is_empty());
    }

    #[test]
    fn who_is_shut_out_loses_the_sessions_too() {
        let user = made();

        let disabled = act(&user, &UserAct::Disable).unwrap().0.unwrap();
        let enabled = act(&disabled, &UserAct::Enable).unwrap().0.unwrap();

        assert!(disabled.disabled && disabled.epoch != user.epoch);
        assert!(!enabled.disabled && enabled.epoch == disabled.epoch);
        assert!(act(&user, &UserAct::Delete).unwrap().0.is_none());
        assert_eq!(User::after(None, "bob", &UserAct::Delete, 8, 2).unwrap_err(), UserDenied::Unknown("bob".into()));
    }
}
