//! REGISTER on its way to the PBX and back: the Contact becomes one of ours with a sealed token, so that a PBX without
//! Path finds the phone too; the phone sees its own Contact again (RFC 3261 §10, RFC 3327, RFC 5626 §5).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;

use super::context::{Context, Errand, Hop};
use super::event::Event;
use super::flow::FlowEnd;
use super::received::Request;
use super::refusal::Refusal;
use super::registration::{Binding, binding_key};
use super::route::TOKEN;
use super::{Edge, Timer, uri};
use crate::base::{Now, Transport};
use crate::sip::message::{Edit, Element, Message, Name, NameAddr, param};
use crate::sip::proxy::token::{Token, TokenKind};
use crate::sip::uri::Uri;

/// The most contacts that one REGISTER may name.
const CONTACTS_MAX: usize = 16;

/// RFC 3261 §10.2.1.1: what a registrar that names no time is taken to mean.
const EXPIRES: Duration = Duration::from_secs(3_600);

/// RFC 5626 §5.4: a phone that pings this often (in seconds) keeps its connection; `net` gives it up after five times that.
const FLOW_TIMER: &[u8] = b"120";

/// The phone's own Contacts of one REGISTER.
pub type Contacts = SmallVec<[(u64, Bytes); 1]>;

impl Edge {
    /// Opens the errand of a phone's REGISTER.
    pub(super) fn open_registration(&self, request: &Request) -> Result<Errand, Refusal> {
        let message = &request.message;
        let mut contacts = Contacts::new();
        for (_, contact) in contacts_in(message).take(CONTACTS_MAX) {
            let instance = param(contact.params, b"+sip.instance");
            let instance = instance.map(|id| (id, param(contact.params, b"reg-id").unwrap_or_default()));
            let key = binding_key(&self.settings.key, message.to().uri, instance, contact.uri);
            contacts.push((key, message.bytes().slice_ref(contact.uri)));
        }
        let is_new = |(key, _): &(u64, Bytes)| self.registrations.get(*key).is_none();
        if self.registrations.is_full() && contacts.iter().any(is_new) {
            return Err(Refusal::RegistrationsFull);
        }
        Ok(Errand::Register(contacts))
    }

    /// What the PBX is told: our Contacts, Path, and that we do Path.
    pub(super) fn rewrite_register<'m>(
        &self,
        edit: &mut Edit<'m>,
        message: &'m Message,
        contacts: &Contacts,
        hop: &Hop,
    ) {
        let host = self.settings.listener(hop.listener).map_or("", |listener| &listener.advertise);
        let transport = match hop.transport {
            Transport::Udp => String::new(),
            other => format!(";transport={}", other.uri_param()),
        };
        for ((element, contact), (key, _)) in contacts_in(message).zip(contacts) {
            let token = Token::seal(&self.settings.key, TokenKind::Contact, *key);
            let user = Uri::parse(contact.uri).and_then(|uri| uri.user).unwrap_or_default();
            let at: &[u8] = if user.is_empty() { b"" } else { b"@" };
            let pieces = [b"<sip:", user, at, host.as_bytes(), transport.as_bytes(), b";", TOKEN, b"="];
            let tail = [token.as_bytes(), b">", contact.params];
            edit.replace(element, &pieces.into_iter().chain(tail).flatten().copied().collect::<Vec<u8>>());
        }
        let Some((key, _)) = contacts.first() else { return };
        let token = Token::seal(&self.settings.key, TokenKind::Contact, *key);
        let outbound = if is_outbound(message) { ";ob" } else { "" };
        let path = format!("<sip:{host}{transport};lr;tp={}{outbound}>", token.as_str());
        edit.add_above(Name::Path, path.as_bytes());
        if !lists(message, Name::Supported, b"path") {
            match message.header(Name::Supported).filter(|supported| !supported.value.is_empty()) {
                Some(supported) => edit.replace(supported, &[supported.value, b", path"].concat()),
                None => edit.append(b"Supported", b"path"),
            }
        }
    }

    /// What the phone is told: its own Contacts, with the times that the registrar gave.
    pub(super) fn restore_contacts<'m>(
        &self,
        edit: &mut Edit<'m>,
        response: &'m Message,
        own: &Contacts,
        transport: Transport,
    ) {
        if transport.is_reliable()
            && lists(response, Name::Require, b"outbound")
            && response.header_named(b"Flow-Timer").is_none()
        {
            edit.append(b"Flow-Timer", FLOW_TIMER);
        }
        for (element, contact) in contacts_in(response) {
            let Some(key) = self.key_in(&contact) else { continue };
            let sent = own.iter().find(|(sent, _)| *sent == key).map(|(_, contact)| &contact[..]);
            let original = sent.or_else(|| self.registrations.get(key).map(|binding| &*binding.contact));
            if let Some(original) = original {
                edit.replace(element, &[b"<", original, b">", contact.params].concat());
            }
        }
        edit.remove_all(Name::Path);
        edit.remove_named(b"Service-Route");
    }

    /// The registrar accepted: what it lists of this REGISTER's contacts lives, what it does not list is gone.
    pub(super) fn registered(&mut self, context: &Context, own: &Contacts, response: &Message, now: Now) {
        let message = &context.request.message;
        let Some(user) = uri::user_in(message.to().uri) else { return };
        let user: Arc<str> = user.into();
        if message.elements(Name::Contact).any(|contact| contact.value == b"*") {
            let all: Vec<u64> = self.registrations.of_user(&user).map(|(key, _)| key).collect();
            all.into_iter().for_each(|key| self.unregister(key));
            return;
        }
        for (key, contact) in own {
            let listed = contacts_in(response).find(|(_, contact)| self.key_in(contact) == Some(*key));
            match listed.map(|(_, contact)| lifetime(&contact, response)) {
                Some(expires) if !expires.is_zero() => {
                    self.bind(*key, user.clone(), contact, expires, context, now);
                }
                _ => self.unregister(*key),
            }
        }
    }

    fn bind(
        &mut self,
        key: u64,
        user: Arc<str>,
        contact: &[u8],
        expires: Duration,
        context: &Context,
        now: Now,
    ) {
        let source = &context.request.source;
        let binding = Binding {
            user: user.clone(),
            contact: contact.into(),
            flow: FlowEnd::from(source),
            zone: context.who.zone,
            until: now.after(expires).unix,
            timer: self.timers.set(now.instant + expires, Timer::BindingExpires(key)),
        };
        if let Some(before) = self.registrations.insert(key, binding) {
            self.timers.cancel(before.timer);
            // A refresh over the same flow is no news.
            if before.flow == FlowEnd::from(source) {
                return;
            }
        }
        self.tell(Event::Registered { user, remote: source.remote, expires });
    }

    /// The contact is gone: unregistered, expired, or its flow closed.
    pub(super) fn unregister(&mut self, key: u64) {
        if let Some(binding) = self.registrations.remove(key) {
            self.timers.cancel(binding.timer);
            self.tell(Event::Unregistered { user: binding.user });
        }
    }

    /// The registrar refused credentials: policy counts failed logins. The first challenge is none.
    pub(super) fn login_refused(
        &mut self,
        context: &Context,
        status: u16,
        response: Option<&Message>,
        now: Now,
    ) {
        let message = &context.request.message;
        let tried = self.carries_others(context);
        if tried && refuses_password(status, response) {
            let user = uri::user_in(message.to().uri);
            self.policy.open().login_failed(context.request.source.remote.0.ip(), user.as_deref(), now);
        }
    }

    /// The binding that a Contact of ours names.
    fn key_in(&self, contact: &NameAddr<'_>) -> Option<u64> {
        let text = param(Uri::parse(contact.uri)?.params, TOKEN)?;
        Token::open(&self.settings.key, TokenKind::Contact, text)
    }
}

/// To a request with credentials: they were wrong. A stale nonce is no failure (RFC 7616 §3.3).
pub(super) fn refuses_password(status: u16, response: Option<&Message>) -> bool {
    let challenge = response.and_then(|response| {
        response.header_named(b"WWW-Authenticate").or(response.header_named(b"Proxy-Authenticate"))
    });
    let is_stale = challenge.is_some_and(|challenge| {
        challenge.value.to_ascii_lowercase().windows(10).any(|window| window == b"stale=true")
    });
    matches!(status, 401 | 403 | 407) && !is_stale
}

/// The phone asks for RFC 5626, and stands next to us: there is a flow to it that we can keep (§5.1).
fn is_outbound(message: &Message) -> bool {
    let numbered = |(_, contact): (Element<'_>, NameAddr<'_>)| {
        param(contact.params, b"reg-id").is_some() && param(contact.params, b"+sip.instance").is_some()
    };
    lists(message, Name::Supported, b"outbound")
        && message.elements(Name::Via).count() == 1
        && contacts_in(message).any(numbered)
}

fn lists(message: &Message, name: Name, tag: &[u8]) -> bool {
    message.elements(name).any(|element| element.value.eq_ignore_ascii_case(tag))
}

/// Contacts of a message; `*` is none.
fn contacts_in(message: &Message) -> impl Iterator<Item = (Element<'_>, NameAddr<'_>)> {
    let contacts = message.elements(Name::Contact).filter(|contact| contact.value != b"*");
    contacts.filter_map(|contact| Some((contact, contact.name_addr().ok()?)))
}

/// RFC 3261 §10.3 step 7: `expires` of the contact, else Expires.
fn lifetime(contact: &NameAddr<'_>, response: &Message) -> Duration {
    let own = param(contact.params, b"expires").and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
    let seconds = own.or_else(|| response.header(Name::Expires)?.number());
    seconds.map_or(EXPIRES, |seconds| Duration::from_secs(u64::from(seconds)))
}
