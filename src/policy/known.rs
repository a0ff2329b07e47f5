//! Facts that are kept: of a live call, of a decision that is asked about later, of a test.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{Facts, Login, Stage};
use crate::base::{ListenerId, TrunkId, ZoneId};

/// [`Facts`], owned. The fields mean the same; `T` is how texts are kept.
#[allow(missing_docs)]
#[derive(Clone, Debug)]
pub struct Known<T = Arc<str>> {
    pub stage: Stage,
    pub source: IpAddr,
    pub source_proven: bool,
    pub login: Login,
    pub listener: ListenerId,
    pub zone: ZoneId,
    pub trunk: Option<TrunkId>,
    pub from_pbx: bool,
    pub method: T,
    pub user: Option<T>,
    pub from: Option<T>,
    pub to: Option<T>,
    pub agent: Option<T>,
    pub tls: bool,
    pub emergency: bool,
    pub talked: Option<Duration>,
    pub trunk_out: Option<TrunkId>,
    pub role: Option<u16>,
    pub peer: Option<IpAddr>,
}

impl<T: AsRef<str>> Known<T> {
    /// As policy is asked with them.
    pub fn facts(&self) -> Facts<'_> {
        Facts {
            stage: self.stage,
            source: self.source,
            source_proven: self.source_proven,
            login: self.login,
            listener: self.listener,
            zone: self.zone,
            trunk: self.trunk,
            from_pbx: self.from_pbx,
            method: self.method.as_ref(),
            user: self.user.as_ref().map(T::as_ref),
            from: self.from.as_ref().map(T::as_ref),
            to: self.to.as_ref().map(T::as_ref),
            agent: self.agent.as_ref().map(T::as_ref),
            tls: self.tls,
            emergency: self.emergency,
            talked: self.talked,
            trunk_out: self.trunk_out,
            role: self.role,
            peer: self.peer,
        }
    }
}

impl<'f, T: From<&'f str>> From<&Facts<'f>> for Known<T> {
    fn from(facts: &Facts<'f>) -> Known<T> {
        Known {
            stage: facts.stage,
            source: facts.source,
            source_proven: facts.source_proven,
            login: facts.login,
            listener: facts.listener,
            zone: facts.zone,
            trunk: facts.trunk,
            from_pbx: facts.from_pbx,
            method: facts.method.into(),
            user: facts.user.map(Into::into),
            from: facts.from.map(Into::into),
            to: facts.to.map(Into::into),
            agent: facts.agent.map(Into::into),
            tls: facts.tls,
            emergency: facts.emergency,
            talked: facts.talked,
            trunk_out: facts.trunk_out,
            role: facts.role,
            peer: facts.peer,
        }
    }
}
