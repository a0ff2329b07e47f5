//! Registration with carriers that call only who has registered (RFC 3261 §10.2): kept alive, and begun again, more and more slowly, where the
//! carrier is silent or refuses.

use std::time::Duration;

use super::context::Waiting;
use super::event::Event;
use super::settings::{Auth, Party, Settings, Trunk};
use super::targets::Way;
use super::{Edge, Timer};
use crate::base::{Now, TrunkId};
use crate::sip::message::{Message, Name, param};
use crate::sip::proxy::forward::via;
use crate::sip::transaction::ClientId;

/// After a failure, doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// What a 423 may ask for at most.
const LONGEST_EXPIRY: Duration = Duration::from_secs(86_400);

/// The registrations of all trunks.
#[derive(Debug, Default)]
pub struct TrunkRegistrations(Vec<Option<Registering>>);

/// One trunk's.
#[derive(Debug)]
struct Registering {
    /// RFC 3261 §10.2: the same Call-ID and rising CSeq for all of them.
    number: u64,
    cseq: u32,
    /// Between two of them.
    every: Duration,
    /// Asked for: twice as long, so that one may be lost.
    expires: Duration,
    /// The one that is under way, as it was sent.
    pending: Option<(ClientId, Message)>,
    /// How often it was sent again with credentials.
    challenged: u8,
    /// In a row.
    failures: u32,
    registered: bool,
}

impl TrunkRegistrations {
    /// None is registered yet.
    pub fn new(settings: &Settings, rng: &mut crate::base::Rng) -> TrunkRegistrations {
        let registering = |trunk: &Trunk| {
            let every = trunk.register?;
            Some(Registering {
                number: rng.next_u64(),
                cseq: 0,
                every,
                expires: every * 2,
                pending: None,
                challenged: 0,
                failures: 0,
                registered: false,
            })
        };
        TrunkRegistrations(settings.trunks.iter().map(registering).collect())
    }

    /// The trunks that register.
    pub fn trunks(&self) -> Vec<TrunkId> {
        let all = (0..).zip(&self.0);
        all.filter(|(_, registering)| registering.is_some()).map(|(index, _)| TrunkId(index)).collect()
    }

    fn get_mut(&mut self, trunk: TrunkId) -> Option<&mut Registering> {
        self.0.get_mut(usize::from(trunk.0))?.as_mut()
    }
}

impl Edge {
    /// It is time for the trunk's next REGISTER.
    pub(super) fn register_trunk(&mut self, trunk: TrunkId, now: Now) {
        if self.send_register(trunk, now).is_none() {
            self.registering_failed(trunk, now);
        }
    }

    fn send_register(&mut self, trunk: TrunkId, now: Now) -> Option<()> {
        let branch = self.own_branch();
        let hosts = self.targets.in_order(Party::Trunk(trunk), now.instant, &mut self.rng);
        let settings = self.settings.clone();
        let registering = self.trunk_registrations.get_mut(trunk)?;
        registering.cseq += 1;
        registering.challenged = 0;
        // Another host each time that one fails.
        let host = *hosts.get(registering.failures as usize % hosts.len().max(1))?;
        let state = self.targets.get(host)?;
        let way = state.ways(now.instant).next()?;
        let request = register(&settings, trunk, registering, &state.host_and_port, &way, &branch)?;
        let request = Message::parse(self.logged_in(&request, trunk), &self.settings.limits.message).ok()?;
        self.send_registering(trunk, request, way, now)
    }

    fn send_registering(&mut self, trunk: TrunkId, request: Message, way: Way, now: Now) -> Option<()> {
        let Way { to, transport, .. } = way;
        let client = self.transactions.send_request(request.clone(), to, transport, now.instant)?;
        self.contexts.wait(client, Waiting::Register(trunk));
        self.trunk_registrations.get_mut(trunk)?.pending = Some((client, request));
        Some(())
    }

    /// The registrar says something.
    pub(super) fn registering_answered(
        &mut self,
        trunk: TrunkId,
        client: ClientId,
        response: &Message,
        now: Now,
    ) {
        let status = response.status().unwrap_or(0);
        let Some(registering) = self.trunk_registrations.get_mut(trunk) else { return };
        let Some((_, sent)) = registering.pending.take_if(|(pending, _)| status >= 200 && *pending == client)
        else {
            return;
        };
        match status {
            200..300 => self.trunk_registered(trunk, response, now),
            401 | 407 => {
                if self.register_again(trunk, &sent, response, now).is_none() {
                    if let Some(trunk) = self.settings.trunk(trunk).map(|trunk| trunk.name.clone()) {
                        self.tell(Event::LoginRefused { trunk });
                    }
                    self.registering_failed(trunk, now);
                }
            }
            423 => {
                let wanted = response.header_named(b"Min-Expires").and_then(|element| seconds(element.value));
                match wanted.filter(|wanted| *wanted > registering.expires && *wanted <= LONGEST_EXPIRY) {
                    Some(wanted) => {
                        registering.expires = wanted;
                        self.register_trunk(trunk, now);
                    }
                    None => self.registering_failed(trunk, now),
                }
            }
            _ => self.registering_failed(trunk, now),
        }
    }

    /// Nobody answered, or it could not be sent.
    pub(super) fn registering_unanswered(&mut self, trunk: TrunkId, client: ClientId, now: Now) {
        let Some(registering) = self.trunk_registrations.get_mut(trunk) else { return };
        if registering.pending.take_if(|(pending, _)| *pending == client).is_some() {
            self.registering_failed(trunk, now);
        }
    }

    fn register_again(&mut self, trunk: TrunkId, sent: &Message, response: &Message, now: Now) -> Option<()> {
        let challenged = self.trunk_registrations.get_mut(trunk)?.challenged;
        if !self.learn_challenge(trunk, challenged, response) {
            return None;
        }
        let branch = self.own_branch();
        let way = self.way_of_register(sent, trunk, now)?;
        let registering = self.trunk_registrations.get_mut(trunk)?;
        registering.challenged += 1;
        registering.cseq += 1;
        let cseq = registering.cseq;
        let again = self.sent_again(sent, &branch, cseq, trunk)?;
        let request = Message::parse(again, &self.settings.limits.message).ok()?;
        self.send_registering(trunk, request, way, now)
    }

    /// The host that a REGISTER was sent to.
    fn way_of_register(&self, sent: &Message, trunk: TrunkId, now: Now) -> Option<Way> {
        let registrar = sent.request_uri()?.strip_prefix(b"sip:")?;
        let of_trunk = self.targets.of_trunk(trunk);
        let named = of_trunk.into_iter().find(|state| state.host_and_port.as_bytes() == registrar);
        named?.ways(now.instant).next()
    }

    fn trunk_registered(&mut self, trunk: TrunkId, response: &Message, now: Now) {
        let Some(registering) = self.trunk_registrations.get_mut(trunk) else { return };
        let granted = granted(response).unwrap_or(registering.expires);
        let again = registering.every.min(granted.mul_f32(0.8)).max(FIRST_PAUSE);
        registering.failures = 0;
        let is_new = !std::mem::replace(&mut registering.registered, true);
        self.timers.set(now.instant + again, Timer::TrunkRegister(trunk));
        if is_new {
            self.tell_registration(trunk, true);
        }
    }

    fn registering_failed(&mut self, trunk: TrunkId, now: Now) {
        let jitter = self.rng.next_u32() % 1_000;
        let Some(registering) = self.trunk_registrations.get_mut(trunk) else { return };
        let pause = (FIRST_PAUSE * 2u32.saturating_pow(registering.failures.min(10))).min(LONGEST_PAUSE);
        registering.failures = registering.failures.saturating_add(1);
        // Who never was registered has a second try before anybody is woken: at the start its name may not be resolved yet.
        let was_registered = std::mem::replace(&mut registering.registered, false);
        let is_news = was_registered || registering.failures == 2;
        let pause = pause + Duration::from_millis(u64::from(jitter));
        self.timers.set(now.instant + pause, Timer::TrunkRegister(trunk));
        if is_news {
            self.tell_registration(trunk, false);
        }
    }

    fn tell_registration(&mut self, trunk: TrunkId, registered: bool) {
        if let Some(trunk) = self.settings.trunk(trunk).map(|trunk| trunk.name.clone()) {
            self.tell(Event::TrunkRegistered { trunk, registered });
        }
    }
}

/// RFC 3261 §10.2. The registrar is the host that is asked, and our address there is our name at it.
fn register(
    settings: &Settings,
    trunk: TrunkId,
    registering: &Registering,
    registrar: &str,
    way: &Way,
    branch: &crate::sip::proxy::branch::Branch,
) -> Option<Message> {
    let Auth { username, .. } = settings.trunk(trunk)?.auth.as_ref()?;
    let sent_by = &settings.listener(way.listener)?.advertise;
    let via = via(way.transport, sent_by, branch);
    let via = String::from_utf8_lossy(&via);
    let user = super::uri::escaped_user(username);
    let Registering { number, cseq, expires, .. } = registering;
    let bytes = format!(
        "REGISTER sip:{registrar} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\n\
         From: <sip:{user}@{registrar}>;tag={number:x}\r\nTo: <sip:{user}@{registrar}>\r\n\
         Call-ID: register-{number:x}@{name}\r\nCSeq: {cseq} REGISTER\r\n\
         Contact: <sip:{user}@{sent_by};transport={transport}>\r\nExpires: {expires}\r\n\
         Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, REFER, NOTIFY, MESSAGE\r\nContent-Length: 0\r\n\r\n",
        name = settings.name,
        transport = way.transport.uri_param(),
        expires = expires.as_secs(),
    );
    Message::parse(bytes.into(), &settings.limits.message).ok()
}

/// What the registrar grants: the `expires` of our Contact (the first, for we are the only one of this Call-ID), else Expires (§10.2.4).
fn granted(response: &Message) -> Option<Duration> {
    let contact = response.elements(Name::Contact).next();
    let of_contact =
        contact.and_then(|contact| seconds(param(contact.name_addr().ok()?.params, b"expires")?));
    of_contact.or_else(|| seconds(response.header(Name::Expires)?.value))
}

fn seconds(text: &[u8]) -> Option<Duration> {
    std::str::from_utf8(text).ok()?.trim().parse().ok().map(Duration::from_secs)
}
