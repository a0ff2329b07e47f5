//! The legs of a call that outlasts a restart, by the names that the config has for what they are.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::base::{ListenerId, Transport, ZoneId};
use crate::edge::call::{Hops, Leg};
use crate::edge::flow::FlowEnd;
use crate::edge::identify::Speaker;
use crate::edge::settings::{Settings, Target, Trust};
use crate::sip::transaction::Destination;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SavedLeg {
    speaker: SavedSpeaker,
    zone: Arc<str>,
    listener: Arc<str>,
    transport: Transport,
    address: IpAddr,
    /// Far end of the flow that its requests come over.
    flow: Option<SocketAddr>,
    /// Where it was called, unless over a flow, and the name on its certificate.
    called_at: Option<SocketAddr>,
    server_name: Option<Arc<str>>,
    user: Option<Arc<str>>,
    name: Arc<str>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SavedSpeaker {
    Pbx,
    Trunk(Arc<str>),
    Stranger,
}

pub(super) fn save(leg: &Leg, settings: &Settings) -> Option<SavedLeg> {
    let speaker = match leg.speaker {
        Speaker::Pbx => SavedSpeaker::Pbx,
        Speaker::Trunk(trunk) => SavedSpeaker::Trunk(settings.trunk(trunk)?.name.clone()),
        Speaker::Stranger => SavedSpeaker::Stranger,
    };
    let called = leg.hops.iter().find_map(|hop| match hop {
        Destination::Address { remote, tls, .. } => Some((*remote, *tls)),
        Destination::Flow(_) => None,
    });
    let peer = called.and_then(|(_, tls)| settings.tls_peers.get(usize::from(tls)));
    Some(SavedLeg {
        speaker,
        zone: settings.zone(leg.zone)?.name.clone(),
        listener: settings.listener(leg.listener)?.name.clone(),
        transport: leg.transport,
        address: leg.address,
        flow: leg.flow.map(|flow| flow.remote),
        called_at: called.map(|(remote, _)| remote),
        server_name: peer.map(|peer| peer.server_name.clone()),
        user: leg.user.clone(),
        name: leg.name.clone(),
    })
}

/// A leg of which the config knows nothing any more: nobody is reached there.
pub(super) fn lost(saved: &SavedLeg) -> Leg {
    Leg {
        speaker: Speaker::Stranger,
        zone: ZoneId(u16::MAX),
        trust: Trust::None,
        listener: ListenerId(u16::MAX),
        transport: saved.transport,
        address: saved.address,
        flow: None,
        hops: Hops::new(),
        user: saved.user.clone(),
        name: saved.name.clone(),
    }
}

/// The leg, as the config is now. `None`: its zone, its trunk or its listener is gone, or is another one by now.
pub(super) fn leg(saved: &SavedLeg, settings: &Settings) -> Option<Leg> {
    let zone = settings.zone_named(&saved.zone)?;
    let (speaker, hosts) = speaker(&saved.speaker, zone, settings)?;
    let listener = listener(saved, zone, settings)?;
    let flow = saved.flow.map(|remote| FlowEnd::again(listener, saved.transport, remote));
    let mut leg = Leg {
        speaker,
        zone,
        trust: settings.zone(zone)?.trust,
        listener,
        transport: saved.transport,
        address: saved.address,
        flow,
        hops: flow.iter().map(FlowEnd::destination).collect(),
        user: saved.user.clone(),
        name: saved.name.clone(),
    };
    if !leg.is_at_its_flow()
        && let Some(hop) = called_at(saved, hosts, listener, settings)
    {
        leg.hops = SmallVec::from_iter([hop]);
    }
    Some(leg)
}

fn speaker<'s>(
    saved: &SavedSpeaker,
    zone: ZoneId,
    settings: &'s Settings,
) -> Option<(Speaker, &'s [Target])> {
    match saved {
        SavedSpeaker::Stranger => Some((Speaker::Stranger, &[])),
        SavedSpeaker::Pbx => {
            let pbx = settings.pbx.as_ref().filter(|pbx| pbx.zone == zone)?;
            Some((Speaker::Pbx, &pbx.hosts))
        }
        SavedSpeaker::Trunk(name) => {
            let (id, trunk) = settings.trunk_named(name).filter(|(_, trunk)| trunk.zone == zone)?;
            Some((Speaker::Trunk(id), &trunk.hosts))
        }
    }
}

/// What is called may be faced by a listener of another transport.
fn listener(saved: &SavedLeg, zone: ZoneId, settings: &Settings) -> Option<ListenerId> {
    let (id, listener) = settings.listener_named(&saved.listener, zone)?;
    (saved.flow.is_none() || listener.transport == saved.transport).then_some(id)
}

/// Where the PBX or a trunk is called: where it was; or, if it came over a connection, where the config says that it takes them.
fn called_at(
    saved: &SavedLeg,
    hosts: &[Target],
    listener: ListenerId,
    settings: &Settings,
) -> Option<Destination> {
    let transport = saved.transport;
    let name = |host: &&Target| settings.tls_peers.get(usize::from(host.tls)).map(|peer| &peer.server_name);
    let hosts = || hosts.iter().filter(|host| transport.is_reliable() && host.listener(transport).is_some());
    let named = saved.server_name.as_ref().and_then(|wanted| hosts().find(|host| name(host) == Some(wanted)));
    let host = named.or_else(|| hosts().next());
    let port = host.map(|host| host.port.unwrap_or(transport.default_port()));
    let remote = saved.called_at.or(port.map(|port| SocketAddr::new(saved.address, port)))?;
    let tls = host.filter(|_| transport == Transport::Tls).map_or(u16::MAX, |host| host.tls);
    Some(Destination::Address { listener, transport, remote, tls })
}
