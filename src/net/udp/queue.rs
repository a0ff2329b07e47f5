//! Datagrams that wait to be sent from where they stand, and how they leave: one by itself, many in one call, and neighbours of
//! one length for one destination as one that the kernel cuts up (`UDP_SEGMENT` in `udp(7)`), which costs little more than one.

use std::io;
use std::mem::size_of;
use std::net::SocketAddr;
use std::os::fd::RawFd;

use super::name::Name;
use super::{counted, header};

/// How often one datagram is tried. ICMP errors about earlier ones surface in the next call, instead of what it asks for
/// (`keep_undelivered`): each costs one try.
const TRIES: usize = 4;
/// Neighbours that leave as one: the kernel takes 64, and no more bytes than one UDP datagram could have.
const MOST_SEGMENTS: usize = 64;
const MOST_SEGMENTED: usize = 65_000;

/// What the kernel took for sending.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    pub datagrams: usize,
    pub bytes: usize,
}

/// It did not fit in: flush first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue is full")]
pub struct QueueFull;

/// What waits. The bytes belong to whoever queues them, and stay where they are until they are flushed or cleared. Within their
/// capacity none of the vectors moves.
pub(super) struct Queue {
    /// Of each datagram.
    iovecs: Vec<libc::iovec>,
    runs: Vec<Run>,
    /// Of each run, made when they are sent.
    headers: Vec<libc::mmsghdr>,
    controls: Vec<Control>,
    /// The destination of the last run.
    last: Option<SocketAddr>,
    end: usize,
}

/// Neighbours that leave as one; mostly it is one alone.
#[derive(Clone, Copy)]
struct Run {
    name: Name,
    name_len: libc::socklen_t,
    /// Index of the first datagram, and how many there are.
    first: usize,
    count: usize,
    /// Of each datagram; the last may be shorter.
    length: usize,
    /// Of all together.
    bytes: usize,
}

/// Room for the control message that says how long a segment is, aligned as control messages are.
type Control = [u64; 4];

impl Queue {
    pub fn new(capacity: usize) -> Queue {
        Queue {
            iovecs: Vec::with_capacity(capacity),
            runs: Vec::with_capacity(capacity),
            headers: Vec::with_capacity(capacity),
            controls: Vec::with_capacity(capacity),
            last: None,
            end: 0,
        }
    }

    /// Where the last of those that wait ends, as [`Self::push`] was told.
    pub fn end(&self) -> usize {
        self.end
    }

    /// Queues `bytes`, which end at `end`, for `to`, or for whom the socket is connected to.
    #[inline]
    pub fn push(&mut self, bytes: &mut [u8], end: usize, to: Option<SocketAddr>) -> Result<(), QueueFull> {
        let (first, length) = (self.iovecs.len(), bytes.len());
        if first == self.iovecs.capacity() {
            return Err(QueueFull);
        }
        self.iovecs.push(libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: length });
        self.end = end;
        if to.is_some()
            && to == self.last
            && let Some(run) = self.runs.last_mut()
            && run.takes(length)
        {
            run.count += 1;
            run.bytes += length;
            return Ok(());
        }
        let (name, name_len) = to.map_or((Name::empty(), 0), Name::encode);
        self.runs.push(Run { name, name_len, first, count: 1, length, bytes: length });
        self.last = to;
        Ok(())
    }

    /// Sends all that waits. Never blocks. Returns what the kernel took.
    pub fn flush(&mut self, fd: RawFd) -> Sent {
        let sent = match &self.runs[..] {
            [run] if run.count == 1 => self.send_apart(fd, *run),
            _ => self.send_together(fd),
        };
        self.clear();
        sent
    }

    /// Forgets what waits.
    pub fn clear(&mut self) {
        self.iovecs.clear();
        self.runs.clear();
        self.last = None;
        self.end = 0;
    }

    fn send_together(&mut self, fd: RawFd) -> Sent {
        self.make_headers();
        let (mut sent, mut tries, mut at) = (Sent::default(), TRIES, 0);
        while let Some(run) = self.runs.get(at).copied() {
            let rest = self.headers.get_mut(at..).unwrap_or_default();
            // SAFETY: each of the headers points to iovecs of its own, those into bytes whose owner has lent them, and to a name
            // and a control message of its own or none; all in vectors of `self` that have not moved since.
            let result = unsafe {
                libc::sendmmsg(fd, rest.as_mut_ptr(), rest.len() as libc::c_uint, libc::MSG_DONTWAIT as _)
            };
            match counted(result) {
                Ok(n) => {
                    for run in self.runs.iter().skip(at).take(n) {
                        sent.datagrams += run.count;
                        sent.bytes += run.bytes;
                    }
                    at += n;
                    tries = TRIES;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Longer than the way there takes in one piece, or it cannot be cut up on this way.
                Err(_) if run.count > 1 => {
                    let apart = self.send_apart(fd, run);
                    sent.datagrams += apart.datagrams;
                    sent.bytes += apart.bytes;
                    at += 1;
                }
                // About this datagram, or an ICMP error about an earlier one.
                Err(_) if tries > 1 => tries -= 1,
                Err(_) => {
                    at += 1;
                    tries = TRIES;
                }
            }
        }
        sent
    }

    /// Sends each datagram of a run by itself, which is cheaper for one.
    fn send_apart(&self, fd: RawFd, run: Run) -> Sent {
        let mut sent = Sent::default();
        for iovec in self.iovecs.iter().skip(run.first).take(run.count) {
            for _ in 0..TRIES {
                let name = if run.name_len > 0 { (&raw const run.name).cast() } else { std::ptr::null() };
                // SAFETY: the iovec leads to bytes whose owner has lent them, the name outlives the call, and both have the
                // lengths that the call is told.
                let result = unsafe {
                    libc::sendto(fd, iovec.iov_base, iovec.iov_len, libc::MSG_DONTWAIT, name, run.name_len)
                };
                match counted(result as libc::c_int) {
                    Ok(n) => {
                        sent.datagrams += 1;
                        sent.bytes += n;
                        break;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return sent,
                    // As above.
                    Err(_) => {}
                }
            }
        }
        sent
    }

    fn make_headers(&mut self) {
        self.headers.clear();
        self.controls.clear();
        for run in &mut self.runs {
            let iovec = self.iovecs.as_mut_ptr().wrapping_add(run.first);
            let mut header = header(iovec);
            header.msg_hdr.msg_iovlen = run.count as _;
            if run.name_len > 0 {
                header.msg_hdr.msg_name = (&raw mut run.name).cast();
                header.msg_hdr.msg_namelen = run.name_len;
            }
            if run.count > 1 {
                let last = self.controls.len();
                self.controls.push([0; 4]);
                let control = self.controls.as_mut_ptr().wrapping_add(last);
                cut_up(&mut header.msg_hdr, control, run.length);
            }
            self.headers.push(header);
        }
    }
}

impl Run {
    /// The kernel cuts what it is given into pieces of one length; the last may be shorter.
    fn takes(&self, length: usize) -> bool {
        self.bytes == self.count * self.length
            && (1..=self.length).contains(&length)
            && self.count < MOST_SEGMENTS
            && self.bytes + length <= MOST_SEGMENTED
    }
}

/// Has the kernel cut the message up into datagrams of `length`.
fn cut_up(message: &mut libc::msghdr, control: *mut Control, length: usize) {
    let value = length as u16;
    message.msg_control = control.cast();
    // SAFETY: these only compute lengths.
    let (space, len) =
        unsafe { (libc::CMSG_SPACE(size_of::<u16>() as _), libc::CMSG_LEN(size_of::<u16>() as _)) };
    message.msg_controllen = space as _;
    // SAFETY: the message has a control buffer of zeroes with room for one control message, as it says; the value is
    // written into the place for it.
    unsafe {
        if let Some(first) = libc::CMSG_FIRSTHDR(message).as_mut() {
            first.cmsg_level = libc::SOL_UDP;
            first.cmsg_type = libc::UDP_SEGMENT;
            first.cmsg_len = len as _;
            libc::CMSG_DATA(first).cast::<u16>().write_unaligned(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Batch;
    use std::net::UdpSocket;

    #[test]
    fn neighbours_of_one_length_arrive_as_they_were_queued() {
        for ip in ["127.0.0.1", "::1"] {
            let [here, one, two] = [(); 3].map(|()| UdpSocket::bind((ip, 0)).unwrap());
            let (to_one, to_two) = (one.local_addr().unwrap(), two.local_addr().unwrap());
            // By length and destination: a run of three whose last is shorter, one that may not join it, two runs more.
            let lengths = [(9, 1), (9, 1), (4, 1), (9, 1), (7, 2), (7, 2), (9, 1), (0, 1), (0, 1), (2, 1)];
            let mut batch = Batch::new(16, 16);
            for (i, (length, to)) in lengths.into_iter().enumerate() {
                let at = 16 * i..16 * i + length;
                batch.bytes_mut()[at.clone()].fill(i as u8);
                batch.queue(at, Some(if to == 1 { to_one } else { to_two })).unwrap();
            }
            let sent = batch.flush(&here);
            assert_eq!((sent.datagrams, sent.bytes), (lengths.len(), 56));
            for (socket, number) in [(&one, 1), (&two, 2)] {
                let mut received = Batch::new(16, 16);
                let expected: Vec<_> = lengths
                    .iter()
                    .enumerate()
                    .filter(|(_, (_, to))| *to == number)
                    .map(|(i, (n, _))| vec![i as u8; *n])
                    .collect();
                received.recv(socket).unwrap();
                let got: Vec<_> =
                    (0..received.len()).map(|i| received.datagram(i).unwrap().1.to_vec()).collect();
                assert_eq!(got, expected);
            }
        }
    }

    #[test]
    fn what_cannot_be_cut_up_is_sent_apart() {
        let (here, there) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let mut batch = Batch::new(4, 8);
        for _ in 0..3 {
            batch.queue(0..5, None).unwrap();
        }
        assert_eq!(batch.flush(&here).datagrams, 3);
        assert_eq!(batch.recv(&there).unwrap(), 3);

        // A datagram of 40,000 bytes is fragmented on loopback's 65,536; two of them are more than one IP packet holds.
        let (here, there) =
            (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let mut batch = Batch::new(4, 40_000);
        let to = there.local_addr().unwrap();
        for i in 0..2 {
            batch.queue(i * 40_000..(i + 1) * 40_000, Some(to)).unwrap();
        }
        assert_eq!(batch.flush(&here).bytes, 80_000);
    }
}
