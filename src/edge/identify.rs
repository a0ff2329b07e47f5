//! Who is it? Zone by listener, trunk by `accept_from` within that zone, the PBX by its zone and its hosts; everyone
//! else is a stranger until `admit` says otherwise (DESIGN.md §2).

use std::net::IpAddr;
use std::sync::Arc;

use super::health::Targets;
use super::received::{Received, Rejected, Request};
use super::refusal::Refusal;
use super::settings::{Party, Settings, Trust};
use crate::base::{TrunkId, ZoneId};
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

/// Received → Identified.
pub fn identify(received: Received, settings: &Settings, targets: &Targets) -> Result<Identified, Rejected> {
    let Received { request } = received;
    let valid = || validate(&request.message, &settings.key, settings.limits.max_forwards, SUPPORTED);
    let checked = who(&request.source, settings, targets).and_then(|who| Ok((who, valid()?)));
    match checked {
        Ok((who, valid)) => Ok(Identified { request, who, valid }),
        Err(refusal) => Err(Rejected { request, refusal }),
    }
}

/// Who stands behind a source.
pub fn who(source: &Source, settings: &Settings, targets: &Targets) -> Result<Who, Refusal> {
    let ip = source.remote.0.ip().to_canonical();
    let listener = settings.listeners.get(usize::from(source.listener.0)).ok_or(Refusal::OutsideZone)?;
    let zone = settings.zone(listener.zone).ok_or(Refusal::OutsideZone)?;
    if !zone.networks.is_empty() && !zone.networks.iter().any(|network| network.contains(ip)) {
        return Err(Refusal::OutsideZone);
    }
    let speaker = speaker(ip, listener.zone, settings, targets);
    Ok(Who { speaker, zone: listener.zone, trust: zone.trust })
}

fn speaker(ip: IpAddr, zone: ZoneId, settings: &Settings, targets: &Targets) -> Speaker {
    if settings.pbx.as_ref().is_some_and(|pbx| pbx.zone == zone) && targets.is_pbx(ip) {
        return Speaker::Pbx;
    }
    let names_it =
        |t: &super::settings::Trunk| t.zone == zone && t.accept_from.iter().any(|n| n.contains(ip));
    match settings.trunks.iter().position(names_it) {
        Some(index) => Speaker::Trunk(TrunkId(index as u16)),
        None => Speaker::Stranger,
    }
}
