//! Session timers (RFC 4028): what the ends agree on passes untouched, nothing is added, and a session that runs out
//! without a refresh is ended.

use std::time::Duration;

use super::call::CallId;
use super::{Edge, Timer};
use crate::base::Now;
use crate::sip::message::{Message, Method, Name};

/// RFC 4028 §5: no session expires sooner.
const SHORTEST: Duration = Duration::from_secs(90);

impl Edge {
    /// A 2xx went back. If it refreshes the session (§8.2), that lasts for as long as it says from now on; without
    /// Session-Expires (§7.2), for ever.
    pub(super) fn refresh_session(&mut self, id: CallId, response: &Message, now: Now) {
        let Some(call) = self.calls.get_mut(id) else { return };
        if !matches!(response.method(), Method::Invite | Method::Update) || call.answered.is_none() {
            return;
        }
        if let Some(timer) = call.session_timer.take() {
            self.timers.cancel(timer);
        }
        let timers = &mut self.timers;
        call.session_timer =
            interval(response).map(|after| timers.set(now.instant + after, Timer::SessionExpires(id)));
    }
}

/// `Session-Expires: 1800;refresher=uac`
fn interval(response: &Message) -> Option<Duration> {
    let value = response.header(Name::SessionExpires)?.value;
    let digits = value.split(|byte| !byte.is_ascii_digit()).next()?;
    let seconds: u32 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.into()).max(SHORTEST))
}
