//! Bodies of real products, byte for byte as either side is shown them.

use super::samples::{EXCHANGES, sample};
use super::*;

const ALL: [Srtp; 6] = [Srtp::Pass, Srtp::Off, Srtp::Sdes, Srtp::Dtls, Srtp::Optional, Srtp::Required];

/// The key material in the lines of live RTP sections, as it stands there.
fn secrets(body: &str) -> Vec<&str> {
    let sections = body.split("\r\nm=").skip(1);
    let live = sections.filter(|section| section.contains("RTP/") && section.split(' ').nth(1) != Some("0"));
    let values = live.flat_map(str::lines).filter_map(|line| {
        let crypto = line.strip_prefix("a=crypto:").and_then(|line| line.split("inline:").nth(1));
        crypto.or(line.strip_prefix("a=fingerprint:"))
    });
    values.collect()
}

/// Whatever real products offer and answer under whichever treatment: a stream that is translated shows nobody's keys but ours,
/// and what is refused is refused with 488.
#[test]
fn keys_of_products_stay_on_their_side() {
    let (mut translated, mut refused) = (0, 0);
    for (exchange, a, b) in
        EXCHANGES.iter().flat_map(|e| ALL.iter().flat_map(move |a| ALL.map(|b| (e, *a, b))))
    {
        let of = |zone: samples::Zone, srtp| SideSettings { srtp, ..zone.side(Ice::Auto) };
        let mut call = Call::new(Sides { a: of(exchange.from, a), b: of(exchange.to, b) });
        let offer = sample(exchange.offer);
        let shown = match call.try_offer(Side::A, &offer) {
            Ok(shown) => shown,
            Err(error) => {
                assert_eq!(error.status(), 488, "{exchange:?} {a:?} {b:?}: {error}");
                refused += 1;
                continue;
            }
        };
        let first = || call.relay.open.keys().next().map(|pair| legs_of(&call, pair.0));
        if offer.matches("\r\nm=").count() == 1 && first().is_some_and(|legs| legs != "pass | pass") {
            translated += 1;
            let left = secrets(&offer).into_iter().find(|secret| shown.contains(secret));
            assert_eq!(left, None, "{exchange:?} {a:?} {b:?}");
        }
    }
    assert!(translated > 100 && refused > 50, "{translated} {refused}");
}

fn crlf(sample: &str) -> String {
    sample.replace('\n', "\r\n")
}

fn snapshot(name: &str, offer: &str, answer: &str) {
    insta::assert_snapshot!(name, format!("{offer}--- answer ---\n{answer}").replace('\r', ""));
}

#[test]
fn chrome_calls_a_plain_pbx() {
    let mut call = call(Srtp::Pass, Srtp::Off);
    let offer = call.offer(Side::A, &crlf(include_str!("../samples/chrome.sdp")));
    let answer = call.answer(Side::B, &plain(PBX, 5000));
    snapshot("chrome_to_plain_pbx", &offer, &answer);
}

#[test]
fn firefox_calls_a_trunk_with_sdes() {
    let mut call = call(Srtp::Pass, Srtp::Sdes);
    let offer = call.offer(Side::A, &crlf(include_str!("../samples/firefox.sdp")));
    let answer = call.answer(Side::B, &sdes(PBX, 5000, BRAVO));
    snapshot("firefox_to_sdes_trunk", &offer, &answer);
}

#[test]
fn an_encrypted_linphone_calls_a_plain_pbx() {
    let mut call = call(Srtp::Required, Srtp::Off);
    let offered = crlf(include_str!("../samples/linphone.sdp")).replace("RTP/AVP", "RTP/SAVP");
    let lines =
        crypto(1, "AEAD_AES_128_GCM", "YWxmYWFsZmFhbGZhYWxmYWFsZmFhbGZhYWxmYQ==") + &crypto(2, AES_80, ALFA);
    let mut sections = offered.splitn(2, "m=video");
    let with_keys = format!("{}{lines}", sections.next().unwrap());
    let offer = call.offer(Side::A, &with_keys);
    let answer = call.answer(Side::B, &plain(PBX, 5000));
    snapshot("sdes_phone_to_plain_pbx", &offer, &answer);
}

#[test]
fn asterisk_without_srtp_calls_a_browser() {
    let mut call = call(Srtp::Off, Srtp::Dtls);
    let offer = call.offer(Side::A, &crlf(include_str!("../samples/asterisk.sdp")));
    let answer = crlf(include_str!("../samples/chrome.sdp")).replace("actpass", "active");
    let answer = call.answer(Side::B, &answer);
    snapshot("plain_pbx_to_chrome", &offer, &answer);
}

#[test]
fn a_plain_pbx_calls_a_trunk_that_demands_srtp() {
    let mut call = call(Srtp::Off, Srtp::Required);
    let offer = call.offer(Side::A, &crlf(include_str!("../samples/freeswitch.sdp")));
    let answer = call.answer(Side::B, &sdes(PBX, 5000, BRAVO));
    snapshot("plain_pbx_to_required_trunk", &offer, &answer);
}
