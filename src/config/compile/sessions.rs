//! `session_timer:` of a zone or trunk.

use std::time::Duration;

use super::super::raw;
use super::super::read::At;
use super::Context;
use crate::edge::settings::SessionTimer;

/// RFC 4028 §5.
const SHORTEST: Duration = Duration::from_secs(90);

pub(super) fn session_timer(cx: &mut Context<'_>, timer: Option<&raw::SessionTimer>) -> Option<SessionTimer> {
    let raw::SessionTimer { expires, min, .. } = timer?;
    let shortest = min.as_ref().map_or(SHORTEST, |min| min.value);
    if let Some(min) = min.as_ref().filter(|min| min.value < SHORTEST) {
        cx.problems.error(min.at, "no session may expire sooner than after 90 seconds", "write `min: 90s`");
    } else if expires.value < shortest {
        let what = format!("sessions would expire before {} seconds are over", shortest.as_secs());
        let help = "write `expires: 1800s`, which most carriers want";
        cx.problems.error(expires.at, what, help);
    }
    Some(SessionTimer { expires: whole(cx, expires), shortest: u32::try_from(shortest.as_secs()).ok()? })
}

fn whole(cx: &mut Context<'_>, expires: &At<Duration>) -> u32 {
    u32::try_from(expires.value.as_secs()).unwrap_or_else(|_| {
        cx.problems.error(expires.at, "no session is that long", "write `expires: 1800s`");
        u32::MAX
    })
}
