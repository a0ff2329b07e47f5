use super::*;
use crate::relay::Traffic;

fn phone() -> Place<'static> {
    Place {
        leg: "leg A (internet)".into(),
        zone: "internet",
        trust: Trust::None,
        is_bounded: false,
        section: "zones",
        owner: "internet",
        sip: "198.51.100.7".parse().unwrap(),
    }
}

fn trunk() -> Place<'static> {
    Place {
        leg: "leg B (acme)".into(),
        zone: "carriers",
        trust: Trust::Peer,
        is_bounded: true,
        section: "trunks",
        owner: "acme",
        sip: "203.0.113.9".parse().unwrap(),
    }
}

fn pbx() -> Place<'static> {
    Place {
        leg: "leg B (pbx)".into(),
        zone: "office",
        trust: Trust::Full,
        is_bounded: false,
        section: "zones",
        owner: "office",
        sip: "10.20.0.20".parse().unwrap(),
    }
}

fn seen() -> Evidence {
    Evidence {
        told: "203.0.113.10:40002".parse().unwrap(),
        said: Some("10.0.0.5:4000".parse().unwrap()),
        is_believed: true,
        payload_types: vec![0, 8, 101],
        does_ice: false,
        is_proved: false,
        is_srtp: false,
        is_dtls: false,
        traffic: Traffic::default(),
        rtp: 0,
        stranger: None,
        payload_type: None,
    }
}

fn text(place: &Place<'_>, seen: Evidence) -> String {
    let (why, text) = explain(place, &seen);
    format!("{why}\n{text}\n")
}

#[test]
fn what_a_person_is_told() {
    let from = |stranger: &str, refused_source| Evidence {
        stranger: stranger.parse().ok(),
        traffic: Traffic { refused_source, ..Traffic::default() },
        ..seen()
    };
    let all = [
        // The firewall is shut.
        text(&trunk(), seen()),
        // We behind 1:1 NAT say our inner address.
        text(&phone(), Evidence { told: "10.1.1.1:40002".parse().unwrap(), ..seen() }),
        // It waits for the other side to be heard first.
        text(&phone(), Evidence { is_believed: false, ..seen() }),
        text(&pbx(), Evidence { said: None, ..seen() }),
        // Media from another host than SIP.
        text(&trunk(), from("198.51.100.70:4000", 250)),
        text(&pbx(), from("[2001:db8::7]:4000", 250)),
        text(&phone(), from("198.51.100.8:61000", 250)),
        text(
            &trunk(),
            Evidence {
                payload_type: Some(9),
                traffic: Traffic { refused_payload: 250, ..Traffic::default() },
                ..seen()
            },
        ),
        text(&phone(), Evidence { does_ice: true, ..from("198.51.100.7:61000", 12) }),
        text(
            &trunk(),
            Evidence {
                is_srtp: true,
                traffic: Traffic { refused_authentication: 250, ..Traffic::default() },
                ..seen()
            },
        ),
        text(
            &phone(),
            Evidence {
                is_srtp: true,
                is_dtls: true,
                traffic: Traffic { refused_authentication: 250, ..Traffic::default() },
                ..seen()
            },
        ),
        text(
            &phone(),
            Evidence {
                is_srtp: true,
                is_dtls: true,
                traffic: Traffic { refused_authentication: 250, dtls_failed: 2, ..Traffic::default() },
                ..seen()
            },
        ),
        text(&pbx(), Evidence { rtp: 1_500, ..seen() }),
        text(&phone(), Evidence { rtp: 1_500, ..from("198.51.100.7:61002", 250) }),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn what_was_refused_most_is_blamed() {
    let both = |refused_source, refused_payload| Evidence {
        stranger: "198.51.100.66:1".parse().ok(),
        payload_type: Some(9),
        traffic: Traffic { refused_source, refused_payload, ..Traffic::default() },
        ..seen()
    };
    assert_eq!(Why::of(&both(1, 250)), Why::WrongPayload, "one packet of a scanner is nothing");
    assert_eq!(Why::of(&both(250, 1)), Why::WrongSource);
    let proved = Evidence { does_ice: true, is_proved: true, ..seen() };
    assert_eq!(Why::of(&proved), Why::NeverSent);
}
