//! Opens pairs of relayed addresses without SIP and stays up, for measuring the relay alone:
//!
//! ```text
//! relay_pairs [PAIRS [A_PORT B_PORT]]      prints "A_ip:port B_ip:port" per pair, then serves until it is killed
//! ```
//!
//! Pair i's sides are 127.1.(i/250).(1+i%250):A_PORT and 127.2.(the same):B_PORT, which speak G.711.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use turnpike::media::dtls::Certificate;
use turnpike::net::relay::UdpRelay;
use turnpike::relay::{LegRules, Relay, RelayAddress, Settings, Side};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u16>());
    let mut argument = |default| arguments.next().unwrap_or(Ok(default));
    let (pairs, a_port, b_port) = (argument(1000)?, argument(15001)?, argument(15002)?);
    let settings = Settings { ports: 20000..=64999, workers: 1 };
    let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let address = RelayAddress { bind: localhost, advertise: localhost };
    let mut relay = UdpRelay::start(settings, [address], Certificate::generate()?, None)?;
    for i in 0..pairs {
        let pair = relay.open(address, address)?;
        for (side, net, port) in [(Side::A, 1, a_port), (Side::B, 2, b_port)] {
            let ip = Ipv4Addr::new(127, net, (i / 250) as u8, (1 + i % 250) as u8);
            let rtp = SocketAddr::new(ip.into(), port);
            let rules = LegRules {
                rtp: Some(rtp),
                send_before_latch: true,
                payload_types: vec![0, 8, 101],
                rtp_only: true,
                ..LegRules::default()
            };
            relay.set_leg(pair.id, side, rules);
        }
        relay.flush();
        println!("{} {}", pair.a.rtp(), pair.b.rtp());
    }
    loop {
        std::thread::park();
    }
}
