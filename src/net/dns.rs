//! Questions to the DNS: what a [`Search`] wants to know, asked of name servers. All of it happens beside the calls; none waits for it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::task::JoinSet;

use crate::sip::locate::{Located, Naptr, Query, Records, Search, Srv, Wanted};

/// How long one name server may take, and how often it is asked.
const PATIENCE: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;

/// A client of name servers.
pub(super) struct Dns(TokioResolver);

/// An answer, and how long it is good for.
type Answer = (Query, Records, Option<Duration>);

impl Dns {
    /// Asks these; none: those of the system.
    pub fn new(servers: &[SocketAddr]) -> io::Result<Dns> {
        let provider = TokioRuntimeProvider::default;
        let mut builder = match servers {
            [] => TokioResolver::builder_tokio().unwrap_or_else(|error| {
                tracing::warn!(%error, "the system names no name server: asking 127.0.0.1");
                TokioResolver::builder_with_config(configured(&[([127, 0, 0, 1], 53).into()]), provider())
            }),
            _ => TokioResolver::builder_with_config(configured(servers), provider()),
        };
        let options = builder.options_mut();
        options.timeout = PATIENCE;
        options.attempts = ATTEMPTS;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        builder.build().map(Dns).map_err(io::Error::other)
    }

    /// Where the host is; no places: nobody knows.
    pub async fn locate(&self, wanted: &Wanted) -> Located {
        let mut search = Search::new(wanted.clone());
        let mut asked = JoinSet::new();
        loop {
            while let Some(query) = search.poll_query() {
                asked.spawn_local(ask(self.0.clone(), query));
            }
            match asked.join_next().await {
                Some(Ok((query, records, ttl))) => search.handle_records(&query, records, ttl),
                Some(Err(_)) => {}
                None => return search.located().unwrap_or_default(),
            }
        }
    }
}

fn configured(servers: &[SocketAddr]) -> ResolverConfig {
    let server = |address: &SocketAddr| {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
            connection.port = address.port();
            connection
        });
        NameServerConfig::new(address.ip(), true, connections.to_vec())
    };
    ResolverConfig::from_name_servers(servers.iter().map(server).collect())
}

async fn ask(resolver: TokioResolver, query: Query) -> Answer {
    match &query {
        Query::Addresses(name) => {
            let found = resolver.lookup_ip(&**name).await;
            let ttl = found.as_ref().ok().map(|found| left(found.valid_until()));
            // Who has one family only has it in the front.
            let mut addresses: Vec<IpAddr> = found.iter().flat_map(|found| found.iter()).collect();
            addresses.sort_unstable();
            addresses.dedup();
            (query, Records::Addresses(addresses), ttl)
        }
        Query::Naptr(name) => {
            let (records, ttl) = look_up(&resolver, name, RecordType::NAPTR).await;
            (query, Records::Naptr(records.iter().filter_map(naptr).collect()), ttl)
        }
        Query::Srv(name) => {
            let (records, ttl) = look_up(&resolver, name, RecordType::SRV).await;
            (query, Records::Srv(records.iter().filter_map(srv).collect()), ttl)
        }
    }
}

/// Always the whole name: a search list is for people who type.
async fn look_up(resolver: &TokioResolver, name: &str, kind: RecordType) -> (Vec<RData>, Option<Duration>) {
    let Ok(mut name) = Name::from_utf8(name) else { return (Vec::new(), None) };
    name.set_fqdn(true);
    match resolver.lookup(name, kind).await {
        Ok(found) => {
            let data = found.answers().iter().map(|record| record.data.clone()).collect();
            (data, Some(left(found.valid_until())))
        }
        Err(_) => (Vec::new(), None),
    }
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

fn naptr(data: &RData) -> Option<Naptr> {
    let RData::NAPTR(naptr) = data else { return None };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into();
    Some(Naptr {
        order: naptr.order,
        preference: naptr.preference,
        flags: text(&naptr.flags),
        services: text(&naptr.services),
        replacement: host(&naptr.replacement),
    })
}

fn srv(data: &RData) -> Option<Srv> {
    let RData::SRV(srv) = data else { return None };
    Some(Srv { priority: srv.priority, weight: srv.weight, port: srv.port, target: host(&srv.target) })
}

/// Without the dot at its end; the root stays ".".
fn host(name: &Name) -> Arc<str> {
    let text = name.to_ascii();
    match text.strip_suffix('.') {
        Some("") | None => text.as_str().into(),
        Some(host) => host.into(),
    }
}
