//! Whether a server takes requests, as far as we know: by the probes that it answers, and by the requests that it did not take.
//!
//! A server that failed is left out for a while (quarantine), twice as long each time in a row, so that a dead one costs a call or two and not
//! each of them; then one request may try it again. Where all are left out, all are tried.

use std::time::{Duration, Instant};

use crate::sip::transaction::ClientId;

/// After a failure, doubled with each further one in a row.
const FIRST_QUARANTINE: Duration = Duration::from_secs(15);
const LONGEST_QUARANTINE: Duration = Duration::from_secs(600);

/// What is known of one server.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// The probe that is out.
    pub probe: Option<ClientId>,
    /// Probes in a row without an answer.
    missed: u32,
    /// As many as `down_after` were missed.
    down: bool,
    /// Requests in a row that it did not take.
    failures: u32,
    quarantine: Option<Instant>,
    /// It took no connection for a request that had outgrown a datagram.
    no_streams: Option<Instant>,
}

impl Health {
    /// Requests go to it before those that are not.
    pub fn is_good(&self, now: Instant) -> bool {
        !self.down && self.quarantine.is_none_or(|until| until <= now)
    }

    /// A probe was answered, or is not going to be.
    pub fn probed(&mut self, answered: bool, down_after: u32) {
        self.probe = None;
        if answered {
            *self = Health { no_streams: self.no_streams, ..Health::default() };
        } else {
            self.missed = self.missed.saturating_add(1);
            self.down |= self.missed >= down_after;
        }
    }

    /// Spoken to over UDP, it may take a request over TCP.
    pub fn takes_streams(&self, now: Instant) -> bool {
        self.no_streams.is_none_or(|until| until <= now)
    }

    /// It took no connection.
    pub fn no_streams(&mut self, now: Instant) {
        self.no_streams = Some(now + LONGEST_QUARANTINE);
    }

    /// It answered a request.
    pub fn took(&mut self) {
        self.failures = 0;
        self.quarantine = None;
    }

    /// It has said for how long it wants no requests (RFC 3261 §21.5.4: a 503 with Retry-After).
    pub fn rests(&mut self, now: Instant, length: Duration) {
        self.quarantine = self.quarantine.max(Some(now + length.min(LONGEST_QUARANTINE)));
    }

    /// It was silent, refused the connection, or cannot be reached.
    pub fn failed(&mut self, now: Instant) {
        // What was sent before the first failure was noticed is not another one.
        if self.quarantine.is_some_and(|until| until > now) {
            return;
        }
        let length = FIRST_QUARANTINE * 2u32.saturating_pow(self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        self.quarantine = Some(now + length.min(LONGEST_QUARANTINE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_mark_it_down_and_up() {
        let (mut health, now) = (Health::default(), Instant::now());
        health.probed(false, 2);
        assert!(health.is_good(now));
        health.probed(false, 2);
        assert!(!health.is_good(now + LONGEST_QUARANTINE), "until it answers");
        health.probed(true, 2);
        assert!(health.is_good(now));
    }

    #[test]
    fn each_failure_in_a_row_keeps_it_out_twice_as_long() {
        let (mut health, mut now) = (Health::default(), Instant::now());
        let second = Duration::from_secs(1);
        for length in [15, 30, 60, 120, 240, 480, 600, 600] {
            health.failed(now);
            health.failed(now + second);
            assert!(!health.is_good(now + (length - 1) * second), "{length}");
            now += length * second;
            assert!(health.is_good(now), "{length}");
        }
        health.took();
        health.failed(now);
        assert!(health.is_good(now + 15 * second), "it has begun anew");
    }

    #[test]
    fn a_probe_that_is_answered_ends_a_quarantine() {
        let (mut health, now) = (Health::default(), Instant::now());
        health.failed(now);
        health.probed(true, 3);
        assert!(health.is_good(now));
    }
}
