//! What a worker is told, and the two ends of its mailbox: a bounded channel and a doorbell in the worker's poll.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use mio::{Registry, Waker};
use tokio::sync::oneshot;

use super::pairs::NewPair;
use super::pools::Taken;
use super::streams::HandedOver;
use super::token::Ready;
use crate::base::PeerAddr;
use crate::base::ban::Banned;
use crate::net::node::TurnAllocation;
use crate::relay::{LegRules, PairId, Side};

/// Commands that wait for one worker. It takes all of them at least once a round, so whoever finds it full waits for
/// milliseconds.
const MAILBOX: usize = 1024;

/// What the edge's side wants of a worker.
pub(super) enum Command {
    Open(NewPair),
    SetLeg(PairId, Side, LegRules),
    /// And give its ports back.
    Close(PairId, [Taken; 2]),
    /// Begin to hear TURN clients.
    Listen,
    OpenCallPeer(PeerAddr),
    CloseCallPeer(PeerAddr),
    /// New clients are sent to these instead.
    Drain(Arc<[SocketAddr]>),
    /// All TURN allocations.
    List(oneshot::Sender<Vec<TurnAllocation>>),
    /// Serve this connection, which another worker has accepted.
    Adopt(HandedOver),
    Stop,
    Ban(Banned, Option<Instant>),
    LiftBan(Banned),
}

/// Where a worker is told something. Clones lead to the same worker.
#[derive(Clone)]
pub(super) struct Mailbox(Arc<Shared>);

struct Shared {
    commands: SyncSender<Command>,
    /// Set by who puts something in.
    rung: Arc<AtomicBool>,
    waker: Waker,
}

/// The worker's end.
pub(super) struct Inbox {
    commands: Receiver<Command>,
    rung: Arc<AtomicBool>,
}

impl Mailbox {
    /// Both ends; the doorbell is in the poll of `registry`.
    pub fn new(registry: &Registry) -> io::Result<(Mailbox, Inbox)> {
        let waker = Waker::new(registry, Ready::Doorbell.token())?;
        let (sender, commands) = sync_channel(MAILBOX);
        let rung = Arc::new(AtomicBool::new(false));
        let inbox = Inbox { commands, rung: rung.clone() };
        Ok((Mailbox(Arc::new(Shared { commands: sender, rung, waker })), inbox))
    }

    /// False if the worker is gone.
    pub fn tell(&self, command: Command) -> bool {
        let told = self.put(command);
        self.ring();
        told
    }

    /// The same, but nobody is woken before [`Self::ring`], unless there is no room.
    fn put(&self, command: Command) -> bool {
        match self.0.commands.try_send(command) {
            Ok(()) => true,
            Err(TrySendError::Full(command)) => {
                self.ring();
                self.0.commands.send(command).is_ok()
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }

    /// The same for workers, who must not wait for each other: a command for which there is no room comes back.
    pub fn offer(&self, command: Command) -> Option<Command> {
        let offered = self.0.commands.try_send(command);
        self.ring();
        offered.err().map(|(TrySendError::Full(command) | TrySendError::Disconnected(command))| command)
    }

    /// One system call for all commands that are put in before the worker looks.
    fn ring(&self) {
        if !self.0.rung.swap(true, Ordering::AcqRel)
            && let Err(error) = self.0.waker.wake()
        {
            tracing::error!(%error, "a relay worker cannot be woken: restart turnpike");
        }
    }
}

impl Inbox {
    /// True once after each time that something was put in: then [`Self::next`] until it is empty.
    pub fn has_rung(&self) -> bool {
        self.rung.swap(false, Ordering::AcqRel)
    }

    /// The next command.
    pub fn next(&self) -> Result<Command, TryRecvError> {
        self.commands.try_recv()
    }
}

/// A worker's thread, as the edge's side holds it: told to stop, and joined, when this is dropped.
pub(super) struct WorkerHandle {
    mailbox: Mailbox,
    thread: Option<JoinHandle<()>>,
    /// There is something in its mailbox that it has not been woken for.
    waits: bool,
    /// How many it serves.
    pub pairs: usize,
}

impl WorkerHandle {
    /// Starts it.
    pub fn start(
        number: usize,
        mailbox: Mailbox,
        run: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<WorkerHandle> {
        let thread = std::thread::Builder::new().name(format!("relay-{number}")).spawn(move || {
            if let Err(error) = run() {
                tracing::error!(%error, "relay worker {number} has stopped: restart turnpike");
            }
        })?;
        Ok(WorkerHandle { mailbox, thread: Some(thread), waits: false, pairs: 0 })
    }

    /// False if it is gone. It looks when it is woken.
    pub fn tell(&mut self, command: Command) -> bool {
        self.waits = true;
        self.mailbox.put(command)
    }

    /// Now it does all that it was told.
    pub fn wake(&mut self) {
        if std::mem::take(&mut self.waits) {
            self.mailbox.ring();
        }
    }
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        self.mailbox.tell(Command::Stop);
        if let Some(thread) = self.thread.take() {
            // A worker that panicked has said so already.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_mailbox_gives_back_what_a_neighbour_offers() {
        let poll = mio::Poll::new().unwrap();
        let (mailbox, inbox) = Mailbox::new(poll.registry()).unwrap();
        for _ in 0..MAILBOX {
            assert!(mailbox.offer(Command::Stop).is_none());
        }
        assert!(matches!(mailbox.offer(Command::Stop), Some(Command::Stop)));
        assert!(inbox.has_rung() && inbox.next().is_ok());
        assert!(mailbox.offer(Command::Stop).is_none());
    }

    #[test]
    fn a_worker_is_woken_once_for_all_that_it_is_told_and_at_once_when_there_is_no_room() {
        let poll = mio::Poll::new().unwrap();
        let (mailbox, inbox) = Mailbox::new(poll.registry()).unwrap();
        let mut worker = WorkerHandle { mailbox, thread: None, waits: false, pairs: 0 };
        for _ in 0..MAILBOX {
            assert!(worker.tell(Command::Stop));
        }
        assert!(!inbox.has_rung());
        worker.wake();
        assert!(inbox.has_rung());
        worker.wake();
        assert!(!inbox.has_rung(), "it has been told nothing since");
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(worker.tell(Command::Stop)));
            while !inbox.has_rung() {
                std::thread::yield_now();
            }
            assert!(inbox.next().is_ok());
        });
        // Dropping it says another word.
        assert!(inbox.next().is_ok());
    }
}
