//! Whom we believe: a response comes from where its request went, only who owns a realm asks for its passwords, and who calls is told
//! only by those who may know (ATTACKS.md: response spoofing, digest leak, caller pretends to be an inside extension).

use super::Edge;
use super::context::{Context, Errand, Hop, Place};
use super::identify::{Certified, Speaker, Who, who};
use super::settings::{Admit, Host, Settings, Trunk, Trust};
use super::targets::Targets;
use super::topology::host_of;
use super::uri;
use crate::base::TrunkId;
use crate::sip::digest;
use crate::sip::message::{Message, Name};
use crate::sip::transaction::{Destination, Source};
use crate::sip::uri::Uri;

/// May a response that came from `source` be one to a request that was sent to `asked`? RFC 3261 §18.1.2 matches by branch alone; but whoever
/// has seen a request knows its branch. Over a connection only its far end answers. Elsewhere it is the address that was asked, from any
/// port and connection (§18.2.2), or another one of the same PBX or trunk.
pub fn may_answer(
    asked: &Destination,
    source: &Source,
    settings: &Settings,
    targets: &Targets,
    certified: &Certified,
) -> bool {
    let (listener, transport, remote) = match asked {
        Destination::Flow(flow) => return *flow == source.flow,
        Destination::Address { listener, transport, remote, .. } => (*listener, *transport, *remote),
    };
    let zone_of = |id| settings.listener(id).map(|listener| listener.zone);
    let Some(zone) = zone_of(listener).filter(|zone| zone_of(source.listener) == Some(*zone)) else {
        return false;
    };
    if transport != source.transport {
        return false;
    }
    let (asked, came) = (remote.ip().to_canonical(), source.remote.0.ip().to_canonical());
    asked == came
        || who(source, settings, targets, certified).is_ok_and(|who| {
            let owner = targets.of_address(asked, zone).and_then(|id| targets.get(id)).map(|host| host.owner);
            who.trust == Trust::Full || owner.is_some_and(|owner| who.speaker == owner.into())
        })
}

impl Edge {
    /// May a 401 or 407 that came from `hop` go back to who sent the request? Who is asked would answer with a digest of his password, for the
    /// realm that the challenge names (CVE-2021-41158). Phones know passwords of the PBX's, and the PBX those of its carriers; so the PBX
    /// asks everyone, a trunk asks the PBX alone and not in another trunk's name, and a phone asks nobody.
    pub(super) fn may_challenge(&self, context: &Context, hop: &Hop, response: &Message) -> bool {
        match self.speaker_at(context, hop) {
            Speaker::Pbx => true,
            Speaker::Trunk(trunk) => {
                let asks_pbx = context.who.speaker == Speaker::Pbx || context.who.trust == Trust::Full;
                asks_pbx && challenges(response).all(|value| self.may_name_realm(trunk, value))
            }
            Speaker::Stranger => false,
        }
    }

    fn may_name_realm(&self, trunk: TrunkId, value: &[u8]) -> bool {
        let Some(challenge) = digest::Challenge::parse(value) else { return true };
        let is_of = |trunk: &Trunk| trunk.hosts.iter().any(|host| is_realm_of(&host.host, challenge.realm));
        self.settings.trunk(trunk).is_some_and(is_of) || !self.settings.trunks.iter().any(is_of)
    }

    /// Who is at the end of a hop.
    pub(super) fn speaker_at(&self, context: &Context, hop: &Hop) -> Speaker {
        let leg = match (hop.place, &context.errand) {
            (Place::Target(id), _) => {
                return self.targets.get(id).map_or(Speaker::Stranger, |host| host.owner.into());
            }
            (Place::Binding(_), _) => return Speaker::Stranger,
            (Place::Leg, Errand::InCall { call, from, .. }) => {
                self.calls.get(*call).and_then(|call| call.leg(from.other()))
            }
            (Place::Leg, _) => None,
        };
        match (leg, self.settings.zone(hop.zone).map(|zone| zone.trust)) {
            (Some(leg), _) if leg.speaker != Speaker::Stranger => leg.speaker,
            // A server of the PBX's that no host names.
            (_, Some(Trust::Full)) => Speaker::Pbx,
            _ => Speaker::Stranger,
        }
    }

    /// Does a carrier's request name one of our own users as its caller? That is for the PBX and the user's phone to say. A full number
    /// may belong to a user and still come from a carrier, when his call was sent out there.
    pub(super) fn claims_insider(&self, message: &Message) -> bool {
        let asserted = [Name::PAssertedIdentity, Name::PPreferredIdentity, Name::RemotePartyId]
            .into_iter()
            .flat_map(|name| message.elements(name))
            .filter_map(|element| Some(element.name_addr().ok()?.uri));
        asserted.chain([message.from().uri]).any(|text| {
            let Some(uri) = Uri::parse(text) else { return false };
            let is_user = |user: &str| {
                !user.starts_with('+')
                    && (self.settings.users.get(user).is_some()
                        || self.registrations.of_user(user).next().is_some())
            };
            uri::user_in(text).is_some_and(|user| is_user(&user)) && self.is_inside(&uri)
        })
    }

    /// At a name or address of ours or of the PBX's.
    fn is_inside(&self, uri: &Uri<'_>) -> bool {
        let listeners = self.settings.listeners.iter();
        let ours = listeners.map(|listener| host_of(&listener.advertise));
        let mut names = ours.chain([&*self.settings.users.realm]);
        let hosts = self.settings.pbx.iter().flat_map(|pbx| &pbx.hosts);
        names.any(|name| name.as_bytes().eq_ignore_ascii_case(uri.host))
            || hosts.map(|target| &target.host).any(|host| match host {
                Host::Ip(ip) => uri.ip() == Some(*ip),
                Host::Name(name) => name.as_bytes().eq_ignore_ascii_case(uri.host),
            })
    }

    /// Is it believed who calls, when whoever is at this hop says so?
    pub(super) fn hop_may_assert(&self, context: &Context, hop: &Hop) -> bool {
        let speaker = self.speaker_at(context, hop);
        let zone = self.settings.zone(hop.zone);
        zone.is_some_and(|zone| Who { speaker, zone: hop.zone, trust: zone.trust }.may_assert(&self.settings))
    }
}

impl Who {
    /// Is it believed who calls, when it says so? RFC 3325 §5: not from outside of the trust domain, and there are phones that must show
    /// themselves who they are, wherever they stand.
    pub fn may_assert(&self, settings: &Settings) -> bool {
        let asks_who = |admit| matches!(admit, Admit::Registered | Admit::Authenticated);
        let is_asked = || settings.zone(self.zone).is_none_or(|zone| asks_who(zone.admit));
        self.trust != Trust::None && (self.speaker != Speaker::Stranger || !is_asked())
    }
}

/// The values of all challenges.
fn challenges(response: &Message) -> impl Iterator<Item = &[u8]> {
    let names: [&[u8]; 2] = [b"WWW-Authenticate", b"Proxy-Authenticate"];
    let is_one = move |name: &[u8]| names.iter().any(|n| n.eq_ignore_ascii_case(name));
    response.headers().filter(move |(name, _)| is_one(name)).map(|(_, field)| field.value)
}

/// A carrier's realm is its host's name, or a domain that the name lies in.
fn is_realm_of(host: &Host, realm: &[u8]) -> bool {
    let Host::Name(name) = host else { return false };
    let Some(start) = name.len().checked_sub(realm.len()) else { return false };
    let (before, tail) = name.as_bytes().split_at(start);
    tail.eq_ignore_ascii_case(realm) && (before.is_empty() || before.ends_with(b"."))
}
