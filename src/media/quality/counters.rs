//! What was measured, for whoever asks: one writer (a relay worker), any reader.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What was measured of one leg up to now.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// RTP packets that came, each once.
    pub rtp: u64,
    /// Those that did not, by their sequence numbers.
    pub lost: u64,
    /// Interarrival jitter, as it was after each packet.
    pub jitter: Sampled,
    /// From us to the endpoint and back.
    pub round_trip: Sampled,
    /// How often the endpoint has said how it hears the other leg's, and how many packets it misses of that in all.
    pub far_reports: u64,
    pub far_lost: u64,
}

/// A measure that was taken again and again, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sampled {
    sum: u64,
    // Between the other two, which compilers would else add to at once: 16 bytes that wait for 8 that were just written.
    most: u64,
    samples: u64,
}

impl Sampled {
    /// It was taken.
    #[inline]
    pub fn add(&mut self, micros: u64) {
        self.sum = self.sum.wrapping_add(micros);
        self.samples += 1;
        self.most = self.most.max(micros);
    }

    /// `None` if it was never taken.
    pub fn mean(&self) -> Option<Duration> {
        self.sum.checked_div(self.samples).map(Duration::from_micros)
    }

    /// Likewise.
    pub fn most(&self) -> Option<Duration> {
        (self.samples > 0).then_some(Duration::from_micros(self.most))
    }
}

impl AddAssign for Sampled {
    fn add_assign(&mut self, more: Sampled) {
        self.sum = self.sum.wrapping_add(more.sum);
        self.samples += more.samples;
        self.most = self.most.max(more.most);
    }
}

impl AddAssign for Measured {
    fn add_assign(&mut self, more: Measured) {
        self.rtp += more.rtp;
        self.lost += more.lost;
        self.jitter += more.jitter;
        self.round_trip += more.round_trip;
        self.far_reports += more.far_reports;
        self.far_lost += more.far_lost;
    }
}

/// [`Measured`], shared.
#[derive(Debug, Default)]
pub struct QualityCounters {
    rtp: AtomicU64,
    lost: AtomicU64,
    jitter: SampledCounters,
    round_trip: SampledCounters,
    far_reports: AtomicU64,
    far_lost: AtomicU64,
}

#[derive(Debug, Default)]
struct SampledCounters {
    sum: AtomicU64,
    samples: AtomicU64,
    most: AtomicU64,
}

impl QualityCounters {
    /// This thread is the only writer.
    #[inline]
    pub fn store(&self, measured: &Measured) {
        self.rtp.store(measured.rtp, Ordering::Relaxed);
        self.lost.store(measured.lost, Ordering::Relaxed);
        self.jitter.store(&measured.jitter);
        self.round_trip.store(&measured.round_trip);
        self.far_reports.store(measured.far_reports, Ordering::Relaxed);
        self.far_lost.store(measured.far_lost, Ordering::Relaxed);
    }

    /// What they say now.
    pub fn read(&self) -> Measured {
        Measured {
            rtp: self.rtp.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            jitter: self.jitter.read(),
            round_trip: self.round_trip.read(),
            far_reports: self.far_reports.load(Ordering::Relaxed),
            far_lost: self.far_lost.load(Ordering::Relaxed),
        }
    }
}

impl SampledCounters {
    #[inline]
    fn store(&self, sampled: &Sampled) {
        self.sum.store(sampled.sum, Ordering::Relaxed);
        self.samples.store(sampled.samples, Ordering::Relaxed);
        self.most.store(sampled.most, Ordering::Relaxed);
    }

    fn read(&self) -> Sampled {
        Sampled {
            sum: self.sum.load(Ordering::Relaxed),
            samples: self.samples.load(Ordering::Relaxed),
            most: self.most.load(Ordering::Relaxed),
        }
    }
}
