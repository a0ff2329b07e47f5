//! How terms stand in SDP.

use crate::media::srtp::MasterKey;
use crate::relay::Side;
use crate::sdp::dtls::Fingerprint;
use crate::sdp::{Keying, Media, crypto};

use super::super::stream::Said;
use super::{Keys, Terms, Translation, is_secure};

/// The section that is written anew.
pub(in crate::edge::anchor) struct Body<'b> {
    pub to: Side,
    /// Else an answer.
    pub is_offer: bool,
    pub media: &'b Media<'b>,
    pub index: usize,
    /// What `to` said last: the offer, if this is its answer.
    pub heard: Option<&'b Said>,
}

impl Translation {
    /// What the section says of its security, instead of what the far endpoint said. `fingerprint`: of our certificate.
    pub(in crate::edge::anchor) fn written(
        &self,
        body: &Body<'_>,
        fingerprint: impl FnOnce() -> Fingerprint,
    ) -> Keying {
        let terms = self.of(body.to);
        let is_dtls = self.is_dtls(body.to);
        let lines = match terms {
            Terms::Plain => Vec::new(),
            Terms::Sdes { ours, .. } if body.is_offer => {
                (1..).zip(ours).map(|(tag, key)| crypto_line(tag, key)).collect()
            }
            Terms::Sdes { .. } => {
                let taken = body.heard.and_then(|said| match said.keys() {
                    Some(Keys::Sdes(taken)) => Some(taken),
                    _ => None,
                });
                let key = |tag, suite| Some(crypto_line(tag, terms.our_key(suite)?));
                taken.and_then(|taken| key(taken.tag, taken.key.suite())).into_iter().collect()
            }
            Terms::Dtls { setup } => vec![
                format!("a=fingerprint:{}", fingerprint()).into_bytes(),
                format!("a=setup:{}", setup.name()).into_bytes(),
            ],
        };
        let known_mid = body.heard.and_then(Said::mid).map(<[u8]>::to_vec);
        // RFC 8829 §5.2.1: whoever does DTLS-SRTP today names its sections.
        let numbered = || (is_dtls && body.is_offer).then(|| body.index.to_string().into_bytes());
        Keying {
            protocol: protocol(terms, body),
            lines,
            rtcp_mux: rtcp_mux(is_dtls, body),
            mid: known_mid.or_else(numbered),
            // RFC 9143 §7.3: no answer has a bundle that was not offered.
            bundled: is_dtls && (body.is_offer || body.heard.is_some_and(Said::is_bundled)),
        }
    }
}

fn crypto_line(tag: u32, key: &MasterKey) -> Vec<u8> {
    let mut line = Vec::new();
    crypto::write(tag, key.suite().name(), key.key_and_salt(), &mut line);
    line
}

/// An answer has its offer's (RFC 3264 §6), a later offer the one that is in use.
fn protocol(terms: &Terms, body: &Body<'_>) -> String {
    let secure = !matches!(terms, Terms::Plain | Terms::Sdes { required: false, .. });
    let in_use = body.heard.and_then(Said::rtp_protocol);
    if let Some(protocol) = in_use.filter(|protocol| !body.is_offer || is_secure(protocol) == secure) {
        return String::from_utf8_lossy(protocol).into_owned();
    }
    if matches!(terms, Terms::Dtls { .. }) {
        return "UDP/TLS/RTP/SAVPF".to_owned();
    }
    // A browser says SAVPF whatever it does (RFC 8829 §5.1.2), and a PBX may refuse AVPF: towards others AVP will do. The two
    // differ in when feedback may be sent (RFC 4585 §3.3).
    let feedback = if body.media.protocol.ends_with(b"F") && !body.media.is_dtls() { "F" } else { "" };
    format!("RTP/{}AVP{feedback}", if secure { "S" } else { "" })
}

/// Browsers insist on it (RFC 8834 §4.5), and our leg towards one is of its own.
fn rtcp_mux(is_dtls: bool, body: &Body<'_>) -> Option<bool> {
    let offered = body.is_offer || body.heard.is_some_and(Said::does_rtcp_mux);
    match (offered, is_dtls) {
        (false, _) => Some(false),
        (true, true) => Some(true),
        (true, false) => None,
    }
}
