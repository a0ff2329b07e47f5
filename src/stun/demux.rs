//! What arrives on a port where several protocols meet, told by its first byte (RFC 7983 §7, RFC 8656 §12).
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use super::types::{HEADER, MAGIC_COOKIE};

/// A guess by the first byte: what follows must still be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// 0 to 3.
    Stun,
    /// 20 to 63, DTLS 1.3's unified header (RFC 9147 §4) among them.
    Dtls,
    /// 64 to 127: TURN ChannelData. RFC 8656 §12 ends at 79, but channels of RFC 5766 go on (docs/rfc-exceptions.md), and
    /// nothing else begins like that.
    ChannelData,
    /// 128 to 191: RTP or RTCP.
    Rtp,
    /// A letter that can begin a SIP request or response (RFC 3261 §25.1: a token), or the line break of a keep-alive.
    Sip,
    /// Anything else, and nothing at all.
    Other,
}

/// On a SIP port: STUN keep-alives (RFC 5626 §3.5.2) beside SIP. Methods are written in capitals in practice, but a token may
/// begin with any letter, so letters win over ChannelData.
pub fn on_sip_port(datagram: &[u8]) -> Protocol {
    match datagram.first() {
        Some(0..=3) => Protocol::Stun,
        Some(byte) if byte.is_ascii_alphabetic() || matches!(byte, b'\r' | b'\n') => Protocol::Sip,
        _ => Protocol::Other,
    }
}

/// On a TURN port, where nobody speaks SIP (RFC 7983 §7).
pub fn on_turn_port(datagram: &[u8]) -> Protocol {
    match datagram.first() {
        Some(0..=3) => Protocol::Stun,
        Some(20..=63) => Protocol::Dtls,
        Some(64..=127) => Protocol::ChannelData,
        Some(128..=191) => Protocol::Rtp,
        _ => Protocol::Other,
    }
}

/// Says of itself that it is an indication, which wants no answer (RFC 8489 §5, figure 3).
pub fn is_indication(message: &[u8]) -> bool {
    matches!(message, [first @ 0..=0x3f, second, ..] if first & 0x01 == 0 && second & 0x10 != 0)
}

/// The next whole piece of a TURN stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A STUN message; `consumed` bytes of the stream are used up.
    Stun {
        /// The message.
        bytes: &'a [u8],
        /// What to drop from the stream.
        consumed: usize,
    },
    /// ChannelData without the padding of streams (RFC 8656 §12.5).
    ChannelData {
        /// Channel number, length and data.
        bytes: &'a [u8],
        /// What to drop from the stream, padding included.
        consumed: usize,
    },
    /// Not whole yet: this many bytes are needed before asking again makes sense.
    Wants(usize),
    /// Neither: close the connection.
    Garbage,
}

/// Cuts the first piece out of a TCP or TLS stream. `channels`: the connection has an allocation, so ChannelData may come;
/// without one it is garbage, as is the `G` of an HTTP request, which looks like it. Garbage is told as early as its bytes
/// allow, so that nobody holds a connection open by promising a message.
pub fn stream_frame(stream: &[u8], channels: bool) -> Frame<'_> {
    let kind = match on_turn_port(stream) {
        Protocol::ChannelData if !channels => Protocol::Other,
        kind => kind,
    };
    let Some([_, _, l0, l1]) = stream.first_chunk::<4>() else {
        let may_become = stream.is_empty() || matches!(kind, Protocol::Stun | Protocol::ChannelData);
        return if may_become { Frame::Wants(4) } else { Frame::Garbage };
    };
    let length = usize::from(u16::from_be_bytes([*l0, *l1]));
    match kind {
        Protocol::Stun => {
            let cookie = MAGIC_COOKIE.to_be_bytes();
            let seen = stream.get(4..stream.len().min(8)).unwrap_or_default();
            if length % 4 != 0 || !cookie.starts_with(seen) {
                return Frame::Garbage;
            }
            let whole = HEADER + length;
            stream.get(..whole).map_or(Frame::Wants(whole), |bytes| Frame::Stun { bytes, consumed: whole })
        }
        Protocol::ChannelData => {
            // RFC 8656 §12.5: over a stream padded to a multiple of four, which the length does not count.
            let padded = 4 + length.next_multiple_of(4);
            let bytes = stream.get(..padded).and_then(|whole| whole.get(..4 + length));
            bytes.map_or(Frame::Wants(padded), |bytes| Frame::ChannelData { bytes, consumed: padded })
        }
        _ => Frame::Garbage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_tells() {
        let on_turn = |byte: u8| on_turn_port(&[byte]);
        let cases = [
            (0, Protocol::Stun),
            (3, Protocol::Stun),
            (4, Protocol::Other),
            (19, Protocol::Other),
            (20, Protocol::Dtls),
            (63, Protocol::Dtls),
            (64, Protocol::ChannelData),
            (127, Protocol::ChannelData),
            (128, Protocol::Rtp),
            (191, Protocol::Rtp),
            (192, Protocol::Other),
            (255, Protocol::Other),
        ];
        for (byte, protocol) in cases {
            assert_eq!(on_turn(byte), protocol, "{byte}");
        }
        assert_eq!(on_turn_port(b""), Protocol::Other);
    }

    #[test]
    fn a_sip_port_takes_sip_and_stun() {
        for sip in [
            &b"INVITE sip:a@b SIP/2.0"[..],
            b"SIP/2.0 200 OK",
            b"\r\n\r\n",
            b"invite",
            b"MESSAGE",
            b"OPTIONS",
        ] {
            assert_eq!(on_sip_port(sip), Protocol::Sip);
        }
        assert_eq!(on_sip_port(&[0, 1, 0, 0]), Protocol::Stun);
        assert_eq!(on_sip_port(&[0x80]), Protocol::Other);
        assert_eq!(on_sip_port(&[0x16, 0xfe]), Protocol::Other);
        assert_eq!(on_sip_port(b""), Protocol::Other);
    }

    #[test]
    fn a_stream_is_cut_at_any_byte() {
        let mut stream = vec![0, 1, 0, 4, 0x21, 0x12, 0xa4, 0x42];
        stream.extend([9; 12]);
        stream.extend([0x80, 0x22, 0, 0]);
        for end in 0..stream.len() {
            let Frame::Wants(wanted) = stream_frame(&stream[..end], false) else { panic!("{end}") };
            assert!(wanted > end && wanted <= stream.len());
        }
        assert_eq!(stream_frame(&stream, true), Frame::Stun { bytes: &stream, consumed: 24 });
    }

    #[test]
    fn channel_data_on_a_stream_is_padded() {
        let stream = [0x40, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0, 0x40];
        assert_eq!(stream_frame(&stream, true), Frame::ChannelData { bytes: &stream[..9], consumed: 12 });
        assert_eq!(stream_frame(&stream[..11], true), Frame::Wants(12));
        let empty = [0x7f, 0xff, 0, 0];
        assert_eq!(stream_frame(&empty, true), Frame::ChannelData { bytes: &empty, consumed: 4 });
    }

    #[test]
    fn garbage_is_told_early() {
        for garbage in
            [&b"G"[..], b"GET / HTTP/1.1", &[0x16, 3, 1], &[0, 1, 0, 3], &[0, 1, 0, 4, 0x21, 0x13], &[0x80]]
        {
            assert_eq!(stream_frame(garbage, false), Frame::Garbage, "{garbage:02x?}");
        }
    }
}
