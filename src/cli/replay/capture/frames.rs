//! From a captured frame to the UDP datagram or TCP segment in it; fragments of IP are put together.

use std::net::{IpAddr, SocketAddr};

use etherparse::defrag::IpDefragPool;
use etherparse::{
    EtherType, IpNumber, LaxNetSlice, LaxSlicedPacket, SlicedPacket, TcpSlice, UdpSlice, ip_number,
};
use pcap_parser::Linktype;

/// What stands before IP.
#[derive(Clone, Copy, Debug)]
pub enum Link {
    Ethernet,
    /// So many bytes, in which the type of what follows stands at a place (tcpdump -i any).
    Cooked {
        length: usize,
        kind: usize,
    },
    /// So many bytes.
    Bare(usize),
}

impl Link {
    /// <https://www.tcpdump.org/linktypes.html>
    pub fn of(link: Linktype) -> Result<Link, Linktype> {
        Ok(match link.0 {
            1 => Link::Ethernet,
            113 => Link::Cooked { length: 16, kind: 14 },
            276 => Link::Cooked { length: 20, kind: 0 },
            0 | 108 => Link::Bare(4),
            12 | 14 | 101 | 228 | 229 => Link::Bare(0),
            _ => return Err(link),
        })
    }

    fn lax<'d>(self, data: &'d [u8]) -> Option<LaxSlicedPacket<'d>> {
        match self {
            Link::Ethernet => LaxSlicedPacket::from_ethernet(data).ok(),
            Link::Cooked { length, kind } => {
                Some(LaxSlicedPacket::from_ether_type(ether_type(data, kind)?, data.get(length..)?))
            }
            Link::Bare(length) => LaxSlicedPacket::from_ip(data.get(length..)?).ok(),
        }
    }

    fn strict<'d>(self, data: &'d [u8]) -> Option<SlicedPacket<'d>> {
        match self {
            Link::Ethernet => SlicedPacket::from_ethernet(data).ok(),
            Link::Cooked { length, kind } => {
                SlicedPacket::from_ether_type(ether_type(data, kind)?, data.get(length..)?).ok()
            }
            Link::Bare(length) => SlicedPacket::from_ip(data.get(length..)?).ok(),
        }
    }
}

fn ether_type(data: &[u8], at: usize) -> Option<EtherType> {
    let bytes = data.get(at..)?.first_chunk()?;
    Some(EtherType(u16::from_be_bytes(*bytes)))
}

/// What one end sent to the other.
#[derive(Debug)]
pub struct Segment {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub kind: Kind,
    pub bytes: Vec<u8>,
}

#[derive(Debug)]
pub enum Kind {
    Datagram,
    /// Of TCP: the number of its first byte, and whether the stream begins or ends with it.
    Stream {
        number: u32,
        begins: bool,
        ends: bool,
    },
}

/// Reads frames.
#[derive(Default)]
pub struct Frames {
    fragments: IpDefragPool,
    /// Since the pool was empty.
    pending: u64,
    pub cut_short: u64,
    pub lost_fragments: u64,
}

/// So many fragments may wait for others, of at most 64 kB each when they are put together.
const PENDING: u64 = 512;

impl Frames {
    /// None: it is neither UDP nor TCP, or a fragment that others must join.
    pub fn read(&mut self, link: Link, data: &[u8]) -> Option<Segment> {
        let packet = link.lax(data)?;
        let net = packet.net.as_ref()?;
        let (from, to): (IpAddr, IpAddr) = match net {
            LaxNetSlice::Ipv4(ip) => {
                (ip.header().source_addr().into(), ip.header().destination_addr().into())
            }
            LaxNetSlice::Ipv6(ip) => {
                (ip.header().source_addr().into(), ip.header().destination_addr().into())
            }
            LaxNetSlice::Arp(_) => return None,
        };
        let payload = net.ip_payload_ref()?;
        if !matches!(payload.ip_number, ip_number::UDP | ip_number::TCP) {
            return None;
        }
        if payload.incomplete {
            self.cut_short += 1;
            return None;
        }
        if payload.fragmented {
            let (number, whole) = self.join(&link.strict(data)?)?;
            return segment(from, to, number, &whole);
        }
        segment(from, to, payload.ip_number, payload.payload)
    }

    fn join(&mut self, packet: &SlicedPacket<'_>) -> Option<(IpNumber, Vec<u8>)> {
        if self.pending >= PENDING {
            // Those that have not become whole by now will not.
            self.lost_fragments += self.pending;
            self.fragments.retain(|()| false);
            self.pending = 0;
        }
        self.pending += 1;
        let whole = self.fragments.process_sliced_packet(packet, (), ()).ok()??;
        // Two at least are not waited for any more; one too few for the bound is no harm.
        self.pending = self.pending.saturating_sub(2);
        Some((whole.ip_number, whole.payload))
    }
}

fn segment(from: IpAddr, to: IpAddr, number: IpNumber, payload: &[u8]) -> Option<Segment> {
    let (from_port, to_port, kind, bytes) = match number {
        ip_number::UDP => {
            let udp = UdpSlice::from_slice_lax(payload).ok()?;
            (udp.source_port(), udp.destination_port(), Kind::Datagram, udp.payload())
        }
        _ => {
            let tcp = TcpSlice::from_slice(payload).ok()?;
            let number = tcp.sequence_number();
            let kind = Kind::Stream { number, begins: tcp.syn(), ends: tcp.fin() || tcp.rst() };
            (tcp.source_port(), tcp.destination_port(), kind, tcp.payload())
        }
    };
    let (from, to) = (SocketAddr::new(from, from_port), SocketAddr::new(to, to_port));
    Some(Segment { from, to, kind, bytes: bytes.to_vec() })
}
