//! The packet path of TURN allocates nothing (docs/architecture.md): counted, not believed.

#[path = "support/counting.rs"]
mod counting;
#[allow(dead_code, reason = "what its own tests need of it")]
#[path = "rfc8656/world.rs"]
mod world;

use std::hint::black_box;

use turnpike::base::PeerAddr;
use turnpike::turn::allocation::Allocation;
use turnpike::turn::channel_data::{HEADROOM, TAILROOM};
use turnpike::turn::forward::Verdict;
use turnpike::turn::sockets::RelaySocketId;

use world::{INTERNET, World, addr, send_indication};

#[test]
fn a_packet_is_judged_and_framed_without_allocation() {
    let mut world = World::new();
    let (phone, relayed) = world.allocated("198.51.100.1:5000", INTERNET);
    assert_eq!(world.bind(&phone, 0x4000, "192.0.2.1:9000"), 0);
    let socket =
        RelaySocketId(*world.ports.lock().unwrap().open.iter().find(|(_, at)| **at == relayed).unwrap().0);
    let (now, server) = (world.now, &mut world.server);
    let on_channel = [0x40, 0, 0, 4, 1, 2, 3, 4];
    let [sent, not_permitted] =
        ["192.0.2.1:9000", "192.0.2.2:9000"].map(|peer| send_indication(addr(peer), b"1234"));
    let [bound, other_port] = ["192.0.2.1:9000", "192.0.2.1:9001"].map(|peer| PeerAddr(addr(peer)));
    let mut buffer = [0; HEADROOM + 160 + TAILROOM];

    let thousand_rounds = || {
        for _ in 0..1000 {
            for packet in [&on_channel[..], &sent] {
                let verdict = black_box(server.handle_client(phone.from, packet, now));
                assert!(matches!(verdict, Verdict::ToPeer { .. }));
            }
            assert!(matches!(server.handle_client(phone.from, &not_permitted, now), Verdict::Drop(_)));
            for peer in [bound, other_port] {
                let payload = HEADROOM..HEADROOM + 160;
                let verdict =
                    black_box(server.handle_relayed(socket, peer, &mut buffer, payload, now.instant));
                assert!(matches!(verdict, Verdict::ToClient { .. }));
            }
        }
    };
    assert_eq!(counting::allocations(thousand_rounds), 0);
}

/// The goal is 4 kB each with all that hangs on it; the tables hold one of these, a five-tuple and a timer.
#[test]
fn an_allocation_is_small() {
    assert!(size_of::<Allocation>() <= 768, "{} bytes", size_of::<Allocation>());
}
