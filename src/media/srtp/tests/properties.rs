use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn suite() -> impl Strategy<Value = Suite> {
    (0..Suite::ALL.len()).prop_map(|at| Suite::ALL[at])
}

proptest! {
    #[test]
    fn any_packet_comes_out_as_it_was(
        suite in suite(),
        key in vec(any::<u8>(), 44),
        mut packet in vec(any::<u8>(), 12..400),
        csrcs in 0..16u8,
    ) {
        packet[0] = 0x80 | packet[0] & 0x20 | csrcs;
        prop_assume!(packet.len() >= 12 + 4 * usize::from(csrcs));
        let key = MasterKey::new(suite, &key[..suite.key_len() + suite.salt_len()]).unwrap();
        let secret = sealed(&mut Outbound::new(&key), &packet).unwrap();
        prop_assert_eq!(opened(&mut Inbound::new(&key), &secret, Instant::now()).unwrap(), packet);
    }

    #[test]
    fn a_flipped_bit_is_found_wherever_it_is(suite in suite(), at in 0..188usize, bit in 0..8u8) {
        let (mut outbound, mut inbound) = pair(suite);
        let secret = sealed(&mut outbound, &rtp(SSRC, 7)).unwrap();
        let mut bad = secret.clone();
        let at = at % bad.len();
        bad[at] ^= 1 << bit;
        prop_assert!(opened(&mut inbound, &bad, Instant::now()).is_err());
        prop_assert_eq!(opened(&mut inbound, &secret, Instant::now()).unwrap(), rtp(SSRC, 7));
    }

    #[test]
    fn no_bytes_are_too_odd(suite in suite(), mut packet in vec(any::<u8>(), 0..80), first in 0x80..0xc0u8, second in any::<u8>()) {
        if let [a, b, ..] = &mut packet[..] {
            (*a, *b) = (first, second);
        }
        let (mut outbound, mut inbound) = pair(suite);
        inbound.rekey(&key(suite, 2), Instant::now());
        prop_assert!(opened(&mut inbound, &packet, Instant::now()).is_err());
        prop_assert!(opened_rtcp(&mut inbound, &packet, Instant::now()).is_err());
        let (_, _) = (sealed(&mut outbound, &packet), sealed_rtcp(&mut outbound, &packet));
    }
}
