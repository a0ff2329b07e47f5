//! Who is it? Zone by listener, trunk by `accept_from` and `accept_names` within that zone, the PBX by its zone and its hosts; everyone
//! else is a stranger until `admit` says otherwise (DESIGN.md §2).

use std::sync::Arc;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::received::{Received, Rejected, Request};
use super::refusal::Refusal;
use super::settings::{Party, Settings, Trunk, Trust};
use super::targets::Targets;
use crate::base::{FlowId, TrunkId, ZoneId};
use crate::sip::proxy::validate::{Valid, validate};
use crate::sip::transaction::Source;

/// What a source speaks as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The PBX behind.
    Pbx,
    /// This carrier.
    Trunk(TrunkId),
    /// Anyone else: a phone, a scanner.
    Stranger,
}

/// The answer to "who is it".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who {
    /// What it speaks as.
    pub speaker: Speaker,
    /// The listener's zone.
    pub zone: ZoneId,
    /// How far the zone is trusted.
    pub trust: Trust,
}

impl Who {
    /// Does `party` of a route mean this source?
    pub fn is(&self, party: Party) -> bool {
        match party {
            Party::Pbx => self.speaker == Speaker::Pbx,
            Party::AnyTrunk => matches!(self.speaker, Speaker::Trunk(_)),
            Party::Trunk(trunk) => self.speaker == Speaker::Trunk(trunk),
            Party::Zone(zone) => self.zone == zone,
        }
    }

    /// What routes know of it: the same request is routed otherwise if it comes from elsewhere, so then it is no loop.
    fn origin(&self) -> [u8; 5] {
        let (kind, TrunkId(trunk)) = match self.speaker {
            Speaker::Pbx => (0, TrunkId(0)),
            Speaker::Trunk(trunk) => (1, trunk),
            Speaker::Stranger => (2, TrunkId(0)),
        };
        let ([zone, one], [trunk, other]) = (self.zone.0.to_be_bytes(), trunk.to_be_bytes());
        [kind, zone, one, trunk, other]
    }

    /// Its name in CDRs.
    pub fn name(&self, settings: &Settings) -> Arc<str> {
        match self.speaker {
            Speaker::Pbx => "pbx".into(),
            Speaker::Trunk(id) => {
                settings.trunks.get(usize::from(id.0)).map_or("trunk".into(), |t| t.name.clone())
            }
            Speaker::Stranger => settings.zone(self.zone).map_or("unknown".into(), |z| z.name.clone()),
        }
    }
}

/// A request whose sender is known.
#[derive(Debug)]
pub struct Identified {
    /// It.
    pub request: Box<Request>,
    /// Who sent it.
    pub who: Who,
    /// What forwarding needs to know of it (RFC 3261 §16.3).
    pub valid: Valid,
}

/// The option tags that we honour in Proxy-Require: none yet.
const SUPPORTED: &[&str] = &[];

/// Connections whose far end has shown a trunk's certificate.
#[derive(Debug, Default)]
pub struct Certified(FxHashMap<FlowId, SmallVec<[TrunkId; 1]>>);

impl Certified {
    /// The far end of this connection has shown a certificate with these names, signed by who may sign them (RFC 5922 §7.1).
    pub fn insert(&mut self, flow: FlowId, names: &[String], settings: &Settings) {
        let is_named = |trunk: &Trunk| {
            trunk.accept_names.iter().any(|ours| names.iter().any(|name| name.eq_ignore_ascii_case(ours)))
        };
        let trunks: SmallVec<[TrunkId; 1]> = (0..)
            .zip(&settings.trunks)
            .filter(|(_, trunk)| is_named(trunk))
            .map(|(at, _)| TrunkId(at))
            .collect();
        if !trunks.is_empty() {
            self.0.insert(flow, trunks);
        }
    }

    /// It is closed.
    pub fn remove(&mut self, flow: FlowId) {
        self.0.remove(&flow);
    }

    fn is(&self, flow: FlowId, trunk: TrunkId) -> bool {
        self.0.get(&flow).is_some_and(|trunks| trunks.contains(&trunk))
    }
}

/// Received → Identified.
pub fn identify(
    received: Received,
    settings: &Settings,
    targets: &Targets,
    certified: &Certified,
) -> Result<Identified, Rejected> {
    let Received { request } = received;
    let checked = who(&request.source, settings, targets, certified).and_then(|who| {
        let limit = settings.limits.max_forwards;
        Ok((who, validate(&request.message, &who.origin(), &settings.key, limit, SUPPORTED)?))
    });
    match checked {
        Ok((who, valid)) => Ok(Identified { request, who, valid }),
        Err(refusal) => Err(Rejected { request, refusal }),
    }
}

/// Who stands behind a source.
pub fn who(
    source: &Source,
    settings: &Settings,
    targets: &Targets,
    certified: &Certified,
) -> Result<Who, Refusal> {
    let ip = source.remote.0.ip().to_canonical();
    let listener = settings.listeners.get(usize::from(source.listener.0)).ok_or(Refusal::OutsideZone)?;
    let zone = settings.zone(listener.zone).ok_or(Refusal::OutsideZone)?;
    if !zone.networks.is_empty() && !zone.networks.iter().any(|network| network.contains(ip)) {
        return Err(Refusal::OutsideZone);
    }
    let speaker = if settings.pbx.as_ref().is_some_and(|pbx| pbx.zone == listener.zone) && targets.is_pbx(ip)
    {
        Speaker::Pbx
    } else {
        let trunks = (0..).zip(&settings.trunks).filter(|(_, trunk)| trunk.zone == listener.zone);
        let mut speaks = trunks.map(|(at, trunk)| (TrunkId(at), trunk)).filter(|(id, trunk)| {
            let is_certified = trunk.accept_names.is_empty() || certified.is(source.flow, *id);
            let by_name_alone = trunk.accept_from.is_empty() && !trunk.accept_names.is_empty();
            is_certified && (by_name_alone || trunk.accept_from.iter().any(|network| network.contains(ip)))
        });
        speaks.next().map_or(Speaker::Stranger, |(id, _)| Speaker::Trunk(id))
    };
    Ok(Who { speaker, zone: listener.zone, trust: zone.trust })
}
