//! Latching (RFC 7362), the strict kind of DESIGN.md §4: a leg opens only to the address in its SDP, or, behind NAT,
//! to a source IP that equals the SIP source IP or is allowed by configuration, and only by a packet that is valid
//! RTP of a negotiated payload type. Later strangers are dropped and counted.
//!
//! A latch holds until an offer or answer names another address. A source that moves in mid-call (a NAT that rebinds,
//! a phone that restarts) is a stranger until its re-INVITE says so: an SSRC is no credential, anyone on the path of
//! one packet can copy it (CVE-2017-14099).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use smallvec::SmallVec;

use super::Component;
use super::dtls::{Fingerprint, Role};
use super::quality::ClockRates;
use super::srtp::MasterKey;
use crate::ice;

/// What one side's SDP and SIP say about who may speak on it.
#[derive(Clone, Debug, Default)]
pub struct LegRules {
    /// Where SDP says that RTP goes: this source (IP and port) may latch the leg, and until one has, media goes there if
    /// `send_before_latch` allows. `None` on hold (`c=0.0.0.0`), before the answer, or where it must never be reached.
    pub rtp: Option<SocketAddr>,
    /// Likewise for RTCP.
    pub rtcp: Option<SocketAddr>,
    /// Relayed addresses that SDP names besides, as candidates, by component: these sources may latch it too.
    pub relayed: Vec<(Component, SocketAddr)>,
    /// Media may go to `rtp` and `rtcp` before the leg has latched. False: this side has not proved that it is there
    /// (ATTACKS.md: SDP that points at a victim); nothing leaves towards it until it has.
    pub send_before_latch: bool,
    /// Goes up when SDP names another address than before, also one that must never be reached and is `None` above: what
    /// had latched is over, and the leg latches anew.
    pub epoch: u32,
    /// Besides the SDP address, a source with this IP may latch the leg (the SIP source, for a leg behind NAT).
    pub sip_source: Option<IpAddr>,
    /// Further networks that may latch (configuration).
    pub allowed: Arc<[ipnetwork::IpNetwork]>,
    /// Negotiated payload types; empty: anything passes (T.38, data channels).
    pub payload_types: Vec<u8>,
    /// How fast their timestamps run.
    pub clocks: ClockRates,
    /// The stream is RTP: only valid RTP or RTCP latches and passes (plus what `stun_and_dtls` says).
    pub rtp_only: bool,
    /// The leg does ICE or DTLS: STUN and DTLS pass too (RFC 7983 tells them from RTP).
    pub stun_and_dtls: bool,
    /// RTCP shares the RTP port.
    pub rtcp_mux: bool,
    /// Both endpoints do ICE: nobody may speak on the leg who has not shown by a check that they are its endpoint, and what is
    /// said above about latching does not count.
    pub ice: Option<ice::Settings>,
    /// What becomes of its packets between the wire and the other leg.
    pub crypto: LegCrypto,
}

/// How one leg's packets are protected.
#[derive(Clone, Debug, Default)]
pub enum LegCrypto {
    /// Whatever it is passes unread: plain RTP, or what the two ends have agreed on.
    #[default]
    Pass,
    /// SRTP between the leg's endpoint and us, with keys out of SDP (RFC 4568). While one is not known, nothing passes that way.
    Sdes {
        /// What the endpoint sends under.
        inbound: Option<MasterKey>,
        /// What it is sent under.
        outbound: Option<MasterKey>,
    },
    /// SRTP between the leg's endpoint and us, with keys out of a DTLS handshake on the leg itself (RFC 5764). Nothing passes
    /// before the endpoint has shown the certificate that its SDP names.
    Dtls {
        /// Ours. `None` while the answer is not known to an offer that leaves the choice: we wait as the server, since the
        /// answerer may begin at once (RFC 5763 §5).
        role: Option<Role>,
        /// The endpoint's; empty before its SDP is known.
        fingerprints: SmallVec<[Fingerprint; 2]>,
    },
}

/// One side of a stream: who may speak on it, and who has. Of its rules it keeps what it needs itself.
#[derive(Debug, Default)]
pub struct Leg {
    rtp: Latch,
    rtcp: Latch,
    relayed: Box<[(Component, SocketAddr)]>,
    allowed: Arc<[ipnetwork::IpNetwork]>,
    epoch: u32,
    sip_source: Option<IpAddr>,
    send_before_latch: bool,
}

/// One component's.
#[derive(Debug, Default)]
struct Latch {
    /// The last address that SDP named: `None` in the rules (hold) does not forget it.
    named: Option<SocketAddr>,
    source: Option<SocketAddr>,
    /// And still does.
    is_named_now: bool,
}

impl Latch {
    fn named_now(&self) -> Option<SocketAddr> {
        self.named.filter(|_| self.is_named_now)
    }
}

impl Leg {
    /// New rules from an offer or answer. A component's latch survives if SDP names the same address (or none: hold)
    /// and its source would still be let in.
    pub fn set_rules(&mut self, rules: LegRules) {
        let LegRules { rtp, rtcp, relayed, allowed, epoch, sip_source, send_before_latch, .. } = rules;
        let new_epoch = epoch != self.epoch;
        self.relayed = relayed.into();
        (self.allowed, self.epoch, self.sip_source) = (allowed, epoch, sip_source);
        self.send_before_latch = send_before_latch;
        for (component, named) in [(Component::Rtp, rtp), (Component::Rtcp, rtcp)] {
            let latch = self.latch_mut(component);
            let moved = new_epoch || (named.is_some() && named != latch.named);
            latch.named = if new_epoch { named } else { named.or(latch.named) };
            latch.is_named_now = named.is_some();
            let source = latch.source;
            if moved || source.is_some_and(|source| !self.is_permitted(component, source)) {
                self.latch_mut(component).source = None;
            }
        }
    }

    /// The only source that is heard, once there is one.
    #[inline]
    pub fn source(&self, component: Component) -> Option<SocketAddr> {
        self.latch(component).source
    }

    /// Where to send: to the latched source; before, to the SDP address, if that is allowed.
    pub fn destination(&self, component: Component) -> Option<SocketAddr> {
        let unproved = || self.latch(component).named_now().filter(|_| self.send_before_latch);
        self.source(component).or_else(unproved)
    }

    /// True if a valid packet from `source` may latch the component, which nobody has yet. RTCP comes from the host
    /// that RTP comes from, unless SDP names another for it (RFC 3605).
    pub fn may_latch(&self, component: Component, source: SocketAddr) -> bool {
        let beside_rtp = match (component, self.rtp.source) {
            (Component::Rtcp, Some(rtp)) => rtp.ip() == source.ip() || self.is_named(component, source),
            _ => true,
        };
        beside_rtp && self.is_permitted(component, source)
    }

    /// True if `source` need not show that it is where its packets say: it has, or is believed.
    pub fn is_proved(&self, component: Component, source: SocketAddr) -> bool {
        self.source(component) == Some(source)
            || self.send_before_latch && self.is_named(component, source)
            || self.is_believed(source)
    }

    /// True if RTCP is to be expected from `source`: SDP names it (RFC 3605, or the port above RTP's), or it is the port above
    /// the one that RTP comes from (RFC 3550 §11).
    pub fn expects_rtcp_from(&self, source: SocketAddr) -> bool {
        let is_above =
            |rtp: SocketAddr| rtp.ip() == source.ip() && rtp.port().checked_add(1) == Some(source.port());
        self.is_named(Component::Rtcp, source) || self.rtp.source.is_some_and(is_above)
    }

    /// Only `source` is heard from now on.
    pub fn latch_to(&mut self, component: Component, source: SocketAddr) {
        self.latch_mut(component).source = Some(source);
    }

    /// Only `source` is heard, as it was before a restart. Where SDP names no address, as on hold, it need not be permitted again.
    pub fn latch_again(&mut self, component: Component, source: SocketAddr) {
        if self.latch(component).named_now().is_none() || self.may_latch(component, source) {
            self.latch_to(component, source);
        }
    }

    fn is_permitted(&self, component: Component, source: SocketAddr) -> bool {
        self.is_named(component, source) || self.is_believed(source)
    }

    /// Its SIP comes from there, or the configuration says so.
    fn is_believed(&self, source: SocketAddr) -> bool {
        self.sip_source == Some(source.ip())
            || self.allowed.iter().any(|network| network.contains(source.ip()))
    }

    /// The same IP and port; a scope that the kernel adds to a link-local address does not count.
    fn is_named(&self, component: Component, source: SocketAddr) -> bool {
        let is_source = |named: SocketAddr| named.ip() == source.ip() && named.port() == source.port();
        let relayed = self.relayed.iter().filter(|(of, _)| *of == component);
        self.latch(component).named.into_iter().chain(relayed.map(|(_, named)| *named)).any(is_source)
    }

    #[inline]
    fn latch(&self, component: Component) -> &Latch {
        match component {
            Component::Rtp => &self.rtp,
            Component::Rtcp => &self.rtcp,
        }
    }

    fn latch_mut(&mut self, component: Component) -> &mut Latch {
        match component {
            Component::Rtp => &mut self.rtp,
            Component::Rtcp => &mut self.rtcp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Component::{Rtcp, Rtp};
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn named(rtp: &str) -> LegRules {
        let rtp = at(rtp);
        let rtcp = SocketAddr::new(rtp.ip(), rtp.port() + 1);
        LegRules { rtp: Some(rtp), rtcp: Some(rtcp), ..LegRules::default() }
    }

    fn leg(rules: LegRules) -> Leg {
        let mut leg = Leg::default();
        leg.set_rules(rules);
        leg
    }

    #[test]
    fn before_any_rules_nobody_may_speak() {
        let leg = Leg::default();
        assert!(!leg.may_latch(Rtp, at("192.0.2.1:4000")));
        assert_eq!(leg.destination(Rtp), None);
    }

    #[test]
    fn a_new_epoch_ends_a_latch_even_where_no_address_may_be_named() {
        let nat = |epoch| LegRules { sip_source: Some(at("192.0.2.1:0").ip()), epoch, ..LegRules::default() };
        let mut leg = leg(nat(0));
        leg.latch_to(Rtp, at("192.0.2.1:4000"));
        leg.set_rules(nat(0));
        assert_eq!(leg.source(Rtp), Some(at("192.0.2.1:4000")));
        leg.set_rules(nat(1));
        assert_eq!(leg.source(Rtp), None);

        let before = LegRules { epoch: 1, ..named("198.51.100.1:4000") };
        leg.set_rules(before);
        leg.set_rules(nat(2));
        assert!(!leg.may_latch(Rtp, at("198.51.100.1:4000")), "the address that SDP named before");
    }

    #[test]
    fn the_sdp_address_is_ip_and_port() {
        let leg = leg(named("192.0.2.1:4000"));
        assert!(leg.may_latch(Rtp, at("192.0.2.1:4000")));
        assert!(leg.may_latch(Rtcp, at("192.0.2.1:4001")));
        for stranger in ["192.0.2.1:4001", "192.0.2.1:4002", "192.0.2.2:4000"] {
            assert!(!leg.may_latch(Rtp, at(stranger)), "{stranger}");
        }
    }

    #[test]
    fn behind_nat_the_sip_source_and_allowed_networks_may_latch_from_any_port() {
        let leg = leg(LegRules {
            sip_source: Some("198.51.100.7".parse().unwrap()),
            allowed: ["203.0.113.0/28".parse().unwrap()].into(),
            ..named("10.0.0.5:4000")
        });
        assert!(leg.may_latch(Rtp, at("198.51.100.7:61000")));
        assert!(leg.may_latch(Rtp, at("203.0.113.15:1024")));
        assert!(!leg.may_latch(Rtp, at("198.51.100.8:61000")));
        assert!(!leg.may_latch(Rtp, at("203.0.113.16:1024")));
    }

    #[test]
    fn rtcp_comes_from_the_host_of_rtp_or_the_named_address() {
        let mut leg =
            leg(LegRules { allowed: ["203.0.113.0/28".parse().unwrap()].into(), ..named("192.0.2.1:4000") });
        leg.latch_to(Rtp, at("203.0.113.2:5000"));
        assert!(leg.may_latch(Rtcp, at("203.0.113.2:9000")));
        assert!(leg.may_latch(Rtcp, at("192.0.2.1:4001")));
        assert!(!leg.may_latch(Rtcp, at("203.0.113.3:9000")));
    }

    #[test]
    fn a_relayed_address_among_the_candidates_may_latch_its_component() {
        let relayed =
            |port| vec![(Rtp, at("203.0.113.10:45000")), (Rtcp, at(&format!("203.0.113.10:{port}")))];
        let rules = |port| LegRules { relayed: relayed(port), ..named("192.0.2.1:4000") };
        let mut leg = leg(rules(45006));
        assert!(leg.may_latch(Rtp, at("203.0.113.10:45000")) && leg.may_latch(Rtp, at("192.0.2.1:4000")));
        for stranger in ["203.0.113.10:45006", "203.0.113.10:45001", "192.0.2.1:4001"] {
            assert!(!leg.may_latch(Rtp, at(stranger)), "{stranger}");
        }
        leg.latch_to(Rtp, at("192.0.2.1:4000"));
        assert!(leg.may_latch(Rtcp, at("203.0.113.10:45006")), "RTCP may take another way");
        leg.latch_to(Rtcp, at("203.0.113.10:45006"));
        leg.set_rules(rules(45008));
        assert_eq!(leg.source(Rtcp), None, "it is no longer named");
    }

    #[test]
    fn nothing_is_sent_to_an_unproved_address_unless_allowed() {
        let mut unproved = leg(named("192.0.2.1:4000"));
        assert_eq!(unproved.destination(Rtp), None);
        unproved.latch_to(Rtp, at("192.0.2.1:4000"));
        assert_eq!(unproved.destination(Rtp), Some(at("192.0.2.1:4000")));

        let mut early = leg(LegRules {
            send_before_latch: true,
            sip_source: Some("198.51.100.7".parse().unwrap()),
            ..named("192.0.2.1:4000")
        });
        assert_eq!(early.destination(Rtp), Some(at("192.0.2.1:4000")));
        early.latch_to(Rtp, at("198.51.100.7:61000"));
        assert_eq!(early.destination(Rtp), Some(at("198.51.100.7:61000")), "never back to SDP's");
    }

    #[test]
    fn a_latch_holds_until_sdp_names_another_address() {
        let sip_source = Some("198.51.100.7".parse().unwrap());
        let nat = |rtp| LegRules { sip_source, ..named(rtp) };
        let mut leg = leg(nat("10.0.0.5:4000"));
        leg.latch_to(Rtp, at("198.51.100.7:61000"));
        leg.latch_to(Rtcp, at("198.51.100.7:61001"));

        leg.set_rules(LegRules { payload_types: vec![8], ..nat("10.0.0.5:4000") });
        assert_eq!(leg.source(Rtp), Some(at("198.51.100.7:61000")), "other codecs, same address");
        leg.set_rules(LegRules { rtp: None, rtcp: None, ..nat("10.0.0.5:4000") });
        assert_eq!(leg.source(Rtp), Some(at("198.51.100.7:61000")), "hold");
        leg.set_rules(nat("10.0.0.5:4000"));
        assert_eq!(leg.source(Rtp), Some(at("198.51.100.7:61000")), "taken from hold");
        leg.set_rules(LegRules { rtcp: Some(at("10.0.0.5:4009")), ..nat("10.0.0.5:4000") });
        assert_eq!(leg.source(Rtp), Some(at("198.51.100.7:61000")));
        assert_eq!(leg.source(Rtcp), None, "each component by itself");
        leg.set_rules(nat("10.0.0.5:4002"));
        assert_eq!(leg.source(Rtp), None);
    }

    #[test]
    fn a_latch_ends_when_its_source_is_no_longer_let_in() {
        let from = |ip: &str| LegRules { sip_source: Some(ip.parse().unwrap()), ..named("10.0.0.5:4000") };
        let mut leg = leg(from("198.51.100.7"));
        leg.latch_to(Rtp, at("198.51.100.7:61000"));
        leg.set_rules(from("198.51.100.9"));
        assert_eq!(leg.source(Rtp), None, "the phone has moved to another network");
    }

    #[test]
    fn hold_does_not_unlatch_an_address_that_only_sdp_let_in() {
        let mut leg = leg(named("192.0.2.1:4000"));
        leg.latch_to(Rtp, at("192.0.2.1:4000"));
        leg.set_rules(LegRules { rtp: None, rtcp: None, ..named("192.0.2.1:4000") });
        assert_eq!(leg.destination(Rtp), Some(at("192.0.2.1:4000")));
    }
}
