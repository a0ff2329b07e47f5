//! Where does it go? To a registered contact that the PBX names by our token, or down the routing table: Permitted →
//! Routed. What a stranger writes into Request-URI, Route or maddr never picks the place.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::admit::Permitted;
use super::context::{Hop, Place};
use super::identify::{Speaker, Who};
use super::received::{Rejected, Request};
use super::refusal::Refusal;
use super::registration::Binding;
use super::settings::{Failover, Party, Route, RouteThen, Settings};
use super::targets::Way;
use super::{Edge, uri};
use crate::base::Now;
use crate::policy::Permit;
use crate::sip::message::{Message, Method, Name, param};
use crate::sip::proxy::token::{Token, TokenKind};
use crate::sip::proxy::validate::Valid;
use crate::sip::uri::Uri;

/// A request with the places that may take it.
#[derive(Debug)]
pub struct Routed {
    /// It.
    pub request: Box<Request>,
    /// Who sent it.
    pub who: Who,
    /// What forwarding needs to know of it.
    pub valid: Valid,
    /// The registered user who sent it.
    pub user: Option<Arc<str>>,
    /// The proof.
    pub permit: Permit,
    /// The places, in order.
    pub hops: SmallVec<[Hop; 2]>,
    /// When to go on to the next.
    pub failover: Failover,
    /// The route's name.
    pub route: Arc<str>,
}

/// The places, in order, and the route that named them.
struct Plan {
    hops: SmallVec<[Hop; 2]>,
    failover: Option<Failover>,
    route: Arc<str>,
}

/// RFC 3263 §4.3 and DESIGN.md: what holds where neither route nor PBX says otherwise.
fn default_failover() -> Failover {
    Failover { statuses: vec![503], after: Duration::from_secs(4) }
}

impl Edge {
    /// Permitted → Routed.
    pub(super) fn route(&mut self, permitted: Permitted) -> Result<Routed, Rejected> {
        let plan = self.plan(&permitted).and_then(|plan| match plan.hops.is_empty() {
            true => Err(Refusal::NoTarget),
            false => Ok(plan),
        });
        let Permitted { request, who, valid, user, permit } = permitted;
        match plan {
            Ok(Plan { hops, failover, route }) => {
                let is_pbx =
                    |hop: &Hop| hop.zone == self.settings.pbx.as_ref().map_or(hop.zone, |pbx| pbx.zone);
                let pbx = self.settings.pbx.as_ref().filter(|_| hops.iter().all(is_pbx));
                let failover =
                    failover.or(pbx.map(|pbx| pbx.failover.clone())).unwrap_or_else(default_failover);
                Ok(Routed { request, who, valid, user, permit, hops, failover, route })
            }
            Err(refusal) => {
                self.policy.open().release(permit.gauges, Duration::ZERO, request.at);
                Err(Rejected { request, refusal })
            }
        }
    }

    /// Servers that are not good are tried when all others were, whosever they are.
    fn plan(&mut self, permitted: &Permitted) -> Result<Plan, Refusal> {
        let now = permitted.request.at.instant;
        let mut plan = self.plan_in_order(permitted)?;
        plan.hops.sort_by_key(|hop| match hop.place {
            Place::Target(id) => !self.targets.is_good(id, &hop.to, now),
            Place::Binding(_) | Place::Leg => false,
        });
        Ok(plan)
    }

    fn plan_in_order(&mut self, permitted: &Permitted) -> Result<Plan, Refusal> {
        let message = &permitted.request.message;
        if permitted.who.speaker == Speaker::Pbx
            && let Some(named) = self.named_binding(message)
        {
            let key = named?;
            let binding = self.registrations.get(key).ok_or(Refusal::FlowFailed)?;
            // The contact itself stays: its owner may still call for help, and a live call goes on over it.
            if self.policy.open().bans().holds_user(&binding.user, permitted.request.at) {
                return Err(Refusal::CalledBanned);
            }
            let hop = self.hop_to(key, binding).ok_or(Refusal::FlowFailed)?;
            let hops = SmallVec::from_iter([hop]);
            return Ok(Plan { hops, failover: None, route: "registered contact".into() });
        }
        if message.method() == Method::Register && permitted.who.speaker == Speaker::Stranger {
            let hops = self.hops_of(Party::Pbx, "", permitted.request.at);
            return Ok(Plan { hops, failover: None, route: "registration".into() });
        }
        self.plan_by_table(message, &permitted.who, permitted.request.at)
    }

    fn plan_by_table(&mut self, message: &Message, who: &Who, now: Now) -> Result<Plan, Refusal> {
        let called = uri::called(message).unwrap_or_default();
        let settings = self.settings.clone();
        let route = route_of(&settings, &called, who).ok_or(Refusal::NoRoute)?;
        match &route.then {
            RouteThen::Reject(status) => Err(Refusal::Route { name: route.name.clone(), status: *status }),
            RouteThen::SendTo(parties) => {
                let hops: SmallVec<[Hop; 2]> =
                    parties.iter().flat_map(|party| self.hops_of(*party, &called, now)).collect();
                // A zone holds nobody of that name whom we may call; a trunk without hosts only calls in.
                if hops.is_empty() && parties.iter().all(|party| matches!(party, Party::Zone(_))) {
                    let is_banned = self.policy.open().bans().holds_user(&called, now);
                    return Err(if is_banned { Refusal::CalledBanned } else { Refusal::NoSuchContact });
                }
                Ok(Plan { hops, failover: route.failover.clone(), route: route.name.clone() })
            }
        }
    }

    /// The places of one party: its hosts in order, or the user's contacts in a zone; of a banned user none.
    fn hops_of(&mut self, party: Party, called: &str, now: Now) -> SmallVec<[Hop; 2]> {
        if let Party::Zone(zone) = party {
            if self.policy.open().bans().holds_user(called, now) {
                return SmallVec::new();
            }
            let contacts = self.registrations.of_user(called).filter(|(_, binding)| binding.zone == zone);
            return contacts.filter_map(|(key, binding)| self.hop_to(key, binding)).collect();
        }
        let mut hops = SmallVec::new();
        for id in self.targets.in_order(party, now.instant, &mut self.rng) {
            let Some(state) = self.targets.get(id) else { continue };
            let (zone, place) = (state.zone, Place::Target(id));
            let ways = state.drawn_ways(now.instant, &mut self.rng).into_iter();
            hops.extend(ways.map(|Way { to, transport, listener }| Hop {
                to,
                transport,
                listener,
                zone,
                place,
            }));
        }
        hops
    }

    /// The way to a registered contact.
    pub(super) fn hop_to(&self, key: u64, binding: &Binding) -> Option<Hop> {
        Some(Hop {
            to: binding.flow.destination(),
            transport: binding.flow.transport,
            listener: binding.flow.listener,
            zone: self.settings.listener(binding.flow.listener)?.zone,
            place: Place::Binding(key),
        })
    }

    /// The contact that the PBX names: our Contact with its token as the Request-URI, or our Path in Route. `None`: it
    /// names none of ours.
    fn named_binding(&self, message: &Message) -> Option<Result<u64, Refusal>> {
        let route = message.elements(Name::Route).filter_map(|route| Some(route.name_addr().ok()?.uri));
        let uris = route.chain([uri::request_uri(message)]);
        let text = uris.filter_map(|uri| param(Uri::parse(uri)?.params, TOKEN)).last()?;
        Some(match Token::open(&self.settings.key, TokenKind::Contact, text) {
            Some(key) if self.registrations.get(key).is_some() => Ok(key),
            // RFC 5626 §5.3: it was one of ours, so its flow is gone.
            Some(_) => Err(Refusal::FlowFailed),
            None => Err(Refusal::NoSuchContact),
        })
    }
}

/// A call that is exempt from every limit.
pub(super) fn is_emergency(settings: &Settings, message: &Message, who: &Who) -> bool {
    message.method() == Method::Invite
        && uri::called(message).is_some_and(|called| is_emergency_call(settings, &called, who))
}

/// The same of a call to that number or user.
pub(super) fn is_emergency_call(settings: &Settings, called: &str, who: &Who) -> bool {
    route_of(settings, called, who).is_some_and(|route| route.emergency)
}

/// The first route that fits.
pub(super) fn route_of<'s>(settings: &'s Settings, called: &str, who: &Who) -> Option<&'s Route> {
    settings.routes.iter().find(|route| {
        (route.from.is_empty() || route.from.iter().any(|party| who.is(*party)))
            && (route.to.is_empty() || route.to.iter().any(|pattern| uri::fits(pattern, called)))
    })
}

/// The parameter that carries a contact's token, in Path and in the Contact towards the PBX.
pub const TOKEN: &[u8] = b"tp";
