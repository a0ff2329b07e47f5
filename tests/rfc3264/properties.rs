//! What holds for every sample, under every `ice:` setting, between zones of every trust: rewriting again changes nothing and
//! stacks nothing, and no private address of a zone of full trust leaves it.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use turnpike::sdp::Session;

use super::samples::{EXCHANGES, Exchange, SAMPLES, Zone, sample};
use super::*;

const ICE: [Ice; 5] = [Ice::Auto, Ice::Append, Ice::RelayOnly, Ice::Terminate, Ice::Strip];

fn ice() -> impl Strategy<Value = Ice> {
    select(ICE.to_vec())
}

fn srtp() -> impl Strategy<Value = Srtp> {
    select(vec![Srtp::Pass, Srtp::Off, Srtp::Sdes, Srtp::Dtls, Srtp::Optional, Srtp::Required])
}

fn zone() -> impl Strategy<Value = Zone> {
    select(vec![Zone::Phones, Zone::Office, Zone::Carrier])
}

fn any_exchange() -> impl Strategy<Value = Exchange> {
    select(EXCHANGES.to_vec())
}

fn does_ice(body: &str) -> bool {
    body.contains("a=ice-ufrag:")
}

/// Our foundations are numbered after what else there is.
fn without_foundations(body: &str) -> Vec<String> {
    let ours = |line: &str| match line.strip_prefix("a=candidate:relay") {
        Some(rest) => format!("a=candidate:{}", rest.trim_start_matches(|c: char| c.is_ascii_digit())),
        None => line.to_owned(),
    };
    body.lines().map(ours).collect()
}

/// A phone's network is the same in all calls; what it says is shown as if it came from another zone.
fn sides(a: Zone, a_ice: Ice, b: Zone, b_ice: Ice) -> Sides {
    Sides { a: a.side(a_ice), b: b.side(b_ice) }
}

proptest! {
    /// The same endpoint says what we have made of it (a PBX that reflects an SDP, a spiral): nothing changes any more, and no
    /// second pair is opened.
    #[test]
    fn rewriting_again_towards_the_same_side_changes_nothing(
        exchange in any_exchange(),
        (a, b) in (zone(), zone()),
        (a_ice, b_ice) in (ice(), ice()),
    ) {
        let mut call = Call::new(sides(a, a_ice, b, b_ice));
        let once = call.offer(Side::A, &sample(exchange.offer));
        let opened = call.relay.opened;
        prop_assert_eq!(&call.offer(Side::A, &once), &once);
        prop_assert_eq!(call.relay.opened, opened, "no pair besides");
        call.roll_back();

        call.offer(Side::A, &sample(exchange.offer));
        let once = call.answer(Side::B, &sample(exchange.answer));
        prop_assert_eq!(&call.answer(Side::B, &sample(exchange.answer)), &once, "a 2xx that is sent again");
        // An answerer that did none would do ICE now: that is another answer.
        if does_ice(&once) == does_ice(&sample(exchange.answer)) {
            prop_assert_eq!(&call.answer(Side::B, &once), &once);
        }
        call.close();
        prop_assert!(call.relay.open.is_empty());
    }

    /// A call that comes through us twice, as when the PBX sends it out again, looks as if it had come through us once: of our
    /// relayed addresses each body names the last pair's only.
    #[test]
    fn a_call_that_passes_twice_names_one_relayed_address_only(
        (name, _) in select(SAMPLES.to_vec()),
        from in select(vec![Zone::Phones, Zone::Carrier]),
        to in select(vec![Zone::Phones, Zone::Carrier]),
        ice in select(vec![Ice::Auto, Ice::Append, Ice::RelayOnly, Ice::Strip]),
    ) {
        let mut inbound = Call::new(sides(from, ice, Zone::Office, ice));
        let between = inbound.offer(Side::A, &sample(name));
        let opened = inbound.relay.opened;
        let mut outbound = Call::on(sides(Zone::Office, ice, to, ice), std::mem::take(&mut inbound.relay));
        let twice = outbound.offer(Side::A, &between);
        prop_assert_eq!(outbound.relay.opened, 2 * opened, "the two calls are chained");

        // On a relay whose next port is the same.
        let relay = FakeRelay { opened, ..FakeRelay::default() };
        let once = Call::on(sides(Zone::Office, ice, to, ice), relay).offer(Side::A, &sample(name));
        prop_assert_eq!(without_foundations(&twice), without_foundations(&once));
    }
}

/// Private addresses in spellings that reach far.
const PRIVATE: [&str; 12] = [
    "10.20.0.20",
    "172.16.9.4",
    "192.168.1.40",
    "100.64.3.3",
    "169.254.10.10",
    "127.0.0.1",
    "fd12:3456:789a::6",
    "FD12:3456:789A:0::6",
    "fe80::5054:ff:fe12:3456",
    "::1",
    "::ffff:10.20.0.20",
    "2002:a14:14::1",
];

/// The samples' own addresses are these, or one of `instead`.
fn moved(body: &str, instead: &[&str]) -> String {
    let mut next = instead.iter().cycle();
    let mut line_with = |line: &str| {
        let fields = line.split(' ').map(|field| match field.parse::<IpAddr>() {
            Ok(ip) if !ip.is_unspecified() => (*next.next().unwrap()).to_owned(),
            _ => field.to_owned(),
        });
        let fields: Vec<String> = fields.collect();
        let family = |at: &str| if at.contains(':') { "IP6" } else { "IP4" };
        let is_family = |field: &str| field == "IP4" || field == "IP6";
        let named = fields.iter().enumerate().map(|(index, field)| match fields.get(index + 1) {
            Some(host) if is_family(field) && host.parse::<IpAddr>().is_ok() => family(host).to_owned(),
            _ => field.clone(),
        });
        named.collect::<Vec<_>>().join(" ")
    };
    body.lines().map(|line| line_with(line) + "\r\n").collect()
}

/// The first field that is an address which means something in one network only, and is none that the far side may know.
fn leak(body: &str, relayed: IpAddr) -> Option<&str> {
    let is_private = |field: &&str| {
        let ip = field.parse::<IpAddr>();
        field.ends_with(".local")
            || ip.is_ok_and(|ip| Scope::of(ip) < Scope::Global && !ip.is_unspecified() && ip != relayed)
    };
    body.split([' ', '\r', '\n', '/']).find(is_private)
}

proptest! {
    #[test]
    fn no_private_address_of_a_zone_of_full_trust_leaves_it(
        exchange in any_exchange(),
        others in select(vec![Zone::Phones, Zone::Carrier]),
        (office_ice, others_ice) in (ice(), ice()),
        places in subsequence(PRIVATE.to_vec(), 1..PRIVATE.len()).prop_shuffle(),
        srtp in srtp(),
        offers in any::<bool>(),
        shown_privately in any::<bool>(),
    ) {
        let (office, mut far) = (Zone::Office.side(office_ice), others.side(others_ice));
        if shown_privately {
            // The far side's relayed address may itself be private (another network of ours).
            far.relay = RelayAddress { bind: ip("0.0.0.0"), advertise: ip("172.30.0.1") }.into();
        }
        far.srtp = srtp;
        let relayed = far.relay.first().advertise;
        let inside = |name| moved(&sample(name), &places);
        let out = match offers {
            true => Call::new(Sides { a: office, b: far }).try_offer(Side::A, &inside(exchange.offer)),
            false => {
                let mut call = Call::new(Sides { a: far, b: office });
                let offered = call.try_offer(Side::A, &sample(exchange.offer));
                offered.and_then(|_| call.try_answer(Side::B, "t", true, &inside(exchange.answer)))
            }
        };
        // 488: keys that one side demands and the other does not bring.
        let Ok(out) = out else { return Ok(()) };
        prop_assert_eq!(leak(&out, relayed), None, "{}", out);
        prop_assert!(Session::parse(out.as_bytes()).is_ok(), "{}", out);
    }
}

/// A sample with lines lost, doubled, out of another sample, or with a byte changed.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let samples = || select(SAMPLES.to_vec()).prop_map(|(name, _)| sample(name));
    let edit = (0..4u8, any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>());
    (samples(), samples(), vec(edit, 0..6)).prop_map(|(body, other, edits)| {
        let mut lines: Vec<Vec<u8>> = body.split_inclusive('\n').map(|line| line.into()).collect();
        let other: Vec<&str> = other.split_inclusive('\n').collect();
        for (kind, at, from, byte) in edits {
            let at = at.index(lines.len());
            match kind {
                0 if lines.len() > 1 => drop(lines.remove(at)),
                0 | 1 => lines.insert(at, lines[at].clone()),
                2 => lines.insert(at, from.get(&other).as_bytes().to_vec()),
                _ => {
                    let in_line = from.index(lines[at].len());
                    lines[at][in_line] = byte;
                }
            }
        }
        lines.concat()
    })
}

proptest! {
    /// What is not quite what products write is rewritten or refused, and holds no port afterwards.
    #[test]
    fn mutated_samples_are_rewritten_or_refused(
        bodies in vec((any::<bool>(), any::<bool>(), mutated()), 1..6),
        (a, b) in (zone(), zone()),
        (a_ice, b_ice) in (ice(), ice()),
        (a_srtp, b_srtp) in (srtp(), srtp()),
    ) {
        let a = SideSettings { srtp: a_srtp, ..a.side(a_ice) };
        let mut call = Call::new(Sides { a, b: SideSettings { srtp: b_srtp, ..b.side(b_ice) } });
        for (from_a, offers, body) in bodies {
            let from = if from_a { Side::A } else { Side::B };
            let (media, relay, mut out) = (&mut call.media, &mut call.relay, Vec::new());
            let said = match offers {
                true => media.offer(from, &body, relay, &mut call.rng, &mut out),
                false => media.answer(from, b"t", true, &body, relay, &mut out),
            };
            let shown = String::from_utf8_lossy(&out);
            match said {
                Ok(()) => prop_assert!(Session::parse(&out).is_ok(), "{}", shown),
                Err(error) => prop_assert!([400, 488, 503].contains(&error.status()) && out.is_empty()),
            }
        }
        call.close();
        prop_assert!(call.relay.open.is_empty());
    }
}
