//! The way from one relayed address of ours to another without leaving the process: inside a worker by the directory, between
//! workers through a pair of unix sockets for each that receives. Those cannot be forged, are bounded by their buffer, wake the
//! other's poll, and take batches like any socket for datagrams.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use socket2::SockRef;

use super::directory::{Directory, Home};
use super::token::Ready;
use crate::base::RelayedAddr;

/// Asked for; the kernel gives what `net.core.wmem_max` allows.
const BUFFER: usize = 4 * 1024 * 1024;
/// Relayed addresses of ours that a packet may go through: a call over two calls between two TURN clients has six.
pub(super) const MOST_HOPS: u8 = 8;

/// How many it went through, from where it comes and for whom it is: what stands in front of a packet between workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub hops: u8,
    pub from: RelayedAddr,
    pub to: RelayedAddr,
}

/// A worker's ways to all others.
pub(super) struct Shortcuts {
    /// This worker.
    number: usize,
    directory: Arc<Directory>,
    inbox: UnixDatagram,
    /// By worker.
    to: Arc<[UnixDatagram]>,
}

/// For each worker its own.
pub(super) fn shortcuts(workers: usize, directory: &Arc<Directory>) -> io::Result<Vec<Shortcuts>> {
    let (mut inboxes, mut to) = (Vec::new(), Vec::new());
    for _ in 0..workers {
        let (inbox, way) = UnixDatagram::pair()?;
        let _ = SockRef::from(&way).set_send_buffer_size(BUFFER);
        inboxes.push(inbox);
        to.push(way);
    }
    let to: Arc<[UnixDatagram]> = to.into();
    let shortcut =
        |(number, inbox)| Shortcuts { number, directory: directory.clone(), inbox, to: to.clone() };
    Ok(inboxes.into_iter().enumerate().map(shortcut).collect())
}

impl Shortcuts {
    /// Puts the socket for what others send into the poll.
    pub fn watch(&self, registry: &Registry) -> io::Result<()> {
        let token = Ready::Shortcut.token();
        registry.register(&mut SourceFd(&self.inbox.as_raw_fd()), token, Interest::READABLE)
    }

    /// Who has this relayed address: the number of another worker, or where it is in this one. (Another that does not have
    /// it yet was told to open it, and obeys before it reads.)
    #[inline]
    pub fn find(&self, to: RelayedAddr) -> Option<Result<Home, usize>> {
        let (worker, home) = self.directory.find(to.0)?;
        if worker == self.number { home.map(Ok) } else { Some(Err(worker)) }
    }

    /// True if somebody in the process has this relayed address.
    #[inline]
    pub fn is_ours(&self, addr: SocketAddr) -> bool {
        self.directory.is_open(addr)
    }

    /// What others send.
    pub fn inbox(&self) -> &UnixDatagram {
        &self.inbox
    }

    /// The way to another worker.
    pub fn to(&self, worker: usize) -> Option<&UnixDatagram> {
        self.to.get(worker)
    }
}

impl Header {
    /// Bytes.
    pub const LEN: usize = 1 + 18 + 18;

    /// Writes it before `packet`; what to send. `None`: there is no room.
    pub fn write(self, bytes: &mut [u8], packet: Range<usize>) -> Option<Range<usize>> {
        let start = packet.start.checked_sub(Header::LEN)?;
        let header = bytes.get_mut(start..packet.start)?.first_chunk_mut::<{ Header::LEN }>()?;
        let (hops, addresses) = header.split_first_mut()?;
        *hops = self.hops;
        let (from, to) = addresses.split_at_mut(18);
        write_addr(from, self.from.0);
        write_addr(to, self.to.0);
        Some(start..packet.end)
    }

    /// Reads what [`Self::write`] wrote; where the packet is.
    pub fn read(bytes: &[u8], message: Range<usize>) -> Option<(Header, Range<usize>)> {
        let (header, _) = bytes.get(message.clone())?.split_first_chunk::<{ Header::LEN }>()?;
        let (hops, addresses) = header.split_first()?;
        let (from, to) = addresses.split_at(18);
        let header =
            Header { hops: *hops, from: RelayedAddr(read_addr(from)?), to: RelayedAddr(read_addr(to)?) };
        Some((header, message.start + Header::LEN..message.end))
    }
}

fn write_addr(out: &mut [u8], addr: SocketAddr) {
    let ip = match addr.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    if let Some((out, port)) = out.split_first_chunk_mut::<16>() {
        *out = ip.octets();
        port.copy_from_slice(&addr.port().to_be_bytes());
    }
}

/// No relay address is a mapped one, so that one that looks so is IPv4.
fn read_addr(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_first_chunk::<16>()?;
    let port = u16::from_be_bytes(port.try_into().ok()?);
    Some(SocketAddr::new(IpAddr::V6(Ipv6Addr::from(*ip)).to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_written_before_the_packet_and_read_again() {
        let addr = |text: &str| RelayedAddr(text.parse().unwrap());
        let mut bytes = [7; 60];
        for (from, to) in [("192.0.2.1:40000", "[2001:db8::1]:1"), ("[::1]:65535", "127.0.0.1:2")] {
            let header = Header { hops: 3, from: addr(from), to: addr(to) };
            let message = header.write(&mut bytes, 40..50).unwrap();
            assert_eq!(message, 3..50);
            assert_eq!(Header::read(&bytes, message), Some((header, 40..50)));
        }
        let header = Header { hops: 0, from: addr("[::1]:1"), to: addr("[::1]:2") };
        assert_eq!(header.write(&mut bytes, 36..50), None);
        assert_eq!(Header::read(&bytes, 30..66), None);
        assert_eq!(Header::read(&bytes, 30..60), None);
    }

    #[test]
    fn a_worker_finds_its_own_and_the_others() {
        let addr = RelayedAddr("192.0.2.1:40000".parse().unwrap());
        let directory = Arc::new(Directory::new([addr.0.ip()]));
        let both = shortcuts(2, &directory).unwrap();
        assert_eq!(both[0].find(addr), None);
        directory.promise(addr.0, 1);
        assert_eq!((both[0].find(addr), both[1].find(addr)), (Some(Err(1)), None));
        directory.enter(addr.0, 1, Home::Relayed(5));
        assert!(both[0].is_ours(addr.0));
        assert_eq!(both[0].find(addr), Some(Err(1)));
        assert_eq!(both[1].find(addr), Some(Ok(Home::Relayed(5))));
        both[0].to(1).unwrap().send(b"hello").unwrap();
        assert_eq!(both[1].inbox().recv(&mut [0; 9]).unwrap(), 5);
    }
}
