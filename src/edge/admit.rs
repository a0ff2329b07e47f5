//! May it pass? What the zone's `admit` asks for, whether there is room, and then policy: Identified → Permitted.

use std::borrow::Cow;
use std::sync::Arc;

use super::authenticate::speaks_for;
use super::flow::FlowEnd;
use super::identify::{Identified, Speaker, Who};
use super::received::{Rejected, Request};
use super::refusal::Refusal;
use super::settings::Admit;
use super::{Drain, Edge, uri};
use crate::base::Transport;
use crate::policy::{Action, Facts, Login, Permit, Stage, number};
use crate::sip::message::{Method, Name};
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
                self.policy.release(permit.gauges, std::time::Duration::ZERO, request.at);
                Err(Rejected { request, refusal })
            }
            (Err(silent), _) if matches!(silent.action, Action::Drop | Action::Ban(_)) => {
                Err(Rejected { request, refusal: Refusal::Policy(silent) })
            }
            (Err(_), Err(refusal)) => Err(Rejected { request, refusal }),
            (Err(refusal), Ok(_)) => Err(Rejected { request, refusal: Refusal::Policy(refusal) }),
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
            Method::Invite if self.drain != Drain::Ended && self.is_emergency(&request.message, who) => {
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

    /// Policy sees everyone, so that scanners can be banned; but who is not admitted speaks in nobody's name, so that no
    /// stranger uses up the owner's allowance.
    fn ask_policy(
        &mut self,
        request: &Request,
        identified: &Who,
        admitted: &Result<Admitted, Refusal>,
    ) -> Result<Permit, crate::policy::Refusal> {
        let message = &request.message;
        let who = admitted.as_ref().map_or(identified, |admitted| &admitted.who);
        let is_register = message.method() == Method::Register;
        let (caller, called) = (uri::caller(message), uri::called(message));
        let user = match admitted {
            Ok(Admitted { user: Some(user), .. }) => Some(&**user),
            Ok(_) if is_register => called.as_deref(),
            Ok(_) => caller.as_deref(),
            Err(_) => None,
        };
        let login = match admitted {
            Ok(admitted) => admitted.login,
            Err(Refusal::Challenged(_) | Refusal::ChallengedTooOften) => Login::Asked,
            Err(_) => Login::Settled,
        };
        let (from, to) = (caller.as_deref(), called.as_deref());
        let from = from.filter(|_| admitted.is_ok()).map(|number| self.in_e164(number, who));
        let to = to.map(|number| self.in_e164(number, who));
        let method = String::from_utf8_lossy(message.method_bytes());
        let agent = message.header(Name::UserAgent).map(|agent| String::from_utf8_lossy(agent.value));
        let facts = Facts {
            stage: if is_register { Stage::Registrations } else { Stage::Calls },
            source: request.source.remote.0.ip().to_canonical(),
            source_proven: request.source.transport != Transport::Udp || has_answered(admitted),
            login,
            listener: request.source.listener,
            zone: who.zone,
            trunk: match who.speaker {
                Speaker::Trunk(trunk) => Some(trunk),
                _ => None,
            },
            from_pbx: who.speaker == Speaker::Pbx,
            method: &method,
            user,
            from: from.as_deref(),
            to: to.as_deref(),
            agent: agent.as_deref(),
            emergency: admitted.is_ok() && self.is_emergency(message, who),
            tls: matches!(request.source.transport, Transport::Tls | Transport::Wss),
            talked: None,
        };
        self.policy.decide(&facts, request.at)
    }
}

impl Edge {
    /// A number as its zone dials it, in the one form in which policies compare numbers. Of a number from a trunk that
    /// its zone's plan says nothing about, the trunk's own rules may make one.
    fn in_e164<'n>(&self, dialled: &'n str, who: &Who) -> Cow<'n, str> {
        let number = number::normalise(dialled);
        if number.starts_with('+') && !number.starts_with("+0") {
            return Cow::Borrowed(dialled);
        }
        let plan = self.settings.zone(who.zone).and_then(|zone| zone.dial_plan.as_deref());
        let is_e164 = |number: &String| number.starts_with('+');
        let by_plan = |number: &str| plan.map(|plan| plan.e164(number).into_owned()).filter(is_e164);
        let by_trunk = || {
            let number = self.number_from_trunk(&number, who)?;
            by_plan(&number).or_else(|| Some(number).filter(is_e164))
        };
        by_plan(&number).or_else(by_trunk).map_or(Cow::Borrowed(dialled), Cow::Owned)
    }
}

/// A challenge went to this address and came back: it is not forged.
fn has_answered(admitted: &Result<Admitted, Refusal>) -> bool {
    matches!(admitted, Err(Refusal::Challenged(challenge)) if challenge.wrong.is_some())
}
