//! `zones:` and `listeners:`.

use std::net::SocketAddr;
use std::sync::Arc;

use ipnetwork::IpNetwork;

use super::super::raw;
use super::super::read::At;
use super::super::words::{Bind, bracketed};
use super::{Context, dial_plan, media, sessions};
use crate::base::{Transport, ZoneId};
use crate::edge::settings::{Admit, Anchor, Listener, Media, Trust, Zone};
use crate::net::settings::{ListenerTls, ListenerWeb};
use crate::relay::RelayAddresses;

/// Words that routes understand, so that no zone or trunk may have them as its name.
pub(super) const RESERVED: [&str; 2] = ["pbx", "trunks"];

/// `zones:`, in the order of the file.
pub(super) fn zones(cx: &mut Context<'_>) -> Vec<Zone> {
    let raw = cx.raw;
    if raw.zones.is_none() {
        let help = "add `zones: { internet: { trust: none, admit: registered } }`";
        cx.absent(raw.at, "the config needs `zones`", help);
    }
    let mut zones = Vec::new();
    for (name, zone) in cx.entries(raw.zones.as_ref(), "zones") {
        let media = media::of_zone(raw, zone);
        let relay = RelayAddresses::new(media::addresses(raw, &name.value));
        check_zone(cx, name, zone, relay.is_some(), media);
        zones.push(Zone {
            name: name.value.as_str().into(),
            trust: zone.trust,
            // Who is outside sees nothing of the inside, unless the file says otherwise.
            hides_topology: hides(zone, raw::Hide::Topology).unwrap_or(zone.trust != Trust::Full),
            hides_call_ids: hides(zone, raw::Hide::CallId).unwrap_or(false),
            admit: zone.admit.value,
            networks: zone.networks.clone().unwrap_or_default(),
            relay,
            media,
            dial_plan: zone.numbers.as_ref().map(|numbers| dial_plan::dial_plan(cx, numbers).into()),
            session_timer: sessions::session_timer(cx, zone.session_timer.as_ref()),
        });
    }
    zones
}

/// Whether the file says that the zone is not to see this; `None` if it says nothing.
fn hides(zone: &raw::Zone, what: raw::Hide) -> Option<bool> {
    zone.hide.as_ref().map(|hide| hide.value.contains(&what))
}

fn check_zone(cx: &mut Context<'_>, name: &At<String>, zone: &raw::Zone, has_relay: bool, media: Media) {
    reserved(cx, name);
    if let Some(hide) = zone.hide.as_ref().filter(|hide| hide.value.contains(&raw::Hide::Nothing))
        && hide.value.len() > 1
    {
        let help = "write `hide: nothing`, or `hide: [topology, call_id]`";
        cx.problems.error(hide.at, "`nothing` does not go with other words", help);
    }
    match zone.admit.value {
        Admit::Authenticated => {
            if cx.raw.users.is_none() {
                let help = "add `users: { realm: example.com, file: users.yaml }`";
                cx.absent(zone.admit.at, "there are no users to authenticate", help);
            }
        }
        Admit::Any if cx.sound && zone.networks.as_ref().is_none_or(Vec::is_empty) => {
            let what = format!("whoever reaches a listener of zone `{}` may call", name.value);
            let help = "add `networks: [10.20.0.0/16]`, or write `admit: registered`";
            cx.problems.warning(zone.admit.at, what, help);
        }
        Admit::Registered | Admit::Trunks | Admit::Any => {}
    }
    let trunks = cx.raw.trunks.iter().flat_map(|t| &t.entries).filter(|(_, t)| t.zone.value == name.value);
    let mut anchors = trunks.map(|(_, t)| media::merged(media, t.media.as_ref()).anchor);
    let anchored = media.anchor != Anchor::Never || anchors.any(|anchor| anchor != Anchor::Never);
    // A call between such a side and this zone goes through the relay whatever `anchor` says.
    let translates = media::translates_srtp(cx.raw);
    if (anchored || translates) && !has_relay && is_used(cx.raw, &name.value) {
        let what = format!("the relay has no address to show to zone `{}`", name.value);
        let mut help = format!("add `{0}: {{ bind: … }}` under `relay: {{ addresses: … }}`", name.value);
        if !translates {
            help += &format!(", or `media: {{ anchor: never }}` to `{}`", name.value);
        }
        cx.absent(name.at, what, help);
    }
}

/// A zone is part of calls if somebody can be in it.
fn is_used(config: &raw::Config, zone: &str) -> bool {
    let listeners = config.listeners.iter().flat_map(|l| &l.entries).map(|(_, l)| &l.zone);
    let trunks = config.trunks.iter().flat_map(|t| &t.entries).map(|(_, t)| &t.zone);
    listeners.chain(trunks).chain(config.pbx.iter().map(|p| &p.zone)).any(|name| name.value == zone)
}

pub(super) fn reserved(cx: &mut Context<'_>, name: &At<String>) {
    if RESERVED.contains(&name.value.as_str()) {
        let what = format!("`{}` has a meaning of its own in routes", name.value);
        cx.problems.error(name.at, what, "choose another name");
    }
}

/// `listeners:`, in the order of the file, by who needs to know.
#[derive(Default)]
pub(super) struct Listeners {
    pub edge: Vec<Listener>,
    pub tls: Vec<Option<ListenerTls>>,
    pub web: Vec<Option<ListenerWeb>>,
}

/// `listeners:`
pub(super) fn listeners(cx: &mut Context<'_>) -> Listeners {
    let raw = cx.raw;
    if raw.listeners.as_ref().is_none_or(|l| l.entries.is_empty()) {
        let help = "add `listeners: { phones: { zone: internet, bind: \"udp://0.0.0.0:5060\" } }`";
        cx.absent(raw.at, "nothing listens: the config needs `listeners`", help);
    }
    let entries = cx.entries(raw.listeners.as_ref(), "listeners");
    let mut built = Listeners::default();
    for (index, (name, listener)) in entries.iter().enumerate() {
        let place = Place::of(&listener.bind.value);
        if let Some((other, _)) =
            entries.iter().take(index).find(|(_, l)| collide(Place::of(&l.bind.value), place))
        {
            let what = format!("listener `{}` is bound to this address already", other.value);
            cx.problems.error(listener.bind.at, what, "give one of them another port");
        }
        let zone = cx.zone(&listener.zone);
        let tls = listener_tls(cx, listener);
        let advertise = advertised(cx, name, listener);
        built.web.push(listener_web(cx, listener));
        built.tls.push(tls);
        built.edge.push(Listener {
            name: name.value.as_str().into(),
            zone: zone.unwrap_or(ZoneId(u16::MAX)),
            transport: listener.bind.value.transport,
            bind: listener.bind.value.address,
            advertise,
        });
    }
    built
}

/// What a listener takes of this machine.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub address: SocketAddr,
    pub is_udp: bool,
}

impl Place {
    /// Of a SIP listener.
    pub fn of(bind: &Bind) -> Place {
        Place { address: bind.address, is_udp: bind.transport == Transport::Udp }
    }

    /// One of the two is a wildcard that holds the other.
    pub fn shades(self, other: Place) -> bool {
        let (a, b) = (self.address, other.address);
        let wildcard = a.ip().is_unspecified() || b.ip().is_unspecified();
        self.is_udp == other.is_udp
            && wildcard
            && a.is_ipv4() == b.is_ipv4()
            && a.port() == b.port()
            && a.port() != 0
    }
}

/// The kernel would refuse the second of them. For UDP one address beside the wildcard is fine: the closer one wins.
pub(super) fn collide(a: Place, b: Place) -> bool {
    let (x, y) = (a.address, b.address);
    a.is_udp == b.is_udp && x == y && x.port() != 0 || !a.is_udp && a.shades(b)
}

fn listener_tls(cx: &mut Context<'_>, listener: &raw::Listener) -> Option<ListenerTls> {
    let raw = cx.raw;
    let bind = &listener.bind;
    let is_tls = matches!(bind.value.transport, Transport::Tls | Transport::Wss);
    let client_ca = listener.client_ca.as_ref().map(|path| cx.authorities(path));
    if !is_tls {
        for at in listener.certificate.iter().map(|c| c.at).chain(listener.client_ca.iter().map(|c| c.at)) {
            let what = format!("a {} listener shows no certificate", bind.value.transport.scheme());
            cx.problems.error(at, what, "write `tls://` in its `bind`, or remove this");
        }
        return None;
    }
    let Some(certificates) = listener.certificate.as_ref().filter(|names| !names.value.is_empty()) else {
        let known: Vec<_> = raw.certificates.iter().flat_map(|c| c.names()).collect();
        let help = match known.first() {
            Some(name) => format!("add `certificate: {name}`"),
            None => "add `certificate: public` here, and at the top level \
                     `certificates: { public: { chain: tls/chain.pem, key: \"file:tls/key.pem\" } }`"
                .to_owned(),
        };
        cx.absent(bind.at, "a TLS listener needs `certificate`", help);
        return None;
    };
    let index = |name| cx.index(raw.certificates.as_ref(), "certificate", name);
    let certificates: Vec<usize> = certificates.value.iter().filter_map(index).collect();
    Some(ListenerTls { certificates, client_ca })
}

fn listener_web(cx: &mut Context<'_>, listener: &raw::Listener) -> Option<ListenerWeb> {
    let bind = &listener.bind;
    if !bind.value.transport.is_web() {
        if let Some(origins) = &listener.origins {
            let what = "only a WebSocket listener has `origins`";
            cx.problems.error(origins.at, what, "write `wss://` in its `bind`, or remove `origins`");
        }
        return None;
    }
    let Some(origins) = &listener.origins else {
        let what = "any page that a phone's user visits may use this listener";
        let help =
            "add `origins: [\"https://phone.example.com\"]`; clients that are no browsers send no Origin";
        cx.problems.warning(bind.at, what, help);
        return Some(ListenerWeb { path: bind.value.path.clone(), origins: Vec::new() });
    };
    // RFC 6454 §6.2: scheme, host, port; no path, not even a slash.
    for origin in &origins.value {
        let host = ["https://", "http://"].iter().find_map(|scheme| origin.strip_prefix(scheme));
        if host.is_none_or(|host| host.is_empty() || host.contains(['/', '?', '#', '@', '*'])) {
            let what = format!("`{origin}` is no origin");
            cx.problems.error(origins.at, what, "write scheme and host, such as `https://phone.example.com`");
        }
    }
    Some(ListenerWeb { path: bind.value.path.clone(), origins: origins.value.clone() })
}

/// How the outside names the listener: what it says itself, else its address, else that of its zone's relay.
fn advertised(cx: &mut Context<'_>, name: &At<String>, listener: &raw::Listener) -> Arc<str> {
    let address = listener.bind.value.address;
    let named = |host: &str, port: u16| -> Arc<str> { format!("{host}:{port}").into() };
    if let Some(advertise) = &listener.advertise {
        return named(&advertise.host, advertise.port.unwrap_or(address.port()));
    }
    if !address.ip().is_unspecified() {
        return named(&bracketed(address.ip()), address.port());
    }
    let mut relay = media::addresses(cx.raw, &listener.zone.value).map(|relay| relay.advertise);
    if let Some(ip) = relay.find(|ip| !ip.is_unspecified() && ip.is_ipv4() == address.is_ipv4()) {
        let shown = named(&bracketed(ip), address.port());
        let what =
            format!("listener `{}` is told nowhere how the outside names it; it says {shown}", name.value);
        let help = format!("that is the relay's address; add `advertise: \"{shown}\"` if it is right");
        if cx.sound {
            cx.problems.warning(listener.bind.at, what, help);
        }
        return shown;
    }
    let what = format!("listener `{}` is told nowhere how the outside names it", name.value);
    let help = format!("add `advertise: \"sip.example.com:{}\"`, or bind one address", address.port());
    cx.absent(listener.bind.at, what, help);
    named("", address.port())
}

/// True if some address is in both.
pub(super) fn overlap(a: IpNetwork, b: IpNetwork) -> bool {
    a.contains(b.network()) || b.contains(a.network())
}
