//! Which lines are ICE's (RFC 8839 §5): found where somebody wants them gone.

use super::attribute::lines_that;
use super::{Section, Session, Span};

/// Those of one section, each with its line end.
pub(super) fn ice_lines<'s>(body: &'s [u8], section: &Section) -> impl Iterator<Item = Span> + use<'s> {
    lines_that(body, Span { start: section.port.end, end: section.end }, is_ice)
}

/// Those before the first section.
pub(super) fn session_ice_lines<'s>(session: &Session<'s>) -> impl Iterator<Item = Span> + use<'s> {
    lines_that(session.body, Span { start: 0, end: session_slot(session) }, is_ice)
}

/// Where the session's last line ends.
pub(super) fn session_slot(session: &Session<'_>) -> usize {
    let before = session.sections.first().and_then(|section| session.body.get(..section.port.start));
    let start = |before| memchr::memrchr(b'\n', before).map_or(0, |end| end + 1);
    before.map_or(session.body.len(), start)
}

fn is_ice(line: &[u8]) -> bool {
    let names: [&[u8]; 4] = [b"ice-", b"candidate:", b"remote-candidates:", b"end-of-candidates"];
    line.strip_prefix(b"a=").is_some_and(|line| names.iter().any(|name| line.starts_with(name)))
}
