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

#[cfg(test)]
mod tests {
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
        let mut datagrams = Datagrams { socket: socket.clone(), queue, stalled: stalled.clone() };
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
}
