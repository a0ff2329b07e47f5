//! Which lines are ICE's (RFC 8839 §5): found where somebody wants them gone.

use super::{Section, Session, Span};

/// Those of one section, each with its line end.
pub(super) fn ice_lines<'s>(body: &'s [u8], section: &Section) -> impl Iterator<Item = Span> + use<'s> {
    lines(body, Span { start: section.port.end, end: section.end })
}

/// Those before the first section.
pub(super) fn session_ice_lines<'s>(session: &Session<'s>) -> impl Iterator<Item = Span> + use<'s> {
    lines(session.body, Span { start: 0, end: session_slot(session) })
}

/// Where the session's last line ends.
pub(super) fn session_slot(session: &Session<'_>) -> usize {
    let before = session.sections.first().and_then(|section| session.body.get(..section.port.start));
    let start = |before| memchr::memrchr(b'\n', before).map_or(0, |end| end + 1);
    before.map_or(session.body.len(), start)
}

fn lines(body: &[u8], within: Span) -> impl Iterator<Item = Span> + use<'_> {
    let Span { start: mut at, end } = within;
    std::iter::from_fn(move || {
        while let Some(rest) = body.get(at..end).filter(|rest| !rest.is_empty()) {
            let start = at;
            at += memchr::memchr(b'\n', rest).map_or(rest.len(), |len| len + 1);
            if is_ice(rest) {
                return Some(Span { start, end: at });
            }
        }
        None
    })
}

fn is_ice(line: &[u8]) -> bool {
    let names: [&[u8]; 4] = [b"ice-", b"candidate:", b"remote-candidates:", b"end-of-candidates"];
    line.strip_prefix(b"a=").is_some_and(|line| names.iter().any(|name| line.starts_with(name)))
}
