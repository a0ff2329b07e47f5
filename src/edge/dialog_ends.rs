//! The two ends of a dialog that we hold nothing of (SUBSCRIBE, REFER outside a call), sealed into the user part of our
//! Record-Route and bound to its Call-ID: nobody but us can point a request anywhere with it.

use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use smallvec::SmallVec;

use super::flow::FlowEnd;
use super::targets::TargetId;
use crate::base::{FlowId, ListenerId, NodeKey, Transport};

/// Who sent the first request of the dialog, and who got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DialogEnds {
    /// Its sender.
    pub first: Endpoint,
    /// Its receiver.
    pub second: Endpoint,
}

/// One end of such a dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A registered contact, wherever its flow is by now.
    Binding(u64),
    /// A configured host.
    Target(TargetId),
    /// Exactly this flow.
    Flow(FlowEnd),
}

type Raw = SmallVec<[u8; 72]>;

const PURPOSE: &str = "dialog ends";

/// Appends the ends, which nobody else can read.
pub fn seal(key: &NodeKey, ends: &DialogEnds, call_id: &[u8], out: &mut Vec<u8>) {
    let mut raw = Raw::new();
    put(&mut raw, &ends.first);
    put(&mut raw, &ends.second);
    out.extend_from_slice(URL_SAFE_NO_PAD.encode(key.seal(PURPOSE, call_id, &raw)).as_bytes());
}

/// Reads them back; `None` if we did not seal them for this Call-ID.
pub fn open(key: &NodeKey, text: &[u8], call_id: &[u8]) -> Option<DialogEnds> {
    if text.len() > 144 {
        return None;
    }
    let raw = key.open(PURPOSE, call_id, &URL_SAFE_NO_PAD.decode(text).ok()?)?;
    let mut raw = &raw[..];
    let ends = DialogEnds { first: take_endpoint(&mut raw)?, second: take_endpoint(&mut raw)? };
    raw.is_empty().then_some(ends)
}

fn put_id(raw: &mut Raw, kind: u8, id: u64) {
    raw.push(kind);
    raw.extend_from_slice(&id.to_be_bytes());
}

fn put(raw: &mut Raw, endpoint: &Endpoint) {
    match endpoint {
        Endpoint::Binding(id) => put_id(raw, b'b', *id),
        Endpoint::Target(id) => put_id(raw, b't', u64::from(id.0)),
        Endpoint::Flow(end) => {
            put_id(raw, if end.remote.is_ipv4() { b'4' } else { b'6' }, end.flow.0);
            raw.extend_from_slice(&end.listener.0.to_be_bytes());
            raw.push(end.transport as u8);
            raw.extend_from_slice(&end.remote.port().to_be_bytes());
            match end.remote.ip() {
                IpAddr::V4(ip) => raw.extend_from_slice(&ip.octets()),
                IpAddr::V6(ip) => raw.extend_from_slice(&ip.octets()),
            }
        }
    }
}

fn take_endpoint(rest: &mut &[u8]) -> Option<Endpoint> {
    let [kind] = take(rest)?;
    let id = take_u64(rest)?;
    Some(match kind {
        b'b' => Endpoint::Binding(id),
        b't' => Endpoint::Target(TargetId(u16::try_from(id).ok()?)),
        b'4' | b'6' => {
            let listener = ListenerId(u16::from_be_bytes(take(rest)?));
            let [transport] = take(rest)?;
            let port = u16::from_be_bytes(take(rest)?);
            let ip = match kind {
                b'4' => IpAddr::from(take::<4>(rest)?),
                _ => IpAddr::from(take::<16>(rest)?),
            };
            let remote = SocketAddr::new(ip, port);
            Endpoint::Flow(FlowEnd {
                listener,
                transport: transport_of(transport)?,
                flow: FlowId(id),
                remote,
            })
        }
        _ => return None,
    })
}

fn transport_of(byte: u8) -> Option<Transport> {
    let all = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];
    all.into_iter().find(|transport| *transport as u8 == byte)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    take(rest).map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ends() -> [Endpoint; 4] {
        let end = |remote: &str, transport| {
            let remote = remote.parse().expect("address");
            Endpoint::Flow(FlowEnd { listener: ListenerId(3), transport, flow: FlowId(9), remote })
        };
        [
            Endpoint::Binding(u64::MAX),
            Endpoint::Target(TargetId(2)),
            end("192.0.2.1:5060", Transport::Udp),
            end("[2001:db8::1]:5061", Transport::Wss),
        ]
    }

    #[test]
    fn what_was_sealed_opens_and_only_for_its_dialog() {
        let key = NodeKey::new([1; 16]);
        for (first, second) in ends().into_iter().zip(ends().into_iter().rev()) {
            let sealed = DialogEnds { first, second };
            let mut text = Vec::new();
            seal(&key, &sealed, b"call", &mut text);
            assert_eq!(open(&key, &text, b"call"), Some(sealed));
            assert_eq!(open(&key, &text, b"other"), None);
            assert_eq!(open(&NodeKey::new([2; 16]), &text, b"call"), None);
        }
    }

    proptest! {
        #[test]
        fn nothing_else_opens(text in "[0-9a-zA-Z_-]{0,160}") {
            prop_assert_eq!(open(&NodeKey::new([1; 16]), text.as_bytes(), b"call"), None);
        }
    }
}
