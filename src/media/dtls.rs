//! DTLS-SRTP (RFC 5764): the association over which one leg agrees with its peer on SRTP keys, sans-IO. The handshake
//! itself is dimpl's; here the peer's certificate is held against the fingerprint in its SDP before a key is given out,
//! and everything is bounded. dimpl draws its own random numbers and is told the time.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use dimpl::{Config, Dtls, DtlsCertificate, SrtpProfile, UnexpectedMessageError};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use super::srtp::{MasterKey, Suite};
use crate::sdp::dtls::Hash;
pub use crate::sdp::dtls::{Fingerprint, Role};

/// A handshake that takes longer has failed: somebody is waiting for a voice.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// RFC 6347 §4.2.4.1 advises to begin with a second; media cannot wait for that. It doubles each time.
const FIRST_RETRANSMISSION: Duration = Duration::from_millis(250);
const RETRANSMISSIONS: usize = 6;
/// Datagrams that wait to be sent. What comes on top is lost, as on any path, and sent again.
const MAX_OUTPUTS: usize = 32;
/// Fits every path, with room for what TURN adds.
const MTU: usize = 1150;
/// How much more than it sent a peer may be sent that has not shown where it is (ATTACKS: reflection).
const AMPLIFICATION: usize = 2;
/// RFC 6347 §4.1, §4.3.2: the record's type and its header's length, the message's type.
const HANDSHAKE: u8 = 22;
const RECORD_HEADER: usize = 13;
const HELLO_VERIFY_REQUEST: u8 = 3;
/// A certificate that is longer is not taken.
const LONGEST_CERTIFICATE: usize = 16_384;

/// The certificate that this node shows in every handshake, made once: it proves nothing but that whoever shows it wrote
/// the fingerprint in the SDP. It outlasts a restart, as does what was said in SDP.
pub struct Certificate {
    own: DtlsCertificate,
    fingerprint: Fingerprint,
    config: Arc<Config>,
    /// For peers that have yet to show that they are where their packets say.
    wary: Arc<Config>,
}

/// A certificate could not be made, which says that the machine has no random numbers to give, or one that was kept cannot be
/// read.
#[derive(Debug, thiserror::Error)]
#[error("the certificate for DTLS media cannot be made: {0}")]
pub struct CertificateError(String);

fn wrong(error: impl fmt::Display) -> CertificateError {
    CertificateError(error.to_string())
}

impl Certificate {
    /// A fresh one.
    pub fn generate() -> Result<Certificate, CertificateError> {
        Certificate::read(&Certificate::make()?)
    }

    /// A fresh one and its key, as PEM: ECDSA with P-256, as every browser takes it.
    pub fn make() -> Result<String, CertificateError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(wrong)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "turnpike");
        Ok(params.self_signed(&key).map_err(wrong)?.pem() + &key.serialize_pem())
    }

    /// What [`Certificate::make`] made.
    pub fn read(pem: &str) -> Result<Certificate, CertificateError> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(wrong)?.to_vec();
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(wrong)?;
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256).map_err(wrong)?;
        let config = |cookie| {
            let config = Config::builder()
                .mtu(MTU)
                .flight_start_rto(FIRST_RETRANSMISSION)
                .flight_retries(RETRANSMISSIONS)
                .handshake_timeout(HANDSHAKE_TIMEOUT)
                .use_server_cookie(cookie);
            config.build().map(Arc::new).map_err(wrong)
        };
        let fingerprint = fingerprint(Hash::Sha256, &der).ok_or_else(|| wrong("SHA-256 has no 32 bytes"))?;
        let own = DtlsCertificate { certificate: der, private_key: key.serialize_der() };
        Ok(Certificate { own, fingerprint, config: config(false)?, wary: config(true)? })
    }

    /// For `a=fingerprint`.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.fingerprint)
    }
}

/// What both ends agreed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// For what the peer sends.
    pub inbound: MasterKey,
    /// For what it is sent.
    pub outbound: MasterKey,
}

/// Why there are no keys. The media of the leg will never flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The peer is not the one whose SDP we have (RFC 5763 §5).
    #[error(
        "the peer's certificate is not the one that its SDP names: somebody stands between, or a=fingerprint is stale"
    )]
    Fingerprint,
    /// No `use_srtp`, or a suite that may not be used here.
    #[error("the peer agrees to none of the SRTP suites that `srtp` allows here")]
    Suite,
    /// No answer, or not in time.
    #[error("the peer does not answer the DTLS handshake")]
    Timeout,
    /// What it sends is not a handshake that we can do: no common cipher suite, an RSA certificate, an alert.
    #[error("the DTLS handshake failed: the peer needs an ECDSA certificate and DTLS 1.2 or 1.3")]
    Handshake,
}

/// What an association asks for.
#[derive(Clone, PartialEq, Eq)]
pub enum Output {
    /// Send it to the peer.
    Packet(Vec<u8>),
    /// The peer is the right one; once.
    Keys(Keys),
    /// It is not, or it did not answer; once, and nothing follows.
    Failed(Failure),
}

/// One DTLS association.
pub struct Association {
    dtls: Dtls,
    role: Role,
    /// Suites that may be used.
    suites: Vec<Suite>,
    /// Fingerprints from the peer's SDP, once it is there.
    expected: Vec<Fingerprint>,
    /// What the peer showed, and what was agreed on with it: kept until the fingerprints are known.
    shown: Option<Vec<u8>>,
    agreed: Option<Keys>,
    connected: bool,
    state: State,
    outputs: VecDeque<Output>,
    timeout: Option<Instant>,
    /// Bytes that it may yet be sent while it has not shown that it is where its packets say.
    allowance: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Handshake,
    /// Keys were given out; the last flight may have to be sent again.
    Established,
    Over,
}

impl Association {
    /// Begins one; a client's first packet is waiting at once. The peer's SDP may come later
    /// ([`Association::expect`]): an answerer that begins may be quicker than its answer (RFC 5763 §6.2).
    pub fn new(certificate: &Certificate, role: Role, suites: &[Suite], now: Instant) -> Association {
        let mut dtls = Dtls::new_auto(certificate.config.clone(), certificate.own.clone(), now);
        dtls.set_active(role == Role::Client);
        Association::with(dtls, role, suites, None, now)
    }

    /// A server's, with a peer that may have borrowed another's address: before it has brought back a cookie
    /// (RFC 6347 §4.2.1), it is sent no more than [`AMPLIFICATION`] times what came from it. DTLS 1.2 alone: the cookie of 1.3
    /// is sent again and again.
    pub fn wary(certificate: &Certificate, suites: &[Suite], now: Instant) -> Association {
        let dtls = Dtls::new_12(certificate.wary.clone(), certificate.own.clone(), now);
        Association::with(dtls, Role::Server, suites, Some(0), now)
    }

    fn with(dtls: Dtls, role: Role, suites: &[Suite], allowance: Option<usize>, now: Instant) -> Association {
        let mut association = Association {
            dtls,
            role,
            suites: suites.to_vec(),
            expected: Vec::new(),
            shown: None,
            agreed: None,
            connected: false,
            state: State::Handshake,
            outputs: VecDeque::new(),
            timeout: None,
            allowance,
        };
        association.handle_timeout(now);
        association
    }

    /// What the peer's SDP says of its certificate. With several (RFC 8122 §5) those of the best hash count, and any of
    /// them will do.
    pub fn expect(&mut self, fingerprints: impl IntoIterator<Item = Fingerprint>) {
        self.expected = fingerprints.into_iter().collect();
        self.give_keys();
    }

    /// A DTLS packet from the peer's address; whoever else could send one was dropped before.
    pub fn handle_packet(&mut self, packet: &[u8], now: Instant) {
        self.handle_timeout(now);
        if self.state == State::Over {
            return;
        }
        if let Some(allowance) = &mut self.allowance {
            *allowance += AMPLIFICATION * packet.len();
        }
        let outcome = match guarded(|| self.dtls.handle_packet(packet)) {
            // Not yet the answer to our first packet: the old association's last words, or overtaken by what follows it.
            Err(dimpl::Error::UnexpectedMessage(UnexpectedMessageError::UnrecognizedAutoServerResponse)) => {
                Ok(())
            }
            outcome => outcome,
        };
        self.after(outcome, now);
    }

    /// Time has come, or somebody only says how late it is.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.state != State::Over {
            let outcome = guarded(|| self.dtls.handle_timeout(now));
            self.after(outcome, now);
        }
    }

    /// True when there will never be keys, or the peer has ended it.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Association::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timeout
    }

    fn after(&mut self, outcome: Result<(), dimpl::Error>, now: Instant) {
        let outcome = outcome.and_then(|()| guarded(|| self.drain(now)));
        match outcome {
            Ok(()) => self.give_keys(),
            Err(error) if self.state == State::Handshake => self.fail(match error {
                dimpl::Error::Timeout(_) => Failure::Timeout,
                _ => Failure::Handshake,
            }),
            // The keys are there: the call goes on without the association.
            Err(_) => self.end(),
        }
    }

    /// Takes what dimpl has for us.
    fn drain(&mut self, now: Instant) -> Result<(), dimpl::Error> {
        let mut buffer = vec![0; 2 * MTU];
        loop {
            match self.dtls.poll_output(&mut buffer) {
                dimpl::Output::Packet(packet)
                    if self.outputs.len() < MAX_OUTPUTS && afford(&mut self.allowance, packet) =>
                {
                    self.outputs.push_back(Output::Packet(packet.to_vec()));
                }
                dimpl::Output::PeerCert(certificate) => self.shown = Some(certificate.to_vec()),
                dimpl::Output::KeyingMaterial(material, profile) => {
                    let keys = keys(&material, suite_of(profile), self.role);
                    self.agreed = keys.filter(|keys| self.suites.contains(&keys.inbound.suite()));
                }
                dimpl::Output::Connected => self.connected = true,
                dimpl::Output::BufferTooSmall { needed } if needed <= LONGEST_CERTIFICATE => {
                    buffer.resize(needed, 0);
                }
                dimpl::Output::BufferTooSmall { .. } | dimpl::Output::CloseNotify => {
                    return Err(dimpl::Error::ConnectionClosed);
                }
                dimpl::Output::Timeout(at) => {
                    // Years away: dimpl waits for nothing.
                    self.timeout = Some(at).filter(|at| *at <= now + HANDSHAKE_TIMEOUT);
                    return Ok(());
                }
                // A packet too many, or one that the peer must not be sent; application data, none of which is meant for us.
                _ => {}
            }
        }
    }

    /// Holds what the peer showed against what its SDP says; keys go out when both are there and agree.
    fn give_keys(&mut self) {
        if self.state != State::Handshake {
            return;
        }
        let Some(best) = self.expected.iter().map(Fingerprint::hash).max() else { return };
        if let Some(shown) = &self.shown {
            let shown = fingerprint(best, shown);
            if !self.expected.iter().any(|expected| Some(expected) == shown.as_ref()) {
                return self.fail(Failure::Fingerprint);
            }
            if let Some(keys) = self.agreed.take() {
                self.state = State::Established;
                return self.outputs.push_back(Output::Keys(keys));
            }
        }
        if self.connected {
            self.fail(if self.shown.is_some() { Failure::Suite } else { Failure::Fingerprint });
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.end();
        self.outputs.push_back(Output::Failed(failure));
    }

    fn end(&mut self) {
        self.state = State::Over;
        self.timeout = None;
        self.agreed = None;
        self.outputs.retain(|output| matches!(output, Output::Keys(_)));
    }
}

/// Whether the peer may be sent that. Whatever is no HelloVerifyRequest says that its cookie came back.
fn afford(allowance: &mut Option<usize>, packet: &[u8]) -> bool {
    let Some(left) = *allowance else { return true };
    let asks = packet.first() == Some(&HANDSHAKE) && packet.get(RECORD_HEADER) == Some(&HELLO_VERIFY_REQUEST);
    *allowance = asks.then(|| left.saturating_sub(packet.len()));
    !asks || packet.len() <= left
}

/// dimpl has asserted what it read from the wire before (its issue 148): that costs one association, not the worker.
fn guarded<T>(f: impl FnOnce() -> Result<T, dimpl::Error>) -> Result<T, dimpl::Error> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or(Err(dimpl::Error::ConnectionClosed))
}

fn suite_of(profile: SrtpProfile) -> Option<Suite> {
    match profile {
        SrtpProfile::AES128_CM_SHA1_80 => Some(Suite::AesCm128HmacSha1_80),
        SrtpProfile::AEAD_AES_128_GCM => Some(Suite::AeadAes128Gcm),
        SrtpProfile::AEAD_AES_256_GCM => Some(Suite::AeadAes256Gcm),
        _ => None,
    }
}

/// RFC 5764 §4.2: client's key, server's key, client's salt, server's salt; each sends under its own.
fn keys(material: &[u8], suite: Option<Suite>, role: Role) -> Option<Keys> {
    let suite = suite?;
    let (client_key, rest) = material.split_at_checked(suite.key_len())?;
    let (server_key, salts) = rest.split_at_checked(suite.key_len())?;
    let (client_salt, server_salt) = salts.split_at_checked(suite.salt_len())?;
    let client = MasterKey::new(suite, &[client_key, client_salt].concat())?;
    let server = MasterKey::new(suite, &[server_key, server_salt].concat())?;
    Some(match role {
        Role::Client => Keys { inbound: server, outbound: client },
        Role::Server => Keys { inbound: client, outbound: server },
    })
}

fn fingerprint(hash: Hash, certificate: &[u8]) -> Option<Fingerprint> {
    let algorithm = match hash {
        Hash::Sha256 => &digest::SHA256,
        Hash::Sha384 => &digest::SHA384,
        Hash::Sha512 => &digest::SHA512,
    };
    Fingerprint::new(hash, digest::digest(algorithm, certificate).as_ref())
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Packet(packet) => write!(f, "Packet({} bytes)", packet.len()),
            Output::Keys(keys) => f.debug_tuple("Keys").field(keys).finish(),
            Output::Failed(failure) => f.debug_tuple("Failed").field(failure).finish(),
        }
    }
}

impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Association({:?}, {:?})", self.role, self.state)
    }
}

#[cfg(test)]
mod tests;
