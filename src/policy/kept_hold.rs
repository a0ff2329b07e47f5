//! What a live call holds, over a restart: its gauges are taken again, and its budgets go on where they stood. Keys are hashes
//! under the node's key of the names in the policies, so what a call counted on is found again.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::counter::Holds;
use super::country::Country;
use super::deck::Tariff;
use super::{Engine, GaugeHold, Known, Login, Stage};
use crate::base::{ListenerId, TrunkId, ZoneId};

/// A [`GaugeHold`] as it is written down.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SavedHold {
    enforced: Holds,
    audited: Holds,
    known: Option<SavedKnown>,
    tariff: Option<Tariff>,
    country: Option<Country>,
}

/// What policies of `in_call` are told of a call, but for [`Where`].
#[derive(Clone, Debug, Serialize, Deserialize)]
struct SavedKnown {
    source: IpAddr,
    source_proven: bool,
    method: Arc<str>,
    user: Option<Arc<str>>,
    from: Option<Arc<str>>,
    to: Option<Arc<str>>,
    agent: Option<Arc<str>>,
    tls: bool,
    emergency: bool,
}

/// Where a call came from, in the config as it is now.
#[derive(Clone, Copy, Debug)]
pub struct Where {
    /// The listener that took it.
    pub listener: ListenerId,
    /// Its zone.
    pub zone: ZoneId,
    /// The trunk that it came from.
    pub trunk: Option<TrunkId>,
    /// It came from the PBX.
    pub from_pbx: bool,
}

impl GaugeHold {
    /// What a restart must not forget of it.
    pub fn save(&self) -> SavedHold {
        SavedHold {
            enforced: self.enforced.clone(),
            audited: self.audited.clone(),
            known: self.known.as_deref().map(SavedKnown::of),
            tariff: self.tariff,
            country: self.country,
        }
    }
}

impl Engine {
    /// Counts a call of an earlier run among those of this one.
    pub fn hold_again(&mut self, saved: SavedHold, from: Where) -> GaugeHold {
        let SavedHold { enforced, audited, known, tariff, country } = saved;
        let (enforced, audited) = self.take_again(enforced, audited);
        let known = known.map(|known| Box::new(known.at(from)));
        GaugeHold { enforced, audited, known, tariff, country }
    }
}

impl SavedKnown {
    fn of(known: &Known) -> SavedKnown {
        SavedKnown {
            source: known.source,
            source_proven: known.source_proven,
            method: known.method.clone(),
            user: known.user.clone(),
            from: known.from.clone(),
            to: known.to.clone(),
            agent: known.agent.clone(),
            tls: known.tls,
            emergency: known.emergency,
        }
    }

    fn at(self, from: Where) -> Known {
        Known {
            stage: Stage::InCall,
            source: self.source,
            source_proven: self.source_proven,
            login: Login::Settled,
            listener: from.listener,
            zone: from.zone,
            trunk: from.trunk,
            from_pbx: from.from_pbx,
            method: self.method,
            user: self.user,
            from: self.from,
            to: self.to,
            agent: self.agent,
            tls: self.tls,
            emergency: self.emergency,
            talked: None,
            trunk_out: None,
            role: None,
            peer: None,
        }
    }
}
