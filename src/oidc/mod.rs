//! Bearer tokens of other issuers: who may say who somebody is, and what that makes of them here.
//!
//! A verified token is remembered by its hash until it is over or its issuer's keys change, so that a busy client costs one
//! look-up a request. `keeper` fetches the keys.

mod cache;
mod claims;
mod keeper;
mod keys;
mod token;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use bursar_actors::TeamId;
use bursar_actors::access::Identity;
use bursar_actors::admins::Role;
use tokio::sync::Notify;
use tracing::debug;

use crate::config::oidc::Issuer;
use cache::Cache;
pub use keeper::Keeper;
use keys::KeySet;
use token::{Claims, Token, Untrusted, looks_signed};

/// Whom a verified token stands for.
pub struct Bearer {
    /// Stands for issuer and subject where a client key's id does: `oidc:` and a pseudonym.
    pub key: Arc<str>,
    /// Whose rights it has with the API; none where it is for administration alone.
    pub team: Option<TeamId>,
    /// What it may administrate, if anything.
    pub role: Option<Role>,
    /// The end user's name.
    pub user: Option<Arc<str>>,
    /// The last moment at which the token is taken, in seconds since 1970.
    pub until_s: u64,
    /// What the team is allowed, and what that makes of the token; worked out anew when the team changes.
    own: ArcSwapOption<(Arc<Identity>, Arc<Identity>)>,
}

impl Bearer {
    /// Returns the token's identity: that of its team, `of_team`, under its own name and for its own time.
    pub fn identity(&self, of_team: &Arc<Identity>) -> Arc<Identity> {
        if let Some(own) = self.own.load().as_ref().filter(|own| Arc::ptr_eq(&own.0, of_team)) {
            return own.1.clone();
        }
        let until = Some(of_team.until.map_or(self.until_s, |until| until.min(self.until_s)));
        let own = Arc::new(Identity { key: self.key.clone(), until, ..of_team.as_ref().clone() });
        self.own.store(Some(Arc::new((of_team.clone(), own.clone()))));
        own
    }
}

/// Gives a subject of an issuer the name under which records know it.
pub type Namer = Arc<dyn Fn(&str, &str) -> String + Send + Sync>;

/// The issuers whose tokens are taken.
pub struct Issuers {
    issuers: Vec<Arc<Known>>,
    namer: Namer,
    cache: Cache,
    /// Something for the keeper to look at.
    called: Notify,
}

/// An issuer and its keys as of now.
pub struct Known {
    settings: Issuer,
    keys: ArcSwap<KeySet>,
    /// Which keys these are: tokens verified with others are verified again.
    edition: AtomicU64,
    /// A token named a key that is not there.
    asked_for: AtomicBool,
    /// Why the keys could not be fetched lately.
    fault: ArcSwapOption<String>,
}

/// How it stands with an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub issuer: String,
    /// Where its keys come from.
    pub source: String,
    pub keys: usize,
    pub fault: Option<String>,
}

impl Known {
    fn new(settings: Issuer) -> Self {
        Self {
            settings,
            keys: ArcSwap::default(),
            edition: AtomicU64::new(0),
            asked_for: AtomicBool::new(false),
            fault: ArcSwapOption::empty(),
        }
    }

    /// Takes new keys; the same ones change nothing.
    fn publish(&self, keys: KeySet) {
        if **self.keys.load() != keys {
            self.keys.store(Arc::new(keys));
            self.edition.fetch_add(1, Ordering::Release);
        }
    }

    fn bearer(&self, claims: &Claims, namer: &Namer) -> Result<Bearer, Untrusted> {
        let settings = &self.settings;
        let team = settings.team.as_ref().and_then(|mapping| claims::meaning(mapping, &claims.all));
        let role = settings.role.as_ref().and_then(|mapping| claims::meaning(mapping, &claims.all)).and_then(|role| {
            // Of the roles one is for a team, that of the token; the others are for all.
            Role::read(role, None).or_else(|_| Role::read(role, team)).ok()
        });
        if team.is_none() && role.is_none() {
            return Err(Untrusted::Nothing);
        }
        let user = claims::find(&claims.all, &settings.user_claim).and_then(|user| user.as_str());
        Ok(Bearer {
            key: format!("oidc:{}", namer(&settings.issuer, &claims.subject)).into(),
            team: team.map(TeamId::from),
            role,
            user: user.filter(|user| !user.is_empty()).map(Into::into),
            until_s: claims.until_s,
            own: ArcSwapOption::empty(),
        })
    }
}

impl Issuers {
    /// Returns the issuers of a configuration, without keys yet; `namer` names whom their tokens are about.
    pub fn new(settings: &[Issuer], namer: Namer) -> Self {
        let none = Self { issuers: Vec::new(), namer, cache: Cache::default(), called: Notify::new() };
        none.renewed(settings)
    }

    /// Returns the issuers of another configuration. Those that are as they were keep their keys.
    pub fn renewed(&self, settings: &[Issuer]) -> Self {
        let known = |settings: &Issuer| {
            let same = self.issuers.iter().find(|known| known.settings == *settings);
            same.cloned().unwrap_or_else(|| Arc::new(Known::new(settings.clone())))
        };
        let issuers = settings.iter().map(known).collect();
        Self { issuers, namer: self.namer.clone(), cache: Cache::default(), called: Notify::new() }
    }

    /// Returns how it stands with each.
    pub fn standings(&self) -> Vec<Standing> {
        let standing = |known: &Arc<Known>| Standing {
            issuer: known.settings.issuer.clone(),
            source: known.settings.source.label(),
            keys: known.keys.load().count(),
            fault: known.fault.load().as_deref().cloned(),
        };
        self.issuers.iter().map(standing).collect()
    }

    /// Returns whom `token` stands for at `now_s`, in seconds since 1970; none where it is no token of theirs, not genuine, not
    /// for us or over. Why not is in the log alone.
    pub fn verify(&self, token: &str, now_s: u64) -> Option<Arc<Bearer>> {
        if self.issuers.is_empty() || !looks_signed(token) {
            return None;
        }
        let hash = *blake3::hash(token.as_bytes()).as_bytes();
        let edition = |issuer: usize| self.issuers[issuer].edition.load(Ordering::Acquire);
        if let Some(bearer) = self.cache.find(&hash, now_s, edition) {
            return Some(bearer);
        }
        match self.verify_anew(token, now_s) {
            Ok((issuer, edition, bearer)) => {
                let bearer = Arc::new(bearer);
                self.cache.put(hash, issuer, edition, bearer.clone(), now_s);
                Some(bearer)
            }
            Err(why) => {
                debug!("a bearer token is refused: {why}");
                None
            }
        }
    }

    fn verify_anew(&self, text: &str, now_s: u64) -> Result<(usize, u64, Bearer), Untrusted> {
        let token = Token::read(text)?;
        let found = self.issuers.iter().position(|known| known.settings.issuer == token.issuer());
        let at = found.ok_or(Untrusted::Issuer)?;
        let known = &self.issuers[at];
        // Before the keys: if they change in between, the token is verified once more.
        let edition = known.edition.load(Ordering::Acquire);
        let claims = token.verify(&known.settings, &known.keys.load(), now_s);
        if claims == Err(Untrusted::UnknownKey) && !known.asked_for.swap(true, Ordering::AcqRel) {
            self.called.notify_one();
        }
        Ok((at, edition, known.bearer(&claims?, &self.namer)?))
    }
}
