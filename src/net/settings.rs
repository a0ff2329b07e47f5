//! What `net/` is told. `config::compile` builds it; tests write it by hand.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use ipnetwork::IpNetwork;
use rustls::SignatureScheme;

use crate::config::secret::Secret;
use crate::policy::feed::Kind;
use crate::relay::RelayAddress;
use crate::turn::credentials;
use crate::turn::quota::{self, Role};

/// Everything about sockets, certificates and patience that the edge need not know.
#[derive(Clone, Debug)]
pub struct NetSettings {
    /// Self-signed certificates and CDRs are kept here; made (mode 0700) if it is not there.
    pub data_dir: PathBuf,
    /// `certificates:`; [`ListenerTls::certificate`] and [`PeerTrust::certificate`] index it.
    pub certificates: Vec<Certificate>,
    /// Same index as [`crate::edge::settings::Settings::listeners`]; `None` for listeners that are not TLS.
    pub listeners: Vec<Option<ListenerTls>>,
    /// Same index; `None` for listeners that are no WebSockets.
    pub web: Vec<Option<ListenerWeb>>,
    /// Same index as [`crate::edge::settings::Settings::tls_peers`].
    pub tls_peers: Vec<PeerTrust>,
    /// Name servers that are asked where hosts are; none: the system's (/etc/resolv.conf, /etc/hosts).
    pub dns: Vec<SocketAddr>,
    /// Lists that policies have from elsewhere; same index as [`crate::policy::Settings::feeds`].
    pub feeds: Vec<FeedSource>,
    /// Who is told of alerts.
    pub webhook: Option<Webhook>,
    /// The TURN server, if there is to be one.
    pub turn: Option<TurnSettings>,
    /// Capacities of connections.
    pub capacity: Capacity,
    /// How long `net/` waits.
    pub patience: Patience,
}

/// Somebody's web server.
#[derive(Clone)]
pub struct Website {
    /// `http` or `https`. Its path may be a secret.
    pub url: Uri,
    /// PEM file of those whose signature under its certificate counts; none: the system's.
    pub ca: Option<PathBuf>,
    /// For an answer, to its last byte.
    pub patience: Duration,
}

/// Who is told of alerts.
#[derive(Clone)]
pub struct Webhook {
    /// Where.
    pub at: Website,
    /// What bodies are signed with.
    pub secret: Option<Secret>,
    /// How often one rule, trunk or target is told of at most.
    pub every: Duration,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Webhook(at {:?}, every {:?})", self.at.url.host(), self.every)
    }
}

/// A list that somebody publishes.
#[derive(Clone)]
pub struct FeedSource {
    /// Policy and list, as in the log: "toll fraud / bad networks".
    pub name: Arc<str>,
    /// Where.
    pub at: Website,
    /// How often it is fetched.
    pub refresh: Duration,
    /// What it is a list of.
    pub kind: Kind,
    /// How it is written.
    pub format: Format,
}

/// How a list is published.
#[derive(Clone, Debug)]
pub enum Format {
    /// A page with one entry on each line.
    Plain,
    /// APIBAN's API, of which the URL is the part before the key.
    Apiban(Secret),
}

impl std::fmt::Debug for FeedSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FeedSource({}, from {:?})", self.name, self.at.url.host())
    }
}

/// What a certificate's key must be able to sign with, one of them, for DTLS to show it.
pub const DTLS_SIGNATURES: &[SignatureScheme] =
    &[SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ECDSA_NISTP384_SHA384];

/// One entry of `certificates:`.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Where it comes from.
    pub source: CertificateSource,
}

/// Where a certificate comes from.
#[derive(Clone, Debug)]
pub enum CertificateSource {
    /// PEM files; read again when one of them changes.
    Files {
        /// Certificate chain, leaf first.
        chain: PathBuf,
        /// Private key (PKCS#8, PKCS#1 or SEC1).
        key: PathBuf,
    },
    /// Made on first start and kept in `data_dir/certificates/NAME.pem` and `NAME.key`.
    SelfSigned {
        /// DNS names and IP addresses that it carries.
        names: Vec<String>,
    },
}

/// TLS of one listener.
#[derive(Clone, Debug)]
pub struct ListenerTls {
    /// Indices into [`NetSettings::certificates`]. A client is shown the first that carries the name it asks for (SNI), else the first.
    pub certificates: Vec<usize>,
    /// Clients must show a certificate that this CA (PEM file) has signed (mTLS).
    pub client_ca: Option<PathBuf>,
}

/// WebSocket part of one listener (RFC 7118).
#[derive(Clone, Debug)]
pub struct ListenerWeb {
    /// Where it is to be found, such as `/sip`.
    pub path: String,
    /// Pages that may use it, as in the header field Origin; empty: any, and clients that are no browsers.
    pub origins: Vec<String>,
}

/// Whom to believe, and what to show, when we call a TLS peer.
#[derive(Clone, Debug)]
pub struct PeerTrust {
    /// CA file (PEM); `None`: the system's.
    pub ca: Option<PathBuf>,
    /// Index into [`NetSettings::certificates`]: shown if the peer asks for one (mTLS).
    pub certificate: Option<usize>,
}

/// `relay: { turn: … }`.
#[derive(Clone, Debug)]
pub struct TurnSettings {
    /// Where clients come in.
    pub listeners: Vec<TurnListener>,
    /// Who may.
    pub accounts: credentials::Settings,
    /// How long short-lived credentials are good that are issued here.
    pub credentials_lifetime: Duration,
    /// What they may, by [`credentials::RoleId`].
    pub roles: Vec<Arc<Role>>,
    /// What is full when.
    pub capacity: quota::Capacity,
    /// Relayed transport addresses. A client is given one whose networks hold its source; if there is none of the family
    /// that it wants, the first without networks, else the first.
    pub addresses: Vec<TurnAddress>,
    /// Where new clients are sent while this node drains (RFC 8656 §7.2: 300).
    pub alternates: Vec<SocketAddr>,
}

/// One listener of `turn:`.
#[derive(Clone, Debug)]
pub struct TurnListener {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Local address.
    pub bind: SocketAddr,
    /// `host:port` as clients are told of it (the URIs of issued credentials).
    pub advertise: Arc<str>,
    /// What clients speak to it.
    pub transport: TurnTransport,
    /// Index into [`NetSettings::certificates`]: with TLS and DTLS.
    pub certificate: Option<usize>,
}

/// What is spoken between client and server (RFC 8656 §2.1).
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnTransport {
    Udp,
    Tcp,
    Tls,
    Dtls,
}

impl TurnTransport {
    /// Over UDP, so that it takes a UDP port.
    pub fn is_datagram(self) -> bool {
        matches!(self, TurnTransport::Udp | TurnTransport::Dtls)
    }

    /// Shows a certificate.
    pub fn is_secure(self) -> bool {
        matches!(self, TurnTransport::Tls | TurnTransport::Dtls)
    }

    /// As it is written in the configuration, in the log and in listings.
    pub fn name(self) -> &'static str {
        match self {
            TurnTransport::Udp => "udp",
            TurnTransport::Tcp => "tcp",
            TurnTransport::Tls => "tls",
            TurnTransport::Dtls => "dtls",
        }
    }
}

/// Where allocations are bound, and for whom.
#[derive(Clone, Debug)]
pub struct TurnAddress {
    /// Bound and shown.
    pub address: RelayAddress,
    /// Of the zone that it belongs to; empty: for anybody.
    pub networks: Arc<[IpNetwork]>,
}

/// What happens when full: a new connection is closed at once, a peer that does not read is cut off.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Connections of all listeners together, those we opened included.
    pub connections: usize,
    /// Incoming connections of one source (IPv4 address or IPv6 /64).
    pub connections_per_source: usize,
    /// Bytes waiting to be written to one connection.
    pub outbound_bytes: usize,
    /// IPv6 UDP flows remembered; the longest idle one makes room. (An IPv4 flow's id is its address: no table.)
    pub udp_flows: usize,
}

impl Default for Capacity {
    fn default() -> Self {
        Capacity {
            connections: 50_000,
            connections_per_source: 100,
            outbound_bytes: 256 * 1024,
            udp_flows: 200_000,
        }
    }
}

/// How long `net/` waits before it gives up on a peer.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a TLS handshake to complete, accepted or ours.
    pub handshake: Duration,
    /// For a TCP connection that we open.
    pub connect: Duration,
    /// For a message that has begun to arrive to be complete (slow-loris).
    pub message: Duration,
    /// For any byte at all on a connection; a keep-alive ping counts.
    pub idle: Duration,
    /// For a peer to take any byte of what we write.
    pub write: Duration,
    /// For live calls to end by themselves after SIGTERM.
    pub drain: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            handshake: Duration::from_secs(5),
            connect: Duration::from_secs(4),
            message: Duration::from_secs(10),
            idle: Duration::from_secs(600),
            write: Duration::from_secs(10),
            drain: Duration::from_secs(30),
        }
    }
}
