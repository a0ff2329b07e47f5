//! What policy is told of a request. Reads the settings and nothing else, so that a request can be asked about without an edge.

use std::borrow::Cow;

use super::identify::{Speaker, Who};
use super::route::is_emergency;
use super::settings::Settings;
use super::trunk_rules::number_from_trunk;
use super::uri;
use crate::base::{Transport, TrunkId};
use crate::policy::{Facts, Login, Stage, explain, number};
use crate::sip::message::{Message, Method, Name};
use crate::sip::transaction::Source;

/// A request, and what the edge knows of its sender.
pub(super) struct Heard<'h> {
    pub message: &'h Message,
    pub source: &'h Source,
    pub who: &'h Who,
    /// It may speak at all. Who may not, speaks in nobody's name, so that no stranger uses up the owner's allowance.
    pub admitted: bool,
    /// Authenticated or registered.
    pub user: Option<&'h str>,
    /// May a rule ask for a password?
    pub login: Login,
    /// A challenge went to the source and came back: it is not forged.
    pub has_answered: bool,
    /// The trunk that is about to take it.
    pub trunk_out: Option<TrunkId>,
}

impl Heard<'_> {
    /// The facts, for `ask` to look at.
    pub fn facts<R>(&self, settings: &Settings, ask: impl FnOnce(&Facts<'_>) -> R) -> R {
        let Heard { message, source, who, admitted, .. } = *self;
        let is_register = message.method() == Method::Register;
        let (caller, called) = (uri::caller(message), uri::called(message));
        let named = if is_register { called.as_deref() } else { caller.as_deref() };
        let user = self.user.or(named).filter(|_| admitted);
        let from = caller.as_deref().filter(|_| admitted).map(|number| in_e164(number, who, settings));
        let to = called.as_deref().map(|number| in_e164(number, who, settings));
        let method = String::from_utf8_lossy(message.method_bytes());
        let agent = message.header(Name::UserAgent).map(|agent| String::from_utf8_lossy(agent.value));
        ask(&Facts {
            stage: match self.trunk_out {
                Some(_) => Stage::Routes,
                None if is_register => Stage::Registrations,
                None => Stage::Calls,
            },
            source: source.remote.0.ip().to_canonical(),
            source_proven: source.transport != Transport::Udp || self.has_answered,
            login: self.login,
            listener: source.listener,
            zone: who.zone,
            trunk: match who.speaker {
                Speaker::Trunk(trunk) => Some(trunk),
                _ => None,
            },
            from_pbx: who.speaker == Speaker::Pbx,
            method: &method,
            user,
            from: from.as_deref(),
            to: to.as_deref(),
            agent: agent.as_deref(),
            emergency: admitted && is_emergency(settings, message, who),
            tls: matches!(source.transport, Transport::Tls | Transport::Wss),
            talked: None,
            trunk_out: self.trunk_out,
            role: None,
            peer: None,
        })
    }
}

/// A number as its zone dials it, in the one form in which policies compare numbers. Of a number from a trunk that
/// its zone's plan says nothing about, the trunk's own rules may make one.
pub(super) fn in_e164<'n>(dialled: &'n str, who: &Who, settings: &Settings) -> Cow<'n, str> {
    let number = number::normalise(dialled);
    if number.starts_with('+') && !number.starts_with("+0") {
        return Cow::Borrowed(dialled);
    }
    let plan = settings.zone(who.zone).and_then(|zone| zone.dial_plan.as_deref());
    let is_e164 = |number: &String| number.starts_with('+');
    let by_plan = |number: &str| plan.map(|plan| plan.e164(number).into_owned()).filter(is_e164);
    let by_trunk = || {
        let number = number_from_trunk(settings, &number, who)?;
        by_plan(&number).or_else(|| Some(number).filter(is_e164))
    };
    by_plan(&number).or_else(by_trunk).map_or(Cow::Borrowed(dialled), Cow::Owned)
}

/// What people call the ids in them.
pub(super) fn names(settings: &Settings) -> explain::Names {
    explain::Names {
        zones: settings.zones.iter().map(|zone| zone.name.clone()).collect(),
        listeners: settings.listeners.iter().map(|listener| listener.name.clone()).collect(),
        trunks: settings.trunks.iter().map(|trunk| trunk.name.clone()).collect(),
        roles: Vec::new(),
    }
}
