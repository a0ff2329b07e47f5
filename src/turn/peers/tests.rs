use super::*;
use proptest::prelude::*;

fn own() -> Own {
    Own {
        listeners: ["203.0.113.10:5060", "203.0.113.11:3478", "[2001:db8::10]:3478"]
            .map(|a| a.parse().unwrap())
            .to_vec(),
        relay_addresses: vec!["203.0.113.10".parse().unwrap(), "2001:db8::10".parse().unwrap()],
        relay_ports: 40000..=49999,
    }
}

fn networks(list: &[&str]) -> Peers {
    Peers::Networks(list.iter().map(|n| n.parse().unwrap()).collect())
}

fn opens(peers: &Peers, address: &str) -> bool {
    let address: SocketAddr = address.parse().unwrap();
    Neighbourhood::new(own()).reach(peers, &[], address.ip()).holds(address.port())
}

#[test]
fn what_is_not_public_is_denied_in_every_spelling() {
    let everyone = networks(&["0.0.0.0/0", "::/0"]);
    let inside = [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "127.255.255.254",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "100.100.100.200",
        "169.254.169.254",
        "192.0.0.192",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
    ];
    for v4 in inside.map(|ip| ip.parse::<Ipv4Addr>().unwrap()) {
        assert!(!opens(&everyone, &format!("{v4}:9")), "{v4}");
        let [a, b, c, d] = v4.octets();
        let spelt = [
            format!("::ffff:{v4}"),
            format!("::{v4}"),
            format!("::ffff:0:{v4}"),
            format!("64:ff9b::{v4}"),
            format!("2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1"),
            format!("2001:0:{a:02x}{b:02x}:{c:02x}{d:02x}::"),
            format!("2001:0:808:808:0:0:{:x}:{:x}", !u16::from_be_bytes([a, b]), !u16::from_be_bytes([c, d])),
            format!("2a00::5efe:{v4}"),
            format!("2a00::200:5efe:{v4}"),
        ];
        for v6 in spelt {
            assert!(!opens(&everyone, &format!("[{v6}]:9")), "{v6} is {v4}");
        }
    }
    for v6 in [
        "::",
        "::1",
        "fe80::1",
        "fec0::1",
        "fc00::1",
        "fd00:ec2::254",
        "100::1",
        "ff02::1",
        "ff0e::1",
        "64:ff9b:1::a00:1",
    ] {
        assert!(!opens(&everyone, &format!("[{v6}]:9")), "{v6}");
    }
}

#[test]
fn the_internet_is_open_to_a_role_that_names_it() {
    let everyone = networks(&["0.0.0.0/0", "::/0"]);
    for public in
        ["192.0.2.1:9", "8.8.8.8:53", "[2001:db8::99]:9", "[64:ff9b::808:808]:9", "[2002:808:808::1]:9"]
    {
        assert!(opens(&everyone, public), "{public}");
    }
    assert!(!opens(&everyone, "192.0.2.1:0"), "port 0 is nobody's");
    assert!(!opens(&networks(&["0.0.0.0/0"]), "[2001:db8::99]:9"));
    // Of mapped addresses not even public ones: such a packet would reach the IPv4 stack of this machine.
    assert!(!opens(&everyone, "[::ffff:8.8.8.8]:9"));
}

#[test]
fn only_a_network_wholly_inside_opens_what_is_denied() {
    assert!(opens(&networks(&["10.20.0.0/16"]), "10.20.0.5:9"));
    assert!(opens(&networks(&["10.0.0.0/8"]), "10.20.0.5:9"));
    assert!(!opens(&networks(&["10.20.0.0/16", "0.0.0.0/0"]), "10.21.0.5:9"));
    assert!(!opens(&networks(&["8.0.0.0/5"]), "10.20.0.5:9"));
    assert!(opens(&networks(&["127.0.0.2/32"]), "127.0.0.2:9"));
    assert!(opens(&networks(&["::1/128"]), "[::1]:9"));
    for never in ["0.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32", "ff00::/8", "::ffff:0:0/96", "100::/64"] {
        let network: IpNetwork = never.parse().unwrap();
        let at = SocketAddr::new(network.network(), 9).to_string();
        assert!(!opens(&networks(&[never]), &at), "{never}");
    }
}

#[test]
fn our_own_listeners_are_never_peers() {
    let everyone = networks(&["0.0.0.0/0", "::/0"]);
    assert!(!opens(&everyone, "203.0.113.11:3478"));
    assert!(opens(&everyone, "203.0.113.11:3477") && opens(&everyone, "203.0.113.11:3479"));
    assert!(!opens(&everyone, "[64:ff9b::203.0.113.11]:3478"));
    // Where relayed addresses are, nothing else can be a peer of a role that does not name them.
    assert!(!opens(&everyone, "203.0.113.10:5060") && !opens(&everyone, "203.0.113.10:22"));
    assert!(opens(&everyone, "203.0.113.10:40000") && opens(&Peers::Calls, "203.0.113.10:49999"));
    assert!(!opens(&everyone, "[64:ff9b::203.0.113.10]:40000"), "a detour round the short-cut");
}

#[test]
fn a_listener_on_a_wildcard_is_on_every_loopback_address() {
    let listeners = vec!["0.0.0.0:5060".parse().unwrap()];
    let own = Own { listeners, relay_addresses: vec![], relay_ports: 40000..=49999 };
    let loopback = Peers::Networks(vec!["127.0.0.0/8".parse().unwrap()]);
    let reach = Neighbourhood::new(own).reach(&loopback, &[], "127.9.9.9".parse().unwrap());
    assert!(reach.holds(5061) && !reach.holds(5060));
}

#[test]
fn a_role_that_names_a_relay_address_reaches_all_of_it_but_our_listeners() {
    let through = |peers: &Peers, own: Own, ip: &str| {
        let reach = Neighbourhood::new(own).reach(peers, &[], ip.parse().unwrap());
        assert!(!reach.holds(5060));
        (reach.through, reach.holds(40000), reach.holds(9))
    };
    assert_eq!(through(&networks(&["0.0.0.0/0"]), own(), "203.0.113.10"), (Through::Own, true, false));
    assert_eq!(through(&Peers::Calls, own(), "203.0.113.10"), (Through::Own, true, false));
    assert_eq!(through(&networks(&["203.0.113.0/24"]), own(), "203.0.113.10"), (Through::Own, true, false));
    assert_eq!(
        through(&networks(&["203.0.113.10/32"]), own(), "203.0.113.10"),
        (Through::OwnOrKernel, true, true)
    );
    let at_home = || Own {
        listeners: vec!["127.0.0.1:5060".parse().unwrap(), "127.0.0.1:40001".parse().unwrap()],
        relay_addresses: vec!["127.0.0.1".parse().unwrap()],
        ..own()
    };
    assert_eq!(
        through(&networks(&["127.0.0.0/8"]), at_home(), "127.0.0.1"),
        (Through::OwnOrKernel, true, true)
    );
    assert_eq!(through(&networks(&["0.0.0.0/0"]), at_home(), "127.0.0.1"), (Through::Own, true, false));
    assert_eq!(through(&Peers::Calls, at_home(), "127.0.0.1"), (Through::Own, true, false));
    let reach = Neighbourhood::new(at_home()).reach(&Peers::Calls, &[], "127.0.0.1".parse().unwrap());
    assert!(!reach.holds(40001), "a listener among the relay ports");
}

#[test]
fn what_a_role_denies_is_closed_in_every_spelling_though_peers_or_a_call_name_it() {
    let mut around = Neighbourhood::new(own());
    let (everyone, deny) = (networks(&["0.0.0.0/0", "::/0"]), ["192.0.2.0/24".parse().unwrap()]);
    let opens = |around: &Neighbourhood, peers: &Peers, ip: &str| {
        !around.reach(peers, &deny, ip.parse().unwrap()).is_nothing()
    };
    for denied in ["192.0.2.1", "64:ff9b::192.0.2.1", "2002:c000:201::1"] {
        assert!(!opens(&around, &everyone, denied), "{denied}");
    }
    assert!(opens(&around, &everyone, "192.0.3.1") && opens(&around, &everyone, "2001:db8::99"));
    around.open_call_peer("192.0.2.1:30000".parse().unwrap());
    around.open_call_peer("192.0.3.1:30000".parse().unwrap());
    assert!(!opens(&around, &Peers::Calls, "192.0.2.1") && opens(&around, &Peers::Calls, "192.0.3.1"));
}

#[test]
fn a_call_opens_its_address_and_port_as_long_as_one_call_names_it() {
    let mut around = Neighbourhood::new(own());
    let peer: SocketAddr = "192.0.2.7:30000".parse().unwrap();
    assert!(around.reach(&Peers::Calls, &[], peer.ip()).is_nothing());
    assert!(around.open_call_peer(peer));
    assert!(!around.open_call_peer(peer));
    let reach = around.reach(&Peers::Calls, &[], peer.ip());
    assert!(reach.holds(30000) && !reach.holds(30001) && reach.through == Through::Kernel);
    assert!(!around.close_call_peer(peer));
    assert!(around.close_call_peer(peer));
    assert!(!around.close_call_peer(peer));
    assert!(around.reach(&Peers::Calls, &[], peer.ip()).is_nothing() && around.calls.is_empty());
}

#[test]
fn a_call_that_names_the_inside_opens_nothing() {
    let mut around = Neighbourhood::new(own());
    for inside in ["10.0.0.1:9", "169.254.169.254:80", "[::ffff:10.0.0.1]:9", "203.0.113.11:3478"] {
        let inside: SocketAddr = inside.parse().unwrap();
        around.open_call_peer(inside);
        assert!(around.reach(&Peers::Calls, &[], inside.ip()).is_nothing(), "{inside}");
    }
}

proptest! {
    #[test]
    fn cutting_listeners_out_leaves_all_other_ports(
        taken in prop::collection::vec(prop_oneof![Just(1u16), Just(u16::MAX), 1u16..20], 0..6),
        port in prop_oneof![Just(1u16), Just(u16::MAX), 1u16..24],
    ) {
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        let listeners = taken.iter().map(|port| SocketAddr::new(ip, *port)).collect();
        let around = Neighbourhood::new(Own { listeners, relay_addresses: vec![], relay_ports: 40000..=49999 });
        let reach = around.reach(&networks(&["0.0.0.0/0"]), &[], ip);
        prop_assert_eq!(reach.holds(port), !taken.contains(&port));
    }
}
