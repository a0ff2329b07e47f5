//! How well calls were heard. A party is a name from the configuration: a zone's, a trunk's, or "pbx".

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::add;
use crate::edge::event::{Cdr, LegCdr, MediaKind, StreamCdr, Unheard};

/// Upper bounds: of what was sent; seconds; seconds.
const LOST: [f64; 9] = [0.0, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25];
const JITTER: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2];
const ROUND_TRIP: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0];
/// Packets, 1 s of most codecs: of fewer, one that is lost would be a percentage.
const FEWEST: u64 = 50;

type Party = [(&'static str, Arc<str>); 1];
type Bounded = fn() -> Histogram;

/// Of each call's side, observed when the call is over.
#[derive(Debug)]
pub(super) struct Audio {
    lost: Family<Party, Histogram, Bounded>,
    jitter: Family<Party, Histogram, Bounded>,
    round_trip: Family<Party, Histogram, Bounded>,
    unheard: Family<[(&'static str, Arc<str>); 2], Counter>,
}

impl Audio {
    pub fn new(r: &mut Registry) -> Audio {
        let lost =
            histogram(r, "audio_lost_ratio", "Share of a side's sound that was lost, per call", || {
                Histogram::new(LOST)
            });
        let jitter = histogram(r, "audio_jitter_seconds", "Mean jitter of a side's sound, per call", || {
            Histogram::new(JITTER)
        });
        let round_trip =
            histogram(r, "audio_round_trip_seconds", "Mean round trip to a side, per call", || {
                Histogram::new(ROUND_TRIP)
            });
        let unheard = add(r, "legs_unheard", "Sides of answered calls that were not heard, by party and why");
        Audio { lost, jitter, round_trip, unheard }
    }

    pub fn observe_unheard(&self, unheard: &Unheard) {
        let why: Arc<str> = unheard.why.into();
        self.unheard.get_or_create(&[("party", unheard.party.clone()), ("why", why)]).inc();
    }

    pub fn observe(&self, cdr: &Cdr) {
        for StreamCdr { a, b, .. } in cdr.media.iter().filter(|stream| stream.kind == MediaKind::Audio) {
            self.observe_leg(&cdr.from_party, a);
            self.observe_leg(&cdr.to_party, b);
        }
    }

    fn observe_leg(&self, party: &Arc<str>, leg: &LegCdr) {
        let measured = &leg.measured;
        let sent = measured.rtp + measured.lost;
        let label = [("party", party.clone())];
        if sent >= FEWEST {
            self.lost.get_or_create(&label).observe(measured.lost as f64 / sent as f64);
            if let Some(jitter) = measured.jitter.mean() {
                self.jitter.get_or_create(&label).observe(jitter.as_secs_f64());
            }
        }
        if let Some(round_trip) = measured.round_trip.mean() {
            self.round_trip.get_or_create(&label).observe(round_trip.as_secs_f64());
        }
    }
}

fn histogram(r: &mut Registry, name: &str, help: &str, new: Bounded) -> Family<Party, Histogram, Bounded> {
    let family = Family::new_with_constructor(new);
    r.register(name, help, family.clone());
    family
}
