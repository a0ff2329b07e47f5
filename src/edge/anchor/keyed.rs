//! Media security through a call's offers and answers: which streams are translated, and what is written of it.

use crate::relay::{Relay, Side};
use crate::sdp::{Keying, Media, Session};

use super::security::{Before, Body, Keys, Offered, SecurityError, Translation, take_answer};
use super::stream::{Stream, Use};
use super::{AnchorError, CallMedia};

/// What an offer makes of the call's legs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Legs {
    /// A stream is translated.
    pub translated: bool,
    /// It is offered with DTLS of ours.
    pub offered_dtls: bool,
}

/// What is translated of one stream, and the keys that its offer has.
type Plan = Option<(Translation, Keys)>;

impl CallMedia {
    /// By section of the offer. One that is plain where it must not be is refused alone (RFC 3264 §6) if there is another that is
    /// not: phones offer the same audio both ways, each in a line of its own.
    pub(super) fn plans(
        &self,
        from: Side,
        session: &Session<'_>,
        uses: &mut [Use],
        rng: &mut dyn rand::Rng,
    ) -> Result<Vec<Plan>, AnchorError> {
        let policies = [self.sides.of(from).srtp, self.sides.of(from.other()).srtp];
        let mut plans = Vec::with_capacity(uses.len());
        let (mut any, mut plain) = (false, false);
        for (index, (media, stream_use)) in session.media().iter().zip(uses).enumerate() {
            if *stream_use != Use::Relayed || !media.is_rtp() {
                plans.push(None);
                continue;
            }
            let before = self.streams.get(index).filter(|stream| stream.pair().is_some());
            let before = before.and_then(|stream| {
                let keys = stream.said(from).and_then(|said| said.keys());
                Some(Before { translation: stream.translation()?, keys })
            });
            let offered = Offered { from, policies, media, session, index };
            match offered.plan(before, rng) {
                Ok(plan) => {
                    any = true;
                    plans.push(plan);
                }
                Err(SecurityError::Plain) => {
                    plain = true;
                    *stream_use = Use::Off;
                    plans.push(None);
                }
                Err(error) => return Err(AnchorError::Srtp { side: from, error }),
            }
        }
        match plain && !any {
            true => Err(AnchorError::Srtp { side: from, error: SecurityError::Plain }),
            false => Ok(plans),
        }
    }

    /// By section of the answer.
    pub(super) fn keys_of_answer(
        &self,
        from: Side,
        session: &Session<'_>,
    ) -> Result<Vec<Option<Keys>>, AnchorError> {
        let policies = [self.sides.of(from).srtp, self.sides.of(from.other()).srtp];
        let mut all = Vec::with_capacity(session.media().len());
        for (index, (media, stream)) in session.media().iter().zip(&self.streams).enumerate() {
            let is_relayed = match stream.stream_use() {
                Use::Relayed | Use::Shared(_) => true,
                // Offered for the bundle alone (RFC 9143 §6).
                Use::Off => self.carrier_of(session, index).is_some_and(|carrier| carrier != index),
                Use::Direct => false,
            };
            if media.port == 0 || !is_relayed {
                all.push(None);
                continue;
            }
            let terms = stream.translation().map(|translation| translation.of(from));
            let keys = match (media.is_rtp(), terms) {
                (true, _) => take_answer(terms, policies, media, session, index),
                // RFC 3264 §6: an answer keeps to the transport of its offer.
                (false, Some(_)) => Err(SecurityError::Unasked),
                (false, None) => Ok(None),
            };
            all.push(keys.map_err(|error| AnchorError::Srtp { side: from, error })?);
        }
        Ok(all)
    }

    /// Of the pending offer, by `from`.
    pub(super) fn legs_of_offer(&self, from: Side) -> Legs {
        let translations = || self.streams.iter().filter_map(Stream::translation);
        Legs {
            translated: translations().next().is_some(),
            offered_dtls: translations().any(|translation| translation.is_dtls(from.other())),
        }
    }

    /// What a section of `from`'s offer or answer says of its security, if it is translated.
    pub(super) fn keying(
        &self,
        stream: &Stream,
        from: Side,
        index: usize,
        media: &Media<'_>,
        relay: &dyn Relay,
    ) -> Option<Keying> {
        let to = from.other();
        let is_offer = self.offer.as_ref().is_some_and(|offer| offer.from == from);
        let body = Body { to, is_offer, media, index, heard: stream.said(to) };
        Some(stream.translation()?.written(&body, || relay.dtls_fingerprint()))
    }
}
