//! The signalling thread: one shard, and the tasks around it, all on a single-threaded runtime, so that a message goes
//! from its socket through the edge to the next socket without a lock or a change of thread.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use smallvec::SmallVec;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;

use super::bind::Socketed;
use super::certificates::OwnCertificate;
use super::datagrams::Datagrams;
use super::dns::Dns;
use super::feeds::Fetched;
use super::flow::Flows;
use super::kept::Kept;
use super::node::Command;
use super::places::Places;
use super::relay::{TurnWorkers, UdpRelay};
use super::settings::{ListenerWeb, NetSettings, Patience};
use super::shard::{Shard, Ways};
use super::{lag, stream, tls};
use crate::base::{ListenerId, Rng};
use crate::edge::Edge;
use crate::edge::settings::{Settings, Target};
use crate::observe::Observers;
use crate::policy;
use crate::sip::locate::{Located, Server, Wanted};

/// How often certificate files are looked at.
const CERTIFICATES: Duration = Duration::from_secs(10);
/// The DNS is asked again when its records run out, within these bounds; at the sooner one while it has none.
const SOONEST: Duration = Duration::from_secs(5);
const LATEST: Duration = Duration::from_secs(300);
/// How often a drain looks whether calls are left.
const DRAIN_LOOK: Duration = Duration::from_millis(20);
/// How long BYEs may go unanswered, and connections unclosed, at the end of a drain.
const LAST_BYES: Duration = Duration::from_secs(5);
const LAST_WRITES: Duration = Duration::from_secs(1);

/// What the thread is given.
pub(super) struct Signalling {
    pub edge: Arc<Settings>,
    pub policy: policy::Shared,
    pub relay: UdpRelay,
    pub net: NetSettings,
    pub places: Places,
    pub certificates: Vec<Arc<OwnCertificate>>,
    pub tls_servers: Vec<Option<Arc<rustls::ServerConfig>>>,
    pub tls_clients: Vec<tls::Client>,
    pub sockets: Vec<Socketed>,
    pub observers: Observers,
    pub fetched: Fetched,
    pub commands: mpsc::Receiver<Command>,
}

/// Starts it. Returns when the calls of before a restart are taken up again, and then the sockets are read.
pub(super) fn start(signalling: Signalling) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (ready, begun) = sync_channel(1);
    let thread = std::thread::Builder::new().name("signalling".into()).spawn(move || {
        LocalSet::new().block_on(&runtime, signalling.run(ready));
        // A name look-up that hangs must not hold us up.
        runtime.shutdown_background();
    })?;
    begun.recv().unwrap_or_else(|_| Err(io::Error::other("the signalling thread panicked")))?;
    Ok(thread)
}

impl Signalling {
    async fn run(self, ready: SyncSender<io::Result<()>>) {
        // Whoever starts us waits for this.
        let (obeying, commands) = match self.begin() {
            Ok(begun) => begun,
            Err(error) => return drop(ready.send(Err(error))),
        };
        let _ = ready.send(Ok(()));
        let (kept, shard) = (obeying.kept.clone(), obeying.shard.clone());
        obeying.run(commands).await;
        shard.borrow_mut().flush();
        kept.write_all(&shard).await;
    }

    fn begin(self) -> io::Result<(Obeying, mpsc::Receiver<Command>)> {
        let mut rng: Rng = Box::new(rand::make_rng::<rand::rngs::StdRng>());
        let (kept, left) = Kept::open(&self.net.data_dir, &self.edge.key);
        kept.restore(&mut self.policy.open());
        let flows = Flows::new(self.net.capacity.udp_flows, rng.next_u64());
        let ways = Ways { flows, places: self.places, tls_clients: self.tls_clients };
        let (relayed, turn) = (self.relay.worker_counters(), self.relay.turn());
        let mut edge = Edge::new(self.edge.clone(), self.policy, Box::new(self.relay), rng);
        left.restore(&mut edge);
        // Not before: they would be given ports of calls that go on.
        turn.iter().for_each(TurnWorkers::listen);
        let shard = Shard::new(edge, self.edge.clone(), &self.net, ways, relayed, turn, self.observers);
        listen(&shard, self.sockets, self.tls_servers, &self.net.web)?;
        shard.borrow_mut().start();
        spawn_local(fire_timers(shard.clone()));
        spawn_local(flush(shard.clone()));
        spawn_local(lag::stand(shard.clone()));
        spawn_local(sweep(shard.clone(), self.net.patience));
        let dns = Rc::new(Dns::new(&self.net.dns)?);
        for wanted in wanted(&self.edge) {
            spawn_local(locate(shard.clone(), dns.clone(), wanted));
        }
        let certificates = Rc::new(self.certificates);
        spawn_local(watch(certificates.clone()));
        spawn_local(kept.clone().keep(shard.clone()));
        Ok((Obeying { shard, certificates, kept, fetched: self.fetched }, self.commands))
    }
}

fn listen(
    shard: &Rc<RefCell<Shard>>,
    sockets: Vec<Socketed>,
    tls: Vec<Option<Arc<rustls::ServerConfig>>>,
    web: &[Option<ListenerWeb>],
) -> io::Result<()> {
    for (i, (socket, tls)) in sockets.into_iter().zip(tls).enumerate() {
        let listener = ListenerId(i as u16);
        match socket {
            Socketed::Udp(socket) => {
                let datagrams = Datagrams::start(shard, listener, UdpSocket::from_std(socket)?);
                shard.borrow_mut().set_datagrams(listener, datagrams);
            }
            Socketed::Stream(socket) => {
                let socket = TcpListener::from_std(socket)?;
                let (tls, web) = (tls.map(TlsAcceptor::from), web.get(i).cloned().flatten().map(Rc::new));
                spawn_local(stream::accept(shard.clone(), listener, socket, tls, web));
            }
        }
    }
    Ok(())
}

/// What commands are about.
struct Obeying {
    shard: Rc<RefCell<Shard>>,
    certificates: Rc<Vec<Arc<OwnCertificate>>>,
    kept: Kept,
    fetched: Fetched,
}

impl Obeying {
    /// Carries out commands until the node is dropped.
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let hurry = Rc::new(Notify::new());
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    None | Some(Command::Stop) => return,
                    Some(command) => self.obey(command, &hurry),
                },
                Some((id, feed)) = self.fetched.recv() => self.shard.borrow_mut().edge().refresh_list(id, feed),
            }
        }
    }

    fn obey(&mut self, command: Command, hurry: &Rc<Notify>) {
        let shard = &self.shard;
        match command {
            Command::Status(reply) => {
                let _ = reply.send(shard.borrow().status());
            }
            Command::Subscribe { subscriber, messages } => {
                shard.borrow_mut().subscribe(subscriber, messages);
            }
            Command::Drain { grace, done } => {
                spawn_local(drain(shard.clone(), grace, hurry.clone(), done));
            }
            Command::EndCalls => hurry.notify_one(),
            Command::LeaveCalls(done) => {
                spawn_local(leave_calls(shard.clone(), done));
            }
            Command::Reload => {
                refresh(&self.certificates);
                shard.borrow_mut().reopen_files();
            }
            Command::Policies { policies, fetched, done } => {
                shard.borrow_mut().edge().replace_policies(*policies);
                self.fetched = fetched;
                let _ = done.send(());
            }
            Command::Edge(what) => shard.borrow_mut().at_edge(what),
            Command::KeepBans(done) => {
                let (kept, shard) = (self.kept.clone(), shard.clone());
                spawn_local(async move {
                    kept.write_bans(&shard).await;
                    let _ = done.send(());
                });
            }
            Command::Stop => {}
        }
    }
}

/// New calls get 503; live ones may end within `grace`, then they are ended.
async fn drain(shard: Rc<RefCell<Shard>>, grace: Duration, hurry: Rc<Notify>, done: oneshot::Sender<()>) {
    shard.borrow_mut().drain(false);
    let calls = shard.borrow().status().edge.calls;
    tracing::info!(calls, grace_s = grace.as_secs(), "draining: new calls get 503");
    tokio::select! {
        () = until(&shard, |shard| shard.status().edge.calls == 0) => {}
        () = sleep(grace) => {}
        () = hurry.notified() => {}
    }
    if shard.borrow().status().edge.calls > 0 {
        shard.borrow_mut().drain(true);
        let _ = timeout(LAST_BYES, until(&shard, Shard::is_quiet)).await;
    }
    close_connections(&shard).await;
    let _ = done.send(());
}

/// Answered calls are left standing for the next run.
async fn leave_calls(shard: Rc<RefCell<Shard>>, done: oneshot::Sender<()>) {
    shard.borrow_mut().leave_calls();
    let calls = shard.borrow().status().edge.answered_calls;
    tracing::info!(calls, "stopping: these calls stand until the next start");
    close_connections(&shard).await;
    let _ = done.send(());
}

/// When what they are to be told has been written.
async fn close_connections(shard: &Rc<RefCell<Shard>>) {
    shard.borrow_mut().close_all();
    let _ = timeout(LAST_WRITES, until(shard, |shard| shard.status().connections == 0)).await;
}

async fn until(shard: &Rc<RefCell<Shard>>, reached: impl Fn(&Shard) -> bool) {
    while !reached(&shard.borrow()) {
        sleep(DRAIN_LOOK).await;
    }
}

async fn fire_timers(shard: Rc<RefCell<Shard>>) {
    loop {
        let (due, earlier) = shard.borrow_mut().next_timeout();
        let Some(due) = due else {
            earlier.notified().await;
            continue;
        };
        tokio::select! {
            () = sleep_until(due.into()) => shard.borrow_mut().handle_timeout(),
            () = earlier.notified() => {}
        }
    }
}

async fn flush(shard: Rc<RefCell<Shard>>) {
    let unsent = shard.borrow().unsent();
    loop {
        unsent.notified().await;
        shard.borrow_mut().flush();
    }
}

/// Looks after silent peers, often enough for the shortest patience to be kept.
async fn sweep(shard: Rc<RefCell<Shard>>, patience: Patience) {
    let shortest = patience.message.min(patience.idle).min(patience.write);
    let every = (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(1));
    loop {
        sleep(every).await;
        shard.borrow_mut().sweep();
    }
}

/// What must be asked of the DNS for the targets, each once.
fn wanted(settings: &Settings) -> Vec<Wanted> {
    let pbx = settings.pbx.iter().flat_map(|pbx| &pbx.hosts);
    let trunks = settings.trunks.iter().flat_map(|trunk| &trunk.hosts);
    let mut all: Vec<Wanted> = Vec::new();
    for wanted in pbx.chain(trunks).filter_map(Target::wanted) {
        if !all.contains(&wanted) {
            all.push(wanted);
        }
    }
    all
}

/// Keeps hosts located, so that no call ever waits for the DNS. Those that were found before stay where they were while it is down.
async fn locate(shard: Rc<RefCell<Shard>>, dns: Rc<Dns>, wanted: Wanted) {
    let mut known: Option<SmallVec<[Server; 2]>> = None;
    loop {
        let Located { servers, ttl } = dns.locate(&wanted).await;
        let found = !servers.is_empty();
        if !found {
            let name = &wanted.name;
            tracing::warn!(%name, "this host cannot be found in the DNS: check its name with `turnpike check`, or `getent ahosts`");
        }
        if known.is_none() || found && known.as_ref() != Some(&servers) {
            shard.borrow_mut().handle_located(&wanted, &servers);
            known = Some(servers);
        }
        sleep(if found { ttl.clamp(SOONEST, LATEST) } else { SOONEST }).await;
    }
}

async fn watch(certificates: Rc<Vec<Arc<OwnCertificate>>>) {
    loop {
        sleep(CERTIFICATES).await;
        refresh(&certificates);
    }
}

fn refresh(certificates: &[Arc<OwnCertificate>]) {
    for certificate in certificates {
        match certificate.refresh() {
            Ok(false) => {}
            Ok(true) => tracing::info!(name = certificate.name(), "certificate renewed"),
            Err(error) => tracing::warn!(%error, "the certificate in force stays"),
        }
    }
}
