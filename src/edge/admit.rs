//! May it pass? What the zone's `admit` asks for, whether there is room, and then policy: Identified → Permitted.

use std::borrow::Cow;
use std::sync::Arc;

use super::authenticate::speaks_for;
use super::facts::Heard;
use super::flow::FlowEnd;
use super::identify::{Identified, Speaker, Who};
use super::received::{Rejected, Request};
use super::refusal::Refusal;
use super::route::is_emergency;
use super::settings::Admit;
use super::{Drain, Edge, uri};
use crate::policy::{Action, Login, Permit};
use crate::sip::message::Method;
use crate::sip::proxy::validate::Valid;

/// Who is let in.
struct Admitted {
    /// As identified, or as the password shows.
    who: Who,
    /// The user who has shown the password, or whose registered flow it came over.
    user: Option<Arc<str>>,
    /// May a rule ask for a password?
    login: Login,
}

/// A request that policy permits.
#[derive(Debug)]
pub struct Permitted {
    /// It.
    pub request: Box<Request>,
    /// Who sent it.
    pub who: Who,
    /// What forwarding needs to know of it.
    pub valid: Valid,
    /// The user who has shown the password, or whose registered flow it came over.
    pub user: Option<Arc<str>>,
    /// The proof.
    pub permit: Permit,
}

impl Identified {
    /// Turns it away.
    pub fn reject(self, refusal: Refusal) -> Rejected {
        Rejected { request: self.request, refusal }
    }
}

impl Edge {
    /// Identified → Permitted.
    pub(super) fn admit(&mut self, identified: Identified) -> Result<Permitted, Rejected> {
        let Identified { request, who, valid } = identified;
        let mut admitted = self.is_admitted(&request, who);
        if let Ok(Admitted { who, .. }) = &admitted
            && let Err(refusal) = self.has_room(&request, who)
        {
            admitted = Err(refusal);
        }
        let mut decided = self.ask_policy(&request, &who, &admitted);
        if admitted.is_ok() && matches!(&decided, Err(refusal) if refusal.action == Action::Challenge) {
            // DESIGN.md §6: a rule wants to see a password, and then all of them are asked about its owner.
            admitted = self.admit_by_password(&request, who);
            decided = self.ask_policy(&request, &who, &admitted);
        }
        match (decided, admitted) {
            (Ok(permit), Ok(Admitted { who, user, .. })) => {
                Ok(Permitted { request, who, valid, user, permit })
            }
            (Ok(permit), Err(refusal)) => {
                self.policy.open().release(permit.gauges, std::time::Duration::ZERO, request.at);
                Err(Rejected { request, refusal })
            }
            (Err(refusal), Ok(Admitted { who, user, .. })) => {
                let refusal = Refusal::Policy(refusal);
                self.record_refused(&request, &who, user.as_ref(), &refusal);
                Err(Rejected { request, refusal })
            }
            (Err(silent), Err(_)) if matches!(silent.action, Action::Drop | Action::Ban(_)) => {
                Err(Rejected { request, refusal: Refusal::Policy(silent) })
            }
            (Err(_), Err(refusal)) => Err(Rejected { request, refusal }),
        }
    }

    /// What the zone asks of those who are neither trunk nor PBX, and who they are then.
    fn is_admitted(&mut self, request: &Request, who: Who) -> Result<Admitted, Refusal> {
        let known = Admitted { who, user: None, login: Login::Settled };
        match who.speaker {
            Speaker::Pbx => return Ok(known),
            Speaker::Trunk(_) if self.claims_insider(&request.message) => return Err(Refusal::NotTheCaller),
            Speaker::Trunk(_) => return Ok(known),
            Speaker::Stranger => {}
        }
        let admit = self.settings.zone(who.zone).ok_or(Refusal::OutsideZone)?.admit;
        let asks_trunks = self.settings.trunks_by_password(who.zone).next().is_some();
        let flow = FlowEnd::from(&request.source);
        let is_registered = self.registrations.on_flow(&flow).next().is_some();
        let is_register = request.message.method() == Method::Register;
        match admit {
            Admit::Authenticated => self.admit_by_password(request, who),
            Admit::Trunks if asks_trunks => self.admit_by_password(request, who),
            Admit::Trunks => Err(Refusal::NotATrunk),
            Admit::Registered if is_register => Ok(Admitted { login: Login::Unasked, ..known }),
            Admit::Registered if !is_registered && asks_trunks => self.admit_by_password(request, who),
            Admit::Registered if !is_registered => Err(Refusal::NotRegistered),
            Admit::Registered | Admit::Any => {
                let user = self.registered_caller(request, &flow)?;
                Ok(Admitted { user, login: Login::Unasked, ..known })
            }
        }
    }

    /// Whose password is it? A trunk's: it speaks as that trunk. A user's: where phones are let in by it he is, and where a rule asks.
    fn admit_by_password(&mut self, request: &Request, who: Who) -> Result<Admitted, Refusal> {
        let user = self.password_shown(request)?;
        let mut trunks = self.settings.trunks_by_password(who.zone);
        if let Some((trunk, _)) = trunks.find(|(_, name)| **name == user) {
            let who = Who { speaker: Speaker::Trunk(trunk), ..who };
            return match self.claims_insider(&request.message) {
                true => Err(Refusal::NotTheCaller),
                false => Ok(Admitted { who, user: Some(user), login: Login::Settled }),
            };
        }
        let flow = FlowEnd::from(&request.source);
        match self.settings.zone(who.zone).map(|zone| zone.admit) {
            None | Some(Admit::Trunks) => Err(Refusal::NotATrunk),
            Some(Admit::Registered)
                if request.message.method() != Method::Register
                    && self.registrations.on_flow(&flow).next().is_none() =>
            {
                Err(Refusal::NotRegistered)
            }
            Some(_) if !speaks_for(&request.message, &user) => Err(Refusal::NotTheCaller),
            Some(_) => Ok(Admitted { who, user: Some(user), login: Login::Settled }),
        }
    }

    /// The user that registered on this flow and now speaks. Where a flow has registrations, it may speak for those
    /// users only, or for nobody by name (ATTACKS.md: caller pretends to be an inside extension).
    fn registered_caller(&self, request: &Request, flow: &FlowEnd) -> Result<Option<Arc<str>>, Refusal> {
        let mut users = self.registrations.on_flow(flow).map(|binding| &binding.user).peekable();
        let Some(first) = users.peek().copied().cloned() else { return Ok(None) };
        let caller = uri::caller(&request.message).unwrap_or(Cow::Borrowed("anonymous"));
        match users.find(|user| ***user == *caller) {
            Some(user) => Ok(Some(user.clone())),
            // RFC 3261 §8.1.1.3.
            None if caller.eq_ignore_ascii_case("anonymous") => Ok(Some(first)),
            None => Err(Refusal::NotTheCaller),
        }
    }

    fn has_room(&self, request: &Request, who: &Who) -> Result<(), Refusal> {
        let limits = &self.settings.limits;
        match request.message.method() {
            Method::Invite
                if self.drain != Drain::Ended && is_emergency(&self.settings, &request.message, who) =>
            {
                Ok(())
            }
            Method::Invite if self.drain != Drain::No => Err(Refusal::Draining),
            Method::Invite if self.calls.len() >= limits.calls => Err(Refusal::CallsFull),
            // A carrier and a PBX are one source for all of their callers: they have limits of their own.
            Method::Invite
                if who.speaker == Speaker::Stranger
                    && self.calls.unanswered_of(request.source.remote.0.ip())
                        >= limits.unanswered_per_source =>
            {
                Err(Refusal::TooManyUnanswered)
            }
            _ => Ok(()),
        }
    }

    /// Policy sees everyone, so that scanners can be banned.
    fn ask_policy(
        &mut self,
        request: &Request,
        identified: &Who,
        admitted: &Result<Admitted, Refusal>,
    ) -> Result<Permit, crate::policy::Refusal> {
        let Request { message, source, at, .. } = request;
        let login = match admitted {
            Ok(admitted) => admitted.login,
            Err(Refusal::Challenged(_) | Refusal::ChallengedTooOften) => Login::Asked,
            Err(_) => Login::Settled,
        };
        let heard = Heard {
            message,
            source,
            who: admitted.as_ref().map_or(identified, |admitted| &admitted.who),
            admitted: admitted.is_ok(),
            user: admitted.as_ref().ok().and_then(|admitted| admitted.user.as_deref()),
            login,
            has_answered: has_answered(admitted),
            trunk_out: None,
        };
        let decided = heard.facts(&self.settings, |facts| {
            let mut policy = self.policy.open();
            let decided = policy.decide(facts, *at);
            if message.method() == Method::Invite {
                let call_id = String::from_utf8_lossy(message.call_id());
                policy.keep(&call_id, Some(facts), admitted.is_ok(), *at);
            }
            decided
        });
        self.tell_alerts(message.call_id());
        decided
    }
}

/// A challenge went to this address and came back: it is not forged.
fn has_answered(admitted: &Result<Admitted, Refusal>) -> bool {
    matches!(admitted, Err(Refusal::Challenged(challenge)) if challenge.wrong.is_some())
}
