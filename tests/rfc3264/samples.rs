//! Offers and answers as products write them (written by us after public examples, with addresses and keys of our own),
//! paired into exchanges.

use super::*;

/// Where an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// `trust: none`, behind NAT.
    Phones,
    /// `trust: full`.
    Office,
    /// `trust: none`, public.
    Carrier,
}

impl Zone {
    pub fn side(self, ice: Ice) -> SideSettings {
        let (relay, sip_source) = match self {
            Zone::Phones => (RA, Some(PHONE)),
            Zone::Office => (RB, None),
            Zone::Carrier => ("203.0.113.30", Some("198.51.100.200")),
        };
        let (untrusted, shows) = match self {
            Zone::Office => (false, Scope::Global),
            Zone::Phones | Zone::Carrier => (true, Scope::Private),
        };
        SideSettings { sip_source: sip_source.map(ip), untrusted, ice, shows, ..side(relay) }
    }
}

/// What one product offers and another answers.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    pub offer: &'static str,
    pub from: Zone,
    pub answer: &'static str,
    pub to: Zone,
}

const fn exchange(offer: &'static str, from: Zone, answer: &'static str, to: Zone) -> Exchange {
    Exchange { offer, from, answer, to }
}

pub const EXCHANGES: [Exchange; 24] = {
    use Zone::*;
    [
        exchange("chrome", Phones, "asterisk-webrtc-answer", Office),
        exchange("chromium-video", Phones, "firefox-answer", Office),
        exchange("firefox", Phones, "firefox-answer", Office),
        exchange("firefox-gathered", Phones, "chromium-answer", Phones),
        exchange("safari", Phones, "freeswitch-webrtc-answer", Office),
        exchange("asterisk", Office, "cisco-cube-answer", Carrier),
        exchange("asterisk-ice", Office, "linphone-ice-answer", Phones),
        exchange("asterisk-webrtc", Office, "chromium-answer", Phones),
        exchange("freeswitch", Office, "yealink-answer", Phones),
        exchange("freeswitch-plain", Office, "twilio-answer", Carrier),
        exchange("cisco-phone", Phones, "cisco-phone-answer", Office),
        exchange("cisco-cube", Carrier, "asterisk-answer", Office),
        exchange("polycom", Phones, "polycom-answer", Office),
        exchange("yealink", Phones, "yealink-answer", Office),
        exchange("teams", Carrier, "sbc-lite-answer", Office),
        exchange("linphone", Phones, "asterisk-answer", Office),
        exchange("linphone-ice", Phones, "asterisk-answer", Office),
        exchange("baresip", Phones, "asterisk-answer", Office),
        exchange("baresip-ice", Phones, "asterisk-webrtc-answer", Office),
        exchange("zoom", Carrier, "yealink-answer", Office),
        exchange("twilio", Carrier, "asterisk-answer", Office),
        exchange("grandstream", Phones, "asterisk-answer", Office),
        exchange("t38-gateway", Phones, "t38-answer", Carrier),
        exchange("t38", Carrier, "t38-answer", Office),
    ]
};

macro_rules! samples {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("samples/", $name, ".sdp")))),*]
    };
}

pub const SAMPLES: &[(&str, &str)] = samples!(
    "asterisk" "asterisk-answer" "asterisk-ice" "asterisk-webrtc" "asterisk-webrtc-answer" "baresip" "baresip-ice" "chrome"
    "chromium-answer" "chromium-video" "cisco-cube" "cisco-cube-answer" "cisco-phone" "cisco-phone-answer" "firefox"
    "firefox-answer" "firefox-gathered" "freeswitch" "freeswitch-plain" "freeswitch-webrtc-answer" "grandstream" "linphone"
    "linphone-ice" "linphone-ice-answer" "polycom" "polycom-answer" "safari" "sbc-lite-answer" "t38" "t38-answer"
    "t38-gateway" "teams" "twilio" "twilio-answer" "yealink" "yealink-answer" "zoom"
);

/// As it goes over the wire.
pub fn sample(name: &str) -> String {
    let (_, body) = SAMPLES.iter().find(|(known, _)| *known == name).expect(name);
    body.replace('\n', "\r\n")
}
