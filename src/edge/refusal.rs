//! Every way in which the edge says no, as one enum: the status, the name that log, metric, CDR and `explain` share,
//! and whether to answer at all.

use std::sync::Arc;

use super::anchor::AnchorError;
use super::authenticate::Challenge;
use crate::policy;
use crate::sip::dialog::OutOfDialog;
use crate::sip::message::{Sealed, reason_phrase};
use crate::sip::proxy::validate::Invalid;

/// Why a request is not carried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A policy's rule.
    #[error("{}", .0.rule)]
    Policy(policy::Refusal),
    /// A route that says `reject:`.
    #[error("route / {name}")]
    Route {
        /// Its name.
        name: Arc<str>,
        /// What it says.
        status: u16,
    },
    /// RFC 3261 §16.3: the request cannot be forwarded by any proxy.
    #[error("{0}")]
    Invalid(Invalid),
    /// The body cannot be rewritten, or there is no port for it.
    #[error("media / {0}")]
    Media(AnchorError),
    /// SDP in a body that is not for us to rewrite; `media: { sealed_bodies: … }`.
    #[error("sealed body / {0}")]
    SealedBody(Sealed),
    /// The listener's zone names networks, and this source is in none of them.
    #[error("source outside the zone's networks")]
    OutsideZone,
    /// `admit: trunks`, and no trunk names this source.
    #[error("not a trunk")]
    NotATrunk,
    /// `admit: registered`, and no registration lives on this flow.
    #[error("not registered")]
    NotRegistered,
    /// A registered flow speaks for a user that it did not register (ATTACKS.md: caller pretends to be an extension).
    #[error("caller is not the registered user")]
    NotTheCaller,
    /// `admit: authenticated`, and the password has not been shown.
    #[error("{}", if .0.wrong.is_some() { "wrong password" } else { "password required" })]
    Challenged(Box<Challenge>),
    /// More challenges than one source that may be forged is sent.
    #[error("too many challenges")]
    ChallengedTooOften,
    /// RFC 3261 §12.2.2: a request in a dialog that we do not know.
    #[error("no such call")]
    NoSuchCall,
    /// A request with a dialog's identifiers from someone who is in none of its legs.
    #[error("not a party of the dialog")]
    NotAParty,
    /// CSeq below one that its sender has used (RFC 3261 §12.2.2).
    #[error("CSeq out of order")]
    OutOfOrder,
    /// A 401 or 407 from outside, to which the inside would answer with its own credentials (CVE-2021-41158).
    #[error("challenge from outside")]
    ForeignChallenge,
    /// A carrier does not take our name and password.
    #[error("the carrier refuses our login")]
    LoginRefused,
    /// With what we add it passes the size of a message.
    #[error("message too large to forward")]
    TooLarge,
    /// The caller has cancelled.
    #[error("cancelled")]
    Cancelled,
    /// Nothing in the routing table fits.
    #[error("no route")]
    NoRoute,
    /// The contact was registered here, but its flow is gone (RFC 5626 §5.3).
    #[error("flow failed")]
    FlowFailed,
    /// Nobody is registered under that contact or user.
    #[error("no such contact")]
    NoSuchContact,
    /// The registered user who is called is banned.
    #[error("called user is banned")]
    CalledBanned,
    /// Every trunk of the route is at its limit.
    #[error("trunk limit")]
    TrunkLimit,
    /// Every target is down, does not resolve, or refused the connection.
    #[error("no target can be reached")]
    NoTarget,
    /// No target answered in time.
    #[error("no answer from any target")]
    Silent,
    /// `Limits::calls`.
    #[error("calls full")]
    CallsFull,
    /// `Limits::transactions`.
    #[error("transactions full")]
    TransactionsFull,
    /// `Limits::registrations`.
    #[error("registrations full")]
    RegistrationsFull,
    /// `Limits::unanswered_per_source`.
    #[error("too many unanswered calls of one source")]
    TooManyUnanswered,
    /// More comes than there is time for.
    #[error("overloaded")]
    Overloaded,
    /// We are going down.
    #[error("draining")]
    Draining,
    /// The session would expire sooner than so many seconds, which a zone or trunk wants at least (RFC 4028 §8.1).
    #[error("session expires too soon")]
    SessionTooShort(u32),
    /// Another offer waits for its answer (RFC 3261 §14.2, RFC 3311 §5.2).
    #[error("an offer is pending")]
    OfferPending,
    /// Its sender has not had the answer to its last offer (RFC 3261 §14.2, RFC 3311 §5.2).
    #[error("an offer of the same side is pending")]
    OfferUnanswered,
}

impl Refusal {
    /// The status to answer with; `None`: silence.
    pub fn status(&self) -> Option<u16> {
        Some(match self {
            Refusal::Policy(refusal) => match &refusal.action {
                policy::Action::Reject { status, .. } => *status,
                // The edge's own digest challenges come with `admit: authenticated`.
                policy::Action::Challenge => 403,
                policy::Action::Drop | policy::Action::Ban(_) => return None,
            },
            Refusal::Challenged(challenge) => challenge.status,
            Refusal::ChallengedTooOften => return None,
            Refusal::Route { status, .. } => *status,
            Refusal::Invalid(invalid) => invalid.status(),
            Refusal::Media(error) => error.status(),
            Refusal::OutsideZone
            | Refusal::NotATrunk
            | Refusal::NotRegistered
            | Refusal::NotTheCaller
            | Refusal::ForeignChallenge
            | Refusal::NotAParty => 403,
            Refusal::NoSuchCall => 481,
            Refusal::OutOfOrder | Refusal::OfferUnanswered => 500,
            // RFC 3261 §21.4.26: encrypted for somebody else; §21.4.24: acceptable to others, not here.
            Refusal::SealedBody(Sealed::Encrypted) => 493,
            Refusal::SealedBody(_) => 488,
            Refusal::TooLarge => 513,
            Refusal::Cancelled => 487,
            Refusal::NoRoute | Refusal::NoSuchContact => 404,
            Refusal::FlowFailed => 430,
            // RFC 3261 §21.4.18: known, and not to be had at the moment; the PBX goes on to its voicemail.
            Refusal::CalledBanned => 480,
            Refusal::SessionTooShort(_) => 422,
            Refusal::Silent => 408,
            Refusal::OfferPending => 491,
            Refusal::TrunkLimit
            | Refusal::NoTarget
            | Refusal::LoginRefused
            | Refusal::CallsFull
            | Refusal::TransactionsFull
            | Refusal::RegistrationsFull
            | Refusal::TooManyUnanswered
            | Refusal::Overloaded
            | Refusal::Draining => 503,
        })
    }

    /// The reason phrase of the answer: a policy's own words, else the standard's.
    pub fn reason(&self) -> &str {
        match self {
            Refusal::Policy(policy::Refusal { action: policy::Action::Reject { reason, .. }, .. }) => reason,
            Refusal::Invalid(invalid) => invalid.reason(),
            _ => reason_phrase(self.status().unwrap_or(0)),
        }
    }

    /// Its name in log, metric and CDR.
    pub fn rule(&self) -> Arc<str> {
        match self {
            Refusal::Policy(refusal) => refusal.rule.clone(),
            other => other.to_string().into(),
        }
    }

    /// A rule of `routes` refused the last trunk: the request has been taken up by then, so it is answered in any case.
    pub(super) fn at_a_trunk(refusal: policy::Refusal) -> Refusal {
        let policy::Refusal { action, rule, alert } = refusal;
        let action = match action {
            policy::Action::Reject { .. } => action,
            _ => policy::Action::Reject { status: 403, reason: "Forbidden".into() },
        };
        Refusal::Policy(policy::Refusal { action, rule, alert })
    }

    /// The rule asked for an alert.
    pub fn alert(&self) -> bool {
        matches!(self, Refusal::Policy(refusal) if refusal.alert)
    }

    /// What is asked of the sender, if anything.
    pub fn challenge(&self) -> Option<&Challenge> {
        match self {
            Refusal::Challenged(challenge) => Some(challenge),
            _ => None,
        }
    }

    /// Every honest phone meets it: nothing to log or to count.
    pub fn is_routine(&self) -> bool {
        self.challenge().is_some_and(|challenge| challenge.wrong.is_none())
    }

    /// RFC 3261 §8.2.2.3: the option tags of a 420.
    pub fn unsupported(&self) -> Option<&[u8]> {
        match self {
            Refusal::Invalid(Invalid::Extension { unsupported }) => Some(unsupported),
            _ => None,
        }
    }

    /// RFC 4028 §6: Min-SE of a 422.
    pub fn shortest_session(&self) -> Option<u32> {
        match self {
            Refusal::SessionTooShort(seconds) => Some(*seconds),
            _ => None,
        }
    }

    /// RFC 3261 §21.5.4: seconds after which it is worth trying again; `None`: no `Retry-After`.
    pub fn retry_after(&self) -> Option<u32> {
        match self {
            Refusal::CallsFull
            | Refusal::TransactionsFull
            | Refusal::RegistrationsFull
            | Refusal::TooManyUnanswered
            | Refusal::Overloaded
            | Refusal::TrunkLimit => Some(10),
            Refusal::Media(_) if self.status() == Some(503) => Some(10),
            Refusal::Draining => Some(30),
            Refusal::OfferUnanswered => Some(2),
            _ => None,
        }
    }
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Refusal::Invalid(invalid)
    }
}

impl From<OutOfDialog> for Refusal {
    fn from(error: OutOfDialog) -> Self {
        match error {
            OutOfDialog::Unknown => Refusal::NoSuchCall,
            OutOfDialog::CSeq => Refusal::OutOfOrder,
        }
    }
}

impl From<AnchorError> for Refusal {
    fn from(error: AnchorError) -> Self {
        Refusal::Media(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_name_a_status_and_a_phrase() {
        let dropped =
            policy::Refusal { action: policy::Action::Drop, rule: "floods / scan".into(), alert: false };
        assert_eq!(Refusal::Policy(dropped.clone()).status(), None);
        assert_eq!(&*Refusal::Policy(dropped).rule(), "floods / scan");
        let said = policy::Action::Reject { status: 603, reason: "Not from here".into() };
        let rejected =
            Refusal::Policy(policy::Refusal { action: said, rule: "toll / x".into(), alert: true });
        assert_eq!(
            (rejected.status(), rejected.reason(), rejected.alert()),
            (Some(603), "Not from here", true)
        );
        assert_eq!((Refusal::Draining.status(), Refusal::Draining.retry_after()), (Some(503), Some(30)));
        assert_eq!(&*Refusal::NotRegistered.rule(), "not registered");
        assert_eq!(Refusal::FlowFailed.reason(), "Flow Failed");
    }
}
