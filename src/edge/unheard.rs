//! Why one side of a call is not heard, in words that an administrator can act on.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::anchor::Evidence;
use super::anchor::destination::is_public;
use super::call::Leg;
use super::identify::Speaker;
use super::settings::{Settings, Trust};
use crate::relay::Side;

/// A side of a call that is not heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unheard {
    /// A is the caller's.
    pub side: Side,
    /// Name of its zone, trunk, or "pbx".
    pub party: Arc<str>,
    /// Why, as metrics name it.
    pub why: &'static str,
    /// What was seen, and what may cure it.
    pub text: String,
}

/// The same, as a file has it.
#[derive(Deserialize)]
struct Written {
    side: Side,
    party: Arc<str>,
    why: String,
    text: String,
}

impl<'de> Deserialize<'de> for Unheard {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Unheard, D::Error> {
        let Written { side, party, why, text } = Written::deserialize(deserializer)?;
        let known = Why::ALL.iter().map(|known| known.name()).find(|known| *known == why);
        Ok(Unheard { side, party, why: known.ok_or_else(|| D::Error::custom("no such reason"))?, text })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    NeverSent,
    WrongSource,
    WrongPayload,
    NoIceCheck,
    DtlsFailed,
    NotAuthentic,
    FellSilent,
}

impl Why {
    const ALL: [Why; 7] = [
        Why::NeverSent,
        Why::WrongSource,
        Why::WrongPayload,
        Why::NoIceCheck,
        Why::DtlsFailed,
        Why::NotAuthentic,
        Why::FellSilent,
    ];

    /// The counter that counts most says most.
    fn of(seen: &Evidence) -> Why {
        let refused = &seen.traffic;
        if seen.rtp > 0 {
            Why::FellSilent
        } else if seen.does_ice && !seen.is_proved {
            Why::NoIceCheck
        } else if seen.is_dtls && refused.dtls_failed > 0 {
            Why::DtlsFailed
        } else if seen.is_srtp && refused.refused_authentication > 0 {
            Why::NotAuthentic
        } else if seen.payload_type.is_some() && refused.refused_payload >= refused.refused_source {
            Why::WrongPayload
        } else if seen.stranger.is_some() {
            Why::WrongSource
        } else {
            Why::NeverSent
        }
    }

    fn name(self) -> &'static str {
        match self {
            Why::NeverSent => "never_sent",
            Why::WrongSource => "wrong_source",
            Why::WrongPayload => "wrong_payload",
            Why::NoIceCheck => "no_ice_check",
            Why::DtlsFailed => "dtls_failed",
            Why::NotAuthentic => "not_authentic",
            Why::FellSilent => "fell_silent",
        }
    }
}

/// A leg, where it stands in the configuration.
struct Place<'s> {
    /// `leg B (acme)`
    leg: String,
    zone: &'s str,
    trust: Trust,
    /// The zone names networks; otherwise anybody belongs to it.
    is_bounded: bool,
    /// Whose `media:` it goes by.
    section: &'static str,
    owner: &'s str,
    /// Where its SIP comes from.
    sip: IpAddr,
}

impl<'s> Place<'s> {
    fn new(side: Side, leg: &Leg, settings: &'s Settings) -> Option<Place<'s>> {
        let zone = settings.zone(leg.zone)?;
        let trunk = match leg.speaker {
            Speaker::Trunk(id) => settings.trunk(id),
            _ => None,
        };
        let letter = if side == Side::A { 'A' } else { 'B' };
        Some(Place {
            leg: format!("leg {letter} ({})", leg.name),
            zone: &zone.name,
            trust: zone.trust,
            is_bounded: !zone.networks.is_empty(),
            section: if trunk.is_some() { "trunks" } else { "zones" },
            owner: trunk.map_or(&zone.name, |trunk| &trunk.name),
            sip: leg.address,
        })
    }

    /// As it is typed.
    fn media(&self, setting: &str) -> String {
        format!("`{}: {{ {}: {{ media: {{ {setting} }} }} }}`", self.section, self.owner)
    }
}

impl Unheard {
    /// What is to be said of `leg`, on that side.
    pub(super) fn new(side: Side, leg: &Leg, seen: &Evidence, settings: &Settings) -> Option<Unheard> {
        let place = Place::new(side, leg, settings)?;
        let (why, text) = explain(&place, seen);
        Some(Unheard { side, party: leg.name.clone(), why, text })
    }
}

/// Why, as metrics name it, and in words.
fn explain(place: &Place<'_>, seen: &Evidence) -> (&'static str, String) {
    let why = Why::of(seen);
    let text = match why {
        Why::NeverSent => never_sent(place, seen),
        Why::WrongSource => wrong_source(place, seen),
        Why::WrongPayload => wrong_payload(place, seen),
        Why::NoIceCheck => no_ice_check(place, seen),
        Why::DtlsFailed => dtls_failed(place, seen),
        Why::NotAuthentic => not_authentic(place, seen),
        Why::FellSilent => fell_silent(place, seen),
    };
    (why.name(), text)
}

fn never_sent(place: &Place<'_>, seen: &Evidence) -> String {
    let Place { leg, zone, sip, .. } = place;
    let told = seen.told;
    let mut text = format!("{leg} never sent RTP to {told}; {}.", said(seen));
    let advertise = format!("`relay: {{ addresses: {{ {zone}: {{ advertise: … }} }} }}`");
    if is_public(*sip) && !is_public(told.ip()) {
        let _ =
            write!(text, " {told} cannot be reached from {sip}, where its SIP comes from: set {advertise}");
        return text;
    }
    let private = seen.said.filter(|said| !is_public(said.ip()) && is_public(*sip));
    if let Some(private) = private.filter(|_| seen.is_believed) {
        let _ = write!(
            text,
            " It is behind NAT: what goes to {private} does not arrive. Let it name its public address, or set \
             `zones: {{ {zone}: {{ trust: none }} }}`, so that its SIP's address counts."
        );
    } else if seen.said.is_some() && !seen.is_believed {
        let _ = write!(
            text,
            " That is not where it can be (zone `{zone}` has `trust: none`), so nothing goes there before it sends."
        );
    }
    let _ = write!(
        text,
        " Does its firewall let UDP through to the ports of `relay: {{ ports: … }}`, and is {} how it reaches us ({advertise})?",
        told.ip()
    );
    text
}

fn wrong_source(place: &Place<'_>, seen: &Evidence) -> String {
    let Place { leg, zone, sip, is_bounded, .. } = place;
    let refused = seen.traffic.refused_source;
    let Some(stranger) = seen.stranger else { return never_sent(place, seen) };
    let mut text = format!(
        "{leg} sends from {stranger}, but {} and its SIP comes from {sip}: {refused} packets refused.",
        said(seen)
    );
    let network = format!("{}/{}", stranger.ip(), if stranger.is_ipv4() { 32 } else { 128 });
    let networks = format!("`zones: {{ {zone}: {{ networks: … }} }}`");
    if place.trust == Trust::None && !is_bounded {
        let ice = place.media("ice: auto");
        let _ = write!(
            text,
            " If that is its NAT, let it do ICE, which shows who it is: switch it on there, with {ice}"
        );
    } else if !is_bounded {
        let _ = write!(
            text,
            " If that is its NAT or media gateway, name all networks of the zone, {network} too: {networks}"
        );
    } else {
        let _ = write!(text, " If that is its NAT or media gateway, add {network} to {networks}");
    }
    text
}

fn wrong_payload(place: &Place<'_>, seen: &Evidence) -> String {
    let (leg, refused) = (&place.leg, seen.traffic.refused_payload);
    let payload_type = seen.payload_type.unwrap_or_default();
    let negotiated: Vec<String> = seen.payload_types.iter().map(u8::to_string).collect();
    format!(
        "{leg} sends payload type {payload_type}, which was not negotiated ({}): {refused} packets refused. It does \
         not keep to the answer: set its codecs to those of the other side",
        negotiated.join(", ")
    )
}

fn no_ice_check(place: &Place<'_>, seen: &Evidence) -> String {
    let (leg, refused) = (&place.leg, seen.traffic.refused_source);
    let strip = place.media("ice: strip");
    format!(
        "{leg} says that it does ICE, but never passed an ICE check at {}: {refused} packets refused. If its ICE does \
         not work, go without: {strip}",
        seen.told
    )
}

fn not_authentic(place: &Place<'_>, seen: &Evidence) -> String {
    let (leg, refused) = (&place.leg, seen.traffic.refused_authentication);
    if seen.is_dtls {
        return format!(
            "SRTP of {leg} does not authenticate: {refused} packets refused. It does not send under the keys that came \
             of its DTLS handshake, or sends before one"
        );
    }
    let off = place.media("srtp: off");
    format!(
        "SRTP of {leg} does not authenticate: {refused} packets refused. It does not send under the key that its SDP \
         named; if its SRTP does not work, go without: {off}"
    )
}

fn dtls_failed(place: &Place<'_>, seen: &Evidence) -> String {
    let (leg, failed) = (&place.leg, seen.traffic.dtls_failed);
    let sdes = place.media("srtp: sdes");
    format!(
        "{leg} never sent SRTP: DTLS handshakes with it failed ({failed}); the line `no media by DTLS-SRTP` says why. If \
         it cannot do DTLS but SRTP with keys in SDP: {sdes}"
    )
}

fn fell_silent(place: &Place<'_>, seen: &Evidence) -> String {
    let (leg, rtp) = (&place.leg, seen.rtp);
    let mut text = format!("{leg} was heard ({rtp} packets of RTP) and is silent since.");
    match seen.stranger {
        Some(stranger) => {
            let _ = write!(
                text,
                " RTP came from {stranger} instead and was refused: if its NAT has moved it, a re-INVITE of the phone \
                 or ICE lets it in again"
            );
        }
        None => text.push_str(" Either it is muted and sends no silence, or its way to us is cut"),
    }
    text
}

fn said(seen: &Evidence) -> String {
    match seen.said {
        Some(said) => format!("its SDP said {said}"),
        None => "its SDP named no address".to_owned(),
    }
}

#[cfg(test)]
mod tests;
