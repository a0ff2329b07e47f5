//! What becomes of the offers and answers of real products, under each `ice:` setting: only the lines that are ours change,
//! and who else reads SDP reads the result.

use std::net::SocketAddr;

use turnpike::sdp::Session;

use super::diff::{Changed, diff};
use super::samples::{EXCHANGES, Exchange, sample};
use super::*;

/// `ice:` on either side: who offers, who answers.
const TREATMENTS: [(&str, Ice, Ice); 5] = [
    ("auto", Ice::Auto, Ice::Auto),
    ("append", Ice::Append, Ice::Append),
    ("relay_only", Ice::RelayOnly, Ice::Auto),
    ("terminate", Ice::Terminate, Ice::Auto),
    ("strip", Ice::Auto, Ice::Strip),
];

/// What DESIGN.md §4 wants to become of the ICE of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// It has none, or none that counts for anything.
    AsItIs,
    Appended,
    OursAlone,
    Stripped,
    /// We are an ICE-lite agent.
    Lite,
}

/// One exchange, through a call.
struct Rewritten {
    offer: String,
    answer: String,
    /// Relayed addresses that the answerer, and the offerer, is shown.
    shown: [Vec<SocketAddr>; 2],
}

fn rewrite(exchange: &Exchange, offerer: Ice, answerer: Ice) -> Rewritten {
    let sides = Sides { a: exchange.from.side(offerer), b: exchange.to.side(answerer) };
    let mut call = Call::new(sides);
    let offer = call.offer(Side::A, &sample(exchange.offer));
    let pairs: Vec<_> = call.relay.open.values().cloned().collect();
    let shown = |side: fn(&turnpike::relay::OpenPair) -> turnpike::relay::SideAddrs| {
        pairs.iter().map(side).flat_map(|shown| [shown.rtp().0, shown.rtcp().0]).collect::<Vec<_>>()
    };
    let shown = [shown(|pair| pair.b), shown(|pair| pair.a)];
    Rewritten { offer, answer: call.answer(Side::B, &sample(exchange.answer)), shown }
}

/// For the offer and for the answer.
fn wanted(exchange: &Exchange, offerer: Ice, answerer: Ice) -> [Wanted; 2] {
    let does_ice = |name| sample(name).contains("a=ice-ufrag:");
    let (offered, answered) = (does_ice(exchange.offer), does_ice(exchange.answer));
    let may_pass = offerer.may_pass() && answerer.may_pass();
    let passed = match offerer == Ice::RelayOnly || answerer == Ice::RelayOnly {
        true => Wanted::OursAlone,
        false => Wanted::Appended,
    };
    let offer = match (offered, may_pass) {
        (false, _) => Wanted::AsItIs,
        (true, true) => passed,
        (true, false) => Wanted::Stripped,
    };
    let answer = match (offered, answered) {
        (true, true) if may_pass => passed,
        (true, _) if offerer.may_terminate() => Wanted::Lite,
        (_, true) if !may_pass => Wanted::Stripped,
        _ => Wanted::AsItIs,
    };
    [offer, answer]
}

fn is_ice(line: &str) -> bool {
    ["a=ice-", "a=candidate:", "a=remote-candidates:", "a=end-of-candidates"]
        .iter()
        .any(|name| line.starts_with(name))
}

/// The address and type of a candidate.
fn candidate(line: &str) -> Option<(SocketAddr, &str)> {
    let fields: Vec<_> = line.strip_prefix("a=candidate:")?.split(' ').collect();
    Some((SocketAddr::new(fields.get(4)?.parse().ok()?, fields.get(5)?.parse().ok()?), fields.get(7)?))
}

/// A candidate that means something so far only does not go farther.
fn is_hidden(line: &str, least: Scope) -> bool {
    line.starts_with("a=candidate:")
        && candidate(line).is_none_or(|(address, _)| Scope::of(address.ip()) < least)
}

/// With its related address hidden, if that means something so far only (RFC 8839 §5.1).
fn without_base(line: &str, least: Scope) -> String {
    let mut fields: Vec<_> = line.split(' ').collect();
    let base = fields.iter().position(|field| *field == "raddr").map_or(0, |name| name + 1);
    let is_far = |ip: IpAddr| ip.is_unspecified() || Scope::of(ip) >= least;
    if base > 0 && !is_far(ip(fields[base])) {
        (fields[base], fields[base + 2]) = ("0.0.0.0", "9");
    }
    fields.join(" ")
}

/// Only what `wanted` and `least` allow has changed, and the destinations are `shown`.
fn assert_only_ours(
    what: &str,
    (before, after): (&str, &str),
    wanted: Wanted,
    least: Scope,
    shown: &[SocketAddr],
) {
    let is_shown = |line: &str| before.lines().any(|old| without_base(old, least) == line);
    let m = |line: &&str| line.starts_with("m=");
    let without_port = |line: &str| {
        let fields = line.split(' ').enumerate().filter(|(index, _)| *index != 1);
        fields.map(|(_, field)| field.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        before.lines().filter(m).map(without_port).collect::<Vec<_>>(),
        after.lines().filter(m).map(without_port).collect::<Vec<_>>(),
        "{what}"
    );
    for changed in diff(before, after) {
        let allowed = match changed {
            Changed::Gone(line) | Changed::Come(line)
                if ["m=", "c=", "a=rtcp:"].iter().any(|name| line.starts_with(name)) =>
            {
                true
            }
            Changed::Gone(line) | Changed::Come(line) if line.starts_with("o=") => least == Scope::Global,
            Changed::Gone(line) if is_hidden(line, least) || without_base(line, least) != line => true,
            Changed::Come(line) if is_shown(line) && !is_hidden(line, least) => true,
            Changed::Gone(line) => match wanted {
                Wanted::AsItIs | Wanted::Appended => false,
                Wanted::OursAlone => line.starts_with("a=candidate:"),
                Wanted::Stripped | Wanted::Lite => is_ice(line),
            },
            Changed::Come(line) => match wanted {
                Wanted::AsItIs | Wanted::Stripped => false,
                Wanted::Appended | Wanted::OursAlone => {
                    candidate(line).is_some_and(|(address, kind)| kind == "relay" && shown.contains(&address))
                }
                Wanted::Lite => match candidate(line) {
                    Some((address, kind)) => kind == "host" && shown.contains(&address),
                    None => is_ice(line),
                },
            },
        };
        assert!(allowed, "{what}, {wanted:?}: {changed:?}\n{after}");
    }
}

/// Media goes to `shown`, and where ICE is spoken, the default destination stands among the candidates.
fn assert_reachable(what: &str, after: &str, wanted: Wanted, shown: &[SocketAddr]) {
    let session = Session::parse(after.as_bytes()).unwrap();
    for (index, media) in session.media().iter().enumerate().filter(|(_, media)| media.port != 0) {
        let rtp = media.rtp.unwrap();
        assert!(
            shown.contains(&rtp) && media.rtcp.is_some_and(|rtcp| shown.contains(&rtcp)),
            "{what}\n{after}"
        );
        let candidates: Vec<_> = session.candidates(index).filter_map(|candidate| candidate.udp()).collect();
        let ours = candidates.iter().filter(|address| shown.contains(address)).count();
        match wanted {
            Wanted::AsItIs => {}
            Wanted::Stripped => assert!(!media.ice && candidates.is_empty(), "{what}\n{after}"),
            // RFC 8839 §4.2.5: an agent that does not find it there does no ICE.
            Wanted::Appended | Wanted::OursAlone | Wanted::Lite => {
                assert!(media.ice && candidates.contains(&rtp) && (1..=2).contains(&ours), "{what}\n{after}");
                assert!(wanted == Wanted::Appended || ours == candidates.len(), "{what}\n{after}");
            }
        }
    }
}

/// Other software finds as many streams in it as there were.
fn assert_readable(what: &str, before: &str, after: &str) {
    let streams = Session::parse(before.as_bytes()).unwrap().media().len();
    let by_sdp_types = sdp_types::Session::parse(after.as_bytes()).map(|session| session.medias.len());
    assert_eq!(by_sdp_types.ok(), Some(streams), "{what}\n{after}");
    let by_sdp_rs = after.parse::<sdp_rs::SessionDescription>().map(|body| body.media_descriptions.len());
    assert_eq!(by_sdp_rs.ok(), Some(streams), "{what}\n{after}");
}

#[test]
fn nothing_but_what_is_ours_is_touched_and_others_can_read_it() {
    for exchange in &EXCHANGES {
        for (treatment, offerer, answerer) in TREATMENTS {
            let Rewritten { offer, answer, shown } = rewrite(exchange, offerer, answerer);
            let wanted = wanted(exchange, offerer, answerer);
            let bodies = [(exchange.offer, exchange.from, offer), (exchange.answer, exchange.to, answer)];
            for ((name, zone, after), (wanted, shown)) in bodies.iter().zip(wanted.into_iter().zip(&shown)) {
                let (what, before) = (format!("{name}, {treatment}"), sample(name));
                let least = zone.side(Ice::Auto).shows;
                assert_only_ours(&what, (&before, after), wanted, least, shown);
                assert_reachable(&what, after, wanted, shown);
                assert_readable(&what, &before, after);
            }
        }
    }
}

/// The changed lines; what is drawn by lot is masked.
fn shown_as(before: &str, after: &str) -> String {
    let mut text = String::new();
    for changed in diff(before, after) {
        text += &match changed {
            Changed::Gone(line) => format!("-{line}\n"),
            Changed::Come(line) => match line.split_once(':') {
                Some((name @ ("a=ice-ufrag" | "a=ice-pwd"), _)) => format!("+{name}:(ours)\n"),
                _ => format!("+{line}\n"),
            },
        };
    }
    text
}

#[test]
fn what_changes() {
    for exchange in &EXCHANGES {
        let Exchange { offer, from, answer, to } = exchange;
        let mut text = String::new();
        let mut said: Vec<(String, &str)> = Vec::new();
        for (treatment, offerer, answerer) in TREATMENTS {
            let rewritten = rewrite(exchange, offerer, answerer);
            let changes = format!(
                "# {offer} in {from:?}, offered to {to:?}\n{}# {answer} in {to:?}, answered to {from:?}\n{}",
                shown_as(&sample(offer), &rewritten.offer),
                shown_as(&sample(answer), &rewritten.answer)
            );
            text += &format!("## {treatment}\n");
            match said.iter().find(|(before, _)| *before == changes) {
                Some((_, same)) => text += &format!("as {same}\n"),
                None => {
                    text += &changes;
                    said.push((changes, treatment));
                }
            }
        }
        insta::assert_snapshot!(*offer, text);
    }
}
