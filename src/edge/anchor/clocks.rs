//! How fast the payload types of a stream run, as SDP says.

use crate::media::quality::{ClockRates, static_rate};
use crate::sdp::Session;

/// Of the `index`th section, or of all that are bundled with it: they travel together.
pub(super) fn of(session: &Session<'_>, index: usize) -> ClockRates {
    let mut clocks = ClockRates::default();
    let sections = if session.has_bundle() { 0..session.media().len() } else { index..index + 1 };
    for section in sections {
        // A bit for each payload type.
        let mut mapped = 0_u128;
        for (payload_type, rate) in session.attributes(section, "rtpmap").filter_map(rtpmap) {
            mapped |= 1_u128.checked_shl(payload_type.into()).unwrap_or_default();
            if let Some(rate) = rate {
                clocks.add(payload_type, rate);
            }
        }
        // RFC 8866 §6.6: what RFC 3551 says needs no line of its own.
        let listed = session.media().get(section).map(|media| media.payload_types.as_slice());
        for payload_type in listed.unwrap_or_default() {
            let is_mapped = mapped.checked_shr(u32::from(*payload_type)).is_some_and(|bits| bits & 1 == 1);
            if let Some(rate) = static_rate(*payload_type).filter(|_| !is_mapped) {
                clocks.add(*payload_type, rate);
            }
        }
    }
    clocks
}

/// Of what the side that said `here` sends: RFC 3264 §6.1, it sends by the numbers that the other one listed.
pub(super) fn heard(here: Option<&ClockRates>, there: Option<&ClockRates>) -> ClockRates {
    let mut clocks = there.cloned().unwrap_or_default();
    if let Some(here) = here {
        clocks.add_all(here);
    }
    clocks
}

/// `<payload type> <encoding>/<clock rate>[/<channels>]` (RFC 8866 §6.6). No rate for events: their timestamps stand still
/// (RFC 4733 §2.3.5), which is no jitter.
fn rtpmap(value: &[u8]) -> Option<(u8, Option<u32>)> {
    let (payload_type, encoding) = std::str::from_utf8(value).ok()?.trim().split_once(' ')?;
    let mut fields = encoding.trim_start().split('/');
    let is_event = fields.next()?.eq_ignore_ascii_case("telephone-event");
    let rate = fields.next()?.parse().ok()?;
    Some((payload_type.parse().ok()?, (!is_event).then_some(rate)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clocks(all: &[(u8, u32)]) -> ClockRates {
        let mut clocks = ClockRates::default();
        all.iter().for_each(|(payload_type, rate)| clocks.add(*payload_type, *rate));
        clocks
    }

    const OFFER: &[u8] = b"v=0\r\nm=audio 4000 RTP/AVP 0 9 111 101 18\r\na=rtpmap:111 opus/48000/2\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:bad\r\na=rtpmap:112 x/0\r\n\
        m=video 4002 RTP/AVP 96 34\r\na=rtpmap:96 H264/90000\r\n";

    #[test]
    fn rates_are_those_of_rtpmap_and_of_rfc_3551() {
        let session = Session::parse(OFFER).unwrap();
        assert_eq!(of(&session, 0), clocks(&[(111, 48_000), (0, 8_000), (9, 8_000), (18, 8_000)]));
        assert_eq!(of(&session, 1), clocks(&[(96, 90_000), (34, 90_000)]));
    }

    #[test]
    fn a_bundle_has_those_of_all_its_sections() {
        let bundle = [b"v=0\r\na=group:BUNDLE a v\r\n", OFFER.strip_prefix(b"v=0\r\n").unwrap()].concat();
        let session = Session::parse(&bundle).unwrap();
        let all = [(111, 48_000), (0, 8_000), (9, 8_000), (18, 8_000), (96, 90_000), (34, 90_000)];
        assert_eq!((of(&session, 0), of(&session, 1)), (clocks(&all), clocks(&all)));
    }

    #[test]
    fn a_side_sends_by_the_numbers_of_the_other() {
        let (here, there) = (clocks(&[(96, 48_000), (97, 16_000)]), clocks(&[(96, 8_000)]));
        assert_eq!(heard(Some(&here), Some(&there)), clocks(&[(96, 8_000), (97, 16_000)]));
        assert_eq!(heard(Some(&here), None), here);
        assert_eq!(heard(None, None), ClockRates::default());
    }
}
