//! One client's association: dimpl's handshake and records, and how long we wait.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, DtlsCertificate, Output};

use super::cookie;
use super::hello::{COOKIE, Hello, Random, number, renumber};
use crate::base::TimerId;
use crate::net::places::Place;
use crate::net::settings::Patience;
use crate::turn::FiveTuple;

/// Bytes in one record, unsealed (RFC 6347 §4.1).
const LONGEST_MESSAGE: usize = 1 << 14;

/// How far a client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Shaking hands.
    Handshake,
    /// Without an allocation.
    Stranger,
    /// With one.
    Client,
}

/// Why an association is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("the client closed it")]
    Peer,
    /// RFC 6347 §4.2.8.
    #[error("the client came again without having closed it")]
    Replaced,
    /// dimpl passes over a ClientHello that it cannot answer.
    #[error("no cipher suite in common, or no extended_master_secret")]
    NothingInCommon,
    /// It broke the protocol, or did not finish its handshake.
    #[error(transparent)]
    Failed(dimpl::Error),
    /// dimpl has asserted what it read from the wire before (its issue 148): that costs one association, not the worker.
    #[error("dimpl panicked")]
    Panicked,
    #[error("the client kept us waiting")]
    Overdue,
}

/// What dimpl has to say, lengths being of what it wrote into the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// A datagram for the client.
    Datagram(usize),
    /// What the client sent.
    Message(usize),
    /// The handshake is done.
    Connected,
    /// The client closes.
    Closed,
    /// The buffer is too small for it.
    NoRoom,
    /// Nothing more until then.
    Until(Instant),
    /// Nothing of interest.
    Nothing,
}

/// An association.
pub(super) struct Association {
    pub client: FiveTuple,
    pub listener: usize,
    /// Chosen by the client: tells its ClientHello that came twice from a new one.
    pub random: Random,
    pub stage: Stage,
    /// To be removed when the outputs are carried out.
    pub ended: Option<Ended>,
    /// Armed for then, or earlier.
    pub timer: Option<(TimerId, Instant)>,
    dtls: Dtls,
    /// What the numbers of our records of epoch 0 lack.
    offset: u64,
    /// When it came to this stage, or last sent a message.
    heard: Instant,
    _place: Place,
}

impl Association {
    /// For a client that has brought our cookie back in `hello`.
    pub fn begin(
        config: &Arc<Config>,
        certificate: &DtlsCertificate,
        listener: usize,
        client: FiveTuple,
        hello: &Hello<'_>,
        place: Place,
        now: Instant,
    ) -> Result<Association, Ended> {
        let dtls = guarded(|| shake(config, certificate, hello, now))?.ok_or(Ended::NothingInCommon)?;
        // RFC 6347 §4.2.1: ServerHello has the number of the ClientHello that it answers. dimpl counts from 1, after the
        // HelloVerifyRequest that it was not asked to send.
        let offset = number(hello.sequence).wrapping_sub(1);
        Ok(Association {
            client,
            listener,
            random: *hello.random,
            stage: Stage::Handshake,
            ended: None,
            timer: None,
            dtls,
            offset,
            heard: now,
            _place: place,
        })
    }

    /// A datagram of the client.
    pub fn receive(&mut self, datagram: &[u8], now: Instant) {
        let dtls = &mut self.dtls;
        let in_the_clear = datagram.get(3..5) == Some(&[0, 0]);
        self.ended = guarded(|| {
            if in_the_clear {
                dtls.handle_timeout(now)?; // No timer of its own is running then but for handshakes.
            }
            dtls.handle_packet(datagram)
        })
        .err();
    }

    /// A timer of dimpl's is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let dtls = &mut self.dtls;
        self.ended = guarded(|| dtls.handle_timeout(now)).err();
    }

    /// Seals a message; false if it cannot be sent.
    pub fn seal(&mut self, message: &[u8]) -> bool {
        if self.stage == Stage::Handshake || self.ended.is_some() || message.len() > LONGEST_MESSAGE {
            return false;
        }
        let dtls = &mut self.dtls;
        match guarded(|| dtls.send_application_data(message)) {
            Ok(taken) => taken == message.len(),
            Err(ended) => {
                self.ended = Some(ended);
                false
            }
        }
    }

    /// Says good-bye (close_notify).
    pub fn close(&mut self) {
        let dtls = &mut self.dtls;
        if let Err(ended) = guarded(|| dtls.close()) {
            self.ended = Some(ended);
        }
    }

    /// What dimpl has to say next.
    pub fn poll(&mut self, buffer: &mut [u8]) -> Said {
        let dtls = &mut self.dtls;
        let said = guarded(|| {
            Ok(match dtls.poll_output(buffer) {
                Output::Packet(datagram) => Said::Datagram(datagram.len()),
                Output::ApplicationData(message) => Said::Message(message.len()),
                Output::BufferTooSmall { .. } => Said::NoRoom,
                Output::Timeout(until) => Said::Until(until),
                Output::CloseNotify => Said::Closed,
                Output::Connected => Said::Connected,
                _ => Said::Nothing,
            })
        });
        match said {
            Ok(Said::Datagram(length)) => {
                renumber(buffer.get_mut(..length).unwrap_or_default(), self.offset);
                Said::Datagram(length)
            }
            Ok(said) => said,
            Err(ended) => {
                self.ended = Some(ended);
                Said::Closed
            }
        }
    }

    /// The client has come to this stage, or has sent a message in it.
    pub fn come_to(&mut self, stage: Stage, now: Instant) {
        self.stage = stage;
        self.heard = now;
    }

    /// Nothing more may be asked of dimpl.
    pub fn is_broken(&self) -> bool {
        matches!(self.ended, Some(Ended::Failed(_) | Ended::Panicked))
    }

    /// When we lose patience. A client with an allocation may be silent for as long as that lives (RFC 8656 §8).
    pub fn deadline(&self, patience: &Patience) -> Option<Instant> {
        (self.stage == Stage::Stranger).then(|| self.heard + patience.message)
    }
}

/// How dimpl is set up for all associations.
pub(super) fn config(handshake: Duration) -> Result<Config, dimpl::Error> {
    Config::builder()
        .mtu(MTU)
        .require_client_certificate(false)
        .handshake_timeout(handshake)
        .max_queue_tx(QUEUE)
        .with_crypto_provider(cookie::crypto())
        .build()
}

/// Fits every path that IPv6 may take, for handshakes; messages are as long as they are.
const MTU: usize = 1200;
/// Datagrams of one association between two polls: a flight, or the answers to all messages of one datagram.
const QUEUE: usize = 32;

/// Brings dimpl to where it has checked the cookie and answers; `None` if it does not answer.
fn shake(
    config: &Arc<Config>,
    certificate: &DtlsCertificate,
    hello: &Hello<'_>,
    now: Instant,
) -> Result<Option<Dtls>, dimpl::Error> {
    let mut dtls = Dtls::new_12(config.clone(), certificate.clone(), now);
    dtls.handle_timeout(now)?; // Its clock.
    dtls.handle_packet(&hello.as_first())?;
    let mut verify_request = [0; 2 * MTU];
    while !matches!(dtls.poll_output(&mut verify_request), Output::Timeout(_)) {}
    let mut cookie = [0; COOKIE];
    cookie.copy_from_slice(hello.cookie.get(..COOKIE).unwrap_or(&[0; COOKIE]));
    cookie::believing(cookie, || dtls.handle_packet(hello.record))?;
    // No room: it only says whether there is something.
    let answers = matches!(dtls.poll_output(&mut []), Output::BufferTooSmall { .. });
    Ok(answers.then_some(dtls))
}

fn guarded<T>(f: impl FnOnce() -> Result<T, dimpl::Error>) -> Result<T, Ended> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => result.map_err(Ended::Failed),
        Err(_) => Err(Ended::Panicked),
    }
}
