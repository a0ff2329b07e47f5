//! Words of the schema that have a syntax of their own: durations, rates, addresses, binds, references to secrets.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use hyper::Uri;
use ipnetwork::IpNetwork;

use super::read::{At, FromNode, FromWord, Wrong};
use super::yaml::Node;
use crate::base::Transport;
use crate::config::diagnose::Problems;
use crate::net::settings::TurnTransport;

/// Timers stay far from the end of the clock's range.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

impl FromWord for String {
    fn from_word(text: &str) -> Result<String, Wrong> {
        match text {
            "" => Err(Wrong::new("nothing stands here", "write a value, or remove the key")),
            _ if text.chars().any(char::is_control) => {
                Err(Wrong::new("a control character stands here", "remove it"))
            }
            _ => Ok(text.to_owned()),
        }
    }
}

impl FromWord for PathBuf {
    fn from_word(text: &str) -> Result<PathBuf, Wrong> {
        String::from_word(text).map(PathBuf::from)
    }
}

fn number<N: FromStr>(text: &str, what: &str) -> Result<N, Wrong> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = digits.then(|| text.parse().ok()).flatten();
    number.ok_or_else(|| Wrong::new(format!("`{text}` is no {what}"), "write digits only, such as `100`"))
}

impl FromWord for u16 {
    fn from_word(text: &str) -> Result<u16, Wrong> {
        number(text, "number from 0 to 65535")
    }
}

impl FromWord for u32 {
    fn from_word(text: &str) -> Result<u32, Wrong> {
        number(text, "whole number")
    }
}

impl FromWord for bool {
    fn from_word(text: &str) -> Result<bool, Wrong> {
        text.parse()
            .map_err(|_| Wrong::new(format!("`{text}` is neither true nor false"), "write `true` or `false`"))
    }
}

/// `500ms`, `60s`, `4m`, `8h`, `1d`: more than nothing, a year at most.
impl FromWord for Duration {
    fn from_word(text: &str) -> Result<Duration, Wrong> {
        let help = "write a number and one of ms, s, m, h, d, such as `60s`";
        match duration(text) {
            Some(d) if d.is_zero() => Err(Wrong::new("a duration of nothing", help)),
            Some(d) if d > LONGEST => Err(Wrong::new(format!("`{text}` is longer than a year"), help)),
            Some(d) => Ok(d),
            None => Err(Wrong::new(format!("`{text}` is no duration"), help)),
        }
    }
}

fn duration(text: &str) -> Option<Duration> {
    let (count, unit) = text.split_at_checked(text.bytes().take_while(u8::is_ascii_digit).count())?;
    let count: u64 = count.parse().ok()?;
    match unit.trim_start() {
        "ms" => Some(Duration::from_millis(count)),
        "s" => Some(Duration::from_secs(count)),
        "m" | "min" => count.checked_mul(60).map(Duration::from_secs),
        "h" | "hour" => count.checked_mul(3600).map(Duration::from_secs),
        "d" | "day" => count.checked_mul(86_400).map(Duration::from_secs),
        "week" => count.checked_mul(7 * 86_400).map(Duration::from_secs),
        "month" => count.checked_mul(30 * 86_400).map(Duration::from_secs),
        _ => None,
    }
}

/// `10/s`, `100/min`, `5/10s`: so many in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// So many.
    pub count: u32,
    /// In so long.
    pub per: Duration,
}

impl FromWord for Rate {
    fn from_word(text: &str) -> Result<Rate, Wrong> {
        let rate = text.split_once('/').and_then(|(count, per)| {
            let count = u32::from_word(count.trim()).ok()?;
            let per = per.trim();
            let bare = per.starts_with(|c: char| c.is_ascii_alphabetic());
            let per = Duration::from_word(&if bare { format!("1{per}") } else { per.to_owned() }).ok()?;
            (count > 0).then_some(Rate { count, per })
        });
        rate.ok_or_else(|| {
            Wrong::new(
                format!("`{text}` is no rate"),
                "write so many in so long, such as `10/s` or `100/min`",
            )
        })
    }
}

/// `512kbit/s`, in bits per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bandwidth(pub u64);

impl FromWord for Bandwidth {
    fn from_word(text: &str) -> Result<Bandwidth, Wrong> {
        let units = [("Gbit/s", 1_000_000_000), ("Mbit/s", 1_000_000), ("kbit/s", 1000), ("bit/s", 1)];
        let bits = units.iter().find_map(|(unit, bits)| {
            let count: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
            count.checked_mul(*bits).filter(|bits| *bits > 0)
        });
        let help = "write a number and one of bit/s, kbit/s, Mbit/s, Gbit/s, such as `512kbit/s`";
        bits.map(Bandwidth).ok_or_else(|| Wrong::new(format!("`{text}` is no bandwidth"), help))
    }
}

impl FromWord for IpAddr {
    fn from_word(text: &str) -> Result<IpAddr, Wrong> {
        text.parse().map_err(|_| {
            Wrong::new(
                format!("`{text}` is no IP address"),
                "write an address without port, such as `203.0.113.10`",
            )
        })
    }
}

/// A network without host bits: `10.0.0.5/8` may mean either of two things.
impl FromWord for IpNetwork {
    fn from_word(text: &str) -> Result<IpNetwork, Wrong> {
        let network: IpNetwork = text.parse().map_err(|_| {
            let help =
                "write an address and the length of its prefix, such as `10.20.0.0/16` or `192.0.2.7/32`";
            Wrong::new(format!("`{text}` is no network"), help)
        })?;
        if network.ip() == network.network() {
            return Ok(network);
        }
        let full = if network.is_ipv4() { 32 } else { 128 };
        let help = format!(
            "for the network write `{}/{}`, for the one address `{}/{full}`",
            network.network(),
            network.prefix(),
            network.ip()
        );
        Err(Wrong::new(format!("`{text}` has bits behind its prefix"), help))
    }
}

impl FromWord for SocketAddr {
    fn from_word(text: &str) -> Result<SocketAddr, Wrong> {
        text.parse().map_err(|_| {
            let help = "write an IP address and a port, such as `127.0.0.1:8080` or `[::1]:8080`";
            Wrong::new(format!("`{text}` is no address with a port"), help)
        })
    }
}

/// `tls://0.0.0.0:5061`, `wss://0.0.0.0:8443/sip`: what to listen on. The port may be missing: the transport's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// Scheme.
    pub transport: Transport,
    /// Address and port.
    pub address: SocketAddr,
    /// Path of a WebSocket listener; `/` if missing.
    pub path: String,
}

impl FromWord for Bind {
    fn from_word(text: &str) -> Result<Bind, Wrong> {
        let help = "write transport, IP address and port, such as `tls://0.0.0.0:5061`";
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| Wrong::new(format!("`{text}` does not name a transport"), help))?;
        let transport = super::read::one_of(scheme, "transport", &TRANSPORTS)?;
        let (address, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, "/"),
        };
        let address = with_port(address, transport.default_port())
            .ok_or_else(|| Wrong::new(format!("`{address}` is no IP address with a port"), help))?;
        let is_web = matches!(transport, Transport::Ws | Transport::Wss);
        if path != "/" && !is_web {
            return Err(Wrong::new(format!("a {scheme} listener has no path"), format!("remove `{path}`")));
        }
        Ok(Bind { transport, address, path: path.to_owned() })
    }
}

/// `192.0.2.1:5060`, `[2001:db8::1]:5060`, or either without its port.
fn with_port(text: &str, default: u16) -> Option<SocketAddr> {
    let bare = || text.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    text.parse().ok().or_else(|| Some(SocketAddr::new(bare()?, default)))
}

const TRANSPORTS: [(&str, Transport); 5] = [
    ("udp", Transport::Udp),
    ("tcp", Transport::Tcp),
    ("tls", Transport::Tls),
    ("ws", Transport::Ws),
    ("wss", Transport::Wss),
];

/// `udp://0.0.0.0:3478`, `dtls://[::]:5349`: what TURN clients come to. The port may be missing: RFC 8656's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnBind {
    /// Scheme.
    pub transport: TurnTransport,
    /// Address and port.
    pub address: SocketAddr,
}

impl FromWord for TurnBind {
    fn from_word(text: &str) -> Result<TurnBind, Wrong> {
        let help = "write transport, IP address and port, such as `udp://0.0.0.0:3478`";
        let (scheme, address) = text
            .split_once("://")
            .ok_or_else(|| Wrong::new(format!("`{text}` does not name a transport"), help))?;
        if matches!(scheme, "ws" | "wss") {
            let help = "write `udp://`, `tcp://`, `tls://` or `dtls://`; browsers speak `tls://` too";
            return Err(Wrong::new("TURN has no WebSocket", help));
        }
        let choices = [
            ("udp", TurnTransport::Udp),
            ("tcp", TurnTransport::Tcp),
            ("tls", TurnTransport::Tls),
            ("dtls", TurnTransport::Dtls),
        ];
        let transport = super::read::one_of(scheme, "transport of TURN", &choices)?;
        let address = with_port(address, if transport.is_secure() { 5349 } else { 3478 })
            .ok_or_else(|| Wrong::new(format!("`{address}` is no IP address with a port"), help))?;
        Ok(TurnBind { transport, address })
    }
}

/// `sip.example.com:5061`, `203.0.113.10`, `[2001:db8::1]:5060`: how the outside names us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// Name or address; an IPv6 address in brackets.
    pub host: String,
    /// Port, if written.
    pub port: Option<u16>,
}

impl FromWord for HostPort {
    fn from_word(text: &str) -> Result<HostPort, Wrong> {
        let help = "write a host name or address, with or without a port, such as `sip.example.com:5061`";
        let wrong = || Wrong::new(format!("`{text}` is no host"), help);
        let address = text.parse::<SocketAddr>().map(|address| (address.ip(), Some(address.port())));
        if let Ok((ip, port)) = text.parse::<IpAddr>().map(|ip| (ip, None)).or(address) {
            if ip.is_unspecified() || port == Some(0) {
                return Err(Wrong::new(format!("nobody can be sent to `{text}`"), help));
            }
            return Ok(HostPort { host: bracketed(ip), port });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(u16::from_word(port).map_err(|_| wrong())?)),
            None => (text, None),
        };
        if !is_host_name(host) || port == Some(0) {
            return Err(wrong());
        }
        Ok(HostPort { host: host.to_owned(), port })
    }
}

/// As it stands in a URI: an IPv6 address in brackets (RFC 3261 §25.1 IPv6reference).
pub fn bracketed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// RFC 1123 §2.1: labels of letters, digits and inner hyphens.
pub fn is_host_name(host: &str) -> bool {
    let label = |l: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        !l.is_empty() && l.len() <= 63 && l.bytes().all(inner) && !l.starts_with('-') && !l.ends_with('-')
    };
    host.len() <= 253 && host.strip_suffix('.').unwrap_or(host).split('.').all(label)
}

/// `40000-49999`: begins even and ends odd, so that RTP (even) always has its RTCP (odd, one up; RFC 3550 §11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// First.
    pub first: u16,
    /// Last.
    pub last: u16,
}

impl FromWord for PortRange {
    fn from_word(text: &str) -> Result<PortRange, Wrong> {
        let help = "write the first and the last port, such as `40000-49999`";
        let ports = text
            .split_once('-')
            .and_then(|(first, last)| Some((first.trim().parse().ok()?, last.trim().parse().ok()?)));
        let (first, last): (u16, u16) =
            ports.ok_or_else(|| Wrong::new(format!("`{text}` is no range of ports"), help))?;
        if first < 1024 {
            return Err(Wrong::new("ports below 1024 belong to the system", help));
        }
        if last < first {
            return Err(Wrong::new("the range ends before it begins", format!("write `{last}-{first}`")));
        }
        if last - first < 3 {
            return Err(Wrong::new("one stream takes four ports", help));
        }
        if first % 2 == 1 || last % 2 == 0 {
            let (even, odd) = (first + first % 2, last - (1 - last % 2));
            let what = "a range begins even and ends odd: RTP is even, its RTCP one up";
            return Err(Wrong::new(what, format!("write `{even}-{odd}`")));
        }
        Ok(PortRange { first, last })
    }
}

/// Something on the web.
#[derive(Clone, Debug)]
pub struct Url(pub Uri);

impl FromWord for Url {
    fn from_word(text: &str) -> Result<Url, Wrong> {
        let help = "write it as in a browser, without a name and password: `https://example.com/path`";
        let url: Option<Uri> = text.parse().ok();
        let is_web = |url: &Uri| {
            let has_name = url.authority().is_some_and(|authority| authority.as_str().contains('@'));
            matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some() && !has_name
        };
        url.filter(is_web).map(Url).ok_or_else(|| Wrong::new("this is no URL", help))
    }
}

impl Url {
    /// Whoever is on the way can read and write what passes. On this machine nobody is.
    pub fn is_open(&self) -> bool {
        let host = self.0.host().unwrap_or_default().trim_matches(['[', ']']);
        let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        self.0.scheme_str() == Some("http") && !is_here
    }
}

/// `env:NAME` or `file:PATH`: where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// An environment variable.
    Environment(String),
    /// A file; its last line break does not count.
    File(PathBuf),
}

/// Not a [`FromWord`]: what stands here in the clear must not be shown with its line.
impl FromNode for At<Reference> {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<At<Reference>> {
        let text = super::read::scalar(node, problems)?;
        let value = match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Reference::Environment(name.to_owned()),
            Some(("file", path)) if !path.is_empty() => Reference::File(path.into()),
            _ => {
                problems.hide(node.at);
                let help = "write `env:NAME` (an environment variable) or `file:PATH`";
                problems.error(node.at, "a secret does not stand in the config itself", help);
                return None;
            }
        };
        Some(At { at: node.at, value })
    }
}

#[cfg(test)]
mod tests;
