use super::*;
use crate::media::srtp::{Inbound, Outbound, TAILROOM};

/// Two ends of a path in memory.
struct Path {
    certificates: [Certificate; 2],
    ends: [Association; 2],
    now: Instant,
    /// What each end came to.
    results: [Option<Result<Keys, Failure>>; 2],
}

impl Path {
    /// Client and server that know each other's fingerprint.
    fn new(suites: [&[Suite]; 2]) -> Path {
        let mut path = Path::of_strangers(suites);
        path.introduce();
        path
    }

    fn of_strangers(suites: [&[Suite]; 2]) -> Path {
        let now = Instant::now();
        let certificates = [(); 2].map(|()| Certificate::generate().unwrap());
        let [client, server] = &certificates;
        let ends = [
            Association::new(client, Role::Client, suites[0], now),
            Association::new(server, Role::Server, suites[1], now),
        ];
        Path { certificates, ends, now, results: [None, None] }
    }

    fn introduce(&mut self) {
        for end in [0, 1] {
            self.ends[end].expect([self.certificates[1 - end].fingerprint().clone()]);
        }
    }

    /// Carries what is there, and again what comes of it; `lost` says of each datagram whether it gets lost.
    fn carry(&mut self, lost: &mut impl FnMut(&[u8]) -> bool) {
        loop {
            let mut quiet = true;
            for end in [0, 1] {
                while let Some(output) = self.ends[end].poll_output() {
                    quiet = false;
                    match output {
                        Output::Packet(packet) if lost(&packet) => {}
                        Output::Packet(packet) => self.ends[1 - end].handle_packet(&packet, self.now),
                        Output::Keys(keys) => assert!(self.results[end].replace(Ok(keys)).is_none(), "once"),
                        Output::Failed(failure) => {
                            assert!(self.results[end].replace(Err(failure)).is_none(), "once");
                        }
                    }
                }
            }
            if quiet {
                return;
            }
        }
    }

    /// Lets time pass until both ends have come to something, or nothing is waited for.
    fn run(&mut self, mut lost: impl FnMut(&[u8]) -> bool) -> [Option<Result<Keys, Failure>>; 2] {
        let end = self.now + 2 * HANDSHAKE_TIMEOUT;
        while {
            self.carry(&mut lost);
            self.results.iter().any(Option::is_none) && self.now < end
        } {
            let next = self.ends.iter().filter_map(Association::poll_timeout).min();
            self.now = next.unwrap_or(end).max(self.now + Duration::from_millis(1));
            for end in &mut self.ends {
                end.handle_timeout(self.now);
            }
        }
        self.results.clone()
    }
}

fn agreed(results: [Option<Result<Keys, Failure>>; 2]) -> [Keys; 2] {
    results.map(|result| result.expect("an outcome").expect("keys"))
}

/// What one end protects, the other unprotects, both ways.
fn assert_they_understand_each_other([client, server]: [Keys; 2]) {
    assert_eq!((&client.outbound, &client.inbound), (&server.inbound, &server.outbound));
    assert_ne!(client.outbound, client.inbound);
    for (from, to) in [(&client, &server), (&server, &client)] {
        let mut packet = vec![0x55; 172 + TAILROOM];
        packet[..2].copy_from_slice(&[0x80, 0]);
        let len = Outbound::new(&from.outbound).protect_rtp(&mut packet, 172).unwrap();
        assert_eq!(Inbound::new(&to.inbound).unprotect_rtp(&mut packet[..len], Instant::now()), Ok(172));
    }
}

#[test]
fn client_and_server_agree_on_keys() {
    let results = Path::new([&Suite::ALL, &Suite::ALL]).run(|_| false);
    assert_they_understand_each_other(agreed(results));
}

#[test]
fn lost_datagrams_are_sent_again() {
    for modulus in [2, 3, 5] {
        for phase in 0..modulus {
            let mut count = 0;
            let results = Path::new([&Suite::ALL, &Suite::ALL]).run(|_| {
                count += 1;
                count % modulus == phase
            });
            assert_they_understand_each_other(agreed(results));
        }
    }
}

#[test]
fn keys_wait_for_the_sdp_that_names_the_certificate() {
    let mut path = Path::of_strangers([&Suite::ALL, &Suite::ALL]);
    path.carry(&mut |_| false);
    assert_eq!(path.results, [None, None], "nobody is known yet");
    path.introduce();
    assert_they_understand_each_other(agreed(path.run(|_| false)));
}

#[test]
fn a_certificate_that_the_sdp_does_not_name_gets_no_keys() {
    let stranger = Certificate::generate().unwrap();
    for early in [true, false] {
        for victim in [0, 1] {
            let mut path = Path::of_strangers([&Suite::ALL, &Suite::ALL]);
            if !early {
                path.carry(&mut |_| false);
            }
            path.ends[victim].expect([stranger.fingerprint().clone()]);
            path.ends[1 - victim].expect([path.certificates[victim].fingerprint().clone()]);
            let [client, server] = path.run(|_| false);
            let outcome = if victim == 0 { client } else { server };
            assert_eq!(outcome, Some(Err(Failure::Fingerprint)));
            assert_eq!(path.ends[victim].poll_timeout(), None);
            path.ends[victim].handle_packet(&[22; 100], path.now);
            assert_eq!(path.ends[victim].poll_output(), None, "nothing follows");
        }
    }
}

/// RFC 8122 §5: several certificates, several hashes; the best hash decides.
#[test]
fn of_several_fingerprints_one_of_the_best_hash_must_match() {
    let stranger = Certificate::generate().unwrap();
    let of = |hash, certificate: &Certificate| fingerprint(hash, &certificate.own.certificate).unwrap();
    for (server_is, good) in [(Hash::Sha512, true), (Hash::Sha384, false)] {
        let mut path = Path::new([&Suite::ALL, &Suite::ALL]);
        let server = &path.certificates[1];
        path.ends[0].expect([of(Hash::Sha256, server), of(Hash::Sha512, &stranger), of(server_is, server)]);
        let [client, _] = path.run(|_| false);
        assert_eq!(client.unwrap().is_ok(), good);
    }
}

#[test]
fn a_suite_that_may_not_be_used_here_is_a_failure() {
    let path = &mut Path::new([&[Suite::AesCm128HmacSha1_32], &Suite::ALL]);
    let [client, _] = path.run(|_| false);
    assert_eq!(client, Some(Err(Failure::Suite)));
}

#[test]
fn a_peer_that_is_not_there_is_given_up() {
    let mut path = Path::new([&Suite::ALL, &Suite::ALL]);
    let (begin, mut sent) = (path.now, 0);
    assert_eq!(path.ends[1].poll_timeout(), None);
    let results = path.run(|_| {
        sent += 1;
        true
    });
    assert_eq!(results, [Some(Err(Failure::Timeout)), None], "a server that hears nothing waits");
    assert_eq!(path.now, begin + 2 * HANDSHAKE_TIMEOUT, "the test's own end");
    assert!((3..=16).contains(&sent), "{sent} packets");
}

/// What is left of an older association, and what strangers made up.
#[test]
fn odd_packets_do_no_harm() {
    let old = &mut Path::new([&Suite::ALL, &Suite::ALL]);
    let mut heard = Vec::new();
    old.run(|packet| {
        heard.push(packet.to_vec());
        false
    });
    let mut path = Path::new([&Suite::ALL, &Suite::ALL]);
    let now = path.now;
    for end in &mut path.ends {
        for packet in heard.iter().rev().filter(|packet| packet[3..5] != [0, 0]) {
            end.handle_packet(packet, now);
        }
        for packet in [&[22][..], &[], &[23; 60], &[22, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 1, 0, 2, 9, 9]] {
            end.handle_packet(packet, now);
        }
    }
    assert_they_understand_each_other(agreed(path.run(|_| false)));
}

#[test]
fn outputs_that_nobody_takes_are_bounded() {
    let mut path = Path::new([&Suite::ALL, &Suite::ALL]);
    let Some(Output::Packet(hello)) = path.ends[0].poll_output() else { panic!("a ClientHello") };
    for _ in 0..1000 {
        path.ends[1].handle_packet(&hello, path.now);
    }
    let waiting = std::iter::from_fn(|| path.ends[1].poll_output()).count();
    assert!(waiting <= MAX_OUTPUTS + 1, "{waiting}");
}

#[test]
fn nothing_secret_is_printed() {
    let mut path = Path::new([&Suite::ALL, &Suite::ALL]);
    let [client, _] = agreed(path.run(|_| false));
    let name = client.inbound.suite().name();
    let expected =
        format!("Keys(Keys {{ inbound: MasterKey({name}, ***), outbound: MasterKey({name}, ***) }})");
    assert_eq!(format!("{:?}", Output::Keys(client)), expected);
    assert_eq!(
        format!("{:?}", path.ends),
        "[Association(Client, Established), Association(Server, Established)]"
    );
    let certificate = &path.certificates[0];
    assert_eq!(format!("{certificate:?}"), format!("Certificate({})", certificate.fingerprint()));
}
