//! Against what libsrtp 2 made: a packet with a CSRC and a header extension before and after the first rollover, and an
//! RTCP compound (its first index is 1).

use super::*;

const RTP: [&[u8]; 2] = [
    b"\x91\x60\xff\xff\0\0\0\x09\xca\xfe\xba\xbe\x01\x02\x03\x04\xbe\xde\0\x01\x10\xff\0\0hello",
    b"\x91\x60\0\0\0\0\0\x09\xca\xfe\xba\xbe\x01\x02\x03\x04\xbe\xde\0\x01\x10\xff\0\0hello",
];
const RTCP: &[u8] = b"\x80\xc9\0\x01\xca\xfe\xba\xbe\x81\xca\0\x01\0\0\0\x01";

/// From behind the clear part: RTP before the rollover, after it, RTCP.
const PROTECTED: [(Suite, [&str; 3]); 4] = [
    (
        Suite::AesCm128HmacSha1_80,
        [
            "2536ecc473630cdd5ad58be21ecb3b",
            "80abccd4d3d8bcd0efdca9988cde4f",
            "b6815f7c8c73b4c6800000017ae15971ced7373912d9",
        ],
    ),
    (
        Suite::AesCm128HmacSha1_32,
        ["2536ecc473630cdd5a", "80abccd4d3d8bcd0ef", "b6815f7c8c73b4c6800000017ae15971ced7373912d9"],
    ),
    (
        Suite::AeadAes128Gcm,
        [
            "eb21e229aeea69cd7cf8b6084862c571e8420035c7",
            "20529e18b3fc37187b384779b0fd94e8318434f93b",
            "64b285557d5517dcc33da96232ff5e3e4a6be290751035f580000001",
        ],
    ),
    (
        Suite::AeadAes256Gcm,
        [
            "c81fe241830930caf38d81660d6c8b2867326fc28a",
            "f08509423488aa1d972f7cc4223bf8205e93d6f4a0",
            "85ba422411c9298eb445fd545ea7a449ac13912b2192f97880000001",
        ],
    ),
];

fn master(suite: Suite) -> MasterKey {
    let bytes: Vec<u8> = (0..44u8).map(|n| n.wrapping_mul(7).wrapping_add(3)).collect();
    MasterKey::new(suite, &bytes[..suite.key_len() + suite.salt_len()]).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn our_packets_are_those_of_libsrtp_and_open_alike() {
    let now = Instant::now();
    for (suite, [before, after, rtcp]) in PROTECTED {
        let mut outbound = Outbound::new(&master(suite));
        let mut inbound = Inbound::new(&master(suite));
        for (packet, expected) in RTP.into_iter().zip([before, after]) {
            let secret = sealed(&mut outbound, packet).unwrap();
            assert_eq!(hex(&secret), hex(&packet[..24]) + expected, "{suite:?}");
            assert_eq!(opened(&mut inbound, &secret, now).as_deref(), Ok(packet), "{suite:?}");
        }
        sealed_rtcp(&mut outbound, RTCP).unwrap();
        let secret = sealed_rtcp(&mut outbound, RTCP).unwrap();
        assert_eq!(hex(&secret), hex(&RTCP[..8]) + rtcp, "{suite:?}");
        assert_eq!(opened_rtcp(&mut inbound, &secret, now).as_deref(), Ok(RTCP), "{suite:?}");
    }
}
