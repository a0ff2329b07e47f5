use proptest::prelude::*;

use super::*;
use Transport::{Tcp, Tls, Udp};

fn wanted(transport: Option<Transport>, port: Option<u16>, secure: bool) -> Wanted {
    let supported = SmallVec::from_slice(&[Udp, Tcp, Tls]);
    Wanted { name: "example.com".into(), port, transport, secure, supported }
}

fn naptr(order: u16, preference: u16, services: &str, replacement: &str) -> Naptr {
    Naptr { order, preference, flags: "s".into(), services: services.into(), replacement: replacement.into() }
}

fn srv(priority: u16, weight: u16, port: u16, target: &str) -> Srv {
    Srv { priority, weight, port, target: target.into() }
}

/// A zone: what each question is answered with.
#[derive(Default)]
struct Dns {
    naptr: Vec<Naptr>,
    srv: Vec<(&'static str, Vec<Srv>)>,
    hosts: Vec<(&'static str, Vec<&'static str>)>,
}

impl Dns {
    fn answer(&self, query: &Query) -> Records {
        match query {
            Query::Naptr(_) => Records::Naptr(self.naptr.clone()),
            Query::Srv(name) => Records::Srv(
                self.srv
                    .iter()
                    .find(|(n, _)| **n == **name)
                    .map(|(_, records)| records.clone())
                    .unwrap_or_default(),
            ),
            Query::Addresses(name) => Records::Addresses(
                self.hosts
                    .iter()
                    .find(|(n, _)| **n == **name)
                    .map(|(_, ips)| ips.iter().map(|ip| ip.parse().unwrap()).collect())
                    .unwrap_or_default(),
            ),
        }
    }

    /// The servers, and the questions in their order.
    fn search(&self, wanted: Wanted) -> (Vec<String>, Vec<String>) {
        let mut search = Search::new(wanted);
        let mut asked = Vec::new();
        while let Some(query) = search.poll_query() {
            asked.push(match &query {
                Query::Naptr(name) => format!("NAPTR {name}"),
                Query::Srv(name) => format!("SRV {name}"),
                Query::Addresses(name) => format!("A {name}"),
            });
            search.handle_records(&query, self.answer(&query), Some(Duration::from_secs(60)));
        }
        let located = search.located().unwrap();
        let show =
            |server: &Server| format!("{} {} w{}", server.transport.scheme(), server.remote, server.weight);
        (located.servers.iter().map(show).collect(), asked)
    }
}

fn hosts() -> Vec<(&'static str, Vec<&'static str>)> {
    vec![
        ("example.com", vec!["192.0.2.1", "2001:db8::1"]),
        ("a.example.com", vec!["192.0.2.10"]),
        ("b.example.com", vec!["192.0.2.20", "192.0.2.21"]),
    ]
}

#[test]
fn section_4_1_naptr_picks_the_transport() {
    let dns = Dns {
        naptr: vec![
            naptr(90, 50, "SIP+D2T", "_sip._tcp.example.com"),
            naptr(50, 50, "SIPS+D2T", "_sips._tcp.example.com"),
            naptr(50, 60, "SIP+D2S", "_sip._sctp.example.com"),
            naptr(100, 50, "SIP+D2U", "_sip._udp.example.com"),
        ],
        srv: vec![
            ("_sips._tcp.example.com", vec![srv(1, 0, 5061, "a.example.com")]),
            ("_sip._tcp.example.com", vec![srv(1, 0, 5060, "b.example.com")]),
        ],
        hosts: hosts(),
    };
    let (servers, asked) = dns.search(wanted(None, None, false));
    assert_eq!(servers, ["tls 192.0.2.10:5061 w0", "tcp 192.0.2.20:5060 w0", "tcp 192.0.2.21:5060 w0"]);
    assert_eq!(asked.first().unwrap(), "NAPTR example.com");
    assert!(!asked.iter().any(|query| query.contains("sctp")), "not spoken here");

    let (servers, asked) = dns.search(wanted(None, None, true));
    assert_eq!(servers, ["tls 192.0.2.10:5061 w0"], "SIPS is for SIPS services alone");
    assert!(!asked.iter().any(|query| query.contains("_sip._")), "{asked:?}");
}

#[test]
fn section_4_1_without_naptr_the_srv_names_are_guessed() {
    let dns = Dns {
        srv: vec![
            (
                "_sip._udp.example.com",
                vec![srv(20, 10, 5070, "a.example.com"), srv(10, 60, 5060, "b.example.com")],
            ),
            ("_sip._tcp.example.com", vec![srv(1, 0, 5060, ".")]),
        ],
        hosts: hosts(),
        ..Dns::default()
    };
    let (servers, asked) = dns.search(wanted(None, None, false));
    assert_eq!(servers, ["udp 192.0.2.20:5060 w60", "udp 192.0.2.21:5060 w60", "udp 192.0.2.10:5070 w10"]);
    let guessed = ["SRV _sip._udp.example.com", "SRV _sip._tcp.example.com", "SRV _sips._tcp.example.com"];
    assert!(guessed.iter().all(|name| asked.iter().any(|query| query == name)), "{asked:?}");
}

#[test]
fn section_4_2_without_srv_the_name_itself_is_the_host() {
    let dns = Dns { hosts: hosts(), ..Dns::default() };
    for (wanted, expected) in [
        (wanted(None, None, false), ["udp 192.0.2.1:5060 w0", "udp [2001:db8::1]:5060 w0"]),
        (wanted(None, None, true), ["tls 192.0.2.1:5061 w0", "tls [2001:db8::1]:5061 w0"]),
        (wanted(Some(Tcp), None, false), ["tcp 192.0.2.1:5060 w0", "tcp [2001:db8::1]:5060 w0"]),
        (wanted(Some(Tls), None, false), ["tls 192.0.2.1:5061 w0", "tls [2001:db8::1]:5061 w0"]),
    ] {
        assert_eq!(dns.search(wanted).0, expected);
    }
}

#[test]
fn section_4_2_a_port_leads_straight_to_the_addresses() {
    let dns = Dns {
        srv: vec![("_sip._udp.example.com", vec![srv(1, 0, 9, "a.example.com")])],
        hosts: hosts(),
        ..Dns::default()
    };
    let (servers, asked) = dns.search(wanted(None, Some(5080), false));
    assert_eq!(asked, ["A example.com"]);
    assert_eq!(servers, ["udp 192.0.2.1:5080 w0", "udp [2001:db8::1]:5080 w0"]);
}

#[test]
fn a_named_transport_asks_for_its_own_service_only() {
    let dns = Dns {
        srv: vec![("_sips._tcp.example.com", vec![srv(1, 0, 443, "192.0.2.99")])],
        hosts: hosts(),
        ..Dns::default()
    };
    let (servers, asked) = dns.search(wanted(Some(Tls), None, false));
    assert_eq!(
        (servers, asked),
        (vec!["tls 192.0.2.99:443 w0".to_owned()], vec!["SRV _sips._tcp.example.com".to_owned()])
    );
}

#[test]
fn the_shortest_lived_record_says_when_to_ask_again() {
    let mut search = Search::new(wanted(Some(Udp), None, false));
    let query = search.poll_query().unwrap();
    search.handle_records(
        &query,
        Records::Srv(vec![srv(1, 0, 5060, "a.example.com")]),
        Some(Duration::from_secs(9)),
    );
    assert_eq!(search.located(), None);
    let query = search.poll_query().unwrap();
    search.handle_records(&Query::Addresses("other.example".into()), Records::Addresses(vec![]), None);
    let found = Records::Addresses(vec!["192.0.2.10".parse().unwrap()]);
    search.handle_records(&query, found, Some(Duration::from_secs(300)));
    assert_eq!(search.located().unwrap().ttl, Duration::from_secs(9));
}

#[test]
fn a_name_that_nobody_knows_has_no_places() {
    let (servers, _) = Dns::default().search(wanted(None, None, false));
    assert!(servers.is_empty());
}

proptest! {
    /// However the records point at one another, a search ends and stays within its bounds.
    #[test]
    fn a_search_ends(
        services in prop::collection::vec((any::<u16>(), any::<u16>(), 0usize..4, 0usize..4), 0..40),
        named in prop::collection::vec((any::<u16>(), any::<u16>(), any::<u16>(), 0usize..4), 0..40),
    ) {
        let names = ["a.example.com", "b.example.com", "example.com", "."];
        let kinds = ["SIP+D2U", "SIP+D2T", "SIPS+D2T", "x"];
        let naptrs: Vec<_> = services.iter().map(|(o, p, k, n)| naptr(*o, *p, kinds[*k], names[*n])).collect();
        let srvs: Vec<_> = named.iter().map(|(p, w, port, n)| srv(*p, *w, *port, names[*n])).collect();
        let mut search = Search::new(wanted(None, None, false));
        let mut asked = 0;
        while let Some(query) = search.poll_query() {
            asked += 1;
            let records = match &query {
                Query::Naptr(_) => Records::Naptr(naptrs.clone()),
                Query::Srv(_) => Records::Srv(srvs.clone()),
                Query::Addresses(_) => Records::Addresses((0..40).map(|n| [192, 0, 2, n].into()).collect()),
            };
            search.handle_records(&query, records, None);
        }
        prop_assert!(asked < 20);
        let servers = search.located().unwrap().servers;
        prop_assert!(servers.len() <= MAX_SERVERS && servers.is_sorted_by_key(|server| server.rank));
    }
}
