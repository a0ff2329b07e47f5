//! The sockets of the listeners for datagrams, and what waits to leave by them.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::{Interest, Registry};

use crate::net::relay::dtls::Outbound;
use crate::net::relay::token::Ready;
use crate::net::udp::SendBatch;

/// Datagrams, and their bytes, that leave in one system call.
const BATCH: (usize, usize) = (64, 64 * 1024);

/// The listeners of one worker.
pub(super) struct Datagrams {
    /// By index of the TURN listener; `None` for those that take connections.
    sockets: Vec<Option<UdpSocket>>,
    /// From one of them.
    queue: SendBatch,
    queued_for: usize,
}

impl Default for Datagrams {
    fn default() -> Datagrams {
        let queue = SendBatch::new(BATCH.0, BATCH.1);
        Datagrams { sockets: Vec::new(), queue, queued_for: 0 }
    }
}

impl Datagrams {
    /// Puts a listener's socket into the poll.
    pub fn listen(&mut self, listener: usize, socket: UdpSocket, registry: &Registry) -> io::Result<()> {
        let token = Ready::Listener(listener).token();
        registry.register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE)?;
        self.sockets.resize_with(self.sockets.len().max(listener + 1), || None);
        self.sockets[listener] = Some(socket);
        Ok(())
    }

    /// A listener's socket.
    pub fn socket(&self, listener: usize) -> Option<&UdpSocket> {
        self.sockets.get(listener)?.as_ref()
    }

    /// Queues a datagram, which leaves with [`Self::flush`] or before.
    pub fn send(&mut self, listener: usize, to: SocketAddr, datagram: &[u8]) {
        if listener != self.queued_for {
            self.flush();
            self.queued_for = listener;
        }
        if self.queue.push(to, datagram).is_err() {
            self.flush();
            let _ = self.queue.push(to, datagram);
        }
    }

    /// What the kernel has no room for is lost: the client will ask again.
    pub fn flush(&mut self) {
        let Some(Some(socket)) = self.sockets.get(self.queued_for) else { return self.queue.clear() };
        while !self.queue.is_empty() {
            match self.queue.flush(socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return self.queue.clear(),
                // One of them cannot go; the others may.
                Ok(_) | Err(_) => {}
            }
        }
    }
}

impl Outbound for Datagrams {
    fn send(&mut self, listener: usize, to: SocketAddr, datagram: &[u8]) {
        Datagrams::send(self, listener, to, datagram);
    }
}
