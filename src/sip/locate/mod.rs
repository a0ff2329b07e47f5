//! Locating SIP servers (RFC 3263): from a host's URI to the addresses, ports and transports under which it is reached. Asks for DNS records and
//! is given them; who asks the network, and how long that takes, is not its business.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::base::Transport;

/// Services (NAPTR, or one SRV name per transport) that are followed up.
const MAX_SERVICES: usize = 8;
/// SRV records of one name that are followed up, the best first.
const MAX_NAMED: usize = 16;
/// Places that come out.
const MAX_SERVERS: usize = 32;
/// Used where no record says how long it is good for.
const DEFAULT_TTL: Duration = Duration::from_secs(300);

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Domain or host name of the URI.
    pub name: Arc<str>,
    /// Its port, if it says one.
    pub port: Option<u16>,
    /// Its `transport`, if it says one; TLS for a SIPS URI over TCP.
    pub transport: Option<Transport>,
    /// A SIPS URI: TLS and nothing else.
    pub secure: bool,
    /// What can be spoken here, the best liked first.
    pub supported: SmallVec<[Transport; 3]>,
}

/// A question to the DNS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Query {
    /// NAPTR records of a domain.
    Naptr(Arc<str>),
    /// SRV records of a service.
    Srv(Arc<str>),
    /// A and AAAA records of a host.
    Addresses(Arc<str>),
}

/// RFC 3403 §4.1, as far as RFC 3263 §4.1 uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Naptr {
    pub order: u16,
    pub preference: u16,
    pub flags: Box<str>,
    pub services: Box<str>,
    pub replacement: Arc<str>,
}

/// RFC 2782.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Srv {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    pub target: Arc<str>,
}

/// The answer to a question. Empty: there are none, or nobody could say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Records {
    Naptr(Vec<Naptr>),
    Srv(Vec<Srv>),
    Addresses(Vec<IpAddr>),
}

/// One way to reach the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Address and port.
    pub remote: SocketAddr,
    /// What is spoken there.
    pub transport: Transport,
    /// Lower ones are tried first.
    pub rank: u32,
    /// Share among equals (RFC 2782).
    pub weight: u16,
}

/// What a search has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Located {
    /// By rank; among equals as the records stood.
    pub servers: SmallVec<[Server; 2]>,
    /// How long the shortest-lived of the records is good for.
    pub ttl: Duration,
}

/// A service whose servers are looked for.
#[derive(Clone, Debug)]
struct Service {
    /// Its SRV name.
    name: Arc<str>,
    transport: Transport,
    rank: u16,
}

/// A server by name, whose addresses are looked for.
#[derive(Clone, Debug)]
struct Named {
    host: Arc<str>,
    port: u16,
    transport: Transport,
    rank: u32,
    weight: u16,
}

/// One search for one host: ask what [`Self::poll_query`] says, in parallel if there are several, tell it what came back, until
/// [`Self::located`].
#[derive(Debug)]
pub struct Search {
    wanted: Wanted,
    queries: VecDeque<Query>,
    /// Asked and not answered.
    open: Vec<Query>,
    services: Vec<Service>,
    named: Vec<Named>,
    servers: Vec<Server>,
    ttl: Option<Duration>,
}

impl Search {
    /// Begins where RFC 3263 §4.1 does.
    pub fn new(wanted: Wanted) -> Search {
        let mut search = Search {
            wanted,
            queries: VecDeque::new(),
            open: Vec::new(),
            services: Vec::new(),
            named: Vec::new(),
            servers: Vec::new(),
            ttl: None,
        };
        match (search.wanted.transport, search.wanted.port) {
            // §4.2: a port leads straight to the host's addresses. §4.1: without a transport that is UDP, for SIPS TLS.
            (transport, Some(port)) => {
                let transport = transport.unwrap_or(search.fallback());
                search.look_up(search.itself(transport, port));
            }
            (Some(transport), None) => search.ask_services(&[transport]),
            (None, None) => search.ask(Query::Naptr(search.wanted.name.clone())),
        }
        search
    }

    /// The next question.
    pub fn poll_query(&mut self) -> Option<Query> {
        let query = self.queries.pop_front()?;
        self.open.push(query.clone());
        Some(query)
    }

    /// The answer to a question, and how long it is good for; what was not asked is not heard.
    pub fn handle_records(&mut self, query: &Query, records: Records, ttl: Option<Duration>) {
        let Some(at) = self.open.iter().position(|open| open == query) else { return };
        self.open.swap_remove(at);
        self.ttl = [self.ttl, ttl].into_iter().flatten().min();
        match (query, records) {
            (Query::Naptr(_), Records::Naptr(records)) => self.on_naptr(records),
            (Query::Srv(name), Records::Srv(records)) => self.on_srv(name, records),
            (Query::Addresses(host), Records::Addresses(addresses)) => self.on_addresses(host, &addresses),
            _ => {}
        }
        // §4.2: "if no SRV records were found, the client performs an A or AAAA record lookup of the domain name".
        if self.is_done() && self.named.is_empty() && !self.services.is_empty() {
            let transport = self.wanted.transport.unwrap_or(self.fallback());
            self.look_up(self.itself(transport, transport.default_port()));
        }
    }

    /// The result; `None` while there are questions. Without servers: the host cannot be found.
    pub fn located(&self) -> Option<Located> {
        if !self.is_done() {
            return None;
        }
        let mut servers: SmallVec<[Server; 2]> = self.servers.iter().copied().collect();
        servers.sort_by_key(|server| server.rank);
        Some(Located { servers, ttl: self.ttl.unwrap_or(DEFAULT_TTL) })
    }

    fn is_done(&self) -> bool {
        self.queries.is_empty() && self.open.is_empty()
    }

    /// §4.1: what is spoken where nothing says otherwise.
    fn fallback(&self) -> Transport {
        if self.wanted.secure { Transport::Tls } else { Transport::Udp }
    }

    /// The name of the URI, as a server.
    fn itself(&self, transport: Transport, port: u16) -> Named {
        Named { host: self.wanted.name.clone(), port, transport, rank: 0, weight: 0 }
    }

    fn ask(&mut self, query: Query) {
        if !self.queries.contains(&query) && !self.open.contains(&query) {
            self.queries.push_back(query);
        }
    }

    /// §4.1: the services that we speak, by order and preference; where there are none, the SRV names that can be guessed.
    fn on_naptr(&mut self, mut records: Vec<Naptr>) {
        records.retain(|record| record.flags.eq_ignore_ascii_case("s") && !record.replacement.is_empty());
        records.sort_by_key(|record| (record.order, record.preference));
        let spoken = |record: &Naptr| {
            let transport = match record.services.to_ascii_uppercase().as_str() {
                "SIPS+D2T" => Transport::Tls,
                // §4.1: a SIPS URI is for SIPS services alone.
                _ if self.wanted.secure => return None,
                "SIP+D2U" => Transport::Udp,
                "SIP+D2T" => Transport::Tcp,
                _ => return None,
            };
            self.wanted.supported.contains(&transport).then(|| (record.replacement.clone(), transport))
        };
        let spoken: Vec<_> = records.iter().filter_map(spoken).take(MAX_SERVICES).collect();
        if spoken.is_empty() {
            let all: SmallVec<[Transport; 3]> = match self.wanted.secure {
                true => SmallVec::from_slice(&[Transport::Tls]),
                false => self.wanted.supported.clone(),
            };
            return self.ask_services(&all);
        }
        for (rank, (name, transport)) in (0..).zip(spoken) {
            self.ask(Query::Srv(name.clone()));
            self.services.push(Service { name, transport, rank });
        }
    }

    fn ask_services(&mut self, transports: &[Transport]) {
        for (rank, transport) in (0..).zip(transports) {
            let prefix = match transport {
                Transport::Udp => "_sip._udp",
                Transport::Tcp => "_sip._tcp",
                Transport::Tls => "_sips._tcp",
                Transport::Ws | Transport::Wss => continue,
            };
            let name: Arc<str> = format!("{prefix}.{}", self.wanted.name).into();
            self.ask(Query::Srv(name.clone()));
            self.services.push(Service { name, transport: *transport, rank });
        }
    }

    fn on_srv(&mut self, name: &Arc<str>, mut records: Vec<Srv>) {
        records.sort_by_key(|record| record.priority);
        let services: Vec<Service> =
            self.services.iter().filter(|service| service.name == *name).cloned().collect();
        for service in services {
            // RFC 2782: a target of "." says that there is no such service here.
            let offered = records.iter().filter(|record| !matches!(&*record.target, "" | "."));
            for record in offered.take(MAX_NAMED) {
                self.look_up(Named {
                    host: record.target.clone(),
                    port: record.port,
                    transport: service.transport,
                    rank: u32::from(service.rank) << 16 | u32::from(record.priority),
                    weight: record.weight,
                });
            }
        }
    }

    fn look_up(&mut self, one: Named) {
        match one.host.parse() {
            Ok(ip) => self.found(&one, ip),
            Err(_) => self.ask(Query::Addresses(one.host.clone())),
        }
        self.named.push(one);
    }

    fn on_addresses(&mut self, host: &Arc<str>, addresses: &[IpAddr]) {
        let named: Vec<Named> = self.named.iter().filter(|one| one.host == *host).cloned().collect();
        for one in named {
            for ip in addresses {
                self.found(&one, *ip);
            }
        }
    }

    fn found(&mut self, one: &Named, ip: IpAddr) {
        let remote = SocketAddr::new(ip, one.port);
        let known =
            self.servers.iter().any(|known| (known.remote, known.transport) == (remote, one.transport));
        if !known && self.servers.len() < MAX_SERVERS && one.port != 0 {
            let Named { transport, rank, weight, .. } = *one;
            self.servers.push(Server { remote, transport, rank, weight });
        }
    }
}

#[cfg(test)]
mod tests;
