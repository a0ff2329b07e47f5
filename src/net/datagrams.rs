//! UDP listeners: a batch of datagrams in, all answers to it out in one system call.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::coop::consume_budget;
use tokio::time::sleep;

use super::shard::Shard;
use super::udp::{Batch, SendBatch, Undelivered, next_undelivered};
use crate::base::ListenerId;

/// Datagrams received per system call.
const BATCH: usize = 32;
/// Every UDP payload fits. Not a power of two, so that the buffers' beginnings do not compete for the same cache lines.
const BUFFER: usize = 65_536 + 64;
/// Datagrams, and their bytes, that wait for a socket whose send buffer is full; more of them fail.
const QUEUE: (usize, usize) = (256, 512 * 1024);
/// ICMP errors read before datagrams get their turn.
const ERRORS: usize = 64;
/// How long a full send buffer is left to empty.
const PAUSE: Duration = Duration::from_millis(1);

/// One UDP socket's way out.
pub(super) struct Datagrams {
    socket: Rc<UdpSocket>,
    queue: SendBatch,
    stalled: Rc<Notify>,
    /// Since when more has waited in the kernel than is read at once, without a break.
    pub behind: Option<Instant>,
}

impl Datagrams {
    /// Starts the listener's tasks; what it receives goes to [`Shard::handle_datagrams`].
    pub fn start(shard: &Rc<RefCell<Shard>>, listener: ListenerId, socket: UdpSocket) -> Datagrams {
        let socket = Rc::new(socket);
        let stalled = Rc::new(Notify::new());
        tokio::task::spawn_local(receive(shard.clone(), listener, socket.clone()));
        tokio::task::spawn_local(resume(shard.clone(), stalled.clone()));
        Datagrams { socket, queue: SendBatch::new(QUEUE.0, QUEUE.1), stalled, behind: None }
    }

    /// Queues a datagram; false if there is no room.
    pub fn push(&mut self, to: SocketAddr, datagram: &[u8], failed: &mut Vec<SocketAddr>) -> bool {
        if self.queue.push(to, datagram).is_ok() {
            return true;
        }
        self.flush(failed);
        self.queue.push(to, datagram).is_ok()
    }

    /// Sends what is queued; appends the destinations that could not be sent to.
    pub fn flush(&mut self, failed: &mut Vec<SocketAddr>) {
        while !self.queue.is_empty() {
            match self.socket.try_io(Interest::WRITABLE, || self.queue.flush(&*self.socket)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stalled.notify_one();
                    return;
                }
                Err(_) => failed.extend(self.queue.refused()),
            }
        }
    }
}

async fn receive(shard: Rc<RefCell<Shard>>, listener: ListenerId, socket: Rc<UdpSocket>) {
    let mut batch = Batch::new(BATCH, BUFFER);
    while let Ok(ready) = socket.ready(Interest::READABLE | Interest::ERROR).await {
        if ready.is_error() {
            let undelivered = undelivered(&socket);
            shard.borrow_mut().handle_undelivered(listener, &undelivered);
        }
        // A flood must not keep the timers waiting.
        consume_budget().await;
        if !ready.is_readable() {
            continue;
        }
        let received = socket.try_io(Interest::READABLE, || {
            let n = batch.recv(&*socket)?;
            shard.borrow_mut().handle_datagrams(listener, &batch);
            // Fewer than asked for: the socket is drained. Saying so saves the call that would find out.
            if n < BATCH { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        shard.borrow_mut().handle_backlog(listener, received.is_ok());
        if let Err(error) = received
            && error.kind() != io::ErrorKind::WouldBlock
        {
            // ICMP errors about earlier datagrams surface here; the socket goes on.
            tracing::debug!(%error, "UDP receive");
        }
    }
}

/// What ICMP says did not arrive; some may be left to ask for, and then the socket stays ready.
fn undelivered(socket: &UdpSocket) -> Vec<Undelivered> {
    // Nothing but WouldBlock is expected; another error, kept as it is, would leave the socket ready for ever.
    let next = || next_undelivered(socket).map_err(|_| io::ErrorKind::WouldBlock.into());
    (0..ERRORS).map_while(|_| socket.try_io(Interest::ERROR, next).ok()).flatten().collect()
}

/// Goes on when the socket's send buffer may have room again. That it has, the runtime cannot tell: after an ICMP error
/// it takes the socket for closed, and ready, for good.
async fn resume(shard: Rc<RefCell<Shard>>, stalled: Rc<Notify>) {
    loop {
        stalled.notified().await;
        sleep(PAUSE).await;
        shard.borrow_mut().flush();
    }
}

#[cfg(test)]
mod tests {
    use super::super::udp::keep_undelivered;
    use super::*;

    fn loopback() -> std::net::UdpSocket {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    }

    /// Until the runtime has looked, it takes a socket for one whose send buffer is full.
    #[tokio::test]
    async fn a_full_socket_keeps_so_many_refuses_more_and_goes_on_when_it_has_room() {
        let socket = Rc::new(UdpSocket::from_std(loopback()).unwrap());
        let stalled = Rc::new(Notify::new());
        let queue = SendBatch::new(QUEUE.0, QUEUE.1);
        let mut datagrams =
            Datagrams { socket: socket.clone(), queue, stalled: stalled.clone(), behind: None };
        let peer = loopback();
        socket2::SockRef::from(&peer).set_recv_buffer_size(QUEUE.1).unwrap();
        let to = peer.local_addr().unwrap();
        let mut failed = Vec::new();
        let taken =
            (0..1_000).take_while(|i: &u32| datagrams.push(to, &i.to_be_bytes(), &mut failed)).count();
        assert_eq!(taken, QUEUE.0);
        assert!(failed.is_empty());
        let far_too_large = vec![0; QUEUE.1 + 1];
        assert!(!datagrams.push(to, &far_too_large, &mut failed));

        stalled.notified().await;
        socket.writable().await.unwrap();
        datagrams.flush(&mut failed);
        assert!(datagrams.queue.is_empty() && failed.is_empty());
        let mut heard = [0; 8];
        for i in 0..QUEUE.0 as u32 {
            assert_eq!(peer.recv(&mut heard).unwrap(), 4);
            assert_eq!(heard[..4], i.to_be_bytes());
        }
        assert!(datagrams.push(to, b"again", &mut failed));
    }

    #[tokio::test]
    async fn icmp_errors_are_read_in_turns_and_then_the_socket_is_quiet() {
        let socket = loopback();
        keep_undelivered(&socket, false).unwrap();
        let closed = loopback().local_addr().unwrap();
        let socket = UdpSocket::from_std(socket).unwrap();
        let mut sent = 0;
        while sent < ERRORS + 1 {
            // Every other call fails with the error of the one before it.
            sent += usize::from(socket.try_send_to(b"anybody there?", closed).is_ok());
            socket.writable().await.unwrap();
        }
        let ready = socket.ready(Interest::READABLE | Interest::ERROR).await.unwrap();
        assert!(ready.is_error() && !ready.is_readable());
        let closed = |errors| vec![closed; errors];
        let taken = || undelivered(&socket).into_iter().map(|one| one.to).collect::<Vec<_>>();
        assert_eq!(taken(), closed(ERRORS));
        assert!(socket.ready(Interest::ERROR).await.unwrap().is_error());
        assert_eq!(taken(), closed(1));
        tokio::task::yield_now().await;
        let again = socket.try_io(Interest::ERROR, || Ok(()));
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
