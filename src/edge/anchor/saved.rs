//! A call's media outlasts a restart: what its offers and answers said is kept, and the same ports are opened again.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::ice::CallIce;
use super::stream::Stream;
use super::{CallMedia, Offer, Sides};
use crate::relay::{OpenError, OpenPair, Relay, RelayAddress, SavedPair, Side};

/// The media of a call as it outlasts a restart. It has keys in it: it is to be sealed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedMedia {
    streams: Vec<SavedStream>,
    offer: Option<Offer>,
    ice: CallIce,
}

/// One m= line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SavedStream {
    /// With all that was counted so far.
    pub stream: Stream,
    pub pair: Option<SavedPair>,
}

/// A pair that could not be opened again: its stream has no media before the next offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no media at {at}: {}", .why.map_or("the zone is not shown that address any more".to_owned(), |why| why.to_string()))]
pub struct Lost {
    /// The relayed address that one side was shown.
    pub at: SocketAddr,
    /// `None`: the configuration does not give it to the zone.
    pub why: Option<OpenError>,
}

impl CallMedia {
    /// As it is, but for an offer that waits for its answer: what held before it is saved.
    pub fn save(&self) -> SavedMedia {
        let former = self.former.as_ref().filter(|former| former.offer.is_some());
        let (streams, offer, ice) = match former {
            Some(former) => (&former.streams, &former.offer, &former.ice),
            None => (&self.streams, &self.offer, &self.ice),
        };
        SavedMedia {
            streams: streams.iter().map(Stream::save).collect(),
            offer: offer.clone(),
            ice: ice.clone(),
        }
    }

    /// Another than before: the relay has learnt something (who is heard, keys), and [`Self::save`] says something else. Offers
    /// and answers do not show here.
    pub fn revision(&self) -> u32 {
        let pairs = self.streams.iter().filter_map(Stream::pair);
        pairs.fold(0, |sum, pair| sum.wrapping_add(pair.counters.revision()))
    }

    /// The same media after a restart, at the same ports; `sides` as for a new call. Where a pair cannot be opened, its stream is
    /// without, until it is offered again; the first of those is told.
    pub fn restore(saved: SavedMedia, sides: Sides, relay: &mut dyn Relay) -> (CallMedia, Option<Lost>) {
        let mut lost = None;
        let mut open = |SavedStream { mut stream, pair }| {
            match pair.map(|pair| reopen(&pair, &sides, relay)) {
                Some(Ok(pair)) => stream.set_pair(pair),
                Some(Err(error)) => _ = lost.get_or_insert(error),
                None => {}
            }
            stream
        };
        let streams = saved.streams.into_iter().map(&mut open).collect();
        let (offer, ice) = (saved.offer, saved.ice);
        let media = CallMedia { sides, streams, offer, ice, former: None, hearing: None };
        media.tell_relay(relay);
        (media, lost)
    }
}

fn reopen(saved: &SavedPair, sides: &Sides, relay: &mut dyn Relay) -> Result<OpenPair, Lost> {
    let facing = |side| {
        let at = saved.side(side).rtp;
        let shown = sides.of(side).relay.iter().find(|shown| shown.advertise == at.ip());
        shown.ok_or(Lost { at, why: None })
    };
    let (a, b): (RelayAddress, RelayAddress) = (facing(Side::A)?, facing(Side::B)?);
    relay.reopen(a, b, saved).map_err(|why| Lost { at: saved.side(Side::A).rtp, why: Some(why) })
}
