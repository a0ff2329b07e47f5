//! What is recorded of a call: one CDR when it is over, or when policy refused it to somebody whom we know.

use std::sync::Arc;

use super::call::Call;
use super::ending::End;
use super::event::{Cdr, Event, StreamCdr};
use super::facts::in_e164;
use super::identify::{Speaker, Who};
use super::received::Request;
use super::refusal::Refusal;
use super::{Edge, uri};
use crate::base::{ListenerId, Now};
use crate::policy::country::Country;
use crate::sip::message::Method;

impl Edge {
    pub(super) fn listener_name(&self, listener: ListenerId) -> Arc<str> {
        self.settings.listener(listener).map_or_else(|| "".into(), |listener| listener.name.clone())
    }

    /// Policy refused a call of somebody whom we know: it is recorded, as what it might have cost is asked about later.
    /// Strangers do not fill the disk.
    pub(super) fn record_refused(
        &mut self,
        request: &Request,
        who: &Who,
        user: Option<&Arc<str>>,
        refusal: &Refusal,
    ) {
        let Request { message, source, at, .. } = request;
        if message.method() != Method::Invite || who.speaker == Speaker::Stranger && user.is_none() {
            return;
        }
        let text = |text: Option<std::borrow::Cow<'_, str>>| text.unwrap_or_default().into();
        let called = uri::called(message);
        let country = called.as_deref().and_then(|to| Country::of_number(&in_e164(to, who, &self.settings)));
        let cdr = Cdr {
            started: at.unix,
            answered: None,
            ended: at.unix,
            call_id: String::from_utf8_lossy(message.call_id()).into(),
            from: text(uri::caller(message)),
            to: text(called),
            user: user.cloned(),
            agent: self.agents.of(message),
            listener: self.listener_name(source.listener),
            source: source.remote,
            from_party: who.name(&self.settings),
            to_party: "".into(),
            target: "".into(),
            route: "".into(),
            rule: "".into(),
            refusal: Some(refusal.rule()),
            hung_up_by: None,
            spend: None,
            country,
            status: refusal.status().unwrap_or(0),
            end: "refused",
            media: Vec::new(),
            unheard: Vec::new(),
        };
        self.tell(Event::CallRefused(Box::new(cdr)));
    }
}

/// Of a call that is over; what it cost, and where, is the caller's to say.
pub(super) fn cdr(call: Call, end: End, media: Vec<StreamCdr>, now: Now) -> Cdr {
    let to_party = call.b.as_ref().map_or_else(|| "".into(), |leg| leg.name.clone());
    Cdr {
        started: call.started.unix,
        answered: call.answered,
        ended: now.unix,
        call_id: call.call_id,
        from: call.from,
        to: call.to,
        user: call.a.user,
        agent: call.agent,
        listener: "".into(),
        source: call.source,
        from_party: call.a.name,
        to_party,
        target: call.target,
        route: call.route,
        rule: call.rule,
        refusal: None,
        hung_up_by: call.hung_up_by,
        spend: None,
        country: None,
        status: match end {
            End::Failed(status) => status,
            _ => 200,
        },
        end: end.text(),
        media,
        unheard: call.unheard,
    }
}
