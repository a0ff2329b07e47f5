//! Answered calls are listened to every few seconds: one without media is ended, and of a side that is not heard somebody is
//! told.

use std::time::Duration;

use super::anchor::MISSED;
use super::anchoring::media_of;
use super::call::{Call, CallId};
use super::ending::End;
use super::event::{Event, Unheard};
use super::settings::Settings;
use super::{Edge, Timer};
use crate::base::Now;
use crate::relay::{Relay, Side};

/// Most time between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// How much of what is counted of its media a call forgets at most when the node is killed.
const COUNTED: Duration = Duration::from_secs(60);
/// Silence is seen late by no more than this part of its time-out.
const PART: u32 = 8;

impl Edge {
    /// The call is answered, or the time for another look has come.
    pub(super) fn listen(&mut self, id: CallId, now: Now) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let (idle_timeout, talked) = (idle_timeout(&self.settings, call), call.talked(now));
        let Some(media) = &mut call.media else { return };
        let heard = media.listen(now.instant);
        if heard.silence >= idle_timeout {
            return self.hang_up(id, End::NoMedia, now);
        }
        let every = (idle_timeout / PART).clamp(Duration::from_millis(1), EVERY);
        call.listening = Some(self.timers.set(now.instant + every, Timer::Listen(id)));
        let minute = |talked: Duration| talked.as_secs() / COUNTED.as_secs();
        let is_another = minute(talked) != minute(talked.saturating_sub(every));
        if is_another || media.revision() != call.media_written_down {
            self.calls.changed(id);
        }
        let Some(call) = self.calls.get_mut(id) else { return };
        let is_first = call.unheard.is_empty();
        if let Some(side) = heard.missed
            && let Some(unheard) = miss(call, side, &self.settings, &*self.relay)
        {
            self.unheard_calls += usize::from(is_first);
            let call_id = call.call_id.clone();
            self.calls.changed(id);
            self.tell(Event::Unheard { call_id, unheard });
        }
    }

    /// A call is over: who was not heard in it and had time to speak.
    pub(super) fn listen_back(&mut self, call: &mut Call, now: Now) {
        self.unheard_calls -= usize::from(!call.unheard.is_empty());
        let talked = call.talked(now);
        for side in [Side::A, Side::B] {
            if talked >= MISSED
                && call.media.as_ref().is_some_and(|media| media.never_heard(side))
                && let Some(unheard) = miss(call, side, &self.settings, &*self.relay)
            {
                let call_id = call.call_id.clone();
                self.tell(Event::Unheard { call_id, unheard });
            }
        }
    }
}

/// Why that side is not heard; `None` if that was said before.
fn miss(call: &mut Call, side: Side, settings: &Settings, relay: &dyn Relay) -> Option<Unheard> {
    if call.unheard.iter().any(|unheard| unheard.side == side) {
        return None;
    }
    let seen = call.media.as_ref()?.evidence(side, relay)?;
    let unheard = Unheard::new(side, call.leg(side)?, &seen, settings)?;
    call.unheard.push(unheard.clone());
    Some(unheard)
}

/// The stricter one of its two sides.
fn idle_timeout(settings: &Settings, call: &Call) -> Duration {
    let legs = [Some(&call.a), call.b.as_ref()].into_iter().flatten();
    let media = legs.filter_map(|leg| media_of(settings, leg));
    media.map(|media| media.idle_timeout).min().unwrap_or(Duration::MAX)
}
