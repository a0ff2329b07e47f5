//! The headers of the data path, read and written in place: ChannelData (RFC 8656 §12.4), the Send indication (§11.2)
//! and the Data indication (§11.3). Nothing here allocates.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use crate::stun::{HEADER, MAGIC_COOKIE, Message, TransactionId, Type};

use super::channel;
use super::request::is_understood;

/// Bytes to keep free before a payload, so that any header fits: a Data indication with an IPv6 peer.
pub const HEADROOM: usize = HEADER + 4 + 20 + 4;
/// Bytes to keep free after it: padding.
pub const TAILROOM: usize = 3;

const DATA_INDICATION: [u8; 2] = [0x00, 0x17];

/// The channel and the place of the payload in a ChannelData message, which may be followed by its padding (RFC 8656
/// §12.5: on a stream it must, in a datagram it may). `None`: shorter than it says, or something else follows.
#[inline]
pub fn read_channel_data(message: &[u8]) -> Option<(u16, Range<usize>)> {
    let ([channel_high, channel_low, high, low], rest) = message.split_first_chunk::<4>()?;
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let padding = rest.len().checked_sub(length)?;
    let number = u16::from_be_bytes([*channel_high, *channel_low]);
    (padding <= 3 && channel::is_number(number)).then_some((number, 4..4 + length))
}

/// What a Send indication asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendIndication {
    /// Whom it is for.
    pub peer: SocketAddr,
    /// Where the payload stands in the message.
    pub data: Range<usize>,
    /// RFC 8656 §18.9: send with the DF bit.
    pub dont_fragment: bool,
}

/// Reads a Send indication. `None`: broken, without XOR-PEER-ADDRESS or DATA, or with an attribute that has to be
/// understood and is not (RFC 8489 §6.3.2, RFC 8656 §11.2: dropped without a word).
#[inline]
pub fn read_send_indication(message: &Message<'_>) -> Option<SendIndication> {
    let (mut peer, mut data, mut dont_fragment) = (None, None, false);
    let mut at = HEADER;
    for attribute in message.attributes() {
        at += 4;
        // RFC 8489 §14: of an attribute that stands twice, the first counts.
        match attribute.kind {
            Type::XOR_PEER_ADDRESS if peer.is_none() => {
                peer = Some(attribute.xor_address(message.transaction_id()).ok()?);
            }
            Type::DATA if data.is_none() => data = Some(at..at + attribute.value.len()),
            Type::DONT_FRAGMENT => dont_fragment = true,
            kind if !is_understood(kind) => return None,
            _ => {}
        }
        at += attribute.value.len().next_multiple_of(4);
    }
    Some(SendIndication { peer: peer?, data: data?, dont_fragment })
}

/// Puts a ChannelData header before `payload`, and padding behind it if it leaves on a stream. What to send; `None` if
/// there is no room.
#[inline]
pub fn write_channel_data(
    buffer: &mut [u8],
    payload: Range<usize>,
    number: u16,
    stream: bool,
) -> Option<Range<usize>> {
    let length = u16::try_from(payload.len()).ok()?;
    let start = payload.start.checked_sub(4)?;
    let header = buffer.get_mut(start..payload.start)?.first_chunk_mut::<4>()?;
    let ([n0, n1], [l0, l1]) = (number.to_be_bytes(), length.to_be_bytes());
    *header = [n0, n1, l0, l1];
    // RFC 8656 §12.5: on a stream padded to a multiple of four; the length does not tell.
    let end = if stream { pad(buffer, payload)? } else { payload.end };
    Some(start..end)
}

/// Puts the header of a Data indication before `payload`, and padding behind it. What to send; `None` if there is no
/// room or the payload is longer than a STUN message can be.
#[inline]
pub fn write_data_indication(
    buffer: &mut [u8],
    payload: Range<usize>,
    peer: SocketAddr,
    transaction: TransactionId,
) -> Option<Range<usize>> {
    let length = u16::try_from(payload.len()).ok()?;
    let mut header = [0; HEADROOM];
    let used = write_headers(&mut header, peer, transaction, length)?;
    let start = payload.start.checked_sub(used)?;
    buffer.get_mut(start..payload.start)?.copy_from_slice(header.get(..used)?);
    let end = pad(buffer, payload)?;
    Some(start..end)
}

/// STUN header, XOR-PEER-ADDRESS and the header of DATA; how long they are.
fn write_headers(
    out: &mut [u8; HEADROOM],
    peer: SocketAddr,
    transaction: TransactionId,
    data_length: u16,
) -> Option<usize> {
    let address_length: u16 = if peer.is_ipv4() { 8 } else { 20 };
    let padded = data_length.checked_next_multiple_of(4)?;
    let length = (4 + address_length + 4).checked_add(padded)?;
    let mut writer = Writer { out, at: 0 };
    writer.put(&DATA_INDICATION)?;
    writer.put(&length.to_be_bytes())?;
    writer.put(&MAGIC_COOKIE.to_be_bytes())?;
    writer.put(&transaction.0)?;
    writer.put_peer(peer, transaction)?;
    writer.put(&Type::DATA.0.to_be_bytes())?;
    writer.put(&data_length.to_be_bytes())?;
    Some(writer.at)
}

struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.at + bytes.len();
        self.out.get_mut(self.at..end)?.copy_from_slice(bytes);
        self.at = end;
        Some(())
    }

    fn put_peer(&mut self, peer: SocketAddr, transaction: TransactionId) -> Option<()> {
        let [c0, c1, ..] = MAGIC_COOKIE.to_be_bytes();
        let [p0, p1] = peer.port().to_be_bytes();
        self.put(&Type::XOR_PEER_ADDRESS.0.to_be_bytes())?;
        match peer.ip() {
            IpAddr::V4(ip) => {
                self.put(&[0, 8, 0, 1, p0 ^ c0, p1 ^ c1])?;
                self.put(&(ip.to_bits() ^ MAGIC_COOKIE).to_be_bytes())
            }
            IpAddr::V6(ip) => {
                self.put(&[0, 20, 0, 2, p0 ^ c0, p1 ^ c1])?;
                self.put(&(ip.to_bits() ^ mask(transaction)).to_be_bytes())
            }
        }
    }
}

/// Zeroes behind `payload` up to a multiple of four of its length; where they end.
fn pad(buffer: &mut [u8], payload: Range<usize>) -> Option<usize> {
    let end = payload.start + payload.len().next_multiple_of(4);
    buffer.get_mut(payload.end..end)?.fill(0);
    Some(end)
}

/// RFC 8489 §14.2: an IPv6 address is masked by cookie and transaction id.
fn mask(TransactionId(id): TransactionId) -> u128 {
    u128::from(MAGIC_COOKIE) << 96 | id.iter().fold(0, |sum, byte| sum << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests;
