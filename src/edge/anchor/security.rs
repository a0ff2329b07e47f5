//! Which security a stream has on either leg (`srtp:`). It is decided at its offer what is translated, and under which keys of
//! ours, so that every answer of a fork is rewritten against the same ones.

mod written;

pub(super) use written::Body;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::edge::settings::Srtp;
use crate::media::srtp::sdes::{NotTaken, Taken, take_answered, take_offered};
use crate::media::srtp::{MasterKey, Suite};
use crate::relay::{LegCrypto, Side};
use crate::sdp::dtls::{Fingerprint, Role, Setup};
use crate::sdp::{Media, Session};

/// What an endpoint is offered. The first is what every SRTP phone has.
const OFFERED: [Suite; 3] = [Suite::AesCm128HmacSha1_80, Suite::AeadAes128Gcm, Suite::AesCm128HmacSha1_32];
/// Fingerprints of one section that count: one certificate under each hash (RFC 8122 §5).
const MAX_FINGERPRINTS: usize = 4;

/// Why a stream's security is not what `srtp` asks for: 488.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecurityError {
    /// No keys, where there must be some.
    #[error("plain RTP, where `srtp` asks for SRTP: switch SRTP on in the device, or write `srtp: optional`")]
    Plain,
    /// An answer of another kind than its offer.
    #[error("an answer with keys of a kind that was not offered to it")]
    Unasked,
    /// No `a=crypto` line will do.
    #[error("{0}")]
    NotTaken(#[from] NotTaken),
    /// RFC 8122 §5.
    #[error("DTLS-SRTP without an a=fingerprint line")]
    NoFingerprint,
    /// None but of a hash that is broken.
    #[error("no a=fingerprint line is of SHA-256 or better: the device needs newer software")]
    WeakFingerprint,
}

/// What a section says of its own security.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    Plain,
    /// RTP/AVP with keys: whoever can may encrypt (RFC 8643), what phones call "SRTP: optional".
    BestEffort,
    Sdes,
    Dtls,
}

impl Speaks {
    fn of(media: &Media<'_>, session: &Session<'_>, index: usize) -> Speaks {
        let has_crypto = has_crypto(session, index);
        let has_fingerprint = || session.inherited(index, "fingerprint").next().is_some();
        match is_secure(media.protocol) {
            _ if media.is_dtls() => Speaks::Dtls,
            true if !has_crypto && has_fingerprint() => Speaks::Dtls,
            true => Speaks::Sdes,
            false if has_crypto || has_fingerprint() => Speaks::BestEffort,
            false => Speaks::Plain,
        }
    }
}

fn has_crypto(session: &Session<'_>, index: usize) -> bool {
    session.attributes(index, "crypto").next().is_some()
}

/// RTP/SAVP and RTP/SAVPF, over DTLS or not.
fn is_secure(protocol: &[u8]) -> bool {
    protocol.windows(5).any(|part| part == b"/SAVP")
}

/// What we say on one leg of a stream that is translated.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Terms {
    Plain,
    Sdes {
        /// One for each suite that may come out.
        ours: SmallVec<[MasterKey; 1]>,
        /// RTP/SAVP; false: RTP/AVP, and plain RTP if the endpoint wants that.
        required: bool,
    },
    Dtls {
        setup: Setup,
    },
}

impl Terms {
    fn sdes(required: bool, rng: &mut dyn rand::Rng) -> Terms {
        let ours = OFFERED.iter().map(|suite| MasterKey::generate(*suite, rng)).collect();
        Terms::Sdes { ours, required }
    }

    fn our_key(&self, suite: Suite) -> Option<&MasterKey> {
        match self {
            Terms::Sdes { ours, .. } => ours.iter().find(|key| key.suite() == suite),
            Terms::Plain | Terms::Dtls { .. } => None,
        }
    }

    /// As they stand in the next offer. RFC 8842 §5.5: `actpass` also where an association stays.
    fn offered_again(&self) -> Terms {
        match self {
            Terms::Dtls { .. } => Terms::Dtls { setup: Setup::ActPass },
            other => other.clone(),
        }
    }
}

/// What an endpoint says of its keys in a section that is translated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Keys {
    /// It speaks plain RTP.
    None,
    Sdes(Taken),
    Dtls {
        fingerprints: SmallVec<[Fingerprint; 2]>,
        setup: Setup,
    },
}

impl Keys {
    /// Of a section that is keyed by DTLS. RFC 4145 §4: what a missing `a=setup` means.
    fn dtls(session: &Session<'_>, index: usize, default: Setup) -> Result<Keys, SecurityError> {
        let mut lines = session.inherited(index, "fingerprint").peekable();
        if lines.peek().is_none() {
            return Err(SecurityError::NoFingerprint);
        }
        let fingerprints: SmallVec<_> = lines.filter_map(Fingerprint::parse).take(MAX_FINGERPRINTS).collect();
        if fingerprints.is_empty() {
            return Err(SecurityError::WeakFingerprint);
        }
        let setup = session.inherited(index, "setup").find_map(Setup::parse).unwrap_or(default);
        Ok(Keys::Dtls { fingerprints, setup })
    }

    /// The same key, or the same certificate.
    fn is_same_as(&self, other: &Keys) -> bool {
        match (self, other) {
            (Keys::Sdes(one), Keys::Sdes(other)) => one.key == other.key,
            (Keys::Dtls { fingerprints: one, .. }, Keys::Dtls { fingerprints: other, .. }) => one == other,
            _ => false,
        }
    }
}

/// The legs of a stream whose security differs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Translation {
    a: Terms,
    b: Terms,
}

impl Translation {
    pub(super) fn of(&self, side: Side) -> &Terms {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    /// We do DTLS-SRTP with `side`.
    pub(super) fn is_dtls(&self, side: Side) -> bool {
        matches!(self.of(side), Terms::Dtls { .. })
    }

    /// What the relay does on `side`, whose endpoint has said `keys`; `None`: nothing yet. `answered`: both sides have spoken.
    pub(super) fn leg(&self, side: Side, keys: Option<&Keys>, answered: bool) -> LegCrypto {
        match (self.of(side), keys) {
            (Terms::Plain, _) | (Terms::Sdes { .. }, Some(Keys::None)) => LegCrypto::Pass,
            (terms @ Terms::Sdes { .. }, Some(Keys::Sdes(taken))) => LegCrypto::Sdes {
                inbound: Some(taken.key.clone()),
                outbound: terms.our_key(taken.key.suite()).cloned(),
            },
            (Terms::Sdes { .. }, _) => LegCrypto::Sdes { inbound: None, outbound: None },
            (Terms::Dtls { setup: ours }, Some(Keys::Dtls { fingerprints, setup })) => {
                // While it rings, an offerer knows neither our certificate nor that anybody will speak: a handshake would be in vain.
                let role = ours.role(*setup).filter(|_| answered);
                LegCrypto::Dtls { role, fingerprints: fingerprints.clone() }
            }
            (Terms::Dtls { .. }, _) => LegCrypto::Dtls { role: None, fingerprints: SmallVec::new() },
        }
    }
}

/// What held on the same pair before an offer.
#[derive(Clone, Copy)]
pub(super) struct Before<'b> {
    pub translation: &'b Translation,
    /// What the side that offers had said.
    pub keys: Option<&'b Keys>,
}

/// A section of an offer.
pub(super) struct Offered<'o> {
    pub from: Side,
    /// `srtp` of the side that offers, and of the other one.
    pub policies: [Srtp; 2],
    pub media: &'o Media<'o>,
    pub session: &'o Session<'o>,
    pub index: usize,
}

impl Offered<'_> {
    /// What becomes of the stream, and the keys that it offers; `None`: it passes as it is.
    pub(super) fn plan(
        &self,
        before: Option<Before<'_>>,
        rng: &mut dyn rand::Rng,
    ) -> Result<Option<(Translation, Keys)>, SecurityError> {
        // Whatever it speaks.
        if before.is_none() && self.policies == [Srtp::Pass; 2] {
            return Ok(None);
        }
        let speaks = Speaks::of(self.media, self.session, self.index);
        if speaks == Speaks::Plain && self.policies[0].is_demanded() {
            return Err(SecurityError::Plain);
        }
        let to = match before {
            Some(before) => before.translation.of(self.from.other()).offered_again(),
            None => match self.terms_towards_the_other(speaks, rng) {
                Some(terms) => terms,
                None => return Ok(None),
            },
        };
        let keys = self.take(speaks)?;
        let from = self.terms_of_the_answer(&keys, speaks, before, rng);
        let (a, b) = if self.from == Side::A { (from, to) } else { (to, from) };
        Ok(Some((Translation { a, b }, keys)))
    }

    /// `None`: what it offers is what the other side is to be offered.
    fn terms_towards_the_other(&self, speaks: Speaks, rng: &mut dyn rand::Rng) -> Option<Terms> {
        let [theirs, others] = self.policies;
        match (others, speaks) {
            (Srtp::Off, Speaks::Plain)
            | (Srtp::Sdes | Srtp::Required, Speaks::Sdes)
            | (Srtp::Dtls | Srtp::Required, Speaks::Dtls)
            | (Srtp::Pass, Speaks::Plain | Speaks::Sdes | Speaks::Dtls) => None,
            // It might come back plain.
            (Srtp::Pass | Srtp::Optional, Speaks::BestEffort) if !theirs.is_demanded() => None,
            (Srtp::Off, _) => Some(Terms::Plain),
            (Srtp::Dtls, _) => Some(Terms::Dtls { setup: Setup::ActPass }),
            (Srtp::Sdes | Srtp::Required, _) => Some(Terms::sdes(true, rng)),
            (Srtp::Pass | Srtp::Optional, _) => Some(Terms::sdes(false, rng)),
        }
    }

    fn take(&self, speaks: Speaks) -> Result<Keys, SecurityError> {
        let crypto = || take_offered(self.session.attributes(self.index, "crypto"), &Suite::ALL);
        match (speaks, self.policies[0]) {
            (Speaks::Plain, _) | (Speaks::BestEffort, Srtp::Off) => Ok(Keys::None),
            (Speaks::Dtls, _) => Keys::dtls(self.session, self.index, Setup::Active),
            (Speaks::BestEffort, Srtp::Pass | Srtp::Optional) => Ok(crypto().map_or(Keys::None, Keys::Sdes)),
            (Speaks::Sdes | Speaks::BestEffort, _) => Ok(Keys::Sdes(crypto()?)),
        }
    }

    /// What we shall answer to `keys`.
    fn terms_of_the_answer(
        &self,
        keys: &Keys,
        speaks: Speaks,
        before: Option<Before<'_>>,
        rng: &mut dyn rand::Rng,
    ) -> Terms {
        let stays = before.filter(|before| before.keys.is_some_and(|before| before.is_same_as(keys)));
        let ours = stays.map(|before| before.translation.of(self.from));
        match keys {
            Keys::None => Terms::Plain,
            Keys::Sdes(taken) => {
                let suite = taken.key.suite();
                // RFC 4568 §7.1.4: its key stays, so ours does; one that is new may be a device that begins anew.
                let known = ours.and_then(|ours| ours.our_key(suite)).cloned();
                let key = known.unwrap_or_else(|| MasterKey::generate(suite, rng));
                Terms::Sdes { ours: SmallVec::from_iter([key]), required: speaks == Speaks::Sdes }
            }
            Keys::Dtls { setup, .. } => {
                let role = match (ours, before.and_then(|before| before.keys)) {
                    (Some(Terms::Dtls { setup: ours }), Some(Keys::Dtls { setup, .. })) => ours.role(*setup),
                    _ => None,
                };
                // RFC 8842 §5.3: whoever may choose keeps the roles of an association that stays.
                let answer = match (setup, role) {
                    (Setup::ActPass, Some(Role::Server)) => Setup::Passive,
                    // Behind NAT nothing reaches it before it has sent something, which without ICE is its ClientHello.
                    (Setup::ActPass, None) if !self.media.ice => Setup::Passive,
                    _ => setup.answer(),
                };
                Terms::Dtls { setup: answer }
            }
        }
    }
}

/// The keys of an answer's section. `terms` are those of who answers; `None`: the stream passes as it is.
pub(super) fn take_answer(
    terms: Option<&Terms>,
    policies: [Srtp; 2],
    media: &Media<'_>,
    session: &Session<'_>,
    index: usize,
) -> Result<Option<Keys>, SecurityError> {
    let speaks = || Speaks::of(media, session, index);
    let Some(terms) = terms else {
        let is_demanded = policies.into_iter().any(Srtp::is_demanded);
        return if is_demanded && speaks() == Speaks::Plain { Err(SecurityError::Plain) } else { Ok(None) };
    };
    match (terms, speaks()) {
        (Terms::Plain, Speaks::Plain | Speaks::BestEffort) => Ok(Keys::None),
        (Terms::Plain, Speaks::Sdes | Speaks::Dtls)
        | (Terms::Sdes { .. }, Speaks::Dtls)
        | (Terms::Dtls { .. }, Speaks::Sdes) => Err(SecurityError::Unasked),
        (Terms::Dtls { .. }, Speaks::Dtls) => Keys::dtls(session, index, Setup::Passive),
        (Terms::Sdes { ours, .. }, Speaks::Sdes | Speaks::BestEffort) if has_crypto(session, index) => {
            let offered: SmallVec<[_; 3]> = (1..).zip(ours).map(|(tag, key)| (tag, key.suite())).collect();
            Ok(Keys::Sdes(take_answered(session.attributes(index, "crypto"), &offered)?))
        }
        (Terms::Sdes { required: false, .. }, Speaks::Plain | Speaks::BestEffort) => Ok(Keys::None),
        (Terms::Sdes { .. } | Terms::Dtls { .. }, _) => Err(SecurityError::Plain),
    }
    .map(Some)
}
