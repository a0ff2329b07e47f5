//! Which addresses of a side the other one is shown (DESIGN.md §4: private, link-local and mDNS host candidates do not leave a
//! `trust: full` zone).

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;

/// Networks that nobody outside may learn of, each spelt as an endpoint may spell it.
const PRIVATE: [&str; 13] = [
    "10.20.0.20",
    "172.16.3.3",
    "192.168.1.5",
    "100.64.7.7",
    "169.254.9.9",
    "127.0.0.1",
    "fd00::5",
    "FD00:0:0::5",
    "fe80::5",
    "fe80::5%eth0",
    "::1",
    "::ffff:10.1.2.3",
    "0f9c8a2e-7d51.local",
];
const PUBLIC: [&str; 3] = ["198.51.100.77", "2001:db8::77", "192.0.2.78"];

fn call(shows: Scope, ice: Ice) -> Call {
    let Sides { a, b } = phone_and_pbx();
    Call::new(Sides { a, b: SideSettings { shows, ice, ..b } })
}

fn credentials(name: &str) -> String {
    format!("a=ice-ufrag:{name}\na=ice-pwd:{}\n", name.repeat(6))
}

/// An offer of the PBX that does ICE; those of its lines that are not ours.
fn shown_of(shows: Scope, lines: &str) -> Vec<String> {
    let mut call = call(shows, Ice::Auto);
    let sections = format!("m=audio 4000 RTP/AVP 0\n{}{lines}", credentials("bravo"));
    let offer = call.offer(Side::B, &session("10.20.0.20", &sections));
    let theirs = |line: &&str| line.starts_with("a=") && !line.starts_with("a=ice-") && !line.contains(RA);
    offer.lines().filter(theirs).map(str::to_owned).collect()
}

const CANDIDATES: [&str; 9] = [
    "a=candidate:1 1 udp 2130706431 192.168.1.5 4000 typ host",
    "a=candidate:2 1 udp 2130706431 fd00::5 4000 typ host",
    "a=candidate:3 1 udp 2130706431 fe80::5 4000 typ host",
    "a=candidate:4 1 UDP 2130706431 0f9c8a2e.local 4000 typ host generation 0",
    "a=candidate:5 1 tcp 1518280447 192.168.1.5 9 typ host tcptype active",
    "a=candidate:6 1 udp 2130706431 198.51.100.77 4000 typ host",
    "a=candidate:7 1 udp 2130706431 2001:db8::77 4000 typ host",
    "a=candidate:8 1 udp 1694498815 198.51.100.78 4000 typ srflx raddr 192.168.1.5 rport 4000 generation 0",
    "a=candidate:9 1 udp 1694498815 198.51.100.78 4002 typ srflx raddr 198.51.100.79 rport 4000",
];

#[test]
fn private_candidates_do_not_leave_a_fully_trusted_zone_and_public_ones_do() {
    let shown = shown_of(Scope::Global, &(CANDIDATES.join("\n") + "\na=end-of-candidates\n"));
    let want = [
        CANDIDATES[5],
        CANDIDATES[6],
        "a=candidate:8 1 udp 1694498815 198.51.100.78 4000 typ srflx raddr 0.0.0.0 rport 9 generation 0",
        CANDIDATES[8],
        "a=end-of-candidates",
    ];
    assert_eq!(shown, want);
}

/// An mDNS name is nothing elsewhere, whoever says it; nor is an address of one link.
#[test]
fn another_zone_is_spared_what_it_cannot_use() {
    let want: Vec<&str> =
        CANDIDATES.into_iter().filter(|line| !line.contains("fe80") && !line.contains(".local")).collect();
    assert_eq!(shown_of(Scope::Private, &(CANDIDATES.join("\n") + "\n")), want);
}

#[test]
fn within_a_zone_all_candidates_stay() {
    assert_eq!(shown_of(Scope::Link, &(CANDIDATES.join("\n") + "\n")), CANDIDATES);
}

/// RFC 8839 §5.2.
#[test]
fn remote_candidates_stay_only_if_they_are_the_far_endpoints_own_and_may_be_seen() {
    let shown = |shows, value: &str| shown_of(shows, &format!("a=remote-candidates:{value}\n")).len();
    for shows in [Scope::Link, Scope::Private, Scope::Global] {
        assert_eq!(shown(shows, "1 198.51.100.23 4000 2 198.51.100.23 4001"), 1);
        assert_eq!(shown(shows, &format!("1 {RB} 40000")), 0, "ours");
        assert_eq!(shown(shows, &format!("1 198.51.100.23 4000 2 {RB} 40001")), 0, "one of ours");
        assert_eq!(shown(shows, "1 phone.local 4000"), 0);
    }
    assert_eq!(shown(Scope::Private, "1 10.20.0.30 4000"), 1);
    assert_eq!(shown(Scope::Global, "1 10.20.0.30 4000"), 0);
}

/// DESIGN.md §4: of a port-0 section nothing changes, but that is no leave to show what is private.
#[test]
fn what_carries_no_media_shows_no_private_address_either() {
    let body = "v=0\r\no=- 1 1 IN IP4 10.20.0.20\r\ns=-\r\nc=IN IP4 10.20.0.20\r\nt=0 0\r\n\
                m=audio 4000 RTP/AVP 0\r\nc=IN IP4 10.20.0.20\r\na=altc:2 IP6 fd00::5 4000\r\n\
                m=video 0 RTP/AVP 96\r\nc=IN IP6 fd00::5\r\na=rtcp:4003 IN IP4 10.20.0.20\r\n\
                a=candidate:1 1 udp 1 10.20.0.20 4002 typ host\r\n\
                m=text 0 RTP/AVP 98\r\nc=IN IP4 198.51.100.77\r\n";
    let want = "v=0\r\no=- 1 1 IN IP4 203.0.113.10\r\ns=-\r\nc=IN IP4 203.0.113.10\r\nt=0 0\r\n\
                m=audio 40000 RTP/AVP 0\r\nc=IN IP4 203.0.113.10\r\n\
                m=video 0 RTP/AVP 96\r\nc=IN IP4 203.0.113.10\r\n\
                m=text 0 RTP/AVP 98\r\nc=IN IP4 198.51.100.77\r\n";
    assert_eq!(call(Scope::Global, Ice::Auto).offer(Side::B, body), want);
}

/// What a zone that is not `trust: full` says of itself is its own affair.
#[test]
fn only_candidates_of_other_zones_are_looked_at() {
    let offer = session("127.0.0.1", "m=audio 4000 RTP/AVP 0\nm=video 0 RTP/AVP 96\nc=IN IP4 192.168.1.5\n");
    let shown = call(Scope::Private, Ice::Auto).offer(Side::B, &offer);
    assert!(
        shown.contains("o=- 1 1 IN IP4 127.0.0.1\r\n") && shown.contains("c=IN IP4 192.168.1.5\r\n"),
        "{shown}"
    );
}

/// What no relay of ours carries is reached where it says, or not at all.
#[test]
fn media_that_does_not_go_through_the_relay_keeps_its_address() {
    let offer = session("10.20.0.20", "m=message 2855 TCP/MSRP *\nm=audio 4000 RTP/AVP 0\n");
    let shown = call(Scope::Global, Ice::Auto).offer(Side::B, &offer);
    assert!(shown.contains("\r\nc=IN IP4 10.20.0.20\r\nt="), "{shown}");
}

fn host() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => select(PRIVATE.to_vec()), 1 => select(PUBLIC.to_vec())]
}

/// A `c=` that can be read.
fn connection() -> impl Strategy<Value = String> {
    let host = host().prop_filter("no scope in SDP", |host| !host.contains('%'));
    host.prop_map(|host| format!("c=IN IP{} {host}\n", if host.contains(':') { 6 } else { 4 }))
}

fn line() -> impl Strategy<Value = String> {
    let candidate =
        (host(), host(), select(vec!["udp", "UDP", "tcp"]), 1..4u8, select(vec!["raddr", "RADDR", "x"]));
    let candidate = candidate.prop_map(|(host, base, transport, component, name)| {
        format!("a=candidate:1 {component} {transport} 2130706431 {host} 4000 typ srflx {name} {base} rport 4000 generation 0\n")
    });
    let short = (host(), 0..8usize).prop_map(|(host, fields)| {
        let words = ["1", "1", "udp", "7", host, "4000", "typ", "host"];
        format!("a=candidate:{}\n", words[..fields].join(" "))
    });
    let remote = vec(host(), 0..3).prop_map(|hosts| {
        let each = |(at, host)| format!("{} {host} 4000", at + 1);
        format!(
            "a=remote-candidates:{}\n",
            hosts.into_iter().enumerate().map(each).collect::<Vec<_>>().join(" ")
        )
    });
    let rest = select(vec![
        "a=rtcp-mux\n",
        "a=end-of-candidates\n",
        "a=ice-options:trickle ice2\n",
        "a=sendonly\n",
        "a=x\n",
        "a=ice-mismatch\n",
    ]);
    let altc = host().prop_map(|host| format!("a=altc:1 IP4 {host} 4000\n"));
    prop_oneof![4 => candidate, 1 => short, 1 => remote, 2 => rest.prop_map(str::to_owned), 1 => altc]
}

fn body() -> impl Strategy<Value = String> {
    let kinds = ["audio {} RTP/AVP 0", "video {} UDP/TLS/RTP/SAVPF 96", "image {} udptl t38"];
    let ice = || any::<bool>().prop_map(|does| if does { credentials("name") } else { String::new() });
    let section = (
        select(kinds.to_vec()),
        select(vec!["0", "9", "4000", "4002"]),
        connection(),
        ice(),
        vec(line(), 0..6),
    );
    let section = section.prop_map(|(kind, port, connection, ice, lines)| {
        format!("m={}\n{connection}{ice}{}", kind.replace("{}", port), lines.concat())
    });
    let session = (
        host(),
        connection(),
        subsequence(vec!["a=ice-lite\n", "a=group:BUNDLE 0 1\n"], 0..=2),
        ice(),
        vec(line(), 0..2),
    );
    (session, vec(section, 0..4)).prop_map(|((origin, connection, attributes, ice, lines), sections)| {
        let origin = origin.trim_end_matches("%eth0");
        let family = if origin.contains(':') { 6 } else { 4 };
        let head = format!("v=0\no=- 1 1 IN IP{family} {origin}\ns=-\n{connection}t=0 0\n");
        let body = head + &attributes.concat() + &ice + &lines.concat() + &sections.concat();
        body.replace('\n', "\r\n")
    })
}

/// The private address that a body shows. Names are hidden where ICE alone would use them, not as hosts of `o=` and `c=`.
fn leak(body: &str) -> Option<&str> {
    let is_private = |word: &&str| {
        let word = word.rsplit_once('/').map_or(*word, |(_, last)| last);
        PRIVATE.contains(&word)
    };
    let shows = |line: &&str| {
        let names_may_stay = line.starts_with("o=") || line.starts_with("c=");
        line.split(' ').any(|word| is_private(&word) && !(names_may_stay && word.ends_with(".local")))
    };
    body.lines().find(shows)
}

fn ice() -> impl Strategy<Value = Ice> {
    select(vec![Ice::Auto, Ice::Append, Ice::RelayOnly, Ice::Terminate, Ice::Strip])
}

proptest! {
    /// Whatever the SDP.
    #[test]
    fn no_private_address_of_a_fully_trusted_zone_leaves_it(
        bodies in vec((any::<bool>(), body()), 1..5),
        a_ice in ice(),
        b_ice in ice(),
    ) {
        let mut call = call(Scope::Global, b_ice);
        let Sides { a, b } = phone_and_pbx();
        call.media = CallMedia::new(Sides { a: SideSettings { ice: a_ice, ..a }, b: SideSettings { shows: Scope::Global, ice: b_ice, ..b } });
        let mut offered: Option<String> = None;
        for (answers, body) in bodies {
            let out = match offered.take() {
                Some(offer) if answers => {
                    drop(call.try_offer(Side::A, &offer));
                    call.try_answer(Side::B, "t", true, &body)
                }
                _ => call.try_offer(Side::B, &body),
            };
            let mut trickled = Vec::new();
            call.media.trickle(Side::B, body.as_bytes(), &call.relay, &mut trickled);
            let trickled = String::from_utf8(trickled).unwrap();
            let of_ice = |line: &&str| line.contains("candidate");
            prop_assert_eq!(trickled.lines().filter(of_ice).find_map(leak), None, "{}", trickled);
            offered = Some(body);
            if let Ok(out) = out {
                prop_assert_eq!(leak(&out), None, "{}", out);
                if let Ok(again) = call.try_offer(Side::B, &out) {
                    prop_assert_eq!(leak(&again), None);
                }
            }
        }
    }
}
