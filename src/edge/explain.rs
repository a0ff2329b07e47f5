//! What would be decided about a request, or about a call of the past, without an edge that runs: it is identified and asked
//! for like a real one.

use std::fmt;
use std::net::SocketAddr;

use super::facts::{Heard, in_e164, names};
use super::identify::{Certified, Speaker, Who, who};
use super::route::{is_emergency_call, route_of};
use super::settings::{Admit, Party, RouteThen, Settings};
use super::targets::Targets;
use super::uri;
use crate::base::{ClientAddr, FlowId, ListenerId, Now, Transport, TrunkId};
use crate::policy::explain::Explanation;
use crate::policy::{Engine, Facts, Known, Login, Stage};
use crate::sip::message::{Malformed, Message, Method, reason_phrase};
use crate::sip::transaction::Source;

/// How the request comes.
#[derive(Clone, Copy, Debug)]
pub struct Coming<'c> {
    /// To this listener.
    pub listener: ListenerId,
    /// From there.
    pub source: SocketAddr,
    /// As if it came from this trunk, wherever it comes from.
    pub trunk: Option<TrunkId>,
    /// As if this user had shown the password, or had registered.
    pub user: Option<&'c str>,
    /// Then.
    pub at: Now,
}

/// What comes of it.
#[derive(Debug, serde::Serialize)]
pub struct Foreseen {
    /// What could not be known, and what was taken for granted instead.
    pub assumed: Vec<String>,
    /// The policies of stage `packets` first, if there are any, then those of its own stage, then for each trunk that it would go
    /// to those of `routes`, if there are any.
    pub decisions: Vec<Explanation>,
    /// Where it would go; none: it is refused before.
    pub route: Option<Way>,
}

/// Where the config sends a request that policies permit.
#[derive(Debug, Default, serde::Serialize)]
pub struct Way {
    /// The route; none: none fits.
    pub route: Option<String>,
    /// Who would take it, in order.
    pub to: Vec<String>,
    /// The status that the edge answers instead.
    pub answers: Option<u16>,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.route {
            Some(route) => write!(f, "route \"{route}\": ")?,
            None => write!(f, "no route fits: ")?,
        }
        match self.answers {
            Some(status) => writeln!(f, "the caller gets {status} {}", reason_phrase(status)),
            None => writeln!(f, "{}", self.to.join(", then ")),
        }
    }
}

impl fmt::Display for Foreseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "as if nothing had been counted before: what is, `turnpike why` asks the running node")?;
        for assumed in &self.assumed {
            writeln!(f, "as if: {assumed}")?;
        }
        for decision in self.decisions.iter().filter(|decision| !decision.is_about_a_trunk()) {
            write!(f, "\n{decision}")?;
        }
        if let Some(route) = &self.route {
            write!(f, "\n{route}")?;
        }
        let trunks = self.decisions.iter().filter(|decision| decision.is_about_a_trunk());
        trunks.into_iter().try_for_each(|decision| write!(f, "\n{decision}"))
    }
}

/// Why nothing can be said.
#[allow(missing_docs)]
#[derive(Debug, thiserror::Error)]
pub enum Unclear {
    #[error("this is no SIP message: {}", .0.reason)]
    Malformed(Malformed),
    #[error("this is a response; policies are asked about requests")]
    Response,
    #[error("the edge refuses it before policy is asked: {0}")]
    Refused(String),
}

/// An INVITE from `from` to `to`, as short as one can be.
pub fn invite(from: &str, to: &str) -> Vec<u8> {
    let (from, to) = (uri::escaped_user(from), uri::escaped_user(to));
    format!(
        "INVITE sip:{to}@turnpike.invalid SIP/2.0\r\nVia: SIP/2.0/UDP caller.invalid;branch=z9hG4bKexplain\r\n\
         From: <sip:{from}@turnpike.invalid>;tag=explain\r\nTo: <sip:{to}@turnpike.invalid>\r\nCall-ID: explain\r\n\
         CSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// What `engine`, which is made for this question, says about a request.
///
/// # Errors
/// Policy is not asked about it.
pub fn explain(
    bytes: &[u8],
    coming: Coming<'_>,
    settings: &Settings,
    engine: &mut Engine,
) -> Result<Foreseen, Unclear> {
    let message =
        Message::parse(bytes.to_vec().into(), &settings.limits.message).map_err(Unclear::Malformed)?;
    if message.status().is_some() {
        return Err(Unclear::Response);
    }
    let Coming { listener, source, at, .. } = coming;
    let transport = settings.listeners.get(usize::from(listener.0)).map(|listener| listener.transport);
    let transport = transport.ok_or_else(|| Unclear::Refused("no such listener".to_owned()))?;
    let source = Source { flow: FlowId(0), listener, transport, remote: ClientAddr(source) };
    let (who, mut assumed) = sender(&source, coming.trunk, settings)?;
    let admitted = admission(&message, &who, coming.user, settings, &mut assumed);
    let names = names(settings);
    let packets = engine.explain_packet(source.remote.0.ip(), listener, &names, at);
    if let Some(refused) = packets.as_ref().filter(|packets| packets.decision == "refused") {
        return Ok(Foreseen { assumed, decisions: vec![refused.clone()], route: None });
    }
    let user = coming.user.filter(|_| admitted.is_ok() && who.speaker == Speaker::Stranger);
    let heard = Heard {
        message: &message,
        source: &source,
        who: &who,
        admitted: admitted.is_ok(),
        user,
        login: Login::Settled,
        has_answered: false,
        trunk_out: None,
    };
    let mut asked = heard.facts(settings, |facts| engine.explain(facts, &names, at));
    if let Err(reason) = admitted {
        asked.refused_by_edge = Some(reason.to_owned());
        asked.gets = "403 Forbidden".to_owned();
    }
    let passes = asked.is_permission() && asked.refused_by_edge.is_none();
    let mut decisions: Vec<_> = packets.into_iter().chain([asked]).collect();
    if !passes {
        return Ok(Foreseen { assumed, decisions, route: None });
    }
    let (route, trunks) = way(&message, &who, settings);
    if engine.speaks_of_routes() {
        decisions.extend(trunks.into_iter().map(|trunk| {
            let heard = Heard { trunk_out: Some(trunk), ..heard };
            heard.facts(settings, |facts| engine.explain(facts, &names, at))
        }));
    }
    if who.speaker == Speaker::Pbx {
        assumed.push(
            "its Request-URI names no registered contact, which would take it past all routes".to_owned(),
        );
    }
    Ok(Foreseen { assumed, decisions, route: Some(route) })
}

/// Where it would go, as the settings say, and the trunks among them; which host is up, nobody knows.
fn way(message: &Message, who: &Who, settings: &Settings) -> (Way, Vec<TrunkId>) {
    if message.method() == Method::Register && who.speaker == Speaker::Stranger {
        let way = Way { route: Some("registration".to_owned()), to: vec![PBX.to_owned()], answers: None };
        return (way, Vec::new());
    }
    let called = uri::called(message).unwrap_or_default();
    let Some(route) = route_of(settings, &called, who) else {
        return (Way { answers: Some(404), ..Way::default() }, Vec::new());
    };
    let mut way = Way { route: Some(route.name.to_string()), ..Way::default() };
    let parties = match &route.then {
        RouteThen::Reject(status) => {
            way.answers = Some(*status);
            return (way, Vec::new());
        }
        RouteThen::SendTo(parties) => parties,
    };
    let mut trunks = Vec::new();
    // A trunk without hosts only calls in.
    let with_hosts = || (0..).map(TrunkId).zip(&settings.trunks).filter(|(_, trunk)| !trunk.hosts.is_empty());
    for party in parties {
        match party {
            Party::Pbx => way.to.push(PBX.to_owned()),
            Party::Zone(zone) => {
                let name = settings.zone(*zone).map_or("", |zone| &*zone.name);
                way.to.push(format!("the contacts of {called} in zone {name}"));
            }
            Party::Trunk(_) | Party::AnyTrunk => {
                let meant =
                    with_hosts().filter(|(id, _)| *party == Party::AnyTrunk || *party == Party::Trunk(*id));
                for (id, trunk) in meant {
                    way.to.push(format!("trunk {}", trunk.name));
                    trunks.push(id);
                }
            }
        }
    }
    if way.to.is_empty() {
        way.answers = Some(503);
    }
    (way, trunks)
}

const PBX: &str = "the PBX";

fn sender(
    source: &Source,
    trunk: Option<TrunkId>,
    settings: &Settings,
) -> Result<(Who, Vec<String>), Unclear> {
    let mut assumed = Vec::new();
    if let Some(id) = trunk {
        let zone = settings.trunk(id).map(|trunk| trunk.zone);
        let zone = zone.and_then(|id| Some((id, settings.zone(id)?)));
        let (id_of_zone, zone) = zone.ok_or_else(|| Unclear::Refused("no such trunk".to_owned()))?;
        return Ok((Who { speaker: Speaker::Trunk(id), zone: id_of_zone, trust: zone.trust }, assumed));
    }
    let targets = Targets::new(settings);
    let who = who(source, settings, &targets, &Certified::default())
        .map_err(|refusal| Unclear::Refused(refusal.to_string()))?;
    if settings.trunks.iter().any(|trunk| trunk.zone == who.zone && !trunk.accept_names.is_empty()) {
        assumed.push("it shows no certificate (a trunk's can be asked for with --trunk)".to_owned());
    }
    if settings.pbx.as_ref().is_some_and(|pbx| pbx.hosts.iter().any(|host| host.wanted().is_some())) {
        assumed.push("the DNS is not asked: a PBX that is named by a host name is not recognised".to_owned());
    }
    Ok((who, assumed))
}

/// What `admit` of its zone makes of it, as far as that can be said without its registrations and passwords.
fn admission(
    message: &Message,
    who: &Who,
    user: Option<&str>,
    settings: &Settings,
    assumed: &mut Vec<String>,
) -> Result<(), &'static str> {
    if who.speaker != Speaker::Stranger {
        return Ok(());
    }
    let name = user.map_or_else(|| uri::caller(message).unwrap_or_default(), Into::into);
    match settings.zone(who.zone).map(|zone| zone.admit) {
        None | Some(Admit::Trunks) => return Err("not a trunk"),
        Some(Admit::Authenticated) => assumed.push(format!("{name} has shown the password")),
        Some(Admit::Registered) if message.method() != Method::Register => {
            assumed.push(format!("{name} is registered over this flow"));
        }
        Some(Admit::Registered | Admit::Any) => {}
    }
    Ok(())
}

/// A call as its record has it.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'r> {
    /// Name of the zone, trunk or "pbx" that it came from.
    pub party: &'r str,
    /// The listener; empty: an older record, which does not say.
    pub listener: &'r str,
    /// Where the caller was.
    pub source: SocketAddr,
    /// Authenticated or registered.
    pub user: Option<&'r str>,
    /// User-Agent.
    pub agent: Option<&'r str>,
    /// As in From.
    pub from: &'r str,
    /// As it was dialled.
    pub to: &'r str,
    /// Name of the trunk, zone or "pbx" that it went to.
    pub to_party: &'r str,
}

/// What policy was told of it, as far as the record says; none: its party is not in the settings any more.
pub fn recorded(call: Recorded<'_>, settings: &Settings) -> Option<Known> {
    let Recorded { party, source, user, agent, from, to, to_party, .. } = call;
    let (trunk, zone) = (settings.trunk_named(party), settings.zone_named(party));
    let (speaker, zone) = match (trunk, &settings.pbx) {
        (_, Some(pbx)) if party == "pbx" => (Speaker::Pbx, pbx.zone),
        (Some((id, trunk)), _) => (Speaker::Trunk(id), trunk.zone),
        _ => (Speaker::Stranger, zone?),
    };
    let who = Who { speaker, zone, trust: settings.zone(zone)?.trust };
    let listeners = || (0..).map(ListenerId).zip(&settings.listeners);
    let named = listeners().find(|(_, listener)| &*listener.name == call.listener);
    let (listener, met) = named.or_else(|| listeners().find(|(_, listener)| listener.zone == zone))?;
    let facts = Facts {
        stage: Stage::Calls,
        source: source.ip().to_canonical(),
        source_proven: true,
        login: Login::Settled,
        listener,
        zone,
        trunk: match speaker {
            Speaker::Trunk(trunk) => Some(trunk),
            _ => None,
        },
        from_pbx: speaker == Speaker::Pbx,
        method: "INVITE",
        user: user.or(Some(from)),
        from: Some(&in_e164(from, &who, settings)),
        to: Some(&in_e164(to, &who, settings)),
        agent,
        tls: matches!(met.transport, Transport::Tls | Transport::Wss),
        emergency: is_emergency_call(settings, to, &who),
        talked: None,
        trunk_out: settings.trunk_named(to_party).map(|(id, _)| id),
        role: None,
        peer: None,
    };
    Some(Known::from(&facts))
}
