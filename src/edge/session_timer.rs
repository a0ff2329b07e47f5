//! Session timers (RFC 4028). Where neither side's zone or trunk asks for them, what the ends agree on passes untouched and nothing is added. Where one
//! does, sessions expire: we ask for it as a proxy may (§8). A session that runs out without a refresh is ended.

use std::time::Duration;

use super::call::{CallId, Leg};
use super::context::{Context, Errand};
use super::identify::Speaker;
use super::refusal::Refusal;
use super::settings::SessionTimer;
use super::{Edge, Timer};
use crate::base::Now;
use crate::sip::message::{Edit, Message, Method, Name};

/// RFC 4028 §5: no session expires sooner.
const SHORTEST: u32 = 90;

/// What a request that may refresh a session says of it.
struct Asked {
    expires: Option<u32>,
    /// Min-SE.
    shortest: Option<u32>,
    /// Its sender supports timers.
    supported: bool,
}

impl Asked {
    /// `None`: it is no such request, or its Session-Expires cannot be read.
    fn of(request: &Message) -> Option<Asked> {
        if !matches!(request.method(), Method::Invite | Method::Update) {
            return None;
        }
        let expires = match request.header(Name::SessionExpires) {
            Some(element) => Some(seconds(element.value)?),
            None => None,
        };
        let shortest = request.header(Name::MinSe).and_then(|element| seconds(element.value));
        let supported = request.elements(Name::Supported).any(|tag| tag.value.eq_ignore_ascii_case(b"timer"));
        Some(Asked { expires, shortest, supported })
    }

    /// §8.1: when the session is to expire, and Min-SE where it has to be raised.
    fn towards(&self, timer: SessionTimer) -> (u32, Option<u32>) {
        // "the value ... MUST be greater than or equal to the value of the Min-SE header field".
        let wanted = timer.expires.max(self.shortest.unwrap_or(SHORTEST));
        match self.expires {
            None => (wanted, None),
            // Its sender would not understand a 422.
            Some(expires) if expires < timer.shortest && !self.supported => {
                let shortest = timer.shortest.max(self.shortest.unwrap_or(0));
                (shortest, Some(shortest))
            }
            Some(expires) => (expires.min(wanted), None),
        }
    }
}

impl Edge {
    /// A 2xx went back. If it refreshes the session (§8.2), that lasts for as long as it says from now on; without
    /// Session-Expires (§7.2), for ever.
    pub(super) fn refresh_session(&mut self, id: CallId, context: &Context, response: &Message, now: Now) {
        let after = expires(response).or_else(|| self.session_added(context, response));
        let Some(call) = self.calls.get_mut(id) else { return };
        if !matches!(response.method(), Method::Invite | Method::Update) || call.answered.is_none() {
            return;
        }
        if let Some(timer) = call.session_timer.take() {
            self.timers.cancel(timer);
        }
        let after = after.map(|seconds| Duration::from_secs(seconds.max(SHORTEST).into()));
        let timers = &mut self.timers;
        call.session_timer = after.map(|after| timers.set(now.instant + after, Timer::SessionExpires(id)));
        call.session_ends = after.map(|after| now.after(after).unix);
        self.calls.changed(id);
    }

    /// §8.1: a session that would expire too soon for one of the sides.
    pub(super) fn check_session(&self, context: &Context) -> Result<(), Refusal> {
        let Some(timer) = self.session_timer(&context.errand) else { return Ok(()) };
        let Some(asked) = Asked::of(&context.request.message) else { return Ok(()) };
        match asked.expires {
            Some(expires) if expires < timer.shortest && asked.supported => {
                Err(Refusal::SessionTooShort(timer.shortest))
            }
            _ => Ok(()),
        }
    }

    /// §8.1: what a request asks for on its way out.
    pub(super) fn ask_for_timer(&self, edit: &mut Edit<'_>, context: &Context) {
        let message = &context.request.message;
        let Some(timer) = self.session_timer(&context.errand) else { return };
        let Some(asked) = Asked::of(message) else { return };
        let (expires, shortest) = asked.towards(timer);
        let expires = expires.to_string();
        match message.header(Name::SessionExpires) {
            None => edit.append(b"Session-Expires", expires.as_bytes()),
            // Who refreshes stays as it is.
            Some(element) => {
                if let Some(at) = message.offset_of(element.value) {
                    edit.replace_span(at, digits(element.value).len(), expires.as_bytes());
                }
            }
        }
        if let Some(shortest) = shortest {
            edit.remove_named(b"Min-SE");
            edit.append(b"Min-SE", shortest.to_string().as_bytes());
        }
    }

    /// §8.2: the callee knows nothing of timers, but the caller does, so that it alone refreshes.
    pub(super) fn add_timer(&self, edit: &mut Edit<'_>, context: &Context, response: &Message) {
        if let Some(seconds) = self.session_added(context, response) {
            edit.append(b"Session-Expires", format!("{seconds};refresher=uac").as_bytes());
            edit.append(b"Require", b"timer");
        }
    }

    /// When the session expires that this 2xx says nothing of, if it does.
    fn session_added(&self, context: &Context, response: &Message) -> Option<u32> {
        let is_success = response.status().is_some_and(|status| (200..300).contains(&status));
        if !is_success || response.header(Name::SessionExpires).is_some() {
            return None;
        }
        let timer = self.session_timer(&context.errand)?;
        let asked = Asked::of(&context.request.message).filter(|asked| asked.supported)?;
        Some(asked.towards(timer).0)
    }

    /// What the two sides of a call ask for: the session that expires first, and the longest of what may not be undercut.
    fn session_timer(&self, errand: &Errand) -> Option<SessionTimer> {
        let call = self.calls.get(errand.call_and_side()?.0)?;
        let timers =
            [Some(&call.a), call.b.as_ref()].into_iter().flatten().filter_map(|leg| self.timer_of(leg));
        timers.reduce(|one, other| {
            let shortest = one.shortest.max(other.shortest);
            SessionTimer { expires: one.expires.min(other.expires).max(shortest), shortest }
        })
    }

    fn timer_of(&self, leg: &Leg) -> Option<SessionTimer> {
        let of_trunk = match leg.speaker {
            Speaker::Trunk(trunk) => self.settings.trunk(trunk)?.session_timer,
            Speaker::Pbx | Speaker::Stranger => None,
        };
        of_trunk.or(self.settings.zone(leg.zone)?.session_timer)
    }
}

/// `Session-Expires: 1800;refresher=uac`
fn expires(response: &Message) -> Option<u32> {
    seconds(response.header(Name::SessionExpires)?.value)
}

/// What stands in the front.
fn digits(value: &[u8]) -> &[u8] {
    value.split(|byte| !byte.is_ascii_digit()).next().unwrap_or_default()
}

fn seconds(value: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits(value)).ok()?.parse().ok()
}
