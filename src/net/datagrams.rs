//! UDP listeners: a batch of datagrams in, all answers to it out in one system call.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::Notify;

use super::shard::Shard;
use super::udp::{Batch, SendBatch};
use crate::base::ListenerId;

/// Datagrams received per system call.
const BATCH: usize = 32;
/// Every UDP payload fits. Not a power of two, so that the buffers' beginnings do not compete for the same cache lines.
const BUFFER: usize = 65_536 + 64;
/// Datagrams, and their bytes, that wait for a socket whose send buffer is full; more of them fail.
const QUEUE: (usize, usize) = (256, 512 * 1024);

/// One UDP socket's way out.
pub(super) struct Datagrams {
    socket: Rc<UdpSocket>,
    queue: SendBatch,
    stalled: Rc<Notify>,
}

impl Datagrams {
    /// Starts the listener's tasks; what it receives goes to [`Shard::handle_datagrams`].
    pub fn start(shard: &Rc<RefCell<Shard>>, listener: ListenerId, socket: UdpSocket) -> Datagrams {
        let socket = Rc::new(socket);
        let stalled = Rc::new(Notify::new());
        tokio::task::spawn_local(receive(shard.clone(), listener, socket.clone()));
        tokio::task::spawn_local(resume(shard.clone(), socket.clone(), stalled.clone()));
        Datagrams { socket, queue: SendBatch::new(QUEUE.0, QUEUE.1), stalled }
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
    while socket.readable().await.is_ok() {
        let received = socket.try_io(Interest::READABLE, || {
            let n = batch.recv(&*socket)?;
            shard.borrow_mut().handle_datagrams(listener, &batch);
            // Fewer than asked for: the socket is drained. Saying so saves the call that would find out.
            if n < BATCH { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        if let Err(error) = received
            && error.kind() != io::ErrorKind::WouldBlock
        {
            // ICMP errors about earlier datagrams surface here; the socket goes on.
            tracing::debug!(%error, "UDP receive");
        }
    }
}

/// Goes on when the socket's send buffer has room again.
async fn resume(shard: Rc<RefCell<Shard>>, socket: Rc<UdpSocket>, stalled: Rc<Notify>) {
    loop {
        stalled.notified().await;
        if socket.writable().await.is_err() {
            return;
        }
        shard.borrow_mut().flush();
    }
}
