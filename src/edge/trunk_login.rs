//! Our name and password at a carrier (RFC 3261 §22.2, §22.3): its 401 or 407 is answered here, and neither the PBX nor a phone ever sees it.
//!
//! A request that is sent again with credentials has a higher CSeq (§8.1.3.5), of which its sender knows nothing. So from then on all numbers that
//! it writes in this dialog are raised by as much on their way out ([`CseqAhead`]).

use bytes::Bytes;

use super::Edge;
use super::call::Leg;
use super::context::{Context, Errand, Place, Waiting};
use super::event::Event;
use super::identify::Speaker;
use super::refusal::Refusal;
use super::settings::Settings;
use super::targets::Owner;
use crate::base::{Now, TrunkId};
use crate::relay::Side;
use crate::sip::digest::{Asked, Challenge};
use crate::sip::message::{Edit, Message, Name};
use crate::sip::proxy::branch::Branch;
use crate::sip::transaction::ServerId;

/// How far the CSeq numbers of requests towards a side are ahead of what their sender wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CseqAhead([u32; 2]);

impl CseqAhead {
    /// Of requests towards that side.
    pub fn towards(self, side: Side) -> u32 {
        self.0[side as usize]
    }

    /// One more of them was sent again.
    pub fn step(&mut self, side: Side) {
        self.0[side as usize] += 1;
    }
}

/// What a carrier last asked, by trunk: the next request answers it beforehand, and saves a round trip where the carrier lets a nonce live.
#[derive(Debug, Default)]
pub struct Logins(Vec<Option<Login>>);

#[derive(Debug)]
struct Login {
    /// The challenge, as it stood.
    challenge: Box<[u8]>,
    /// It was a 407.
    proxy: bool,
    /// How often it was answered.
    count: u32,
}

impl Logins {
    /// No trunk has asked yet.
    pub fn new(settings: &Settings) -> Logins {
        Logins(settings.trunks.iter().map(|_| None).collect())
    }

    fn get_mut(&mut self, trunk: TrunkId) -> Option<&mut Option<Login>> {
        self.0.get_mut(usize::from(trunk.0))
    }
}

impl Edge {
    /// The trunk that a request goes to, if we have a name and a password there.
    pub(super) fn login_towards(&self, context: &Context, place: Place) -> Option<TrunkId> {
        let trunk = match (place, &context.errand) {
            (Place::Target(target), _) => match self.targets.get(target)?.owner {
                Owner::Trunk(trunk) => trunk,
                Owner::Pbx => return None,
            },
            (_, Errand::InCall { call, from, .. }) => {
                return self.login_of(self.calls.get(*call)?.leg(from.other())?);
            }
            _ => return None,
        };
        self.has_login(trunk).then_some(trunk)
    }

    /// The trunk that a leg is, if we have a name and a password there.
    pub(super) fn login_of(&self, leg: &Leg) -> Option<TrunkId> {
        match leg.speaker {
            Speaker::Trunk(trunk) if self.has_login(trunk) => Some(trunk),
            _ => None,
        }
    }

    fn has_login(&self, trunk: TrunkId) -> bool {
        self.settings.trunk(trunk).is_some_and(|trunk| trunk.auth.is_some())
    }

    /// The trunk's last challenge is known, so requests carry their answer to it beforehand.
    pub(super) fn is_logged_in(&self, trunk: TrunkId) -> bool {
        self.logins.0.get(usize::from(trunk.0)).is_some_and(Option::is_some)
    }

    /// Writes credentials into a request that is about to leave, if the trunk's last challenge is known.
    pub(super) fn log_in(&mut self, edit: &mut Edit<'_>, trunk: TrunkId, asked: Asked<'_>) {
        let (Some(Some(login)), Some(settings)) = (self.logins.get_mut(trunk), self.settings.trunk(trunk))
        else {
            return;
        };
        let (Some(auth), Some(challenge)) = (&settings.auth, Challenge::parse(&login.challenge)) else {
            return;
        };
        login.count = login.count.saturating_add(1);
        let asked = Asked { count: login.count, cnonce: self.rng.next_u64(), ..asked };
        let name = if login.proxy { Name::ProxyAuthorization } else { Name::Authorization };
        if let Some(credentials) = challenge.answer(&auth.username, &auth.secret, &asked) {
            edit.remove_all(name);
            edit.append(name.as_str().as_bytes(), &credentials);
        }
    }

    /// A request of our own with credentials, if the trunk's last challenge is known.
    pub(super) fn logged_in(&mut self, request: &Message, trunk: TrunkId) -> Bytes {
        let mut edit = Edit::new(request);
        self.log_in(&mut edit, trunk, asked(request));
        let mut out = Vec::with_capacity(request.bytes().len() + 512);
        edit.write(&mut out);
        out.into()
    }

    /// A 401 or 407 to the request that was tried last. `None`: not by a carrier that knows us; it is the caller's to answer. True: it was
    /// answered, and the request is under way again.
    pub(super) fn answer_challenge(
        &mut self,
        server: ServerId,
        context: &mut Context,
        index: usize,
        response: &Message,
        now: Now,
    ) -> Option<bool> {
        let trunk = self.login_towards(context, context.hops.get(index)?.place)?;
        let learnt = self.learn_challenge(trunk, context.challenged, response);
        let sent = context.sent.clone().filter(|_| learnt && !context.cancelled);
        if let Some(sent) = sent
            && let Some(bytes) = self.with_credentials(context, trunk, &sent)
            && let Ok(request) = Message::parse(bytes.clone(), &self.settings.limits.message)
            && let Some(hop) = context.hops.get(index)
            && let Some(client) = self.transactions.send_request(request, hop.to, hop.transport, now.instant)
        {
            context.challenged += 1;
            context.sent = Some(bytes);
            if let Some(attempt) = context.attempts.get_mut(index) {
                *attempt = Some(client);
            }
            self.contexts.wait(client, Waiting::Context(server));
            return Some(true);
        }
        if !context.cancelled {
            context.failure = Some(Refusal::LoginRefused);
            if let Some(login) = self.logins.get_mut(trunk) {
                *login = None;
            }
            if let Some(trunk) = self.settings.trunk(trunk) {
                let trunk = trunk.name.clone();
                self.tell(Event::LoginRefused { trunk });
            }
        }
        Some(false)
    }

    /// CSeq, and in a PRACK what it says of the CSeq of an INVITE (RFC 3262 §7.2), as whoever is asked next counts them.
    pub(super) fn raise_cseq(&self, edit: &mut Edit<'_>, context: &Context) {
        let message = &context.request.message;
        let Some((call, towards)) = context.errand.call_and_side() else { return };
        let ahead = self.calls.get(call).map_or(0, |call| call.cseq_ahead.towards(towards));
        if ahead == 0 {
            return;
        }
        let cseq = message.cseq();
        let method = String::from_utf8_lossy(cseq.method_bytes);
        edit.set(Name::CSeq, format!("{} {method}", cseq.number.saturating_add(ahead)).as_bytes());
        if let Some(rack) = message.header(Name::RAck)
            && let Some((rseq, number, method)) = rack_parts(rack.value)
        {
            edit.set(Name::RAck, format!("{rseq} {} {method}", number.saturating_add(ahead)).as_bytes());
        }
    }

    /// Takes note of the first challenge that can be answered (RFC 8760 §2.4). False: there is none, or it was answered before, and the
    /// answer was wrong (§22.3: only `stale` is a reason to try again).
    pub(super) fn learn_challenge(&mut self, trunk: TrunkId, challenged: u8, response: &Message) -> bool {
        let proxy = response.status() == Some(407);
        let name: &[u8] = if proxy { b"Proxy-Authenticate" } else { b"WWW-Authenticate" };
        let values = response.headers().filter(|(found, _)| found.eq_ignore_ascii_case(name));
        let mut readable =
            values.filter_map(|(_, element)| Some((element.value, Challenge::parse(element.value)?)));
        let Some((value, challenge)) = readable.next() else { return false };
        if challenged > u8::from(challenge.stale) {
            return false;
        }
        if let Some(login) = self.logins.get_mut(trunk) {
            *login = Some(Login { challenge: value.into(), proxy, count: 0 });
        }
        true
    }

    /// The request as it was sent, as the next one of its dialog.
    fn with_credentials(&mut self, context: &Context, trunk: TrunkId, sent: &Bytes) -> Option<Bytes> {
        let sent = Message::parse(sent.clone(), &self.settings.limits.message).ok()?;
        let branch = self.mint_branch(context);
        let again = self.sent_again(&sent, &branch, sent.cseq().number.checked_add(1)?, trunk)?;
        if let Some((id, towards)) = context.errand.call_and_side()
            && let Some(call) = self.calls.get_mut(id)
        {
            call.cseq_ahead.step(towards);
            self.calls.changed(id);
        }
        Some(again)
    }

    /// A request that was challenged, as a new one with credentials (RFC 3261 §22.2).
    pub(super) fn sent_again(
        &mut self,
        sent: &Message,
        branch: &Branch,
        cseq: u32,
        trunk: TrunkId,
    ) -> Option<Bytes> {
        let mut edit = Edit::new(sent);
        let before = sent.top_via().branch()?;
        edit.replace_span(sent.offset_of(before)?, before.len(), branch.as_bytes());
        let method = String::from_utf8_lossy(sent.cseq().method_bytes);
        edit.set(Name::CSeq, format!("{cseq} {method}").as_bytes());
        self.log_in(&mut edit, trunk, asked(sent));
        let mut out = Vec::with_capacity(sent.bytes().len() + 512);
        edit.write(&mut out);
        Some(out.into())
    }
}

/// What a request's credentials cover.
fn asked(request: &Message) -> Asked<'_> {
    let uri = request.request_uri().unwrap_or_default();
    Asked { method: request.method_bytes(), uri, body: request.body(), count: 0, cnonce: 0 }
}

/// RFC 3262 §7.2: response number, CSeq number, method.
fn rack_parts(value: &[u8]) -> Option<(&str, u32, &str)> {
    let mut words = std::str::from_utf8(value).ok()?.split_ascii_whitespace();
    Some((words.next()?, words.next()?.parse().ok()?, words.next()?))
}
