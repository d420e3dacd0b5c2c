//! Sessions of people who gave their token once, to a browser, and come back with something else:
//! a secret that is worth nothing elsewhere, ends with the process, and opens no more than the
//! token does at that moment. A token that is revoked takes its sessions with it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    Service,
    access::{Caller, digest},
};
use crate::{clock::Stopwatch, ids::Hex, registry::records::Role};

/// After which a session is over, however much it is used.
pub const LASTS: Duration = Duration::from_secs(12 * 3_600);
/// How many sessions a token may have; then the oldest ends.
const MOST_OF_TOKEN: usize = 20;
/// How many there may be of all tokens together; then the oldest ends.
const MOST: usize = 10_000;

/// All sessions, by the digest of what a browser brings.
#[derive(Debug)]
pub(super) struct Sessions {
    since: Stopwatch,
    all: Mutex<HashMap<String, Session>>,
}

#[derive(Debug, Clone)]
struct Session {
    /// The digest of the token.
    token: String,
    begun: Duration,
}

impl Sessions {
    pub(super) fn new() -> Self {
        Self { since: Stopwatch::start(), all: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, secret: &str, token: String) {
        let now = self.since.elapsed();
        let mut all = self.lock();
        all.retain(|_, session| now.saturating_sub(session.begun) < LASTS);
        let own = all.values().filter(|session| session.token == token).count();
        if own >= MOST_OF_TOKEN {
            end_oldest(&mut all, |session| session.token == token);
        } else if all.len() >= MOST {
            end_oldest(&mut all, |_| true);
        }
        all.insert(digest(secret), Session { token, begun: now });
    }

    /// The digest of the token that a session is of.
    fn token_of(&self, secret: &str) -> Option<String> {
        let now = self.since.elapsed();
        let session = self.lock().get(&digest(secret)).cloned()?;
        (now.saturating_sub(session.begun) < LASTS).then_some(session.token)
    }
}

fn end_oldest(all: &mut HashMap<String, Session>, of: impl Fn(&Session) -> bool) {
    let oldest = all.iter().filter(|(_, s)| of(s)).min_by_key(|(_, s)| s.begun);
    if let Some(key) = oldest.map(|(key, _)| key.clone()) {
        all.remove(&key);
    }
}

impl Service {
    /// Begins a session for who brings this token; none if it opens nothing.
    #[must_use]
    pub fn begin_session(&self, token: &str) -> Option<(String, Caller)> {
        // Who may only post has nothing to look at.
        let caller = self.authenticate(token).filter(|caller| caller.role >= Role::Viewer)?;
        let secret = Hex(&rand::random::<[u8; 32]>()).to_string();
        self.sessions.begin(&secret, digest(token));
        Some((secret, caller))
    }

    /// Whose session this is; none if there is no such one, it is over, or its token opens
    /// nothing any more.
    #[must_use]
    pub fn in_session(&self, secret: &str) -> Option<Caller> {
        self.caller_of(&self.sessions.token_of(secret)?)
    }

    /// Ends a session, if there is such a one.
    pub fn end_session(&self, secret: &str) {
        self.sessions.lock().remove(&digest(secret));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_so_many_sessions_and_others_keep_theirs() {
        let sessions = Sessions::new();
        sessions.begin("of another", "b".to_owned());
        for n in 0..=MOST_OF_TOKEN {
            sessions.begin(&format!("secret {n}"), "a".to_owned());
        }
        assert_eq!(sessions.token_of("secret 0"), None);
        assert_eq!(sessions.token_of("secret 1").as_deref(), Some("a"));
        assert_eq!(sessions.token_of("of another").as_deref(), Some("b"));
        assert_eq!(sessions.token_of("never begun"), None);
        assert_eq!(sessions.lock().len(), MOST_OF_TOKEN + 1);
    }
}
