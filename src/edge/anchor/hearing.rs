//! Whether the two sides of a call are heard: the relay's counters, looked at again and again.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::stream::Stream;
use super::{CallMedia, Ice};
use crate::media::latch::LegCrypto;
use crate::relay::{Relay, Side, Traffic};

/// A side that has never been heard is missed after so long.
pub const MISSED: Duration = Duration::from_secs(5);
/// One that was heard may be muted, and send nothing meanwhile.
const MISSED_AGAIN: Duration = Duration::from_secs(20);

/// What was heard of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// For so long nothing has come from either side, and something should have.
    pub silence: Duration,
    /// The side that is not heard, while the other one speaks.
    pub missed: Option<Side>,
}

/// When the sides were heard last.
#[derive(Clone, Debug)]
pub(super) struct Hearing([LastHeard; 2]);

#[derive(Clone, Copy, Debug)]
struct LastHeard {
    packets: u64,
    rtp: u64,
    /// When there was a packet more, of any kind.
    sign: Instant,
    /// When there was a packet of sound more.
    sound: Instant,
}

impl LastHeard {
    fn new((packets, rtp): (u64, u64), now: Instant) -> LastHeard {
        LastHeard { packets, rtp, sign: now, sound: now }
    }

    fn look(&mut self, (packets, rtp): (u64, u64), now: Instant) {
        let sign = if packets == self.packets { self.sign } else { now };
        let sound = if rtp == self.rtp { self.sound } else { now };
        *self = LastHeard { packets, rtp, sign, sound };
    }

    /// Since the last look.
    fn is_speaking(&self, now: Instant) -> bool {
        self.sound == now && self.rtp > 0
    }

    fn is_missed(&self, now: Instant) -> bool {
        let for_so_long = |since: Instant| now.saturating_duration_since(since);
        match self.rtp {
            0 => for_so_long(self.sound) >= MISSED,
            _ => for_so_long(self.sound.max(self.sign)) >= MISSED_AGAIN,
        }
    }
}

/// What is known of a side that is not heard.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Where it was told to send to.
    pub told: SocketAddr,
    /// Where its SDP says that it is.
    pub said: Option<SocketAddr>,
    /// Media may go there.
    pub is_believed: bool,
    /// What it may send.
    pub payload_types: Vec<u8>,
    /// It does ICE, with us or with the other side.
    pub does_ice: bool,
    /// By ICE it has shown to be there.
    pub is_proved: bool,
    /// Its SRTP ends at us,
    pub is_srtp: bool,
    /// and its keys come of DTLS.
    pub is_dtls: bool,
    /// What came from it, or in its name.
    pub traffic: Traffic,
    /// Packets of RTP that came from it.
    pub rtp: u64,
    /// Who sent the last RTP that was refused for whom it came from.
    pub stranger: Option<SocketAddr>,
    /// Of the last RTP that was refused for that.
    pub payload_type: Option<u8>,
}

impl CallMedia {
    /// To be asked every few seconds. Where SDP changes, or a side is on hold, the time begins anew.
    pub fn listen(&mut self, now: Instant) -> Heard {
        if !self.streams.iter().any(Stream::expects_media) {
            self.hearing = None;
            return Heard::default();
        }
        let counts = [Side::A, Side::B].map(|side| self.heard_from(side));
        let new = || Hearing(counts.map(|counts| LastHeard::new(counts, now)));
        let Hearing(sides) = self.hearing.get_or_insert_with(new);
        sides.iter_mut().zip(counts).for_each(|(side, counts)| side.look(counts, now));
        let [a, b] = *sides;
        let missed = if a.is_missed(now) && b.is_speaking(now) {
            Some(Side::A)
        } else if b.is_missed(now) && a.is_speaking(now) {
            Some(Side::B)
        } else {
            None
        };
        let missed = missed.filter(|_| self.expects_sound());
        let silence = now.saturating_duration_since(a.sign.max(b.sign));
        Heard { silence: if self.may_go_around() { Duration::ZERO } else { silence }, missed }
    }

    /// Not one packet of sound came from that side, though it should have.
    pub fn never_heard(&self, side: Side) -> bool {
        self.expects_sound() && !self.may_go_around() && self.heard_from(side).1 == 0
    }

    /// What is known of a side's sound.
    pub fn evidence(&self, side: Side, relay: &dyn Relay) -> Option<Evidence> {
        let stream = self.streams.iter().find(|stream| stream.is_audio() && stream.pair().is_some())?;
        let counters = &stream.pair()?.counters;
        let rules = stream.leg_rules(side, &self.sides, &self.ice, &self.own_addresses(), relay);
        let leg = counters.leg(side);
        Some(Evidence {
            told: stream.shown_to(side)?.rtp().0,
            said: stream.named(side),
            is_believed: rules.rtp.is_some(),
            payload_types: rules.payload_types,
            does_ice: rules.ice.is_some(),
            is_proved: leg.is_proved.load(Relaxed),
            is_srtp: !matches!(rules.crypto, LegCrypto::Pass),
            is_dtls: matches!(rules.crypto, LegCrypto::Dtls { .. }),
            traffic: counters.side(side).read(),
            rtp: leg.quality.read().rtp,
            stranger: leg.stranger.get(),
            payload_type: leg.payload_type.get(),
        })
    }

    fn expects_sound(&self) -> bool {
        self.streams.iter().any(|stream| stream.is_audio() && stream.expects_media())
    }

    fn heard_from(&self, side: Side) -> (u64, u64) {
        let of = |stream: &Stream| {
            let (packets, rtp) = stream.heard_from(side);
            (packets, if stream.is_audio() { rtp } else { 0 })
        };
        self.streams.iter().map(of).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// The endpoints may have found a way past the relay (RFC 8445): what it does not hear says nothing.
    fn may_go_around(&self) -> bool {
        let relay_only = self.sides.a.ice == Ice::RelayOnly || self.sides.b.ice == Ice::RelayOnly;
        self.ice.passes() && !relay_only && self.streams.iter().any(Stream::does_ice)
    }
}
