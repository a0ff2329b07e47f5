//! How well a call's sides are heard, by real packets; and that nobody is heard.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use turnpike::base::Transport;
use turnpike::edge::event::{Cdr, Event};
use turnpike::net::Node;

use crate::calls::{Call, anchored, audio, rtp, sdp};
use crate::harness::*;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct Talk {
    call: Call,
    events: Receiver<Event>,
    /// RTP and RTCP of the caller, and where they go; likewise of the callee.
    caller: [UdpSocket; 2],
    callee: [UdpSocket; 2],
    facing_caller: SocketAddr,
    facing_callee: SocketAddr,
    _node: Node,
    _dir: tempfile::TempDir,
}

impl Talk {
    fn new(idle_timeout: Duration) -> Talk {
        let mut callee = Udp::at("127.0.0.1", SocketAddr::new(HERE, 9));
        let (node, dir) = node(|settings| {
            anchored(settings, HERE);
            settings.edge.zones[0].media.idle_timeout = idle_timeout;
            with_pbx(settings, Transport::Udp, callee.addr());
        });
        callee.to = node.listener("udp").unwrap();
        let events = node.subscribe(false).unwrap();
        let sockets = || {
            [(); 2].map(|()| {
                let socket = UdpSocket::bind((HERE, 0)).unwrap();
                socket.set_read_timeout(Some(DEADLINE)).unwrap();
                socket
            })
        };
        let named = |[rtp, rtcp]: &[UdpSocket; 2]| {
            sdp(rtp.local_addr().unwrap()) + &format!("a=rtcp:{}\r\n", rtcp.local_addr().unwrap().port())
        };
        let [caller_media, callee_media] = [sockets(), sockets()];
        let call = Call::up(Udp::new(callee.to), callee, &named(&caller_media), &named(&callee_media));
        Talk {
            events,
            facing_caller: audio(&call.ok),
            facing_callee: audio(&call.invite),
            caller: caller_media,
            callee: callee_media,
            call,
            _node: node,
            _dir: dir,
        }
    }

    fn cdr(&self) -> Box<Cdr> {
        loop {
            if let Event::CallEnded(cdr) = self.events.recv_timeout(DEADLINE).unwrap() {
                return cdr;
            }
        }
    }
}

fn rtcp_port(rtp: SocketAddr) -> SocketAddr {
    SocketAddr::new(rtp.ip(), rtp.port() + 1)
}

/// An RTCP packet of these words.
fn report(first: [u8; 2], words: &[u32]) -> Vec<u8> {
    let mut packet = vec![first[0], first[1], 0, words.len() as u8];
    words.iter().for_each(|word| packet.extend(word.to_be_bytes()));
    packet
}

#[test]
fn a_cdr_says_what_was_lost_and_how_long_a_round_trip_takes() {
    let talk = Talk::new(Duration::from_secs(60));
    let mut buffer = [0; 200];
    for number in [1, 2, 3, 6, 5, 7, 7, 9] {
        talk.caller[0].send_to(&rtp(number), talk.facing_caller).unwrap();
        talk.callee[0].recv(&mut buffer).unwrap();
    }
    // The caller reports (its source is 7), and the callee says that it misses 3 of its packets.
    let sender = report([0x80, 200], &[7, 0x1234, 0x5678_0000, 0, 0, 0]);
    talk.caller[1].send_to(&sender, rtcp_port(talk.facing_caller)).unwrap();
    talk.callee[1].recv(&mut buffer).unwrap();
    let receiver = report([0x81, 201], &[9, 7, 3, 0, 0, 0x1234_5678, 0]);
    talk.callee[1].send_to(&receiver, rtcp_port(talk.facing_callee)).unwrap();
    talk.caller[1].recv(&mut buffer).unwrap();
    talk.call.hang_up();

    let cdr = talk.cdr();
    let [audio] = &cdr.media[..] else { panic!("{:?}", cdr.media) };
    let (caller, callee) = (audio.a.measured, audio.b.measured);
    assert_eq!((caller.rtp, caller.lost), (7, 2), "4 and 8; 5 came late, and 7 twice");
    assert!(caller.jitter.mean().is_some() && caller.round_trip.mean().is_none());
    assert_eq!((callee.rtp, callee.far_reports, callee.far_lost), (0, 1, 3));
    assert!(callee.round_trip.mean().is_some_and(|time| time < DEADLINE));
    assert!(cdr.unheard.is_empty(), "it was too short to miss anybody");
}

#[test]
fn a_call_in_which_nobody_speaks_any_more_is_ended_on_both_legs() {
    let talk = Talk::new(Duration::from_secs(2));
    talk.caller[0].send_to(&rtp(1), talk.facing_caller).unwrap();
    for leg in [&talk.call.callee, &talk.call.caller] {
        let bye = leg.receive_request("BYE");
        assert_eq!(values(&bye, "Reason"), [r#"SIP;cause=480;text="No media""#]);
        leg.send(&answer(&bye, "200 OK", leg.addr(), ""));
    }
    assert_eq!(talk.cdr().end, "no media");
}
