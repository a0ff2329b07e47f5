//! Bodies of real products, byte for byte as either side is shown them.

use super::*;

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
