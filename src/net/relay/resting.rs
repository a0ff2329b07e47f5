//! Sockets of closed pairs that rest, bound, before another call has them: opening and closing four sockets is most of what
//! media costs a short call (docs/adr/0017).

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use socket2::SockRef;

use super::pools::{Opened, RECEIVE_BUFFER, Taken};
use crate::relay::ports::draw;

/// Pairs of sockets that rest at once in the process: 12 MB of the kernel's memory.
const MOST: usize = 2048;
/// Where fewer may rest at one place, none do: the next one could be guessed, and would not have rested for long.
const LEAST: usize = 256;
/// Where calls are so rare that a socket is not wanted again by then, it is closed.
const LONGEST: Duration = Duration::from_secs(30);
/// As many of those at each coming.
const SWEPT: usize = 4;
/// Datagrams that a socket's buffer may hold; the smallest take a few hundred bytes of it.
const DRAINED: usize = 2 * RECEIVE_BUFFER / 256;

/// Those of all places. A place is a worker, which has them in its poll, and a bind address.
pub(super) struct Resting {
    places: FxHashMap<(usize, IpAddr), VecDeque<Rested>>,
    /// At each place.
    most: usize,
    len: usize,
}

/// The sockets for RTP and RTCP of one side of a pair that is closed. They hear nothing.
pub(super) struct Rested {
    pub taken: Taken,
    pub sockets: [UdpSocket; 2],
    since: Instant,
}

impl Resting {
    pub fn new(most: usize) -> Resting {
        Resting { places: FxHashMap::default(), most, len: 0 }
    }

    /// How many pairs of sockets rest.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Some may rest.
    pub fn has_places(&self) -> bool {
        self.most > 0
    }

    /// Lets one rest. Returns those that are not to rest any longer: nobody has wanted them for long, or it is one too many.
    pub fn put(&mut self, worker: usize, rested: Rested) -> Vec<Rested> {
        let place = self.places.entry((worker, rested.taken.bind)).or_default();
        let now = rested.since;
        let is_old = |other: &mut Rested| now.saturating_duration_since(other.since) >= LONGEST;
        let mut ended: Vec<Rested> = std::iter::from_fn(|| place.pop_front_if(is_old)).take(SWEPT).collect();
        self.len -= ended.len();
        if place.len() < self.most {
            place.push_back(rested);
            self.len += 1;
        } else {
            ended.push(rested);
        }
        ended
    }

    /// One of the half that has rested longest, drawn at random; none while less than half of those that may rest do.
    pub fn take(&mut self, worker: usize, bind: IpAddr, rng: &mut dyn rand::Rng) -> Option<Rested> {
        let place = self.places.get_mut(&(worker, bind)).filter(|place| 2 * place.len() >= self.most)?;
        let rested = draw(place, rng)?;
        self.len -= 1;
        Some(rested)
    }

    /// All of an address, whose ports are wanted, or of all.
    pub fn clear(&mut self, bind: Option<IpAddr>) -> Vec<Rested> {
        let places = self.places.iter_mut().filter(|((_, ip), _)| bind.is_none_or(|bind| bind == *ip));
        let all: Vec<Rested> = places.flat_map(|(_, place)| std::mem::take(place)).collect();
        self.len -= all.len();
        all
    }
}

/// How many may rest at each of so many places, with `pairs` of ports at each address, if the process may have `files` open: others
/// need ports and files, too.
pub(super) fn most_at_each(places: usize, pairs: usize, files: u64) -> usize {
    let files = usize::try_from(files / 16).unwrap_or(usize::MAX);
    let most = MOST.min(files).min(pairs / 4) / places.max(1);
    if most < LEAST { 0 } else { most }
}

impl Rested {
    /// Makes sockets deaf, so that nobody can fill their buffers meanwhile: the kernel drops what comes when a packet is held.
    pub fn new(taken: Taken, sockets: [UdpSocket; 2], since: Instant) -> Rested {
        for socket in &sockets {
            let _ = SockRef::from(socket).set_recv_buffer_size(0);
            drain(socket);
        }
        Rested { taken, sockets, since }
    }

    /// They hear again, and nothing of what was sent before this.
    pub fn wake(self) -> Opened {
        for socket in &self.sockets {
            drain(socket);
            let _ = SockRef::from(socket).set_recv_buffer_size(RECEIVE_BUFFER);
        }
        Opened { taken: self.taken, sockets: self.sockets, rested: true }
    }
}

fn drain(socket: &UdpSocket) {
    let mut first = [MaybeUninit::uninit(); 1];
    for _ in 0..DRAINED {
        // The rest of each is lost.
        match SockRef::from(socket).recv_with_flags(&mut first, libc::MSG_DONTWAIT) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn bind() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0").unwrap()
    }

    fn rested(port: u16, since: Instant) -> Rested {
        Rested { taken: Taken { bind: here(), port }, sockets: [bind(), bind()], since }
    }

    fn here() -> IpAddr {
        "127.0.0.1".parse().unwrap()
    }

    #[test]
    fn no_more_than_may_rest_do_and_a_place_has_its_own() {
        let (mut resting, now) = (Resting::new(3), Instant::now());
        for port in [2, 4, 6] {
            assert!(resting.put(0, rested(port, now)).is_empty());
        }
        let over = resting.put(0, rested(8, now));
        assert_eq!(over.iter().map(|rested| rested.taken.port).collect::<Vec<_>>(), [8]);
        assert!(resting.put(1, rested(8, now)).is_empty());
        assert_eq!(resting.len(), 4);
        let other: IpAddr = "127.0.0.2".parse().unwrap();
        assert_eq!(
            (resting.clear(Some(other)).len(), resting.clear(Some(here())).len(), resting.len()),
            (0, 4, 0)
        );
        let mut none = Resting::new(0);
        assert!(!none.has_places() && none.put(0, rested(2, now)).len() == 1);
        assert!(none.take(0, here(), &mut StdRng::seed_from_u64(1)).is_none());
    }

    #[test]
    fn the_next_one_is_of_those_that_have_rested_longest_and_cannot_be_guessed() {
        let order = |seed| {
            let (mut resting, mut rng) = (Resting::new(8), StdRng::seed_from_u64(seed));
            let mut take =
                |resting: &mut Resting| resting.take(0, here(), &mut rng).map(|rested| rested.taken.port);
            for port in 0..3 {
                resting.put(0, rested(port, Instant::now()));
                assert_eq!(take(&mut resting), None, "too few rest");
            }
            (3..8).for_each(|port| _ = resting.put(0, rested(port, Instant::now())));
            let order: Vec<u16> = std::iter::from_fn(|| take(&mut resting)).collect();
            assert!(order.len() == 5 && order[0] < 4 && resting.len() == 3);
            order
        };
        assert!((2..9).any(|seed| order(seed) != order(1)));
    }

    #[test]
    fn those_that_nobody_wants_for_long_are_closed() {
        let (mut resting, start) = (Resting::new(100), Instant::now());
        let mut put = |second: u16| {
            let ended = resting.put(0, rested(second, start + Duration::from_secs(second.into())));
            ended.into_iter().map(|rested| rested.taken.port).collect::<Vec<_>>()
        };
        for second in 0..30 {
            assert!(put(second).is_empty());
        }
        assert_eq!(put(31), [0, 1]);
        assert_eq!(put(90), [2, 3, 4, 5], "a few at a time");
        assert_eq!(resting.len(), 26);
    }

    #[test]
    fn small_ranges_of_ports_and_low_limits_of_files_let_none_rest() {
        assert_eq!(most_at_each(1, 17_500, 40_000), MOST);
        assert_eq!(most_at_each(4, 17_500, 1_000_000), MOST / 4);
        assert_eq!(most_at_each(1, 17_500, 20_000), 1250);
        assert_eq!(most_at_each(1, 1_200, 40_000), 300);
        for (places, pairs, files) in [(1, 50, 40_000), (1, 17_500, 1024), (64, 17_500, 40_000), (0, 0, 0)] {
            assert_eq!(most_at_each(places, pairs, files), 0);
        }
    }

    #[test]
    fn what_is_sent_to_a_resting_socket_fills_no_buffer_and_is_not_heard_later() {
        let (sockets, stranger) = ([bind(), bind()], bind());
        let addresses = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
        let before = SockRef::from(&sockets[0]).recv_buffer_size().unwrap();
        SockRef::from(&sockets[0]).set_recv_buffer_size(RECEIVE_BUFFER).unwrap();
        let usual = SockRef::from(&sockets[0]).recv_buffer_size().unwrap();
        let flood = || {
            for _ in 0..100 {
                addresses.iter().for_each(|address| _ = stranger.send_to(&[7; 172], address));
            }
        };
        flood();
        let rested = Rested::new(Taken { bind: here(), port: 2 }, sockets, Instant::now());
        flood();
        let held = SockRef::from(&rested.sockets[0]).recv_buffer_size().unwrap();
        assert!(held < 8192 && held < before.min(usual), "{held}");
        let Opened { sockets, rested: true, .. } = rested.wake() else { panic!("it rested") };
        assert_eq!(SockRef::from(&sockets[0]).recv_buffer_size().unwrap(), usual);
        for (socket, address) in sockets.iter().zip(addresses) {
            stranger.send_to(b"new", address).unwrap();
            let mut heard = [0; 200];
            assert_eq!(socket.recv(&mut heard).unwrap(), 3, "nothing came before");
        }
    }
}
