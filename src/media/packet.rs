//! What a datagram on a media port is, told by its first bytes (RFC 7983 §7, RFC 5761 §4) and checked as far as
//! encryption allows.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

/// What the header of an RTP packet says (RFC 3550 §5.1).
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpHeader {
    pub payload_type: u8,
    pub sequence: u16,
    pub ssrc: u32,
    /// All of it, with CSRC list and header extension.
    pub len: usize,
}

/// The header of a valid RTP packet: version 2, and CSRC list and header extension fit. The padding is not looked at:
/// under SRTP it is encrypted.
pub fn rtp_header(packet: &[u8]) -> Option<RtpHeader> {
    let (fixed, rest) = packet.split_first_chunk::<12>()?;
    let [flags, marker_and_type, high, low, _, _, _, _, ssrc @ ..] = *fixed;
    if flags >> 6 != 2 {
        return None;
    }
    let mut after = rest.get(usize::from(flags & 0x0f) * 4..)?;
    if flags & 0x10 != 0 {
        // RFC 3550 §5.3.1: 16 bits of profile, 16 bits of length in words.
        let ([_, _, high, low], extension) = after.split_first_chunk::<4>()?;
        after = extension.get(usize::from(u16::from_be_bytes([*high, *low])) * 4..)?;
    }
    Some(RtpHeader {
        payload_type: marker_and_type & 0x7f,
        sequence: u16::from_be_bytes([high, low]),
        ssrc: u32::from_be_bytes(ssrc),
        len: packet.len() - after.len(),
    })
}

/// The payload type of a valid RTP packet.
pub fn rtp_payload_type(packet: &[u8]) -> Option<u8> {
    rtp_header(packet).map(|header| header.payload_type)
}

/// True for a valid RTCP packet (RFC 3550 §6.4, also reduced-size, RFC 5506, and SRTCP): version 2, a packet type that
/// RFC 5761 §4 keeps free of RTP's, and the first part fits.
pub fn is_rtcp(packet: &[u8]) -> bool {
    let Some(([flags, packet_type, high, low], _)) = packet.split_first_chunk::<4>() else { return false };
    let first_part = 4 * (usize::from(u16::from_be_bytes([*high, *low])) + 1);
    flags >> 6 == 2 && is_rtcp_type(*packet_type) && first_part >= 8 && first_part <= packet.len()
}

/// The SSRC of the sender of a valid RTCP packet (RFC 3550 §6.4.1).
pub fn rtcp_ssrc(packet: &[u8]) -> Option<u32> {
    let ([_, _, _, _, ssrc @ ..], _) = packet.split_first_chunk::<8>()?;
    is_rtcp(packet).then(|| u32::from_be_bytes(*ssrc))
}

/// RFC 5761 §4: with RTP and RTCP on one port, a second byte of 192 to 223 says RTCP.
pub fn looks_like_rtcp(packet: &[u8]) -> bool {
    packet.get(1).is_some_and(|packet_type| is_rtcp_type(*packet_type))
}

fn is_rtcp_type(second_byte: u8) -> bool {
    (192..=223).contains(&second_byte)
}

/// True for a well-formed STUN message (RFC 8489 §5): leading zero bits, magic cookie, the length says the truth.
pub fn is_stun(packet: &[u8]) -> bool {
    let Some((header, attributes)) = packet.split_first_chunk::<20>() else { return false };
    let [first, _, high, low, cookie @ ..] = header;
    *first < 4
        && cookie.starts_with(&[0x21, 0x12, 0xa4, 0x42])
        && usize::from(u16::from_be_bytes([*high, *low])) == attributes.len()
        && attributes.len() % 4 == 0
}

/// True for a DTLS record: a plaintext or DTLS 1.2 header whose length fits (RFC 6347 §4.1), or the unified header of
/// DTLS 1.3 (RFC 9147 §4), which promises nothing.
pub fn is_dtls(packet: &[u8]) -> bool {
    match packet.first() {
        Some(20..=31) => {
            let Some((header, rest)) = packet.split_first_chunk::<13>() else { return false };
            let [_, major, .., high, low] = header;
            *major == 0xfe && usize::from(u16::from_be_bytes([*high, *low])) <= rest.len()
        }
        Some(32..=63) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rtp(first: u8, second: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![first, second, 0, 1, 0, 0, 0, 160, 1, 2, 3, 4];
        packet.extend_from_slice(rest);
        packet
    }

    #[test]
    fn rtp_is_version_2_with_csrcs_and_extension_that_fit() {
        assert_eq!(rtp_payload_type(&rtp(0x80, 0, &[])), Some(0), "no payload is still RTP");
        assert_eq!(rtp_payload_type(&rtp(0x80, 0xe5, &[0; 160])), Some(101), "the marker is not of the type");
        assert_eq!(rtp_payload_type(&rtp(0x40, 0, &[0; 160])), None, "version 1");
        assert_eq!(rtp_payload_type(&rtp(0x80, 0, &[])[..11]), None);
        assert_eq!(rtp_payload_type(&rtp(0x82, 0, &[0; 8])), Some(0));
        assert_eq!(rtp_payload_type(&rtp(0x82, 0, &[0; 7])), None);
        assert_eq!(rtp_payload_type(&rtp(0x91, 0, &[0, 0, 0, 0, 0xbe, 0xde, 0, 1, 9, 9, 9, 9])), Some(0));
        assert_eq!(rtp_payload_type(&rtp(0x91, 0, &[0, 0, 0, 0, 0xbe, 0xde, 0, 2, 9, 9, 9, 9])), None);
        assert_eq!(rtp_payload_type(&rtp(0x90, 0, &[0xbe, 0xde, 0])), None);
    }

    #[test]
    fn rtcp_is_told_by_type_and_length() {
        let report = [0x80, 201, 0, 1, 1, 2, 3, 4];
        assert!(is_rtcp(&report) && looks_like_rtcp(&report));
        assert!(is_rtcp(&[&report[..], &[0; 14]].concat()), "SRTCP's index and tag come after it");
        assert!(!is_rtcp(&[0x80, 201, 0, 2, 1, 2, 3, 4]), "cut");
        assert!(!is_rtcp(&[0x80, 201, 0, 0, 1, 2, 3, 4]), "no SSRC");
        assert!(!is_rtcp(&[0x40, 201, 0, 1, 1, 2, 3, 4]), "version 1");
        assert!(!is_rtcp(&rtp(0x80, 0, &[0; 160])));
        assert!(!looks_like_rtcp(&rtp(0x80, 0x80 | 96, &[0; 160])));
    }

    #[test]
    fn stun_and_dtls_are_told_by_more_than_their_first_byte() {
        let mut binding = vec![0, 1, 0, 4, 0x21, 0x12, 0xa4, 0x42];
        binding.resize(24, 7);
        assert!(is_stun(&binding));
        assert!(!is_stun(&binding[..20]));
        binding[4] = 0;
        assert!(!is_stun(&binding), "no magic cookie");
        let hello = [22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0];
        assert!(is_dtls(&hello));
        assert!(!is_dtls(&hello[..14]));
        assert!(!is_dtls(b"\x16\x03\x01 a TLS ClientHello"));
        assert!(!is_dtls(&rtp(0x80, 0, &[])) && !is_dtls(&[]));
    }

    proptest! {
        #[test]
        fn no_bytes_are_two_things_at_once(packet in proptest::collection::vec(any::<u8>(), 0..80)) {
            let media = rtp_payload_type(&packet).is_some() || is_rtcp(&packet);
            let kinds = [media, is_stun(&packet), is_dtls(&packet)];
            prop_assert!(kinds.iter().filter(|is| **is).count() <= 1);
        }
    }
}
