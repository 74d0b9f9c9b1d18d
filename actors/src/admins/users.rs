//! The one writer of the admin API's users.
//!
//! | message     | reply                         | sent by       |
//! |-------------|-------------------------------|---------------|
//! | `UserOrder` | `Result<UserDone, UserDenied>`| the admin API |
//! | `Copied`    | all of them, as text          | a backup      |
//!
//! A change is on the disk before it counts, and counts before it is answered: all workers read one [`Staff`].

use std::collections::{BTreeMap, HashMap};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use actix::{Actor, Addr, Arbiter, Context, Handler, Message};
use arc_swap::ArcSwap;
use tracing::error;

use super::user::{NewToken, User, UserAct, UserDenied};
use crate::store::RecordStore;

/// All users as they stand.
#[derive(Debug, Clone, Default)]
pub struct Staff {
    users: BTreeMap<String, Arc<User>>,
    by_token: HashMap<[u8; 32], Arc<User>>,
}

impl Staff {
    fn of(users: BTreeMap<String, Arc<User>>) -> Self {
        let tokens = |user: &Arc<User>| {
            let user = user.clone();
            user.clone().tokens.iter().map(move |token| (token.hash, user.clone())).collect::<Vec<_>>()
        };
        let by_token = users.values().flat_map(tokens).collect();
        Self { users, by_token }
    }

    /// Returns a user, shut out or not.
    pub fn user(&self, id: &str) -> Option<&Arc<User>> {
        self.users.get(id)
    }

    /// Returns whose token it is, unless the user is shut out. It is looked up by its hash, so the time taken tells nothing.
    pub fn holder_of(&self, token: &str) -> Option<&Arc<User>> {
        self.by_token.get(blake3::hash(token.as_bytes()).as_bytes()).filter(|user| !user.disabled)
    }

    /// Returns every user, by id.
    pub fn all(&self) -> impl Iterator<Item = &Arc<User>> {
        self.users.values()
    }
}

/// The actor.
pub struct Users {
    /// None where nothing outlives the process.
    pub(super) store: Option<RecordStore>,
    staff: Arc<ArcSwap<Staff>>,
}

impl Users {
    /// Opens the users of the data directory `data`. The text of an error is for a person.
    pub fn open(data: &Path) -> Result<Self, String> {
        let path = data.join("users");
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(|error| format!("cannot use {}: {error}", path.display()))?;
        let store = RecordStore::open(&path)?;
        let mut users = BTreeMap::new();
        for (id, value) in store.all()? {
            let user: User = serde_json::from_slice(&value)
                .map_err(|why| format!("{}: the record of user `{id}` cannot be read: {why}", path.display()))?;
            users.insert(id, Arc::new(user));
        }
        Ok(Self { store: Some(store), staff: Arc::new(ArcSwap::from_pointee(Staff::of(users))) })
    }

    /// Returns no users, and keeps none.
    pub fn in_memory() -> Self {
        Self { store: None, staff: Arc::default() }
    }

    /// Returns the users as they stand, now and later.
    pub fn staff(&self) -> &Arc<ArcSwap<Staff>> {
        &self.staff
    }

    /// Starts it on a thread of its own, since it waits for the disk; needs a running actix system.
    pub fn start(self) -> Addr<Self> {
        Self::start_in_arbiter(&Arbiter::new().handle(), move |_| self)
    }

    /// Carries `order` out, wholly or not at all.
    pub fn order(&mut self, order: &UserOrder) -> Result<UserDone, UserDenied> {
        let mut users = self.staff.load().users.clone();
        let before = users.get(&order.id).map(Arc::as_ref);
        let (after, token) = User::after(before, &order.id, &order.act, order.at_unix_s, rand::random())?;
        if let Some(store) = &self.store {
            let value = after.as_ref().map(serde_json::to_vec).transpose();
            let value = value.map_err(|error| UserDenied::NotStored(error.to_string()))?;
            store.apply(&[(order.id.clone(), value)]).map_err(UserDenied::NotStored)?;
        }
        let user = after.map(Arc::new);
        match &user {
            Some(user) => users.insert(order.id.clone(), user.clone()),
            None => users.remove(&order.id),
        };
        self.staff.store(Arc::new(Staff::of(users)));
        Ok(UserDone { user, token })
    }
}

/// Something to do to a user.
#[derive(Message, Debug)]
#[rtype(result = "Result<UserDone, UserDenied>")]
pub struct UserOrder {
    /// Whom.
    pub id: String,
    /// What.
    pub act: UserAct,
    /// When, in seconds since 1970.
    pub at_unix_s: i64,
}

/// What was done.
#[derive(Debug)]
pub struct UserDone {
    /// The user as it stands; none where it is gone.
    pub user: Option<Arc<User>>,
    /// The token that was made.
    pub token: Option<NewToken>,
}

impl Actor for Users {
    type Context = Context<Self>;
}

impl Handler<UserOrder> for Users {
    type Result = Result<UserDone, UserDenied>;

    fn handle(&mut self, order: UserOrder, _: &mut Self::Context) -> Self::Result {
        let done = self.order(&order);
        if let Err(UserDenied::NotStored(why)) = &done {
            error!("a change of user `{}` could not be written: {why}", order.id);
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admins::{Password, Role};

    fn order(users: &mut Users, id: &str, act: UserAct) -> UserDone {
        users.order(&UserOrder { id: id.into(), act, at_unix_s: 7 }).unwrap()
    }

    #[test]
    fn what_was_acknowledged_is_there_after_a_new_start_and_after_a_restore() {
        let folder = tempfile::tempdir().unwrap();
        let mut users = Users::open(folder.path()).unwrap();
        order(&mut users, "ann", UserAct::Create(Role::TeamAdmin("a".into())));
        let token = order(&mut users, "ann", UserAct::MakeToken).token.unwrap();
        order(&mut users, "ann", UserAct::SetPassword(Password::new("correct horse battery").unwrap()));
        order(&mut users, "bob", UserAct::Create(Role::Viewer));
        order(&mut users, "bob", UserAct::Delete);
        let copy = users.copied().unwrap().unwrap();
        drop(users);

        let restored = tempfile::tempdir().unwrap();
        assert_eq!(Users::put_back(&copy, restored.path()), Ok(1));
        for data in [folder.path(), restored.path()] {
            let users = Users::open(data).unwrap();
            let staff = users.staff().load();
            let ann = staff.holder_of(token.expose()).unwrap();
            assert_eq!((ann.id.as_str(), ann.role()), ("ann", Role::TeamAdmin("a".into())));
            assert!(Password::verify(ann.password.as_ref(), "correct horse battery"));
            assert_eq!(staff.all().count(), 1);
        }
    }

    #[test]
    fn the_token_of_a_user_who_is_shut_out_lets_nobody_in() {
        let mut users = Users::in_memory();
        order(&mut users, "ann", UserAct::Create(Role::Viewer));
        let token = order(&mut users, "ann", UserAct::MakeToken).token.unwrap();
        let lets_in = |users: &Users| users.staff().load().holder_of(token.expose()).is_some();

        assert!(lets_in(&users));
        order(&mut users, "ann", UserAct::Disable);
        assert!(!lets_in(&users));
        order(&mut users, "ann", UserAct::Enable);
        assert!(lets_in(&users));
        order(&mut users, "ann", UserAct::Delete);
        assert!(!lets_in(&users));
    }
}
