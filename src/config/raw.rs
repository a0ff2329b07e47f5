//! The config as typed: one struct per mapping of the schema, names not yet resolved. docs/config.md says what each key
//! means.
#![allow(missing_docs)]

mod media;
mod turn;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnetwork::IpNetwork;

use super::diagnose::Problems;
use super::read::{At, FromNode, FromWord, Named, Wrong, record, words};
use super::words::{Bind, HostPort, Rate, Reference, Url};
use super::yaml::{Node, Value};
use crate::edge::settings::{Admit, CallerIdHeader, Trust, Verify};
use crate::observe::settings as logging;
pub use media::*;
pub use turn::*;

record! {
    /// The whole file.
    Config is "the config" {
        name: Option<At<String>>,
        data_dir: Option<At<PathBuf>>,
        zones: Option<Named<Zone>>,
        users: Option<Users>,
        certificates: Option<Named<Certificate>>,
        listeners: Option<Named<Listener>>,
        dns: Option<Dns>,
        pbx: Option<Pbx>,
        trunks: Option<Named<Trunk>>,
        routes: Option<Vec<Route>>,
        relay: Option<Relay>,
        policies: Option<Vec<At<String>>>,
        never_ban: Option<Vec<IpNetwork>>,
        geoip: Option<At<PathBuf>>,
        alerts: Option<Alerts>,
        state: Option<At<State>>,
        admin: Option<Admin>,
        logging: Option<Logging>,
    }
}

record! {
    /// `alerts:`
    Alerts is "alerts" {
        webhook: Webhook,
        every: Option<At<Duration>>,
    }
}

record! {
    /// `alerts: { webhook: … }`
    Webhook is "a webhook" {
        url: At<Url>,
        ca: Option<At<Authorities>>,
        secret: Option<At<Reference>>,
    }
}

record! {
    /// `zones:`
    Zone is "a zone" {
        trust: Trust,
        admit: At<Admit>,
        hide: Option<At<Vec<Hide>>>,
        networks: Option<Vec<IpNetwork>>,
        media: Option<Media>,
        numbers: Option<DialPlan>,
        session_timer: Option<SessionTimer>,
    }
}

record! {
    /// `numbers:` of a zone.
    DialPlan is "numbers" {
        country: At<String>,
        national: Option<At<String>>,
        international: Option<Vec<At<String>>>,
        area: Option<At<String>>,
        shortest: Option<u16>,
    }
}

record! {
    /// `session_timer:` of a zone or trunk.
    SessionTimer is "a session timer" {
        expires: At<Duration>,
        min: Option<At<Duration>>,
    }
}

record! {
    /// `dns:`
    Dns is "the DNS" {
        servers: Vec<At<SocketAddr>>,
    }
}

words!(Trust, "level of trust", { "none" => Trust::None, "peer" => Trust::Peer, "full" => Trust::Full });

words!(Hide, "thing to hide", {
    "topology" => Hide::Topology,
    "call_id" => Hide::CallId,
    "nothing" => Hide::Nothing,
});

/// A word of `hide:` of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hide {
    /// How other zones are built.
    Topology,
    /// The Call-IDs of other zones.
    CallId,
    /// Headers pass as RFC 3261 has a proxy pass them.
    Nothing,
}

words!(Admit, "way to admit", {
    "registered" => Admit::Registered,
    "authenticated" => Admit::Authenticated,
    "trunks" => Admit::Trunks,
    "any" => Admit::Any,
});

record! {
    /// `users:`
    Users is "users" {
        realm: At<String>,
        file: At<PathBuf>,
    }
}

record! {
    /// A user of the users file.
    User is "a user" {
        password: Option<At<Reference>>,
        ha1: Option<At<Hash<16>>>,
        ha1_sha256: Option<At<Hash<32>>>,
        role: Option<At<String>>,
    }
}

/// A hash of so many bytes, written in hex digits. As good as the password: never printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash<const BYTES: usize>(pub [u8; BYTES]);

impl<const BYTES: usize> fmt::Debug for Hash<BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash(…)")
    }
}

impl<const BYTES: usize> Hash<BYTES> {
    fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; BYTES];
        if text.len() != 2 * BYTES || !text.is_ascii() {
            return None;
        }
        for (i, byte) in bytes.iter_mut().enumerate() {
            let digits = text.get(2 * i..2 * i + 2).filter(|d| d.bytes().all(|d| d.is_ascii_hexdigit()))?;
            *byte = u8::from_str_radix(digits, 16).ok()?;
        }
        Some(Hash(bytes))
    }
}

/// Not a [`FromWord`]: it must not be shown with its line.
impl<const BYTES: usize> FromNode for At<Hash<BYTES>> {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        let text = super::read::scalar(node, problems)?;
        problems.hide(node.at);
        let Some(value) = Hash::from_hex(text) else {
            let help = "`turnpike credentials ha1` prints what to write: MD5(user:realm:password) in hex, \
                        and for `ha1_sha256` the same with SHA-256";
            problems.error(node.at, format!("this is not {} hex digits", 2 * BYTES), help);
            return None;
        };
        Some(At { at: node.at, value })
    }
}

record! {
    /// `certificates:`
    Certificate is "a certificate" {
        chain: Option<At<PathBuf>>,
        key: Option<At<Reference>>,
        self_signed: Option<At<Vec<At<String>>>>,
    }
}

record! {
    /// `listeners:`
    Listener is "a listener" {
        zone: At<String>,
        bind: At<Bind>,
        advertise: Option<HostPort>,
        certificate: Option<At<Vec<At<String>>>>,
        client_ca: Option<At<PathBuf>>,
        origins: Option<At<Vec<String>>>,
    }
}

record! {
    /// `pbx:`
    Pbx is "the PBX" {
        preset: Option<String>,
        zone: At<String>,
        hosts: At<Vec<Host>>,
        health: Option<Health>,
        tls: Option<PeerTls>,
    }
}

record! {
    /// `pbx: { health: … }`
    Health is "health" {
        options_every: Duration,
        down_after: Option<At<u32>>,
    }
}

record! {
    /// `tls:` of a trunk or the PBX.
    PeerTls is "tls" {
        verify: Option<Verify>,
        ca: Option<At<Authorities>>,
        certificate: Option<At<String>>,
    }
}

words!(Verify, "way to verify a certificate", {
    "name" => Verify::Name,
    "chain" => Verify::Chain,
    "none" => Verify::None,
});

/// `ca:` of `tls:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorities {
    /// Those of the operating system.
    System,
    /// Those in a PEM file.
    File(PathBuf),
}

impl FromWord for Authorities {
    fn from_word(text: &str) -> Result<Authorities, Wrong> {
        match text {
            "system" => Ok(Authorities::System),
            path => PathBuf::from_word(path).map(Authorities::File),
        }
    }
}

/// A host that requests are sent to: a URI, or `{ uri, priority, weight }`.
#[derive(Clone, Debug)]
pub struct Host {
    /// SIP URI.
    pub uri: At<String>,
    /// Lower first.
    pub priority: Option<u16>,
    /// Share among equals.
    pub weight: Option<u16>,
}

record! {
    HostSettings is "a host" {
        uri: At<String>,
        priority: Option<u16>,
        weight: Option<u16>,
    }
}

impl FromNode for Host {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Host> {
        if let Value::Mapping(_) = node.value {
            let HostSettings { uri, priority, weight, .. } = HostSettings::from_node(node, problems)?;
            return Some(Host { uri, priority, weight });
        }
        Some(Host { uri: At::from_node(node, problems)?, priority: None, weight: None })
    }
}

record! {
    /// `trunks:`
    Trunk is "a trunk" {
        preset: Option<String>,
        zone: At<String>,
        hosts: Option<At<Vec<Host>>>,
        accept_from: Option<Vec<At<IpNetwork>>>,
        accept_names: Option<Vec<At<String>>>,
        accept_user: Option<At<String>>,
        health: Option<Health>,
        limits: Option<TrunkLimits>,
        auth: Option<Auth>,
        register: Option<Register>,
        caller_id: Option<CallerId>,
        numbers: Option<NumberRules>,
        headers: Option<Headers>,
        session_timer: Option<SessionTimer>,
        media: Option<Media>,
        tls: Option<PeerTls>,
    }
}

record! {
    /// `limits:` of a trunk.
    TrunkLimits is "limits" {
        calls_at_once: Option<u32>,
        new_calls: Option<Rate>,
    }
}

record! {
    /// `auth:` of a trunk.
    Auth is "auth" {
        username: String,
        password: At<Reference>,
    }
}

record! {
    /// `register:` of a trunk.
    Register is "register" {
        every: Duration,
    }
}

record! {
    /// `caller_id:` of a trunk.
    CallerId is "caller_id" {
        header: CallerIdHeader,
        format: Option<NumberFormat>,
    }
}

words!(CallerIdHeader, "header for a caller's number", {
    "P-Asserted-Identity" => CallerIdHeader::PAssertedIdentity,
    "P-Preferred-Identity" => CallerIdHeader::PPreferredIdentity,
    "Remote-Party-ID" => CallerIdHeader::RemotePartyId,
    "From" => CallerIdHeader::From,
});

/// How a number is written.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberFormat {
    E164,
    AsIs,
}

words!(NumberFormat, "format of a number", { "e164" => NumberFormat::E164, "as_is" => NumberFormat::AsIs });

record! {
    /// `numbers:` of a trunk.
    NumberRules is "numbers" {
        outbound: Option<Vec<NumberRule>>,
        inbound: Option<Vec<NumberRule>>,
    }
}

record! {
    /// A rewriting of a number.
    NumberRule is "a number rule" {
        r#match: At<String>,
        replace: At<Replacement>,
    }
}

/// What a match is replaced by: may be nothing at all, written `""`.
#[derive(Clone, Debug)]
pub struct Replacement(pub String);

impl FromWord for Replacement {
    fn from_word(text: &str) -> Result<Replacement, Wrong> {
        if text.is_empty() {
            Ok(Replacement(String::new()))
        } else {
            String::from_word(text).map(Replacement)
        }
    }
}

record! {
    /// `headers:` of a trunk.
    Headers is "headers" {
        remove: Option<Vec<At<String>>>,
        add: Option<Named<String>>,
    }
}

record! {
    /// A line of `routes:`.
    Route is "a route" {
        name: At<String>,
        from: Option<Vec<At<String>>>,
        to: Option<Vec<At<String>>>,
        send_to: Option<Vec<At<String>>>,
        reject: Option<At<u16>>,
        emergency: Option<bool>,
        failover: Option<Failover>,
    }
}

record! {
    /// `failover:` of a route.
    Failover is "failover" {
        statuses: Option<Vec<At<u16>>>,
        after: Option<Duration>,
    }
}

/// `state:` in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// In `data_dir`.
    Embedded,
    /// Redis or Valkey.
    Redis,
}

impl FromNode for At<State> {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<At<State>> {
        let value = match super::read::scalar(node, problems)? {
            "embedded" => State::Embedded,
            url if url.starts_with("redis://") || url.starts_with("rediss://") => {
                // A password may stand in the URL.
                problems.hide(node.at);
                State::Redis
            }
            _ => {
                problems.error(
                    node.at,
                    "state is kept nowhere of this name",
                    "write `embedded` or `redis://HOST:6379/0`",
                );
                return None;
            }
        };
        Some(At { at: node.at, value })
    }
}

record! {
    /// `admin:`
    Admin is "admin" {
        listen: At<SocketAddr>,
        token: Option<At<Reference>>,
    }
}

record! {
    /// `logging:`
    Logging is "logging" {
        format: Option<logging::Format>,
        level: Option<logging::Level>,
        numbers: Option<logging::Numbers>,
    }
}

words!(logging::Format, "format of the log", {
    "text" => logging::Format::Text,
    "json" => logging::Format::Json,
});

words!(logging::Level, "level of the log", {
    "error" => logging::Level::Error,
    "warn" => logging::Level::Warn,
    "info" => logging::Level::Info,
    "debug" => logging::Level::Debug,
    "trace" => logging::Level::Trace,
});

words!(logging::Numbers, "way to show numbers", {
    "last_4_digits" => logging::Numbers::Last4Digits,
    "full" => logging::Numbers::Full,
    "none" => logging::Numbers::None,
});
