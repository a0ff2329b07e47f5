//! Receiving, and sending on from the same memory without a copy.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};

use super::name::Name;
use super::queue::{Queue, QueueFull, Sent};
use super::{counted, header};

/// How a slot of a [`Batch`] is cut: nothing is received into the bytes before and behind the datagram, so that a header
/// can be put round it in place.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    pub headroom: usize,
    pub datagram: usize,
    pub tailroom: usize,
}

impl Slot {
    fn len(self) -> usize {
        self.headroom + self.datagram + self.tailroom
    }
}

/// Memory for datagrams in slots, in which they are received, perhaps from several sockets one after the other, and from
/// which any range is sent ([`Self::queue`], [`Self::flush`]).
pub struct Batch {
    bytes: Vec<u8>,
    slot: Slot,
    names: Vec<Name>,
    iovecs: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    filled: usize,
    queue: Queue,
}

// SAFETY: the raw pointers lead into heap memory that this value owns alone and never reallocates.
unsafe impl Send for Batch {}

impl Batch {
    /// Room for `datagrams` of up to `size` bytes each, with nothing round them.
    pub fn new(datagrams: usize, size: usize) -> Batch {
        Batch::with_room(datagrams, Slot { headroom: 0, datagram: size, tailroom: 0 })
    }

    /// As many slots, and as many places in the queue.
    pub fn with_room(slots: usize, slot: Slot) -> Batch {
        let mut bytes = vec![0; slots * slot.len()];
        let mut names = vec![Name::empty(); slots];
        let datagram = |bytes: &mut [u8]| libc::iovec {
            iov_base: bytes.as_mut_ptr().wrapping_add(slot.headroom).cast(),
            iov_len: slot.datagram,
        };
        let mut iovecs: Vec<_> = bytes.chunks_exact_mut(slot.len()).map(datagram).collect();
        let headers = iovecs.iter_mut().zip(&mut names).map(|(iovec, name)| {
            let mut header = header(iovec);
            header.msg_hdr.msg_name = (name as *mut Name).cast();
            header.msg_hdr.msg_namelen = Name::LEN;
            header
        });
        let headers = headers.collect();
        Batch { bytes, slot, names, iovecs, headers, filled: 0, queue: Queue::new(slots) }
    }

    /// How many slots there are.
    pub fn capacity(&self) -> usize {
        self.iovecs.len()
    }

    /// How many slots hold a datagram.
    pub fn len(&self) -> usize {
        self.filled
    }

    /// True if none does.
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Forgets all that was received, and what is still queued.
    pub fn clear(&mut self) {
        self.clear_queue();
        // The kernel wrote how much of the name and which flags it used.
        for header in self.headers.iter_mut().take(self.filled) {
            header.msg_hdr.msg_namelen = Name::LEN;
            header.msg_hdr.msg_flags = 0;
        }
        self.filled = 0;
    }

    /// Receives what is there, replacing what was. Never blocks, whatever the socket's mode. Less than the capacity means
    /// that the socket is drained; `WouldBlock`, that there was nothing.
    pub fn recv(&mut self, socket: &impl AsFd) -> io::Result<usize> {
        self.clear();
        self.recv_more(socket, self.capacity()).map(|slots| slots.len())
    }

    /// Receives at most `most` datagrams into the slots that are free, behind those that are not; returns the slots that
    /// were filled. Otherwise like [`Self::recv`].
    pub fn recv_more(&mut self, socket: &impl AsFd, most: usize) -> io::Result<Range<usize>> {
        let free = self.headers.get_mut(self.filled..).unwrap_or_default();
        let room = free.len().min(most) as libc::c_uint;
        let fd = socket.as_fd().as_raw_fd();
        loop {
            // SAFETY: at least `room` headers stand there; each points to a name and an iovec of its own, and that to the
            // middle of a slot of its own, all owned by `self`, which is borrowed mutably for the call.
            let result = unsafe {
                libc::recvmmsg(fd, free.as_mut_ptr(), room, libc::MSG_DONTWAIT as _, std::ptr::null_mut())
            };
            match counted(result) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
                Ok(n) => {
                    let first = self.filled;
                    self.filled += n;
                    return Ok(first..self.filled);
                }
            }
        }
    }

    /// Datagram `i` and where it came from; `None` past the end, and for one that was longer than its slot (its rest is
    /// lost).
    pub fn datagram(&self, i: usize) -> Option<(SocketAddr, &[u8])> {
        Some((self.source(i)?, self.bytes.get(self.place(i)?)?))
    }

    /// Where datagram `i` came from, if that has an IP address.
    #[inline]
    pub fn source(&self, i: usize) -> Option<SocketAddr> {
        let header = self.headers.get(..self.filled)?.get(i)?;
        // A unix socket without a name leaves what stood there before.
        self.names.get(i).filter(|_| header.msg_hdr.msg_namelen > 0)?.decode()
    }

    /// Where in [`Self::bytes`] datagram `i` stands; `None` as for [`Self::datagram`].
    #[inline]
    pub fn place(&self, i: usize) -> Option<Range<usize>> {
        let header = self.headers.get(..self.filled)?.get(i)?;
        if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
            return None;
        }
        let start = i * self.slot.len() + self.slot.headroom;
        Some(start..start + header.msg_len as usize)
    }

    /// The memory of all slots.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The memory of all slots, also for what is received by other means: [`Self::clear`] first.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Where in [`Self::bytes`] the last of the queued ranges ends: nothing may be written before it.
    pub fn queued_to(&self) -> usize {
        self.queue.end()
    }

    /// Queues `range` of the bytes for [`Self::flush`]; `to` is `None` if the socket is connected. Ranges are queued in the
    /// order in which they stand.
    #[inline]
    pub fn queue(&mut self, range: Range<usize>, to: Option<SocketAddr>) -> Result<(), QueueFull> {
        let Some(bytes) = self.bytes.get_mut(range.clone()) else { return Ok(()) };
        self.queue.push(bytes, range.end, to)
    }

    /// Sends all that is queued. Never blocks. Returns what the kernel took; the others are lost: its buffer was full, there
    /// is no way there, or one is too long.
    pub fn flush(&mut self, socket: &impl AsFd) -> Sent {
        self.queue.flush(socket.as_fd().as_raw_fd())
    }

    /// Forgets what is queued.
    pub fn clear_queue(&mut self) {
        self.queue.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::keep_undelivered;
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
    fn several_sockets_fill_one_batch_and_any_range_is_sent_on_without_a_copy() {
        let (one, one_addr) = socket("127.0.0.1:0");
        let (two, two_addr) = socket("127.0.0.1:0");
        let (from, from_addr) = socket("127.0.0.1:0");
        let (to, to_addr) = socket("127.0.0.1:0");
        let mut batch = Batch::with_room(5, Slot { headroom: 4, datagram: 8, tailroom: 1 });
        for i in 0..4u8 {
            from.send_to(&[i; 3], one_addr).unwrap();
            from.send_to(&[10 + i; 3], two_addr).unwrap();
        }
        assert_eq!(batch.recv_more(&one, 3).unwrap(), 0..3);
        assert_eq!(batch.recv_more(&two, 32).unwrap(), 3..5);
        assert_eq!(batch.datagram(4), Some((from_addr, &[11u8; 3][..])));

        let place = batch.place(4).unwrap();
        batch.bytes_mut()[place.start - 4..place.start].copy_from_slice(b"head");
        batch.bytes_mut()[place.end] = b'!';
        let first = batch.place(0).unwrap();
        batch.queue(first.start + 1..first.end, Some(to_addr)).unwrap();
        // No way to an IPv6 address from an IPv4 socket: lost alone.
        batch.queue(batch.place(1).unwrap(), Some("[::1]:9".parse().unwrap())).unwrap();
        batch.queue(place.start - 4..place.end + 1, Some(to_addr)).unwrap();
        assert_eq!(batch.queued_to(), place.end + 1);
        assert_eq!(batch.flush(&one), Sent { datagrams: 2, bytes: 10 });
        assert_eq!(batch.queued_to(), 0);
        assert_eq!(batch.flush(&one), Sent::default());

        let mut there = Batch::new(4, 64);
        assert_eq!(there.recv(&to).unwrap(), 2);
        assert_eq!(there.datagram(0), Some((one_addr, &[0, 0][..])));
        assert_eq!(there.datagram(1), Some((one_addr, &b"head\x0b\x0b\x0b!"[..])));
    }

    #[test]
    fn a_full_queue_says_so_and_a_full_batch_takes_no_more() {
        let (here, here_addr) = socket("127.0.0.1:0");
        let (there, there_addr) = socket("127.0.0.1:0");
        let mut batch = Batch::new(2, 8);
        for _ in 0..3 {
            there.send_to(b"x", here_addr).unwrap();
        }
        assert_eq!(batch.recv(&here).unwrap(), 2);
        assert_eq!(batch.recv_more(&here, 9).unwrap(), 2..2);
        for _ in 0..2 {
            batch.queue(0..1, Some(there_addr)).unwrap();
        }
        assert_eq!(batch.queue(0..1, Some(there_addr)), Err(QueueFull));
        assert_eq!(batch.flush(&here).datagrams, 2);
        assert_eq!(batch.queue(0..1, Some(there_addr)), Ok(()));
        batch.clear();
        assert_eq!(batch.flush(&here), Sent::default());
    }

    #[test]
    fn an_icmp_error_about_an_earlier_one_loses_none() {
        let (here, here_addr) = socket("127.0.0.1:0");
        let (there, there_addr) = socket("127.0.0.1:0");
        keep_undelivered(&here, here_addr.is_ipv6()).unwrap();
        let closed = socket("127.0.0.1:0").1;
        let mut batch = Batch::new(4, 8);
        for _ in 0..3 {
            for to in [closed, there_addr, closed] {
                batch.queue(0..1, Some(to)).unwrap();
            }
            assert_eq!(batch.flush(&here).datagrams, 3);
        }
        assert_eq!(batch.recv(&there).unwrap(), 3);
    }

    #[test]
    fn a_connected_socket_needs_no_destination() {
        let (here, there) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let mut batch = Batch::new(2, 8);
        batch.bytes_mut()[..3].copy_from_slice(b"abc");
        batch.queue(0..2, None).unwrap();
        batch.queue(2..3, None).unwrap();
        assert_eq!(batch.flush(&here), Sent { datagrams: 2, bytes: 3 });
        assert_eq!(batch.recv(&there).unwrap(), 2);
        assert_eq!((batch.source(0), batch.place(0).map(|place| place.len())), (None, Some(2)));
    }
}
