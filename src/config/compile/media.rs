//! `relay:` and every `media:`.

use std::net::IpAddr;
use std::time::Duration;

use super::super::raw;
use super::super::read::At;
use super::super::words::PortRange;
use super::Context;
use crate::base::Transport;
use crate::edge::settings::{Anchor, Ice, Media, SealedBodies, Srtp};
use crate::relay::{RelayAddress, Settings};

/// Used when `relay: { ports: … }` says nothing.
const PORTS: PortRange = PortRange { first: 40_000, last: 49_999 };

/// Used when `relay: { media: … }` says nothing.
const DEFAULT: Media = Media {
    ice: Ice::Auto,
    srtp: Srtp::Pass,
    anchor: Anchor::Always,
    sealed_bodies: SealedBodies::Refuse,
    idle_timeout: Duration::from_secs(60),
};

/// `relay:` without its addresses.
pub(super) fn relay(cx: &mut Context<'_>) -> Settings {
    let raw = cx.raw;
    let relay = raw.relay.as_ref();
    srtp_against_anchor(cx);
    for (name, addresses) in relay.and_then(|r| r.addresses.as_ref()).iter().flat_map(|a| &a.entries) {
        cx.zone(name);
        check_addresses(cx, name, &addresses.0);
    }
    if let Some(ports) = relay.and_then(|r| r.ports.as_ref()) {
        ports_against_listeners(cx, ports);
    }
    let ports = self::ports(raw);
    let workers = match relay.and_then(|r| r.workers) {
        Some(raw::Workers::Count(count)) => usize::from(count),
        Some(raw::Workers::Auto) | None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    Settings { ports: ports.first..=ports.last, workers }
}

/// The zone's media settings: the relay's, unless the zone says otherwise.
pub(super) fn of_zone(config: &raw::Config, zone: &raw::Zone) -> Media {
    let relay = config.relay.as_ref().and_then(|r| r.media.as_ref());
    merged(merged(DEFAULT, relay), zone.media.as_ref())
}

/// What `media` says, and for the rest `base`.
pub(super) fn merged(base: Media, media: Option<&raw::Media>) -> Media {
    let Some(media) = media else { return base };
    Media {
        ice: media.ice.as_ref().map_or(base.ice, |ice| ice.value),
        srtp: media.srtp.as_ref().map_or(base.srtp, |srtp| srtp.value),
        anchor: media.anchor.as_ref().map_or(base.anchor, |a| a.value),
        sealed_bodies: media.sealed_bodies.unwrap_or(base.sealed_bodies),
        idle_timeout: media.idle_timeout.unwrap_or(base.idle_timeout),
    }
}

/// `relay: { ports: … }`.
pub(super) fn ports(config: &raw::Config) -> PortRange {
    config.relay.as_ref().and_then(|r| r.ports.as_ref()).map_or(PORTS, |ports| ports.value)
}

/// The relayed addresses of the zone called `zone`: one, or one of each family.
pub(super) fn addresses<'c>(
    config: &'c raw::Config,
    zone: &str,
) -> impl Iterator<Item = RelayAddress> + use<'c> {
    let all = config.relay.as_ref().and_then(|relay| relay.addresses.as_ref());
    let of_zone = all.and_then(|all| all.entries.iter().find(|(name, _)| name.value == zone));
    of_zone.into_iter().flat_map(|(_, addresses)| &addresses.0).map(|address| {
        let bind = address.bind.value;
        RelayAddress { bind, advertise: address.advertise.as_ref().map_or(bind, |a| a.value) }
    })
}

/// A zone or trunk asks for more than that SRTP passes.
pub(super) fn translates_srtp(config: &raw::Config) -> bool {
    settings(config).any(|(_, media)| media.srtp != Srtp::Pass)
}

/// Every `media:` of the config with what it comes to.
fn settings(config: &raw::Config) -> impl Iterator<Item = (&raw::Media, Media)> {
    let relay = config.relay.as_ref().and_then(|relay| relay.media.as_ref());
    let zones = || config.zones.iter().flat_map(|zones| &zones.entries);
    let of_zones = zones().filter_map(|(_, zone)| Some((zone.media.as_ref()?, of_zone(config, zone))));
    let trunks = config.trunks.iter().flat_map(|trunks| &trunks.entries);
    let of_trunks = trunks.filter_map(move |(_, trunk)| {
        let (_, zone) = zones().find(|(name, _)| name.value == trunk.zone.value)?;
        Some((trunk.media.as_ref()?, merged(of_zone(config, zone), trunk.media.as_ref())))
    });
    relay.map(|media| (media, merged(DEFAULT, Some(media)))).into_iter().chain(of_zones).chain(of_trunks)
}

/// Media that does not come to us is what the two ends make of it.
fn srtp_against_anchor(cx: &mut Context<'_>) {
    for (media, all) in settings(cx.raw) {
        let said = media.srtp.as_ref().map(|srtp| srtp.at).or(media.anchor.as_ref().map(|anchor| anchor.at));
        if let Some(at) = said.filter(|_| all.anchor == Anchor::Never && all.srtp != Srtp::Pass) {
            let what = "`srtp` other than `pass` needs the relay, and `anchor: never` keeps media off it";
            cx.problems.error(at, what, "write `anchor: always`, or `srtp: pass`");
        }
    }
}

fn check_addresses(cx: &mut Context<'_>, zone: &At<String>, addresses: &[raw::RelayAddress]) {
    for (index, address) in addresses.iter().enumerate() {
        check_address(cx, address);
        let bind = &address.bind;
        let like_it = |other: &raw::RelayAddress| other.bind.value.is_ipv4() == bind.value.is_ipv4();
        if addresses.iter().take(index).any(like_it) {
            let version = if bind.value.is_ipv4() { 4 } else { 6 };
            let what = format!("zone `{}` has an IPv{version} address already", zone.value);
            cx.problems.error(bind.at, what, "write one IPv4 and one IPv6 address at most");
        }
    }
}

fn check_address(cx: &mut Context<'_>, address: &raw::RelayAddress) {
    let bind = address.bind.value;
    let advertised = address.advertise.as_ref();
    let shown = advertised.map_or(bind, |a| a.value);
    let at = advertised.map_or(address.bind.at, |a| a.at);
    if shown.is_unspecified() {
        // RFC 3264 §8.4: `c=0.0.0.0` means hold.
        let help =
            format!("add `advertise: 203.0.113.10`, the address at which {bind} is reached from outside");
        cx.problems.error(at, format!("SDP cannot name {shown}: it would mean \"on hold\""), help);
    } else if shown.is_multicast() {
        cx.problems.error(at, format!("{shown} is a multicast address"), "write a unicast address");
    } else if bind.is_ipv4() != shown.is_ipv4() {
        let any: IpAddr = if shown.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let what = "`bind` and `advertise` are of different IP versions";
        cx.problems.error(at, what, format!("write `bind: {}`, or advertise one like {bind}", quoted(any)));
    }
}

/// `::` is only a scalar in quotes.
fn quoted(ip: IpAddr) -> String {
    if ip.is_ipv4() { ip.to_string() } else { format!("\"{ip}\"") }
}

fn ports_against_listeners(cx: &mut Context<'_>, ports: &At<PortRange>) {
    let PortRange { first, last } = ports.value;
    let mut listeners = cx.raw.listeners.iter().flat_map(|l| &l.entries);
    let taken = listeners.find(|(_, listener)| {
        let bind = &listener.bind.value;
        bind.transport == Transport::Udp && (first..=last).contains(&bind.address.port())
    });
    if let Some((name, listener)) = taken {
        let port = listener.bind.value.address.port();
        let what = format!("port {port} of listener `{}` is also one of the relay's", name.value);
        cx.problems.error(ports.at, what, "move the range or the listener: `ports: 40000-49999`");
    }
}
