use super::*;

fn read<T: FromWord>(text: &str) -> Option<T> {
    T::from_word(text).ok()
}

#[test]
fn durations_carry_their_unit() {
    for (text, expected) in [
        ("500ms", Some(Duration::from_millis(500))),
        ("60s", Some(Duration::from_secs(60))),
        ("10m", Some(Duration::from_secs(600))),
        ("8h", Some(Duration::from_secs(28_800))),
        ("1d", Some(Duration::from_secs(86_400))),
        ("60", None),
        ("0s", None),
        ("-1s", None),
        ("1.5s", None),
        ("s", None),
        ("400d", None),
        ("99999999999999999999s", None),
        ("18446744073709551615d", None),
    ] {
        assert_eq!(read::<Duration>(text), expected, "{text}");
    }
}

#[test]
fn rates_and_bandwidths() {
    let rate = |count, seconds| Some(Rate { count, per: Duration::from_secs(seconds) });
    for (text, expected) in [
        ("10/s", rate(10, 1)),
        ("100/min", rate(100, 60)),
        ("5/10s", rate(5, 10)),
        ("1000000/s", rate(1_000_000, 1)),
        ("0/s", None),
        ("10", None),
        ("10/", None),
        ("/s", None),
    ] {
        assert_eq!(read::<Rate>(text), expected, "{text}");
    }
    assert_eq!(read("512kbit/s"), Some(Bandwidth(512_000)));
    assert_eq!(read("2 Mbit/s"), Some(Bandwidth(2_000_000)));
    assert_eq!(read("64bit/s"), Some(Bandwidth(64)));
    for wrong in ["512", "512kb/s", "0kbit/s", "99999999999999999999Gbit/s", "18446744073709551615Gbit/s"] {
        assert_eq!(read::<Bandwidth>(wrong), None, "{wrong}");
    }
}

#[test]
fn a_network_says_exactly_what_it_means() {
    assert!(read::<IpNetwork>("10.20.0.0/16").is_some());
    assert!(read::<IpNetwork>("2001:db8::/32").is_some());
    assert_eq!(read("192.0.2.7"), read::<IpNetwork>("192.0.2.7/32"));
    let wrong = IpNetwork::from_word("10.20.0.5/16").unwrap_err();
    assert_eq!(wrong.help, "for the network write `10.20.0.0/16`, for the one address `10.20.0.5/32`");
    assert!(read::<IpNetwork>("10.20.0.0/33").is_none());
}

#[test]
fn binds() {
    let bind = |text| read::<Bind>(text).map(|b| (b.transport, b.address.to_string(), b.path));
    let expected =
        |transport, address: &str, path: &str| Some((transport, address.to_owned(), path.to_owned()));
    assert_eq!(bind("tls://0.0.0.0:5061"), expected(Transport::Tls, "0.0.0.0:5061", "/"));
    assert_eq!(bind("udp://[::1]"), expected(Transport::Udp, "[::1]:5060", "/"));
    assert_eq!(bind("wss://0.0.0.0:8443/sip"), expected(Transport::Wss, "0.0.0.0:8443", "/sip"));
    for wrong in
        ["0.0.0.0:5060", "sctp://0.0.0.0", "udp://localhost:5060", "udp://0.0.0.0:5060/sip", "udp://", ""]
    {
        assert_eq!(bind(wrong), None, "{wrong}");
    }
}

#[test]
fn hosts() {
    let host = |text| read::<HostPort>(text).map(|h| (h.host, h.port));
    assert_eq!(host("sip.example.com:5061"), Some(("sip.example.com".into(), Some(5061))));
    assert_eq!(host("203.0.113.10"), Some(("203.0.113.10".into(), None)));
    assert_eq!(host("2001:db8::1"), Some(("[2001:db8::1]".into(), None)));
    assert_eq!(host("[2001:db8::1]:5060"), Some(("[2001:db8::1]".into(), Some(5060))));
    for nowhere in ["0.0.0.0", "0.0.0.0:5060", "::", "[::]:5060", "203.0.113.10:0"] {
        assert_eq!(host(nowhere), None, "{nowhere}");
    }
    for wrong in ["sip:host", "host:0", "host:70000", "-host", "a..b", "ho st", "host/path", "a\r\nb", ""] {
        assert_eq!(host(wrong), None, "{wrong}");
    }
}

#[test]
fn a_range_of_ports_begins_even_and_ends_odd() {
    assert_eq!(read("40000-49999"), Some(PortRange { first: 40_000, last: 49_999 }));
    for (wrong, help) in [
        ("40001-49999", "write `40002-49999`"),
        ("40000-50000", "write `40000-49999`"),
        ("49999-40000", "write `40000-49999`"),
    ] {
        assert_eq!(PortRange::from_word(wrong).unwrap_err().help, help, "{wrong}");
    }
    for wrong in ["40000-40001", "40000", "80-99", "40000-70000", "65535-65535", "65533-65535"] {
        assert!(PortRange::from_word(wrong).is_err(), "{wrong}");
    }
}
