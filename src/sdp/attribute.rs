//! Attributes that the editor does not own: read where somebody asks for them, so that nobody else pays for it.

use super::{Session, Span};

impl<'s> Session<'s> {
    /// Values of the lines `a=<name>:<value>` in section `media`, in order.
    pub fn attributes<'n>(
        &self,
        media: usize,
        name: &'n str,
    ) -> impl Iterator<Item = &'s [u8]> + use<'s, 'n> {
        let section =
            self.sections.get(media).and_then(|section| self.body.get(section.port.end..section.end));
        values(section.unwrap_or_default(), name)
    }

    /// The same for what a section inherits: its own lines, or, if it has none, the session's.
    pub fn inherited<'n>(&self, media: usize, name: &'n str) -> impl Iterator<Item = &'s [u8]> + use<'s, 'n> {
        let end = self.sections.first().map_or(self.body.len(), |section| section.port.start);
        let mut own = self.attributes(media, name).peekable();
        let session = if own.peek().is_none() { self.body.get(..end).unwrap_or_default() } else { &[] };
        own.chain(values(session, name))
    }
}

fn values<'s, 'n>(lines: &'s [u8], name: &'n str) -> impl Iterator<Item = &'s [u8]> + use<'s, 'n> {
    let mut rest = lines;
    let lines = std::iter::from_fn(move || {
        let (line, behind) = match memchr::memchr(b'\n', rest) {
            Some(end) => (rest.get(..end)?, rest.get(end + 1..)?),
            None => (rest, &b""[..]),
        };
        rest = behind;
        (!line.is_empty() || !rest.is_empty()).then_some(line)
    });
    lines.filter_map(move |line| {
        let value = line.strip_prefix(b"a=")?.strip_prefix(name.as_bytes())?.strip_prefix(b":")?;
        Some(value.strip_suffix(b"\r").unwrap_or(value))
    })
}

/// The lines within a span that `fits` holds for, each with its line end.
pub(super) fn lines_that(
    body: &[u8],
    within: Span,
    fits: fn(&[u8]) -> bool,
) -> impl Iterator<Item = Span> + use<'_> {
    let Span { start: mut at, end } = within;
    std::iter::from_fn(move || {
        while let Some(rest) = body.get(at..end).filter(|rest| !rest.is_empty()) {
            let start = at;
            let len = memchr::memchr(b'\n', rest).map_or(rest.len(), |len| len + 1);
            at += len;
            if rest.get(..len).is_some_and(fits) {
                return Some(Span { start, end: at });
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = b"v=0\r\na=setup:actpass\r\na=fingerprint:sha-256 00\r\n\
        m=audio 4000 RTP/SAVP 0\r\na=crypto:1 one\r\na=crypto-not:2\r\na=crypto:3 three\r\n\
        m=video 4002 UDP/TLS/RTP/SAVPF 96\r\na=fingerprint:sha-256 01\r\na=fingerprint:sha-512 02\r\n\
        m=text 4004 RTP/AVP 98\na=crypto:9";

    fn texts<'s>(values: impl Iterator<Item = &'s [u8]>) -> Vec<&'s str> {
        values.map(|value| std::str::from_utf8(value).unwrap()).collect()
    }

    #[test]
    fn lines_are_found_in_their_own_section() {
        let session = Session::parse(BODY).unwrap();
        assert_eq!(texts(session.attributes(0, "crypto")), ["1 one", "3 three"]);
        assert_eq!(texts(session.attributes(1, "crypto")), [""; 0]);
        assert_eq!(texts(session.attributes(2, "crypto")), ["9"]);
        assert_eq!(texts(session.attributes(3, "crypto")), [""; 0]);
    }

    #[test]
    fn what_a_section_does_not_say_the_session_says() {
        let session = Session::parse(BODY).unwrap();
        assert_eq!(texts(session.inherited(0, "fingerprint")), ["sha-256 00"]);
        assert_eq!(texts(session.inherited(1, "fingerprint")), ["sha-256 01", "sha-512 02"]);
        assert_eq!(texts(session.inherited(1, "setup")), ["actpass"]);
    }
}
