//! A live trunk, tried from outside of any node: where its hosts are, who answers there, what OPTIONS and a call that is cancelled
//! at once are told. Only what was seen; what it means is for who asked (`turnpike check --trunk`).

mod call;
mod line;

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::certificates::OwnCertificate;
use super::dns::Dns;
use super::tls;
use crate::base::Transport;
use crate::config::Compiled;
use crate::edge::settings::{Auth, CallerIdHeader, Listener, Srtp, Target, Trunk};
use crate::sip::locate::Server;
use crate::sip::message::Message;
pub use call::{Dry, Queried};
use line::Line;

/// How a trunk is tried.
#[derive(Debug)]
pub struct Plan<'p> {
    /// Of its node.
    pub config: &'p Compiled,
    /// It.
    pub trunk: &'p Trunk,
    /// Whom the dry call calls; `None`: there is none.
    pub callee: Option<&'p str>,
    /// Who calls; `None`: nobody in particular.
    pub caller: Option<&'p str>,
    /// How long each answer may take.
    pub patience: Duration,
}

/// What was seen of one host.
#[derive(Debug)]
pub struct HostSeen {
    /// As the config writes it.
    pub uri: Arc<str>,
    /// The name servers were asked.
    pub located: bool,
    /// Those that the host stands for; none: the DNS knows none.
    pub servers: Vec<ServerSeen>,
}

/// What was seen of one server of a host. Whatever was not reached is `None`.
#[derive(Debug)]
pub struct ServerSeen {
    /// Where it is.
    pub server: Server,
    /// A socket could be opened; over UDP that says nothing of the other side.
    pub reached: io::Result<()>,
    /// Over TLS: the handshake.
    pub tls: Option<io::Result<TlsSeen>>,
    /// What OPTIONS was answered.
    pub options: Option<Answer>,
    /// What the question who is registered was answered; only one server is asked, for a trunk that registers.
    pub registered: Option<Queried>,
    /// What the call was answered; only one server is called.
    pub call: Option<Dry>,
}

/// A handshake that went well.
#[derive(Debug)]
pub struct TlsSeen {
    /// `TLSv1_3`.
    pub version: String,
    /// Of the certificate that we were shown.
    pub names: Vec<String>,
}

/// What came back.
#[derive(Debug)]
pub enum Answer {
    /// Nothing, for as long as we waited.
    Silence,
    /// The connection was refused or broke.
    Broken(io::Error),
    /// A response.
    Response(Box<Message>),
}

/// What a request of ours says of us.
struct Us<'p> {
    /// As the outside names us.
    advertise: &'p str,
    caller: Option<&'p str>,
    header: Option<CallerIdHeader>,
    auth: Option<&'p Auth>,
    srtp: Srtp,
    /// Where an offer wants its media.
    media: Option<IpAddr>,
}

/// Tries every server of every host.
///
/// # Errors
/// Where nothing can be tried: a certificate of ours cannot be read, or the resolver cannot be made.
pub fn probe(plan: &Plan<'_>) -> io::Result<Vec<HostSeen>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let dns = Dns::new(&plan.config.net.dns)?;
    let mut left = Left { query: plan.trunk.register.is_some(), call: plan.callee };
    let mut hosts = Vec::new();
    for target in &plan.trunk.hosts {
        let wanted = target.wanted();
        let located = wanted.is_some();
        let servers: Vec<Server> = match wanted {
            Some(wanted) => {
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, dns.locate(&wanted)).servers.to_vec()
            }
            None => target.server().into_iter().collect(),
        };
        let mut seen = Vec::new();
        for server in servers {
            let server = try_server(plan, target, server, &mut left)?;
            seen.push(server);
        }
        hosts.push(HostSeen { uri: target.uri.clone(), located, servers: seen });
    }
    Ok(hosts)
}

/// What the first server that answers is asked, and no other.
struct Left<'p> {
    query: bool,
    call: Option<&'p str>,
}

fn try_server(
    plan: &Plan<'_>,
    target: &Target,
    server: Server,
    left: &mut Left<'_>,
) -> io::Result<ServerSeen> {
    let mut seen =
        ServerSeen { server, reached: Ok(()), tls: None, options: None, registered: None, call: None };
    let listener = target
        .listener(server.transport)
        .and_then(|id| plan.config.edge.listeners.get(usize::from(id.0)))
        .ok_or_else(|| io::Error::other(format!("no listener faces {}", target.uri)))?;
    let local = Some(listener.bind.ip()).filter(|ip| !ip.is_unspecified());
    let mut line = match Line::open(server, local, plan.patience) {
        Ok(line) => line,
        Err(error) => {
            seen.reached = Err(error);
            return Ok(seen);
        }
    };
    if server.transport == Transport::Tls {
        let client = tls_client(plan, target)?;
        let shaken = line.secure(client, plan.patience);
        let failed = shaken.is_err();
        seen.tls = Some(shaken);
        if failed {
            return Ok(seen);
        }
    }
    let us = us(plan, listener);
    let host = target.host_and_port();
    let answer = call::options(&mut line, &us, &host, plan.patience);
    let lives = matches!(&answer, Answer::Response(_));
    seen.options = Some(answer);
    if !lives {
        return Ok(seen);
    }
    if std::mem::take(&mut left.query) {
        seen.registered = Some(call::query(&mut line, &us, &host, plan.patience));
    }
    if let Some(callee) = left.call.take() {
        seen.call = Some(call::dry(&mut line, &us, &host, callee, plan.patience));
    }
    Ok(seen)
}

impl Us<'_> {
    /// Who calls, in From and Contact.
    fn user(&self) -> &str {
        self.caller.unwrap_or("turnpike")
    }
}

fn us<'p>(plan: &Plan<'p>, listener: &'p Listener) -> Us<'p> {
    let relay = plan.config.edge.zones.get(usize::from(plan.trunk.zone.0)).and_then(|zone| zone.relay);
    Us {
        advertise: &listener.advertise,
        caller: plan.caller,
        header: plan.trunk.rules.caller_id.map(|caller_id| caller_id.header),
        auth: plan.trunk.auth.as_ref(),
        srtp: plan.trunk.media.srtp,
        media: relay.and_then(|relay| relay.iter().next().map(|address| address.advertise)),
    }
}

fn tls_client(plan: &Plan<'_>, target: &Target) -> io::Result<tls::Client> {
    let (edge, net) = (&plan.config.edge, &plan.config.net);
    let index = usize::from(target.tls);
    let peer =
        edge.tls_peers.get(index).ok_or_else(|| io::Error::other("a TLS host without TLS settings"))?;
    let trust = net.tls_peers.get(index);
    let ours = trust.and_then(|trust| net.certificates.get(trust.certificate?));
    let load = |settings| OwnCertificate::load(settings, Path::new(&net.data_dir)).map(Arc::new);
    let ours = ours.map(load).transpose().map_err(io::Error::other)?;
    tls::client(peer, trust.and_then(|trust| trust.ca.as_deref()), ours).map_err(io::Error::other)
}
