//! Media security (`srtp:`): what each side is shown, and what the relay does on its leg.

mod bodies;
mod dtls;
mod later;
mod live;
mod matrix;
mod refused;

use super::*;
use turnpike::relay::LegCrypto;
use turnpike::sdp::dtls::Role;

const PBX: &str = "10.20.0.20";
/// 30 bytes each.
const ALFA: &str = "YWxmYWFsZmFhbGZhYWxmYWFsZmFhbGZhYWxmYWFs";
const BRAVO: &str = "YnJhdm9icmF2b2JyYXZvYnJhdm9icmF2b2JyYXZv";
const AES_80: &str = "AES_CM_128_HMAC_SHA1_80";

fn call(a: Srtp, b: Srtp) -> Call {
    let sides = phone_and_pbx();
    Call::new(Sides { a: SideSettings { srtp: a, ..sides.a }, b: SideSettings { srtp: b, ..sides.b } })
}

fn crypto(tag: u32, suite: &str, key: &str) -> String {
    format!("a=crypto:{tag} {suite} inline:{key}\r\n")
}

/// `a=fingerprint` of a certificate that hashes to this byte, over and over.
fn fingerprint(byte: &str) -> String {
    format!("a=fingerprint:sha-256 {}\r\n", vec![byte; 32].join(":"))
}

fn plain(host: &str, port: u16) -> String {
    audio(host, port)
}

fn best_effort(host: &str, port: u16, key: &str) -> String {
    audio(host, port) + &crypto(1, AES_80, key)
}

fn sdes(host: &str, port: u16, key: &str) -> String {
    best_effort(host, port, key).replace("RTP/AVP", "RTP/SAVP")
}

/// Without ICE, as a phone does it.
fn dtls(host: &str, port: u16, byte: &str, setup: &str) -> String {
    let body = audio(host, port).replace("RTP/AVP", "UDP/TLS/RTP/SAVPF");
    format!("{body}{}a=setup:{setup}\r\na=rtcp-mux\r\n", fingerprint(byte))
}

/// The first section's profile, and what it says of keys.
fn shape(body: &str) -> String {
    let section = body.split("\r\nm=").nth(1).unwrap_or_default();
    let mut shape = section.split(' ').nth(2).unwrap_or_default().to_owned();
    for line in body.lines() {
        if let Some(crypto) = line.strip_prefix("a=crypto:") {
            shape += &format!(" crypto:{}", crypto.split(' ').next().unwrap());
        } else if let Some(setup) = line.strip_prefix("a=setup:") {
            shape += &format!(" {setup}");
        } else if line == "a=rtcp-mux" {
            shape += " mux";
        } else if line.starts_with("a=fingerprint:") {
            shape += " fingerprint";
        }
    }
    shape
}

/// What the relay does on either leg.
fn legs(call: &Call) -> String {
    legs_of(call, 0)
}

fn legs_of(call: &Call, pair: u64) -> String {
    let leg = |side| match &call.relay.rules(pair, side).crypto {
        LegCrypto::Pass => "pass",
        LegCrypto::Sdes { inbound: Some(_), outbound: Some(_) } => "sdes",
        LegCrypto::Sdes { .. } => "sdes-later",
        LegCrypto::Dtls { fingerprints, .. } if fingerprints.is_empty() => "dtls-later",
        LegCrypto::Dtls { role: Some(Role::Client), .. } => "dtls-client",
        LegCrypto::Dtls { role: Some(Role::Server), .. } => "dtls-server",
        LegCrypto::Dtls { role: None, .. } => "dtls-nobody",
    };
    format!("{} | {}", leg(Side::A), leg(Side::B))
}

/// The keys of a leg as they would stand in SDP: the endpoint's, ours.
fn keys(call: &Call, side: Side) -> (String, String) {
    use base64::Engine;
    let LegCrypto::Sdes { inbound, outbound } = &call.relay.rules(0, side).crypto else {
        panic!("no SDES on that leg: {}", legs(call))
    };
    let written = |key: &Option<turnpike::media::srtp::MasterKey>| {
        base64::engine::general_purpose::STANDARD.encode(key.as_ref().unwrap().key_and_salt())
    };
    (written(inbound), written(outbound))
}

/// The key in the line with that number.
fn key_in(body: &str, tag: u32) -> String {
    let start = format!("a=crypto:{tag} ");
    let line = body.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{body}"));
    line.split("inline:").nth(1).unwrap().to_owned()
}

/// What an endpoint that does as it is asked answers to an offer of that shape.
fn answer_to(shape: &str, host: &str, port: u16) -> String {
    if shape.contains("fingerprint") {
        dtls(host, port, "BB", "active")
    } else if shape.contains("SAVP") {
        sdes(host, port, BRAVO)
    } else if shape.contains("crypto") {
        best_effort(host, port, BRAVO)
    } else {
        plain(host, port)
    }
}
