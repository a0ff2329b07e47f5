//! Sending many datagrams, each to its own destination, in one system call.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use super::name::Name;
use super::{counted, header};

/// How often one datagram is tried. ICMP errors about earlier ones surface in the next call, instead of what it asks
/// for (`keep_undelivered`): each costs one try.
const TRIES: usize = 4;

/// Datagrams that wait to be sent, copied into one buffer.
pub struct SendBatch {
    bytes: Vec<u8>,
    names: Vec<Name>,
    iovecs: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    /// Those before it have gone.
    sent: usize,
    refused: Option<SocketAddr>,
}

// SAFETY: the raw pointers lead into heap memory that this value owns alone and never reallocates.
unsafe impl Send for SendBatch {}

/// It did not fit in: flush first. (A datagram larger than the whole batch never fits.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the batch is full")]
pub struct Refused;

impl SendBatch {
    /// Room for `datagrams` of together `bytes` bytes.
    pub fn new(datagrams: usize, bytes: usize) -> SendBatch {
        SendBatch {
            bytes: Vec::with_capacity(bytes),
            names: Vec::with_capacity(datagrams),
            iovecs: Vec::with_capacity(datagrams),
            headers: Vec::with_capacity(datagrams),
            sent: 0,
            refused: None,
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.headers.len() - self.sent
    }

    /// True if none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds one, copied.
    pub fn push(&mut self, to: SocketAddr, datagram: &[u8]) -> Result<(), Refused> {
        let full = self.headers.len() == self.headers.capacity();
        if full || self.bytes.capacity() - self.bytes.len() < datagram.len() {
            return Err(Refused);
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(datagram);
        let (name, name_len) = Name::encode(to);
        self.names.push(name);
        // Within their capacity none of the vectors moves, so the pointers hold until `clear`.
        let iov_base = self.bytes.as_mut_ptr().wrapping_add(start).cast();
        self.iovecs.push(libc::iovec { iov_base, iov_len: datagram.len() });
        let last = self.headers.len();
        let mut header = header(self.iovecs.as_mut_ptr().wrapping_add(last));
        header.msg_hdr.msg_name = self.names.as_mut_ptr().wrapping_add(last).cast();
        header.msg_hdr.msg_namelen = name_len;
        self.headers.push(header);
        Ok(())
    }

    /// Sends from the front; returns how many went. Never blocks: some may still wait afterwards
    /// ([`Self::is_empty`]), and `WouldBlock` means that none could go. Any other error is about one datagram, which
    /// is taken out ([`Self::refused`]); flush again for those behind it.
    pub fn flush(&mut self, socket: &impl AsFd) -> io::Result<usize> {
        self.refused = None;
        let before = self.sent;
        let mut tries = TRIES;
        let outcome = loop {
            if self.is_empty() {
                break Ok(());
            }
            match self.send_some(socket.as_fd().as_raw_fd()) {
                Ok(n) => {
                    self.sent += n;
                    tries = TRIES;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Err(error),
                Err(error) => {
                    tries -= 1;
                    if tries == 0 {
                        break Err(error);
                    }
                }
            }
        };
        let sent = self.sent - before;
        match outcome {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock && sent == 0 => {
                self.refused = self.names.get(self.sent).and_then(Name::decode);
                self.sent += 1;
                self.clear_if_empty();
                Err(error)
            }
            Err(error) if sent == 0 => Err(error),
            // What stopped us after the first will say so again.
            _ => {
                self.clear_if_empty();
                Ok(sent)
            }
        }
    }

    /// Destination of the datagram that the last [`Self::flush`] failed on.
    pub fn refused(&self) -> Option<SocketAddr> {
        self.refused
    }

    fn send_some(&mut self, fd: libc::c_int) -> io::Result<usize> {
        let rest = self.headers.get_mut(self.sent..).unwrap_or_default();
        // SAFETY: each of the headers points to a name and an iovec of its own, and that to its bytes; all lie in
        // vectors of `self` that have not moved since `push`.
        counted(unsafe {
            libc::sendmmsg(fd, rest.as_mut_ptr(), rest.len() as libc::c_uint, libc::MSG_DONTWAIT as _)
        })
    }

    /// Forgets what waits.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.names.clear();
        self.iovecs.clear();
        self.headers.clear();
        self.sent = 0;
    }

    fn clear_if_empty(&mut self) {
        if self.is_empty() {
            self.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Batch, keep_undelivered};
    use super::*;
    use std::net::UdpSocket;

    fn socket() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = socket.local_addr().unwrap();
        (socket, addr)
    }

    #[test]
    fn each_goes_to_its_own_destination() {
        let ((here, here_addr), (one, one_addr), (two, two_addr)) = (socket(), socket(), socket());
        let mut out = SendBatch::new(3, 100);
        out.push(one_addr, b"first").unwrap();
        out.push(two_addr, b"second").unwrap();
        out.push(one_addr, b"third").unwrap();
        assert_eq!(out.push(one_addr, b""), Err(Refused), "three is all it takes");
        assert_eq!(out.flush(&here).unwrap(), 3);
        assert!(out.is_empty());
        let mut batch = Batch::new(4, 100);
        assert_eq!(batch.recv(&one).unwrap(), 2);
        assert_eq!(batch.datagram(0), Some((here_addr, &b"first"[..])));
        assert_eq!(batch.datagram(1), Some((here_addr, &b"third"[..])));
        assert_eq!(batch.recv(&two).unwrap(), 1);
        assert_eq!(batch.datagram(0), Some((here_addr, &b"second"[..])));
        assert_eq!(out.flush(&here).unwrap(), 0);
    }

    #[test]
    fn full_of_bytes_is_full() {
        let ((here, _), (_there, there_addr)) = (socket(), socket());
        let mut out = SendBatch::new(10, 8);
        out.push(there_addr, &[0; 5]).unwrap();
        assert_eq!(out.push(there_addr, &[0; 4]), Err(Refused));
        out.push(there_addr, &[0; 3]).unwrap();
        assert_eq!(out.flush(&here).unwrap(), 2);
        out.push(there_addr, &[0; 8]).unwrap();
    }

    #[test]
    fn one_that_cannot_go_does_not_stop_those_behind_it() {
        let ((here, _), (_there, there_addr)) = (socket(), socket());
        let unreachable: SocketAddr = "[::1]:9".parse().unwrap();
        let mut out = SendBatch::new(10, 1000);
        out.push(there_addr, b"a").unwrap();
        out.push(unreachable, b"b").unwrap();
        out.push(there_addr, b"c").unwrap();
        assert_eq!(out.flush(&here).unwrap(), 1);
        assert!(out.flush(&here).is_err());
        assert_eq!(out.refused(), Some(unreachable));
        assert_eq!(out.flush(&here).unwrap(), 1);
        assert!(out.is_empty());
    }

    #[test]
    fn an_icmp_error_about_an_earlier_one_loses_none() {
        let ((here, here_addr), (there, there_addr)) = (socket(), socket());
        keep_undelivered(&here, here_addr.is_ipv6()).unwrap();
        let closed = socket().1;
        let mut out = SendBatch::new(10, 1000);
        for _ in 0..3 {
            for to in [closed, there_addr, closed] {
                out.push(to, b"x").unwrap();
            }
            assert_eq!(out.flush(&here).unwrap(), 3);
        }
        let mut batch = Batch::new(10, 100);
        assert_eq!(batch.recv(&there).unwrap(), 3);
    }
}
