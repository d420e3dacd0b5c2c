//! On what condition something is changed: that it is still in the state in which whoever asks has
//! seen it, or that there is none yet (RFC 9110, section 13). It is looked at where the change is
//! made, under the same lock. What a state is called (its entity tag) is said here too.

use sha2::{Digest as _, Sha256};

use super::{error::ServiceError, quotas::TenantView};
use crate::ids::{ArtifactDigest, Hex};

/// A condition, as `If-Match` and `If-None-Match` make it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Precondition {
    /// It must be in one of these states, if anything is said of that.
    pub is: Option<States>,
    /// It must be in none of these.
    pub is_not: Option<States>,
}

/// States of a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum States {
    /// Whatever its state is: there is such a thing.
    Any,
    /// Those with these entity tags.
    These(Vec<String>),
}

impl States {
    fn hold(&self, now: Option<&str>) -> bool {
        match (self, now) {
            (_, None) => false,
            (Self::Any, Some(_)) => true,
            (Self::These(all), Some(now)) => all.iter().any(|tag| tag == now),
        }
    }
}

impl Precondition {
    /// Nothing is asked: it is changed however it is.
    pub const NONE: Self = Self { is: None, is_not: None };

    /// That it holds of `what`, which is in this state now, if it is there.
    ///
    /// # Errors
    /// If it does not.
    pub fn check(&self, what: &str, now: Option<&str>) -> Result<(), ServiceError> {
        let refused = |why: String| Err(ServiceError::PreconditionFailed(why));
        if let Some(states) = &self.is
            && !states.hold(now)
        {
            return refused(match now {
                None => format!("there is no {what}"),
                Some(now) => format!("{what} is another now, with the entity tag {now}"),
            });
        }
        if let Some(states) = &self.is_not
            && states.hold(now)
        {
            return refused(format!("there is {what} already"));
        }
        Ok(())
    }
}

/// The entity tag of what has these bytes, and of what points to it.
#[must_use]
pub fn tag_of_bytes(digest: &ArtifactDigest) -> String {
    format!("\"sha256-{digest}\"")
}

/// The entity tag of a tenant with what it may use.
#[must_use]
pub fn tag_of_tenant(tenant: &TenantView) -> String {
    let json = serde_json::to_vec(tenant).expect("a tenant is plain data");
    format!("\"{}\"", Hex(&Sha256::digest(json)[..8]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_made_of_what_was_seen_and_of_nothing_else() {
        let these =
            |tags: &[&str]| Some(States::These(tags.iter().map(|tag| (*tag).to_owned()).collect()));
        let no = || None::<States>;
        for (is, is_not, absent, a, b) in [
            (no(), no(), true, true, true),
            (Some(States::Any), no(), false, true, true),
            (these(&["a", "c"]), no(), false, true, false),
            (these(&[]), no(), false, false, false),
            (no(), Some(States::Any), true, false, false),
            (no(), these(&["a"]), true, false, true),
        ] {
            let condition = Precondition { is, is_not };
            let holds = |now| condition.check("x", now).is_ok();
            assert_eq!([holds(None), holds(Some("a")), holds(Some("b"))], [absent, a, b]);
        }
    }
}
