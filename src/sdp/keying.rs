//! What a section says of its media security, written anew: profile, keys or fingerprint, and what hangs on them.

use std::fmt;

use super::attribute::lines_that;
use super::ice_lines::session_slot;
use super::rewrite::{Splice, Splices, Text};
use super::{Media, MediaEdit, Section, Session, Span};

/// What to write of media security into one `m=` section: nothing that it says of it stays.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keying {
    /// The transport protocol of `m=`: `RTP/AVP`, `RTP/SAVP`, `UDP/TLS/RTP/SAVPF`, …
    pub protocol: String,
    /// Lines without their ends: `a=crypto:…` (secret), or `a=fingerprint:…` and `a=setup:…`; none for plain RTP.
    pub lines: Vec<Vec<u8>>,
    /// Whether `a=rtcp-mux` is to stand there; `None`: as it is.
    pub rtcp_mux: Option<bool>,
    /// For a section without `a=mid`.
    pub mid: Option<Vec<u8>>,
    /// It may be called a bundle of one.
    pub bundled: bool,
}

/// A key is never printed.
impl fmt::Debug for Keying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keying({}, {} lines)", self.protocol, self.lines.len())
    }
}

impl MediaEdit {
    /// How the section will be keyed, if that is changed.
    pub(super) fn keying(&self) -> Option<&Keying> {
        match self {
            MediaEdit::Relay { keying, .. } => keying.as_deref(),
            MediaEdit::Keep | MediaEdit::WithoutIce | MediaEdit::Reject => None,
        }
    }
}

pub(super) fn section<'e>(
    session: &Session<'_>,
    media: &Media<'_>,
    section: &Section,
    own: &'e Keying,
    splices: &mut Splices<'e>,
) {
    splices.push(Splice { at: section.protocol, new_line: false, text: Text::Line(own.protocol.as_bytes()) });
    let within = Span { start: section.port.end, end: section.end };
    let slot = lines_that(session.body, within, says_keys).next().map_or(section.end, |line| line.start);
    splices.extend(own.lines.iter().map(|line| Splice::line_at(slot, Text::Line(line))));
    splices.extend(lines_that(session.body, within, says_keys).map(Splice::without));
    if let Some(mid) = own.mid.as_deref().filter(|_| media.mid.is_none()) {
        splices.push(Splice::line_at(section.end, Text::Mid(mid)));
    }
    match own.rtcp_mux {
        Some(true) if !media.rtcp_mux => {
            let line = Text::Attribute { name: "rtcp-mux", value: "" };
            splices.push(Splice::line_at(section.end, line));
        }
        Some(false) => splices.extend(lines_that(session.body, within, is_rtcp_mux).map(Splice::without)),
        _ => {}
    }
}

/// The session's keys hold for every section that has none, and go unless one that we leave alone may live on them. So does its
/// bundle: what shares a transport shares its keys (RFC 9143 §9.2), and each section has its own here. A bundle of one is written
/// in its place, of the first section that may be: a browser with `bundlePolicy: max-bundle` (RFC 8829 §4.1.1) takes no body without.
pub(super) fn session_level<'e>(session: &Session<'e>, edits: &'e [MediaEdit], splices: &mut Splices<'e>) {
    let (mut any, mut needed, mut bundle) = (false, false, None);
    for (index, media) in session.media.iter().enumerate().filter(|(_, media)| media.port != 0) {
        match edits.get(index).and_then(MediaEdit::keying) {
            Some(own) => {
                any = true;
                bundle = bundle.or(media.mid.or(own.mid.as_deref()).filter(|_| own.bundled));
            }
            None => needed |= media.is_dtls() || !media.is_udp(),
        }
    }
    if !any {
        return;
    }
    let within = Span { start: 0, end: session_slot(session) };
    if !needed {
        splices.extend(lines_that(session.body, within, says_keys).map(Splice::without));
    }
    if let Some(mid) = bundle {
        let slot = lines_that(session.body, within, is_bundle).next().map_or(within.end, |line| line.start);
        splices.push(Splice::line_at(slot, Text::Bundle(mid)));
    }
    splices.extend(lines_that(session.body, within, is_bundle).map(Splice::without));
}

/// SDES (RFC 4568), DTLS (RFC 8122, RFC 4145, RFC 8842), MIKEY (RFC 4567), and what negotiates between them (RFC 5939).
fn says_keys(line: &[u8]) -> bool {
    let names: [&[u8]; 10] = [
        b"crypto:",
        b"fingerprint:",
        b"setup:",
        b"tls-id:",
        b"connection:",
        b"key-mgmt:",
        b"tcap:",
        b"acap:",
        b"pcfg:",
        b"acfg:",
    ];
    line.strip_prefix(b"a=").is_some_and(|line| names.iter().any(|name| line.starts_with(name)))
}

/// RFC 5761, and RFC 8858.
fn is_rtcp_mux(line: &[u8]) -> bool {
    matches!(line.trim_ascii_end(), b"a=rtcp-mux" | b"a=rtcp-mux-only")
}

fn is_bundle(line: &[u8]) -> bool {
    line.starts_with(b"a=group:BUNDLE")
}

impl Session<'_> {
    /// The section with this `a=mid` is in a bundle (RFC 9143 §5).
    pub fn bundles(&self, mid: &[u8]) -> bool {
        let within = Span { start: 0, end: session_slot(self) };
        let lines = lines_that(self.body, within, is_bundle);
        let mut lines = lines.filter_map(|line| self.body.get(line.start..line.end));
        lines.any(|line| line.trim_ascii_end().split(|c| *c == b' ').skip(1).any(|one| one == mid))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sdp::IceEdit;

    const PHONE: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\na=setup:actpass\r\n\
        m=audio 4000  RTP/SAVP 0\r\na=crypto:1 theirs\r\na=ptime:20\r\na=crypto:2 theirs\r\na=rtcp-mux\r\n";

    fn edit(keying: Keying) -> MediaEdit {
        let rtp = "203.0.113.10:40000".parse().unwrap();
        let rtcp = "203.0.113.10:40001".parse().unwrap();
        MediaEdit::Relay { rtp, rtcp, ice: IceEdit::Keep, keying: Some(Box::new(keying)) }
    }

    fn rewritten(body: &str, keying: &Keying) -> String {
        let edits = vec![edit(keying.clone()); body.matches("m=").count()];
        let mut out = Vec::new();
        Session::parse(body.as_bytes()).unwrap().rewrite(&edits, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn keyed(protocol: &str, lines: &[&str]) -> Keying {
        let lines = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
        Keying { protocol: protocol.into(), lines, ..Keying::default() }
    }

    #[test]
    fn our_lines_stand_where_theirs_began() {
        let out = rewritten(PHONE, &keyed("RTP/AVP", &["a=crypto:1 ours"]));
        let section = "m=audio 40000  RTP/AVP 0\r\na=crypto:1 ours\r\na=ptime:20\r\na=rtcp-mux\r\n";
        assert!(out.ends_with(section) && !out.contains("a=setup"), "{out}");
    }

    #[test]
    fn where_there_were_none_they_stand_at_the_end() {
        let plain = PHONE.replace("a=crypto:1 theirs\r\n", "").replace("a=crypto:2 theirs\r\n", "");
        let own =
            Keying { mid: Some(b"0".to_vec()), ..keyed("RTP/SAVP", &["a=crypto:1 ours", "a=crypto:2 ours"]) };
        let out = rewritten(&plain, &own);
        assert!(out.ends_with("a=rtcp-mux\r\na=crypto:1 ours\r\na=crypto:2 ours\r\na=mid:0\r\n"), "{out}");
    }

    #[test]
    fn rtcp_mux_comes_and_goes() {
        let with = |rtcp_mux| rewritten(PHONE, &Keying { rtcp_mux, ..keyed("RTP/AVP", &[]) });
        assert!(!with(Some(false)).contains("mux"));
        assert_eq!((with(Some(true)).matches("mux").count(), with(None).matches("mux").count()), (1, 1));
        let only = PHONE.replace("a=rtcp-mux\r\n", "a=rtcp-mux\r\na=rtcp-mux-only\r\n");
        let out = rewritten(&only, &Keying { rtcp_mux: Some(false), ..keyed("RTP/AVP", &[]) });
        assert!(!out.contains("mux"), "{out}");
        let none = PHONE.replace("a=rtcp-mux\r\n", "");
        let out = rewritten(&none, &Keying { rtcp_mux: Some(true), ..keyed("RTP/AVP", &[]) });
        assert!(out.ends_with("a=rtcp-mux\r\n"), "{out}");
    }

    #[test]
    fn a_body_without_a_last_line_end_keeps_it_so() {
        let out = rewritten(PHONE.trim_end(), &keyed("RTP/AVP", &["a=crypto:1 ours"]));
        assert!(out.ends_with("a=rtcp-mux"), "{out}");
        let bare = "v=0\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 4000 RTP/AVP 0";
        assert!(
            rewritten(bare, &keyed("RTP/SAVP", &["a=crypto:1 ours"]))
                .ends_with("RTP/SAVP 0\na=crypto:1 ours")
        );
    }

    #[test]
    fn a_key_is_never_printed() {
        let edit = edit(keyed("RTP/SAVP", &["a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:secret"]));
        assert!(!format!("{edit:?}").contains("secret"), "{edit:?}");
    }

    fn line() -> impl Strategy<Value = &'static str> {
        proptest::sample::select(vec![
            "a=crypto:1 AES inline:x",
            "a=fingerprint:sha-256 00",
            "a=setup:active",
            "a=tls-id:1",
            "a=acap:1 crypto:1 x",
            "a=rtcp-mux",
            "a=mid:7",
            "a=rtcp:4001",
            "a=ptime:20",
            "a=crypto",
            "a=sendonly",
        ])
    }

    fn own() -> impl Strategy<Value = Keying> {
        let lines = proptest::sample::subsequence(
            vec!["a=crypto:1 ours", "a=crypto:2 ours", "a=setup:passive"],
            0..=3,
        );
        let mid = proptest::option::of(Just(b"0".to_vec()));
        let parts = (lines, proptest::option::of(any::<bool>()), mid, any::<bool>());
        parts.prop_map(|(lines, rtcp_mux, mid, bundled)| {
            let keyed = keyed("RTP/SAVPF", &lines);
            Keying { rtcp_mux, mid, bundled, ..keyed }
        })
    }

    proptest! {
        #[test]
        fn again_changes_nothing_and_what_is_not_about_keys_stays(
            session in proptest::collection::vec(line(), 0..4),
            sections in proptest::collection::vec(proptest::collection::vec(line(), 0..8), 1..4),
            bundle in proptest::option::of(Just("a=group:BUNDLE 7 8")),
            own in own(),
        ) {
            let mut body = "v=0\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n".to_owned();
            let session = session.iter().filter(|line| !line.contains("rtcp:"));
            body.extend(bundle.map(|bundle| format!("{bundle}\r\n")));
            body.extend(session.map(|line| format!("{line}\r\n")));
            for lines in &sections {
                body += "m=audio 4000 RTP/AVP 0\r\n";
                let mut seen = std::collections::BTreeSet::new();
                body.extend(lines.iter().filter(|line| seen.insert(**line)).map(|line| format!("{line}\r\n")));
            }
            let out = rewritten(&body, &own);
            prop_assert_eq!(&rewritten(&out, &own), &out);
            let others = |body: &str| {
                let about = |line: &&str| !says_keys(line.as_bytes()) && !is_bundle(line.as_bytes());
                let about = |line: &&str| about(line) && !line.contains("mux") && !line.contains("mid");
                let about = |line: &&str| about(line) && !["m=", "c=", "a=rtcp:"].iter().any(|own| line.starts_with(own));
                body.lines().filter(about).map(str::to_owned).collect::<Vec<_>>()
            };
            prop_assert_eq!(others(&out), others(&body));
            for theirs in ["inline:x", "sha-256 00", "a=setup:active", "a=tls-id", "a=acap", "BUNDLE 7 8"] {
                prop_assert!(!out.contains(theirs), "{}", out);
            }
        }
    }
}
