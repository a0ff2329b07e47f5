//! `pbx:` and `trunks:`: who they are, and the hosts that requests are sent to.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::super::raw;
use super::super::read::At;
use super::super::words::{Rate, is_host_name};
use super::{Context, id, media, sessions, trunk_rules, zones};
use crate::base::{ListenerId, Transport, ZoneId};
use crate::edge::settings::{Auth, Host, Listener, Pbx, Probing, Target, TlsPeer, Trunk, Verify};
use crate::net::settings::PeerTrust;
use crate::sip::digest::Secret;
use crate::sip::locate::Server;
use crate::sip::uri::{Scheme, Uri};

const SOONEST_REGISTER: Duration = Duration::from_secs(30);
const LATEST_REGISTER: Duration = Duration::from_secs(43_200);

/// TLS settings of the peers that we call, each once.
#[derive(Default)]
pub(super) struct TlsPeers(Vec<(TlsPeer, PeerTrust)>);

impl TlsPeers {
    /// Index of these settings.
    fn add(&mut self, peer: TlsPeer, trust: PeerTrust) -> u16 {
        let same = |(p, t): &(TlsPeer, PeerTrust)| {
            *p == peer && t.ca == trust.ca && t.certificate == trust.certificate
        };
        let index = self.0.iter().position(same).unwrap_or(self.0.len());
        if index == self.0.len() {
            self.0.push((peer, trust));
        }
        id(index)
    }

    /// The edge's half and the sockets' half.
    pub(super) fn into_settings(self) -> (Vec<TlsPeer>, Vec<PeerTrust>) {
        self.0.into_iter().unzip()
    }
}

/// `pbx:`
pub(super) fn pbx(cx: &mut Context<'_>, listeners: &[Listener], tls: &mut TlsPeers) -> Option<Pbx> {
    let pbx = cx.raw.pbx.as_ref()?;
    if pbx.hosts.value.is_empty() {
        cx.absent(pbx.hosts.at, "the PBX has no host", "add `hosts: [\"sip:10.20.0.20:5060\"]`");
    }
    let zone = cx.zone(&pbx.zone)?;
    let hosts = targets(cx, &pbx.hosts.value, (zone, &pbx.zone.value), pbx.tls.as_ref(), listeners, tls);
    let health = probing(cx, pbx.health.as_ref());
    Some(Pbx { zone, hosts, health, failover: super::routes::failover(cx, None) })
}

/// `health:`
fn probing(cx: &mut Context<'_>, health: Option<&raw::Health>) -> Option<Probing> {
    let health = health?;
    let down_after = health.down_after.as_ref();
    if let Some(down_after) = down_after.filter(|down_after| down_after.value == 0) {
        cx.problems.error(down_after.at, "`down_after` is at least 1", "write `down_after: 3`");
    }
    Some(Probing { options_every: health.options_every, down_after: down_after.map_or(3, |d| d.value) })
}

/// `trunks:`, in the order of the file.
pub(super) fn trunks(cx: &mut Context<'_>, listeners: &[Listener], tls: &mut TlsPeers) -> Vec<Trunk> {
    let raw = cx.raw;
    let entries = cx.entries(raw.trunks.as_ref(), "trunks");
    let mut built = Vec::new();
    for (index, (name, trunk)) in entries.iter().enumerate() {
        zones::reserved(cx, name);
        check_sources(cx, name, trunk, entries.get(..index).unwrap_or_default());
        let auth = auth(cx, trunk);
        let zone = cx.zone(&trunk.zone).unwrap_or(ZoneId(u16::MAX));
        let hosts = trunk.hosts.as_ref().map_or(&[][..], |h| &h.value);
        let hosts = targets(cx, hosts, (zone, &trunk.zone.value), trunk.tls.as_ref(), listeners, tls);
        let base = raw.zones.as_ref().and_then(|zones| {
            let (_, zone) = zones.entries.get(usize::from(zone.0))?;
            Some(media::of_zone(raw, zone))
        });
        let Some(base) = base else { continue };
        built.push(Trunk {
            name: name.value.as_str().into(),
            zone,
            hosts,
            accept_from: trunk.accept_from.iter().flatten().map(|network| network.value).collect(),
            accept_names: accept_names(cx, trunk),
            accept_user: trunk.accept_user.as_ref().map(|user| user.value.as_str().into()),
            calls_at_once: trunk.limits.as_ref().and_then(|l| l.calls_at_once),
            new_calls: trunk
                .limits
                .as_ref()
                .and_then(|l| l.new_calls)
                .map(|Rate { count, per }| (count, per)),
            media: media::merged(base, trunk.media.as_ref()),
            rules: trunk_rules::rules(cx, trunk),
            register: trunk.register.as_ref().filter(|_| auth.is_some()).map(|register| register.every),
            health: probing(cx, trunk.health.as_ref()),
            session_timer: sessions::session_timer(cx, trunk.session_timer.as_ref()),
            auth,
        });
    }
    built
}

type NamedTrunk = (At<String>, raw::Trunk);

/// A source speaks as one trunk; `before` are those that stand above.
fn check_sources(cx: &mut Context<'_>, name: &At<String>, trunk: &raw::Trunk, before: &[NamedTrunk]) {
    let hosts = trunk.hosts.as_ref().is_some_and(|h| !h.value.is_empty());
    let named = trunk.accept_names.as_ref().is_some_and(|names| !names.is_empty());
    if !hosts && !named && trunk.accept_user.is_none() && trunk.accept_from.as_ref().is_none_or(Vec::is_empty)
    {
        let what = format!("trunk `{}` can neither call nor be called", name.value);
        let help = "add `accept_from: [198.51.100.0/28]`, `hosts: [\"sip:sip.carrier.example\"]`, or both";
        cx.absent(name.at, what, help);
    }
    for network in trunk.accept_from.iter().flatten() {
        // Where both go by certificates, these tell them apart.
        let by_name =
            |t: &raw::Trunk| named && t.accept_names.as_ref().is_some_and(|names| !names.is_empty());
        let same_zone = before.iter().filter(|(_, t)| t.zone.value == trunk.zone.value && !by_name(t));
        for (other, theirs) in
            same_zone.flat_map(|(o, t)| t.accept_from.iter().flatten().map(move |n| (o, n)))
        {
            if zones::overlap(network.value, theirs.value) {
                let what = format!("`{}` is also in `accept_from` of trunk `{}`", network.value, other.value);
                let help = format!(
                    "a source speaks as one trunk: narrow this, or {} of trunk `{}`",
                    theirs.value, other.value
                );
                cx.problems.error(network.at, what, help);
            }
        }
    }
}

/// `accept_names:`, which only a listener that asks for certificates can tell.
fn accept_names(cx: &mut Context<'_>, trunk: &raw::Trunk) -> Vec<Arc<str>> {
    let names = trunk.accept_names.as_deref().unwrap_or_default();
    let listeners = cx.raw.listeners.iter().flat_map(|listeners| &listeners.entries);
    let mut of_zone = listeners.filter(|(_, listener)| listener.zone.value == trunk.zone.value);
    if let Some(name) = names.first()
        && !of_zone.any(|(_, listener)| listener.client_ca.is_some())
    {
        let what = format!("no listener of zone `{}` asks for certificates", trunk.zone.value);
        cx.absent(name.at, what, "add `client_ca: tls/carriers-ca.pem` to its TLS listener");
    }
    names.iter().map(|name| name.value.to_ascii_lowercase().into()).collect()
}

/// `auth:` and what hangs on it.
fn auth(cx: &mut Context<'_>, trunk: &raw::Trunk) -> Option<Auth> {
    let Some(auth) = &trunk.auth else {
        if let Some(register) = &trunk.register {
            let help = "add `auth: { username: \"acct42\", password: \"env:ACME_PASSWORD\" }`";
            cx.absent(register.at, "a trunk registers under a name", help);
        }
        return None;
    };
    if let Some(register) = &trunk.register {
        if trunk.hosts.as_ref().is_none_or(|hosts| hosts.value.is_empty()) {
            let help = "add `hosts: [\"sip:sip.carrier.example\"]`";
            cx.absent(register.at, "there is no host to register with", help);
        }
        if !(SOONEST_REGISTER..=LATEST_REGISTER).contains(&register.every) {
            let what = "carriers are asked every 30 seconds at most, and once in 12 hours at least";
            cx.problems.error(register.at, what, "write `register: { every: 300s }`");
        }
    }
    let password = cx.secret(&auth.password)?;
    Some(Auth { username: auth.username.as_str().into(), secret: Secret::Password(password.reveal().into()) })
}

fn targets(
    cx: &mut Context<'_>,
    hosts: &[raw::Host],
    (zone, zone_name): (ZoneId, &str),
    peer_tls: Option<&raw::PeerTls>,
    listeners: &[Listener],
    tls: &mut TlsPeers,
) -> Vec<Target> {
    let trust = peer_trust(cx, peer_tls);
    let verify = peer_tls.and_then(|t| t.verify).unwrap_or(Verify::Name);
    let mut built = Vec::new();
    // "Tried in order", unless weights say how to share.
    let in_order = hosts.iter().all(|host| host.weight.is_none());
    for (place, host) in (0..).zip(hosts) {
        let Some(parts) = parts(cx, &host.uri) else { continue };
        let ways = ways(cx, &host.uri, &parts, (zone, zone_name), listeners);
        if ways.is_empty() {
            continue;
        }
        let tls = if ways.iter().any(|(transport, _)| *transport == Transport::Tls) {
            let server_name = parts.name.as_str().into();
            tls.add(TlsPeer { server_name, verify }, trust.clone())
        } else {
            u16::MAX
        };
        let target = Target {
            uri: host.uri.value.as_str().into(),
            host: parts.host,
            port: parts.port,
            transport: parts.transport,
            secure: parts.secure,
            priority: host.priority.unwrap_or(if in_order { place } else { 0 }),
            weight: host.weight.unwrap_or(1),
            tls,
            ways,
        };
        if let Some(own) = target.server().and_then(|server| own_listener(server, listeners)) {
            let what = format!("this is Turnpike's own listener `{}`", own.name);
            cx.problems.error(host.uri.at, what, "write the address of the other machine");
        }
        built.push(target);
    }
    built
}

fn peer_trust(cx: &mut Context<'_>, tls: Option<&raw::PeerTls>) -> PeerTrust {
    let raw = cx.raw;
    let ca = tls.and_then(|t| t.ca.as_ref()).and_then(|ca| cx.trusted(ca));
    let certificate = tls
        .and_then(|t| t.certificate.as_ref())
        .and_then(|certificate| cx.index(raw.certificates.as_ref(), "certificate", certificate));
    PeerTrust { ca, certificate }
}

/// What a host's URI says.
struct Parts {
    host: Host,
    /// For SNI and the certificate's name: no brackets.
    name: String,
    port: Option<u16>,
    /// `None`: the DNS says it (RFC 3263 §4.1).
    transport: Option<Transport>,
    /// A SIPS URI.
    secure: bool,
}

fn parts(cx: &mut Context<'_>, uri: &At<String>) -> Option<Parts> {
    let help = "write a SIP URI, such as `sip:10.20.0.20:5060` or `sip:sip.carrier.example;transport=tls`";
    let mut wrong = |what: String, help: &str| {
        cx.problems.error(uri.at, what, help);
        None
    };
    let parsed = Uri::parse(uri.value.as_bytes()).filter(|u| u.scheme != Scheme::Tel);
    let Some(parsed) = parsed else { return wrong(format!("`{}` is no SIP URI", uri.value), help) };
    if parsed.user.is_some() || !parsed.headers.is_empty() {
        return wrong("a host's URI has neither user nor headers".to_owned(), help);
    }
    let name = String::from_utf8_lossy(parsed.host).trim_matches(['[', ']']).to_ascii_lowercase();
    let host = match parsed.ip() {
        Some(ip) if ip.is_unspecified() || ip.is_multicast() => {
            return wrong(format!("nobody can be called at {ip}"), "write the host's own address");
        }
        Some(ip) => Host::Ip(ip),
        None if is_host_name(&name) => Host::Name(name.as_str().into()),
        None => return wrong(format!("`{name}` is no host name"), help),
    };
    if parsed.port == Some(0) {
        return wrong("nobody listens on port 0".to_owned(), help);
    }
    let named = crate::sip::message::param(parsed.params, b"transport");
    let transport = match (parsed.transport(), parsed.scheme) {
        (Some(Transport::Ws | Transport::Wss), _) => {
            return wrong("hosts are not called over WebSocket".to_owned(), "write `;transport=tls`");
        }
        (None, _) if named.is_some() => {
            return wrong(
                "this is no transport".to_owned(),
                "write `udp`, `tcp` or `tls` behind `transport=`",
            );
        }
        (Some(Transport::Udp), Scheme::Sips) => {
            return wrong(
                "`sips:` does not go over UDP".to_owned(),
                "remove `;transport=udp`, or write `sip:`",
            );
        }
        // RFC 3261 §26.2.2: a SIPS URI means TLS, whatever carries it.
        (_, Scheme::Sips) => Some(Transport::Tls),
        // RFC 3263 §4.1: an address, or a name with a port, without a transport means UDP.
        (None, _) if parsed.port.is_some() || matches!(host, Host::Ip(_)) => Some(Transport::Udp),
        (transport, _) => transport,
    };
    Some(Parts { host, name, port: parsed.port, transport, secure: parsed.scheme == Scheme::Sips })
}

/// What may be spoken to the target, and the listener of the zone that faces it then.
fn ways(
    cx: &mut Context<'_>,
    uri: &At<String>,
    parts: &Parts,
    (zone, zone_name): (ZoneId, &str),
    listeners: &[Listener],
) -> SmallVec<[(Transport, ListenerId); 3]> {
    let of_zone = || (0..).zip(listeners).filter(move |(_, l)| l.zone == zone);
    let facing = |transport: Transport| {
        let alike = || of_zone().filter(|(_, l)| l.transport == transport);
        let like_it = alike().find(|(_, l)| is_of_family(l, &parts.host)).or_else(|| alike().next());
        let any = || if transport.is_reliable() { of_zone().next() } else { None };
        Some((transport, ListenerId(like_it.or_else(any)?.0)))
    };
    // Where the DNS leaves the choice to us: what everyone speaks comes first.
    let all = [Transport::Udp, Transport::Tcp, Transport::Tls];
    let ways: SmallVec<[_; 3]> = match parts.transport {
        Some(transport) => facing(transport).into_iter().collect(),
        None => all.into_iter().filter_map(facing).collect(),
    };
    let transport = parts.transport.unwrap_or(Transport::Udp);
    // A zone that does not exist has been told.
    if ways.is_empty() && usize::from(zone.0) < cx.raw.zones.as_ref().map_or(0, |z| z.entries.len()) {
        let scheme = transport.scheme();
        let kind = if transport.is_reliable() { "" } else { "UDP " };
        let what = format!("zone `{zone_name}` has no {kind}listener that could face this host");
        let other = if of_zone().next().is_some() { ", or `;transport=tcp` here" } else { "" };
        let help = format!(
            "add a listener such as `{zone_name}_{scheme}: {{ zone: {zone_name}, bind: \"{scheme}://…\" }}`{other}"
        );
        cx.absent(uri.at, what, help);
    }
    ways
}

/// What is bound to it can send to the host, as far as that is known.
fn is_of_family(listener: &Listener, host: &Host) -> bool {
    match host {
        Host::Ip(ip) => ip.is_ipv4() == listener.bind.is_ipv4(),
        Host::Name(_) => true,
    }
}

fn own_listener(server: Server, listeners: &[Listener]) -> Option<&Listener> {
    let is_reliable = server.transport.is_reliable();
    listeners.iter().find(|l| l.bind == server.remote && l.transport.is_reliable() == is_reliable)
}
