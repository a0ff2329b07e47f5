//! Requests that somebody else took and a capture has overheard: what policy would have been told of them here.

use std::net::SocketAddr;

use super::authenticate::fields_in;
use super::facts::Heard;
use super::identify::{Certified, Speaker, Who, who};
use super::registering::refuses_password;
use super::settings::{Admit, Settings};
use super::targets::Targets;
use crate::base::{ClientAddr, FlowId, ListenerId, Transport};
use crate::policy::{Known, Login};
use crate::sip::digest::Credentials;
use crate::sip::message::Message;
use crate::sip::transaction::Source;

/// Tells for whom they were, and from whom.
#[derive(Debug)]
pub struct Overhearing<'s> {
    settings: &'s Settings,
    targets: Targets,
}

impl<'s> Overhearing<'s> {
    /// By these settings.
    pub fn new(settings: &'s Settings) -> Overhearing<'s> {
        Overhearing { settings, targets: Targets::new(settings) }
    }

    /// The listener that would have taken it: the one at that address; else one at that port, as whoever was there before us may
    /// have had another address, if no host of ours is there. Among several the one whose zone knows the sender.
    pub fn listener(&self, from: SocketAddr, to: SocketAddr, transport: Transport) -> Option<ListenerId> {
        let listeners = || {
            let all = (0..).map(ListenerId).zip(&self.settings.listeners);
            all.filter(move |(_, listener)| listener.transport == transport)
        };
        let is_at =
            |at: SocketAddr| at.ip().to_canonical() == to.ip().to_canonical() && at.port() == to.port();
        let mut candidates: Vec<ListenerId> = listeners()
            .filter(|(_, listener)| is_at(listener.bind) || listener.advertised().is_some_and(is_at))
            .map(|(id, _)| id)
            .collect();
        if candidates.is_empty() && !self.is_target(to) {
            let by_port = listeners().filter(|(_, listener)| listener.bind.port() == to.port());
            candidates.extend(by_port.map(|(id, _)| id));
        }
        let known = |listener: &ListenerId| {
            self.who(&source(from, *listener, transport)).is_some_and(|who| who.speaker != Speaker::Stranger)
        };
        candidates.iter().copied().find(known).or(candidates.first().copied())
    }

    fn is_target(&self, to: SocketAddr) -> bool {
        let mut all = self.targets.iter().filter_map(|(_, state)| state.target.server());
        all.any(|server| server.remote == to)
    }

    fn who(&self, source: &Source) -> Option<Who> {
        who(source, self.settings, &self.targets, &Certified::default()).ok()
    }

    /// What policy would be told of a request; none: it is refused before. Registrations and passwords are taken for granted.
    pub fn known(&self, message: &Message, from: SocketAddr, listener: ListenerId) -> Option<Known> {
        let transport = self.settings.listener(listener)?.transport;
        let source = source(from, listener, transport);
        let who = self.who(&source)?;
        let admit = self.settings.zone(who.zone)?.admit;
        let is_stranger = who.speaker == Speaker::Stranger;
        let shown = shown_user(message).filter(|_| admit == Admit::Authenticated && is_stranger);
        let is_asked = admit == Admit::Authenticated && is_stranger && shown.is_none();
        let heard = Heard {
            message,
            source: &source,
            who: &who,
            admitted: !is_asked && (!is_stranger || admit != Admit::Trunks),
            user: shown.as_deref(),
            login: if is_asked { Login::Asked } else { Login::Settled },
            has_answered: true,
            trunk_out: None,
        };
        Some(heard.facts(self.settings, |facts| Known::from(facts)))
    }
}

fn source(from: SocketAddr, listener: ListenerId, transport: Transport) -> Source {
    Source { flow: FlowId(0), listener, transport, remote: ClientAddr(from) }
}

fn shown_user(request: &Message) -> Option<String> {
    let shown = fields_in(request).find_map(|field| Credentials::parse(field.value))?;
    Some(String::from_utf8_lossy(shown.user).into_owned())
}

/// It comes with a password.
pub fn has_credentials(request: &Message) -> bool {
    fields_in(request).next().is_some()
}

/// It says that the password was wrong.
pub fn is_refused_login(response: &Message) -> bool {
    response.status().is_some_and(|status| refuses_password(status, Some(response)))
}
