//! A relay worker: one thread that owns the sockets of its pairs and allocations, both sides, and moves their packets.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use super::directory::Directory;
use super::mailbox::{Command, Inbox};
use super::pace::Pace;
use super::path::PacketPath;
use super::pools::Pools;
use super::token::Ready;
use crate::net::shard::now;

/// Sockets served per look at the poll; the others are served in the next.
const EVENTS: usize = 1024;

pub(super) struct Worker {
    pub poll: Poll,
    pub inbox: Inbox,
    /// Its number in the directory.
    pub number: usize,
    pub directory: Arc<Directory>,
    /// Where the ports of closed pairs go.
    pub pools: Arc<Pools>,
    pub path: PacketPath,
    unfinished: Unfinished,
}

/// Sockets that had more than their turns, each once: the poll does not name them again before they are drained.
#[derive(Default)]
struct Unfinished {
    waiting: Vec<Ready>,
    /// Empty but while those are served.
    serving: Vec<Ready>,
}

impl Worker {
    pub fn new(
        poll: Poll,
        inbox: Inbox,
        number: usize,
        directory: Arc<Directory>,
        pools: Arc<Pools>,
        path: PacketPath,
    ) -> Worker {
        Worker { poll, inbox, number, directory, pools, path, unfinished: Unfinished::default() }
    }

    /// Works until the other end of the mailbox is dropped.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let mut pace = Pace::new(self.path.now.instant);
        loop {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => self.path.now = now(),
            }
            let began = self.path.now.instant;
            // Before the sockets: a packet sent after `set_leg` returned is judged by the new rules. (An answer of the
            // poll about a socket that is closed now costs a look at the one in its slot.)
            if self.inbox.has_rung() && !self.obey(began) {
                return Ok(());
            }
            let mut packets = self.path.begin_round() + self.read_unfinished();
            for event in &events {
                let Some(ready) = Ready::from_token(event.token()) else { continue };
                if event.is_read_closed() {
                    self.path.hung_up(ready);
                }
                if event.is_error() {
                    self.path.take_errors(ready);
                }
                packets += self.read(ready);
            }
            self.path.finish_round();
            pace.after_round(began, packets);
        }
    }

    /// How long the poll may wait.
    fn timeout(&mut self) -> Option<Duration> {
        if !self.unfinished.waiting.is_empty() {
            return Some(Duration::ZERO);
        }
        let due = self.path.poll_timeout()?;
        Some(due.saturating_duration_since(self.path.now.instant))
    }

    fn read_unfinished(&mut self) -> usize {
        std::mem::swap(&mut self.unfinished.waiting, &mut self.unfinished.serving);
        let mut packets = 0;
        while let Some(ready) = self.unfinished.serving.pop() {
            packets += self.read(ready);
        }
        packets
    }

    /// Reads what has arrived on one socket and sends it on; returns how many datagrams that were.
    fn read(&mut self, ready: Ready) -> usize {
        if self.unfinished.waiting.contains(&ready) {
            return 0; // It has had its turns in this round.
        }
        let looked = self.path.read(ready);
        if looked.unfinished {
            self.unfinished.waiting.push(ready);
        }
        looked.packets
    }

    /// False: nobody is at the other end any more.
    fn obey(&mut self, now: Instant) -> bool {
        loop {
            let command = match self.inbox.next() {
                Ok(command) => command,
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            };
            let (clocks, pairs, turn) = (self.path.now, &mut self.path.pairs, self.path.turn.as_mut());
            match (command, turn) {
                (Command::Open(pair), _) => {
                    pairs.open(pair, self.poll.registry(), &self.directory, self.number);
                }
                (Command::SetLeg(id, side, rules), _) => {
                    pairs.set_leg(id, side, rules, self.poll.registry(), now)
                }
                (Command::Close(id, ports), _) => {
                    let sockets = pairs.close(id);
                    self.pools.give_back_closed(ports, sockets, self.number, now);
                }
                (Command::Listen, Some(turn)) => {
                    if let Err(error) = turn.listen(self.poll.registry()) {
                        tracing::error!(%error, "TURN clients are not heard: restart turnpike");
                    }
                }
                (Command::OpenCallPeer(peer), Some(turn)) => turn.server().open_call_peer(peer),
                (Command::CloseCallPeer(peer), Some(turn)) => turn.server().close_call_peer(peer),
                (Command::Ban(banned, until), Some(turn)) => turn.ban(banned, until, now),
                (Command::LiftBan(banned), Some(turn)) => turn.server().lift_ban(&banned),
                (Command::Drain(alternates), Some(turn)) => turn.server().drain(alternates.to_vec()),
                (Command::List(reply), Some(turn)) => {
                    // Whoever asked may have gone.
                    let _ = reply.send(turn.list(now));
                }
                (Command::Adopt(connection), Some(turn)) => turn.adopt(connection, clocks),
                (Command::Stop, _) => return false,
                // Told to the TURN server where there is none.
                (_, None) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::mailbox::Mailbox;
    use super::super::pairs::tests::handshakes;
    use super::super::pairs::{NewPair, Pairs};
    use super::super::path::{BATCH, TURNS};
    use super::super::resting::Resting;
    use super::super::shortcut::shortcuts;
    use super::super::token::PairSocket;
    use super::*;
    use crate::relay::{Component, PairId, Side, SideAddrs, SideCounters};
    use std::net::UdpSocket;
    use std::sync::atomic::Ordering;

    /// Packets of a stranger: what is counted here is how many were looked at.
    #[test]
    fn a_flooded_socket_has_its_turns_and_then_the_others() {
        let poll = Poll::new().unwrap();
        let (_mailbox, inbox) = Mailbox::new(poll.registry()).unwrap();
        let totals = Arc::new(SideCounters::default());
        let directory = Arc::new(Directory::new([]));
        let shortcuts = shortcuts(1, &directory).unwrap().remove(0);
        let path =
            PacketPath::new(Pairs::new(totals.clone(), Arc::new([]), handshakes()), None, shortcuts, now());
        let pools = Pools::new(&(0..=1), [], Resting::new(0), rand::SeedableRng::seed_from_u64(1));
        let mut worker = Worker::new(poll, inbox, 0, directory, Arc::new(pools), path);

        let bind = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let sockets = [[bind(), bind()], [bind(), bind()]];
        let flooded = sockets[0][0].local_addr().unwrap();
        let shown = [SideAddrs::new(flooded.ip(), flooded.port()); 2];
        let sockets = sockets.map(|side| side.map(Some));
        let pair = NewPair {
            id: PairId(1),
            sockets,
            rested: [false; 2],
            shown,
            counters: Arc::default(),
            saved: [None, None],
        };
        let (registry, directory) = (worker.poll.registry(), &worker.directory);
        worker.path.pairs.open(pair, registry, directory, 0);
        let stranger = bind();
        for _ in 0..TURNS * BATCH + 5 {
            stranger.send_to(b"flood", flooded).unwrap();
        }
        let ready = Ready::Pair(PairSocket { slot: 0, side: Side::A, component: Component::Rtp });
        assert_eq!(worker.read(ready), TURNS * BATCH);
        assert_eq!(worker.read(ready), 0, "not twice in a round");
        assert_eq!(worker.unfinished.waiting, [ready]);
        assert_eq!(worker.read_unfinished(), 5);
        assert!(worker.unfinished.waiting.is_empty() && worker.unfinished.serving.is_empty());
        assert_eq!(totals.refused_source.load(Ordering::Relaxed), (TURNS * BATCH + 5) as u64);
    }
}
