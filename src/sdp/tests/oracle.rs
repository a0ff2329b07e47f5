//! Another SDP implementation reads our output and finds it changed only in what is ours.

use super::*;

fn read(body: &str) -> sdp_types::Session {
    sdp_types::Session::parse(body.as_bytes()).expect("the oracle reads it")
}

/// Blanks everything that is ours to write.
fn without_ours(mut session: sdp_types::Session, relayed: bool) -> sdp_types::Session {
    session.connection = None;
    for media in &mut session.medias {
        media.connections.clear();
        if media.port != 0 {
            media.port = 1;
        }
        let ours = |attribute: &sdp_types::Attribute| {
            let value = attribute.value.as_deref().unwrap_or_default();
            attribute.attribute == "rtcp"
                || (relayed && attribute.attribute == "candidate" && value.starts_with("relay"))
        };
        media.attributes.retain(|attribute| !ours(attribute));
    }
    session
}

#[test]
fn agrees_on_what_changed() {
    for (name, body) in SAMPLES {
        let body = body.replace('\n', "\r\n");
        let out = rewritten(&body, &relay_all(&body, true));
        let (before, after) = (read(&body), read(&out));
        for (index, media) in after.medias.iter().enumerate().filter(|(_, media)| media.port != 0) {
            assert_eq!(usize::from(media.port), 40_000 + 2 * index, "{name}");
            let connection = media.connections.first().or(after.connection.as_ref()).expect("an address");
            assert_eq!(connection.connection_address, "203.0.113.10", "{name}");
        }
        assert_eq!(without_ours(before, false), without_ours(after, true), "{name}");
    }
}

#[test]
fn agrees_on_what_is_said() {
    for (name, body) in SAMPLES {
        let (ours, theirs) = (Session::parse(body.as_bytes()).expect(name), read(body));
        assert_eq!(ours.media().len(), theirs.medias.len(), "{name}");
        for (our, their) in ours.media().iter().zip(&theirs.medias) {
            assert_eq!(our.kind, their.media.as_bytes(), "{name}");
            assert_eq!((our.port, our.protocol), (their.port, their.proto.as_bytes()), "{name}");
            let mux = their.attributes.iter().any(|attribute| attribute.attribute == "rtcp-mux");
            assert_eq!(our.rtcp_mux, mux, "{name}");
        }
    }
}
