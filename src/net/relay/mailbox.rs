//! What a worker is told, and the two ends of its mailbox: a bounded channel and a doorbell in the worker's poll.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use mio::{Registry, Waker};

use super::EventSink;
use super::pairs::NewPair;
use super::token::Ready;
use crate::base::PeerAddr;
use crate::relay::{LegRules, PairId, Side};

/// Commands that wait for one worker. It takes all of them at least once a round, so whoever finds it full waits for
/// milliseconds.
const MAILBOX: usize = 1024;

/// What the edge's side wants of a worker.
pub(super) enum Command {
    Open(NewPair),
    SetLeg(PairId, Side, LegRules),
    Close(PairId),
    OpenCallPeer(PeerAddr),
    CloseCallPeer(PeerAddr),
    Revoke(Arc<str>),
    Ban(IpAddr, Instant),
}

/// The worker's end.
pub(super) struct Inbox {
    commands: Receiver<Command>,
    /// Set by who puts something into the mailbox.
    rung: Arc<AtomicBool>,
    /// Told when a pair's sockets are really closed: only now can its ports be bound again.
    pub closed: Sender<PairId>,
    /// Locked once in a while, never per packet.
    pub events: Arc<Mutex<EventSink>>,
}

/// The edge's end of one worker.
pub(super) struct WorkerHandle {
    /// `None` once it is told to stop.
    mailbox: Option<SyncSender<Command>>,
    rung: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
    pub pairs: usize,
}

impl WorkerHandle {
    /// Both ends; the doorbell is in the poll of `registry`.
    pub fn new(
        registry: &Registry,
        closed: Sender<PairId>,
        events: Arc<Mutex<EventSink>>,
    ) -> io::Result<(WorkerHandle, Inbox)> {
        let waker = Waker::new(registry, Ready::Doorbell.token())?;
        let (sender, commands) = sync_channel(MAILBOX);
        let rung = Arc::new(AtomicBool::new(false));
        let inbox = Inbox { commands, rung: rung.clone(), closed, events };
        Ok((WorkerHandle { mailbox: Some(sender), rung, waker, thread: None, pairs: 0 }, inbox))
    }

    /// Starts the worker's thread; it is joined when the handle is dropped.
    pub fn start(
        &mut self,
        number: usize,
        run: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let thread = std::thread::Builder::new().name(format!("relay-{number}")).spawn(move || {
            if let Err(error) = run() {
                tracing::error!(%error, "relay worker {number} has stopped: restart turnpike");
            }
        })?;
        self.thread = Some(thread);
        Ok(())
    }

    /// False if the worker is gone.
    pub fn tell(&self, command: Command) -> bool {
        let told = self.mailbox.as_ref().is_some_and(|mailbox| mailbox.send(command).is_ok());
        self.ring();
        told
    }

    /// One system call for all commands that are put into the mailbox before the worker looks.
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "a relay worker cannot be woken: restart turnpike");
        }
    }
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        self.mailbox = None;
        self.ring();
        if let Some(thread) = self.thread.take() {
            // A worker that panicked has said so already.
            let _ = thread.join();
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
