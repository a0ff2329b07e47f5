//! Which hosts are inside of zones that a message must not tell of, and where they stand in a header field.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;
use std::str::FromStr;

use ipnetwork::IpNetwork;
use rustc_hash::FxHashSet;
use smallvec::SmallVec;

use super::Viewer;
use crate::base::TrunkId;
use crate::edge::anchor::Scope;
use crate::edge::settings::{Host, Settings, Trust};
use crate::sip::uri::escaped;

/// Ends of names that mean something inside alone (RFC 6762, RFC 8375, and what administrators use).
const LOCAL: [&[u8]; 6] = [b".local", b".lan", b".internal", b".intern", b".home.arpa", b".localdomain"];

/// What the settings name of other zones, as one zone sees it; or of other zones and other carriers, as a carrier does.
#[derive(Debug, Default)]
pub struct Foreign {
    names: FxHashSet<Box<[u8]>>,
    addresses: FxHashSet<IpAddr>,
    /// What it knows anyway: our listeners there, and its own hosts.
    known_names: FxHashSet<Box<[u8]>>,
    known_addresses: FxHashSet<IpAddr>,
    networks: Vec<IpNetwork>,
    /// Networks of other zones that are trusted in full, and those that other carriers call from.
    inside: Vec<IpNetwork>,
}

impl Foreign {
    /// For all who see messages: each zone, then each trunk ([`Viewer::index`]).
    pub fn of_all(settings: &Settings) -> Vec<Foreign> {
        let zones = settings.zone_ids().map(|zone| Viewer { zone, trunk: None });
        let trunks = (0..).map(TrunkId).zip(&settings.trunks);
        let trunks = trunks.map(|(id, trunk)| Viewer { zone: trunk.zone, trunk: Some(id) });
        zones.chain(trunks).map(|viewer| Foreign::to(viewer, settings)).collect()
    }

    fn to(viewer: Viewer, settings: &Settings) -> Foreign {
        let zone = viewer.zone;
        let networks = settings.zone(zone).map(|zone| zone.networks.clone()).unwrap_or_default();
        let mut foreign = Foreign { networks, ..Foreign::default() };
        let inside =
            settings.zone_ids().filter(|other| *other != zone).filter_map(|other| settings.zone(other));
        let inside = inside.filter(|other| other.trust == Trust::Full);
        foreign.inside = inside.flat_map(|other| other.networks.iter().copied()).collect();
        for listener in &settings.listeners {
            let host = host_of(&listener.advertise);
            let is_inside = settings.zone(listener.zone).is_some_and(|zone| zone.trust == Trust::Full);
            // Where the outside comes to us is no secret.
            if listener.zone == zone || is_inside {
                foreign.add(host.as_bytes(), listener.zone == zone);
                foreign.add_address(listener.bind.ip(), listener.zone == zone);
            }
        }
        let pbx = settings.pbx.iter().flat_map(|pbx| pbx.hosts.iter().map(|host| (pbx.zone, host)));
        let pbx = pbx.map(|(at, host)| (host, at == zone));
        // Carriers are no secret to who shares their zone, but to each other.
        let trunks = (0..).map(TrunkId).zip(&settings.trunks);
        let trunks =
            trunks.map(|(id, trunk)| (trunk, trunk.zone == zone && viewer.trunk.is_none_or(|own| own == id)));
        for (trunk, _) in trunks.clone().filter(|(_, known)| !known) {
            // Not those from anywhere, who are known by a password or a certificate.
            let sources = trunk.accept_from.iter().filter(|network| network.prefix() > 0);
            foreign.inside.extend(sources.copied());
        }
        let trunks = trunks.flat_map(|(trunk, known)| trunk.hosts.iter().map(move |host| (host, known)));
        for (target, known) in pbx.chain(trunks) {
            match &target.host {
                Host::Ip(ip) => foreign.add_address(*ip, known),
                Host::Name(name) => foreign.add(name.as_bytes(), known),
            }
        }
        foreign
    }

    fn add(&mut self, host: &[u8], known: bool) {
        match ip(host) {
            Some(ip) => self.add_address(ip, known),
            None => {
                let names = if known { &mut self.known_names } else { &mut self.names };
                names.insert(host.to_ascii_lowercase().into());
            }
        }
    }

    fn add_address(&mut self, ip: IpAddr, known: bool) {
        let addresses = if known { &mut self.known_addresses } else { &mut self.addresses };
        addresses.insert(ip.to_canonical());
    }
}

/// The hosts of one message that must not be seen.
pub struct Inside<'f, 'm> {
    foreign: &'f Foreign,
    hosts: SmallVec<[&'m [u8]; 12]>,
}

impl<'f, 'm> Inside<'f, 'm> {
    /// What the settings tell.
    pub fn new(foreign: &'f Foreign) -> Inside<'f, 'm> {
        Inside { foreign, hosts: SmallVec::new() }
    }

    /// A host by which the sender calls itself, or one on its side.
    pub fn add(&mut self, host: &'m [u8]) {
        if !host.is_empty() && !self.hosts.contains(&host) {
            self.hosts.push(host);
        }
    }

    /// Is this one of them?
    fn has(&self, host: &[u8]) -> bool {
        let is_of_message = || self.hosts.iter().any(|inside| inside.eq_ignore_ascii_case(host));
        if let Some(ip) = ip(host) {
            let ip = ip.to_canonical();
            let lies_in = |networks: &[IpNetwork]| networks.iter().any(|network| network.contains(ip));
            let is_foreign = self.foreign.addresses.contains(&ip);
            let known = ip.is_unspecified()
                || self.foreign.known_addresses.contains(&ip)
                || !is_foreign && lies_in(&self.foreign.networks);
            return !known
                && (is_foreign
                    || Scope::of(ip) != Scope::Global
                    || lies_in(&self.foreign.inside)
                    || is_of_message());
        }
        let name = host.to_ascii_lowercase();
        !self.foreign.known_names.contains(&name[..])
            && (LOCAL.iter().any(|end| name.ends_with(end))
                || self.foreign.names.contains(&name[..])
                || is_of_message())
    }

    /// Where a host must stand, a name of one label is one of them too: nobody outside can resolve it.
    pub fn has_host(&self, host: &[u8]) -> bool {
        let is_local = ip(host).is_none() && !host.contains(&b'.');
        self.has(host) || is_local && !self.foreign.known_names.contains(&host.to_ascii_lowercase()[..])
    }

    /// Where such hosts stand in a header field's value, each with its port.
    pub fn places(&self, value: &[u8]) -> SmallVec<[Range<usize>; 2]> {
        let mut places = SmallVec::new();
        let (mut at, mut before) = (0, None);
        while let Some(rest) = value.get(at..).filter(|rest| !rest.is_empty()) {
            let len = word_len(rest);
            if len == 0 {
                let escaped = escaped(rest).map(|(byte, _)| byte);
                at += if escaped.is_some() { 3 } else { 1 };
                before = escaped.or(rest.first().copied());
                continue;
            }
            let (word, behind) = rest.split_at_checked(len).unwrap_or((rest, b""));
            if self.is_place(word, before, behind) {
                places.push(at..at + len + port_len(behind));
            }
            at += len;
            before = None;
        }
        places
    }

    fn is_place(&self, word: &[u8], before: Option<u8>, behind: &[u8]) -> bool {
        let next = escaped(behind).map(|(byte, _)| byte).or(behind.first().copied());
        match before {
            _ if ip(word).is_some() => self.has(word),
            // A user, whatever it looks like.
            _ if next == Some(b'@') => false,
            Some(b'@') => self.has_host(word),
            Some(b':') => self.has(word),
            _ => word.contains(&b'.') && self.has(word),
        }
    }
}

/// Length of the word at the start that may be a host; 0 if there is none.
fn word_len(text: &[u8]) -> usize {
    let run = |is_part: fn(u8) -> bool| text.iter().take_while(|byte| is_part(**byte)).count();
    if text.first() == Some(&b'[') {
        return memchr::memchr(b']', text).map_or(0, |end| end + 1);
    }
    // An IPv6 address without brackets, as some fields have it.
    let address = run(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
    let address = text.get(..address).unwrap_or_default();
    if address.contains(&b':') && ip(address).is_some() {
        return address.len();
    }
    let word = text.get(..run(is_of_host)).unwrap_or_default();
    // A full stop ends a sentence.
    word.len() - word.iter().rev().take_while(|byte| !byte.is_ascii_alphanumeric()).count()
}

fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

/// `:` and digits.
fn port_len(text: &[u8]) -> usize {
    let digits = text.iter().skip(1).take_while(|byte| byte.is_ascii_digit()).count();
    if text.first() == Some(&b':') && (1..=5).contains(&digits) { 1 + digits } else { 0 }
}

fn ip(host: &[u8]) -> Option<IpAddr> {
    if !matches!(host.first(), Some(b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' | b'[' | b':')) {
        return None;
    }
    let host = std::str::from_utf8(host).ok()?;
    match host.strip_prefix('[') {
        Some(inner) => Ipv6Addr::from_str(inner.strip_suffix(']')?).ok().map(IpAddr::V6),
        None => IpAddr::from_str(host).ok(),
    }
}

/// Host of `host:port`.
pub fn host_of(text: &str) -> &str {
    match text.rsplit_once(':') {
        Some((host, _)) if !host.contains(':') || host.ends_with(']') => host,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(value: &str) -> Vec<String> {
        let mut foreign = Foreign::default();
        foreign.add(b"203.0.113.10", true);
        foreign.add(b"sip.example.com", true);
        foreign.add(b"sip.acme.example", false);
        let mut inside = Inside::new(&foreign);
        for host in ["pbx", "asterisk1.corp.example", "198.51.100.7", "SIP.example.com"] {
            inside.add(host.as_bytes());
        }
        inside.places(value.as_bytes()).into_iter().map(|place| value[place].to_string()).collect()
    }

    #[test]
    fn hosts_of_the_inside_are_found_wherever_they_stand() {
        assert_eq!(places("\"pbx\" <sip:100@10.20.0.20:5060;transport=udp>;tag=a.b"), ["10.20.0.20:5060"]);
        assert_eq!(
            places("<sip:100@PBX>, <sips:Asterisk1.Corp.Example:5061>"),
            ["PBX", "Asterisk1.Corp.Example:5061"]
        );
        assert_eq!(places("<sip:a@[fd00::1]:5060>, <sip:b@[2600:1::1]>"), ["[fd00::1]:5060"]);
        assert_eq!(
            places("icid=1;generated-at=198.51.100.7;x=\"host.local\""),
            ["198.51.100.7", "host.local"]
        );
        assert_eq!(places("<sip:+4930@sip.acme.example?X=1>"), ["sip.acme.example"]);
        assert_eq!(places("<sip:a@b.invalid?X=c%4010.20.0.20%3A5060>"), ["10.20.0.20"]);
        assert_eq!(places("from fd00::1, then 10.20.0.20."), ["fd00::1", "10.20.0.20"]);
        assert_eq!(places("<sip:100@asterisk7;user=phone>"), ["asterisk7"]);
        assert_eq!(places("<sip:10.20.0.20@sip.example.com>"), ["10.20.0.20"]);
    }

    #[test]
    fn what_the_zone_knows_and_what_is_public_stays() {
        for value in [
            "<sip:alice@sip.example.com:5061>",
            "<sip:a@203.0.113.10>",
            "<sip:anonymous@anonymous.invalid>",
            "Q.850;cause=16;text=\"pbx 1.2.3.4\"",
            "<sip:a@8.8.8.8>;q=0.5",
            "0.0.0.0",
            "[",
            "<sip:alice.local@sip.example.com>",
            "tel:100;phone-context=+49",
            "Sun, 22 Nov 2026 23:00:00 GMT",
        ] {
            assert_eq!(places(value), [""; 0], "{value}");
        }
    }
}
