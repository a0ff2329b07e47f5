//! Receiving, and sending on from the same buffers without a copy.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};

use super::name::Name;
use super::{counted, header};

/// What the kernel took for sending.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    pub datagrams: usize,
    pub bytes: usize,
}

/// Datagrams received in one system call.
pub struct Batch {
    /// `capacity` buffers of `size` bytes.
    bytes: Vec<u8>,
    size: usize,
    names: Vec<Name>,
    iovecs: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    filled: usize,
    /// Headers to send from the same buffers ([`Batch::send`]).
    out_iovecs: Vec<libc::iovec>,
    out_headers: Vec<libc::mmsghdr>,
}

// SAFETY: the raw pointers lead into heap memory that this value owns alone and never reallocates.
unsafe impl Send for Batch {}

impl Batch {
    /// Room for `datagrams` of up to `size` bytes each.
    pub fn new(datagrams: usize, size: usize) -> Batch {
        let mut bytes = vec![0; datagrams * size];
        let mut names = vec![Name::empty(); datagrams];
        let mut iovecs: Vec<_> = bytes
            .chunks_exact_mut(size)
            .map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: size })
            .collect();
        let mut out_iovecs = iovecs.clone();
        let headers = iovecs.iter_mut().zip(&mut names).map(|(iovec, name)| {
            let mut header = header(iovec);
            header.msg_hdr.msg_name = (name as *mut Name).cast();
            header.msg_hdr.msg_namelen = Name::LEN;
            header
        });
        let headers = headers.collect();
        let out_headers = out_iovecs.iter_mut().map(|iovec| header(iovec)).collect();
        Batch { bytes, size, names, iovecs, headers, filled: 0, out_iovecs, out_headers }
    }

    /// How many datagrams one call can bring.
    pub fn capacity(&self) -> usize {
        self.iovecs.len()
    }

    /// How many the last call brought.
    pub fn len(&self) -> usize {
        self.filled
    }

    /// True if the last call brought none.
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Receives what is there, replacing what was. Never blocks, whatever the socket's mode. Less than the capacity
    /// means that the socket is drained; `WouldBlock`, that there was nothing.
    pub fn recv(&mut self, socket: &impl AsFd) -> io::Result<usize> {
        // The kernel wrote how much of the name and which flags it used.
        for header in self.headers.iter_mut().take(self.filled) {
            header.msg_hdr.msg_namelen = Name::LEN;
            header.msg_hdr.msg_flags = 0;
        }
        self.filled = 0;
        let capacity = self.capacity() as libc::c_uint;
        let fd = socket.as_fd().as_raw_fd();
        loop {
            // SAFETY: `headers` holds `capacity` headers; each points to a name and an iovec of its own, and that to
            // a buffer of `size` bytes, all owned by `self`, which is borrowed mutably for the call.
            let result = unsafe {
                libc::recvmmsg(
                    fd,
                    self.headers.as_mut_ptr(),
                    capacity,
                    libc::MSG_DONTWAIT as _,
                    std::ptr::null_mut(),
                )
            };
            match counted(result) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
                Ok(n) => {
                    self.filled = n;
                    return Ok(n);
                }
            }
        }
    }

    /// Datagram `i` and where it came from; `None` past the end, and for one that was longer than the buffer (its
    /// rest is lost).
    pub fn datagram(&self, i: usize) -> Option<(SocketAddr, &[u8])> {
        let header = self.headers.get(..self.filled)?.get(i)?;
        if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
            return None;
        }
        let start = i * self.size;
        let bytes = self.bytes.get(start..start + header.msg_len as usize)?;
        Some((self.names.get(i)?.decode()?, bytes))
    }

    /// Sends the datagrams `range`, as they came, to `to` from `socket`. Never blocks. Returns what the kernel took;
    /// the others are lost: its buffer was full, or there is no way there.
    pub fn send(&mut self, range: Range<usize>, socket: &impl AsFd, to: SocketAddr) -> Sent {
        let range = range.start..range.end.min(self.filled);
        let (mut name, name_len) = Name::encode(to);
        let out = self.out_headers.iter_mut().zip(&mut self.out_iovecs).zip(&self.headers);
        for ((header, iovec), received) in out.take(range.end).skip(range.start) {
            iovec.iov_len = received.msg_len as usize;
            header.msg_hdr.msg_name = (&raw mut name).cast();
            header.msg_hdr.msg_namelen = name_len;
        }
        let fd = socket.as_fd().as_raw_fd();
        let mut rest = self.out_headers.get_mut(range).unwrap_or_default();
        let mut sent = Sent::default();
        while !rest.is_empty() {
            // SAFETY: each of the headers points to `name`, which outlives the call, and to an iovec of its own, and
            // that to a buffer that holds at least `iov_len` bytes; all owned by `self`.
            let result = unsafe {
                libc::sendmmsg(fd, rest.as_mut_ptr(), rest.len() as libc::c_uint, libc::MSG_DONTWAIT as _)
            };
            let done = match counted(result) {
                Ok(n) => {
                    sent.datagrams += n;
                    sent.bytes += rest.iter().take(n).map(|header| header.msg_len as usize).sum::<usize>();
                    n
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An error of this datagram, or an ICMP error about an earlier one: the others may still go.
                Err(_) => 1,
            };
            rest = rest.get_mut(done..).unwrap_or_default();
        }
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    fn socket(bind: &str) -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind(bind).unwrap();
        socket.set_nonblocking(true).unwrap();
        let addr = socket.local_addr().unwrap();
        (socket, addr)
    }

    #[test]
    fn datagrams_come_in_order_with_their_source() {
        for bind in ["127.0.0.1:0", "[::1]:0"] {
            let (here, here_addr) = socket(bind);
            let (there, there_addr) = socket(bind);
            let mut batch = Batch::new(4, 64);
            assert_eq!(batch.recv(&here).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            for i in 0..6u8 {
                there.send_to(&[i; 3], here_addr).unwrap();
            }
            assert_eq!(batch.recv(&here).unwrap(), 4);
            assert_eq!(batch.datagram(3), Some((there_addr, &[3u8; 3][..])));
            assert_eq!(batch.datagram(4), None);
            assert_eq!(batch.recv(&here).unwrap(), 2);
            assert_eq!(batch.datagram(1), Some((there_addr, &[5u8; 3][..])));
            assert_eq!(batch.datagram(2), None);
        }
    }

    #[test]
    fn what_does_not_fit_is_not_shown_cut_and_an_empty_one_is() {
        let (here, here_addr) = socket("127.0.0.1:0");
        let (there, there_addr) = socket("127.0.0.1:0");
        let mut batch = Batch::new(4, 8);
        for len in [9, 8, 0] {
            there.send_to(&[7; 9][..len], here_addr).unwrap();
        }
        assert_eq!(batch.recv(&here).unwrap(), 3);
        assert_eq!(batch.datagram(0), None);
        assert_eq!(batch.datagram(1), Some((there_addr, &[7u8; 8][..])));
        assert_eq!(batch.datagram(2), Some((there_addr, &[][..])));
        // The marks of the last round are gone in the next.
        there.send_to(&[1], here_addr).unwrap();
        assert_eq!(batch.recv(&here).unwrap(), 1);
        assert_eq!(batch.datagram(0), Some((there_addr, &[1u8][..])));
    }

    #[test]
    fn a_range_is_sent_on_without_a_copy() {
        let (relay, relay_addr) = socket("127.0.0.1:0");
        let (from, _) = socket("127.0.0.1:0");
        let (to, to_addr) = socket("127.0.0.1:0");
        let mut batch = Batch::new(8, 64);
        for i in 0..4u8 {
            from.send_to(&vec![i; usize::from(i) + 1], relay_addr).unwrap();
        }
        assert_eq!(batch.recv(&relay).unwrap(), 4);
        assert_eq!(batch.send(1..3, &relay, to_addr), Sent { datagrams: 2, bytes: 5 });
        assert_eq!(batch.send(3..9, &relay, to_addr), Sent { datagrams: 1, bytes: 4 });
        assert_eq!(batch.send(4..9, &relay, to_addr), Sent::default());
        assert_eq!(batch.recv(&to).unwrap(), 3);
        assert_eq!(batch.datagram(0), Some((relay_addr, &[1u8; 2][..])));
        assert_eq!(batch.datagram(2), Some((relay_addr, &[3u8; 4][..])));
        // No way to an IPv6 address from an IPv4 socket: counted as lost, no harm done.
        assert_eq!(batch.send(0..3, &relay, "[::1]:9".parse().unwrap()), Sent::default());
    }
}
