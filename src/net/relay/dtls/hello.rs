//! What strangers say first, and the one answer that they get: ClientHello and HelloVerifyRequest (RFC 6347 §4.2.1).
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

/// A record's header (RFC 6347 §4.1).
pub(super) const RECORD_HEADER: usize = 13;
/// A handshake message's (RFC 6347 §4.2.2).
const HANDSHAKE_HEADER: usize = 12;
/// Where the record header is followed by type and length of the handshake message, and those by its number.
const MESSAGE_SEQ: std::ops::Range<usize> = RECORD_HEADER + 4..RECORD_HEADER + 6;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const HELLO_VERIFY_REQUEST: u8 = 3;
const DTLS_1_0: [u8; 2] = [0xfe, 0xff];
const DTLS_1_2: [u8; 2] = [0xfe, 0xfd];

/// Why a client cannot be served, as alerts say it (RFC 5246 §7.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// handshake_failure: nothing in common, or no room.
    Failure = 40,
    /// protocol_version.
    Version = 70,
}

/// Bytes of a cookie.
pub(super) const COOKIE: usize = 32;

/// Random bytes that a client chose for its handshake.
pub(super) type Random = [u8; 32];

/// A whole ClientHello at the beginning of a datagram. One that comes in fragments has no cookie that could be checked
/// before they are put together, so it is none here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hello<'a> {
    /// All of the record.
    pub record: &'a [u8],
    /// The record's number, whose six bytes every answer repeats.
    pub sequence: [u8; 6],
    /// The client's.
    pub random: &'a Random,
    /// Empty in the first one of a client.
    pub cookie: &'a [u8],
    /// What a client repeats when it sends the cookie (RFC 6347 §4.2.1): version, random and session id; cipher suites and
    /// compression methods.
    pub parameters: [&'a [u8]; 2],
}

impl<'a> Hello<'a> {
    /// Reads it, whatever its version.
    pub fn read(datagram: &'a [u8]) -> Option<Hello<'a>> {
        let (header, rest) = datagram.split_first_chunk::<RECORD_HEADER>()?;
        let [HANDSHAKE, 0xfe, _, 0, 0, s0, s1, s2, s3, s4, s5, l0, l1] = *header else { return None };
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let fragment = rest.get(..length)?;
        let (header, body) = fragment.split_first_chunk::<HANDSHAKE_HEADER>()?;
        let [CLIENT_HELLO, a0, a1, a2, _, _, 0, 0, 0, b0, b1, b2] = *header else { return None };
        let whole = u32::from_be_bytes([0, a0, a1, a2]) as usize;
        if whole != body.len() || [a0, a1, a2] != [b0, b1, b2] {
            return None;
        }
        let random = body.get(2..)?.first_chunk::<32>()?;
        let (_session_id, after_session) = short_vector(body.get(34..)?)?;
        let (cookie, after_cookie) = short_vector(after_session)?;
        let (cipher_suites, rest) = after_cookie.split_first_chunk::<2>()?;
        let rest = rest.get(usize::from(u16::from_be_bytes(*cipher_suites))..)?;
        let (_compression_methods, extensions) = short_vector(rest)?;
        let before_cookie = body.get(..body.len() - after_session.len())?;
        let after_cookie = after_cookie.get(..after_cookie.len() - extensions.len())?;
        Some(Hello {
            record: datagram.get(..RECORD_HEADER + length)?,
            sequence: [s0, s1, s2, s3, s4, s5],
            random,
            cookie,
            parameters: [before_cookie, after_cookie],
        })
    }

    /// The client speaks DTLS 1.2. (Those who speak 1.3 say so elsewhere, RFC 9147 §5.3.)
    pub fn is_1_2(&self) -> bool {
        self.parameters[0].starts_with(&DTLS_1_2)
    }

    /// The record as it would be if it were the client's first.
    pub fn as_first(&self) -> Vec<u8> {
        let mut record = self.record.to_vec();
        if let Some(number) = record.get_mut(MESSAGE_SEQ) {
            number.fill(0);
        }
        record
    }

    /// The answer that wants to see `cookie`. Smaller than any ClientHello.
    pub fn verify_request(&self, cookie: &[u8; COOKIE]) -> Vec<u8> {
        // RFC 6347 §4.2.1: version 1.0, whatever follows; and the number of the client's record.
        let body = [&DTLS_1_0[..], &[COOKIE as u8], cookie].concat();
        let length = [0, 0, body.len() as u8];
        let header = [&[HELLO_VERIFY_REQUEST], &length[..], &[0, 0], &[0, 0, 0], &length].concat();
        record(HANDSHAKE, DTLS_1_0, self.sequence, &[header, body].concat())
    }

    /// The answer to a client that cannot be served: a fatal alert. Smaller than any ClientHello.
    pub fn refusal(&self, why: Refusal) -> Vec<u8> {
        record(ALERT, DTLS_1_2, self.sequence, &[2, why as u8])
    }
}

fn record(kind: u8, version: [u8; 2], sequence: [u8; 6], fragment: &[u8]) -> Vec<u8> {
    let length = (fragment.len() as u16).to_be_bytes();
    [&[kind], &version[..], &[0, 0], &sequence, &length, fragment].concat()
}

/// What a length of one byte counts, and what follows it.
fn short_vector(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// Adds `offset` to the numbers of the records of epoch 0 in a datagram of ours.
pub(super) fn renumber(mut datagram: &mut [u8], offset: u64) {
    while let Some((header, rest)) = datagram.split_first_chunk_mut::<RECORD_HEADER>() {
        let [_, _, _, e0, e1, sequence @ .., l0, l1] = header;
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        if [*e0, *e1] == [0, 0] {
            *sequence = six_bytes(number(*sequence).wrapping_add(offset));
        }
        datagram = rest.get_mut(length..).unwrap_or_default();
    }
}

/// A record's number.
pub(super) fn number([a, b, c, d, e, f]: [u8; 6]) -> u64 {
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

fn six_bytes(number: u64) -> [u8; 6] {
    let [_, _, six @ ..] = number.to_be_bytes();
    six
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest that there can be: one cipher suite, no extension.
    pub(crate) fn smallest(message_seq: u8, cookie: &[u8]) -> Vec<u8> {
        let body =
            [&DTLS_1_2[..], &[7; 32], &[0], &[cookie.len() as u8], cookie, &[0, 2, 0xc0, 0x2b], &[1, 0]]
                .concat();
        let length = [0, 0, body.len() as u8];
        let header = [&[CLIENT_HELLO], &length[..], &[0, message_seq], &[0; 3], &length].concat();
        record(HANDSHAKE, DTLS_1_0, [0, 0, 0, 0, 1, 5], &[header, body].concat())
    }

    #[test]
    fn a_hello_is_read_to_its_last_byte_and_not_before() {
        let wire = smallest(1, &[9; 32]);
        let hello = Hello::read(&wire).unwrap();
        assert_eq!((hello.random, hello.cookie, hello.record), (&[7; 32], &[9; 32][..], &wire[..]));
        assert_eq!(hello.sequence, [0, 0, 0, 0, 1, 5]);
        assert_eq!(hello.as_first(), smallest(0, &[9; 32]));
        for end in 0..wire.len() {
            assert!(Hello::read(&wire[..end]).is_none(), "{end}");
        }
        let more = [&wire[..], &[22, 0xfe]].concat();
        assert_eq!(Hello::read(&more).unwrap().record, &wire[..]);
    }

    #[test]
    fn what_the_client_repeats_does_not_depend_on_the_cookie() {
        let (first, second) = (smallest(0, b""), smallest(1, &[9; 32]));
        assert_eq!(Hello::read(&first).unwrap().parameters, Hello::read(&second).unwrap().parameters);
        let before_and_after = Hello::read(&first).unwrap().parameters.map(<[u8]>::len);
        assert_eq!(before_and_after, [2 + 32 + 1, 2 + 2 + 2]);
    }

    #[test]
    fn fragments_and_other_epochs_are_no_hello() {
        for (at, byte) in [(0, 23), (1, 3), (4, 1), (13, 2), (21, 1), (24, 200)] {
            let mut wire = smallest(0, b"");
            wire[at] = byte;
            assert!(Hello::read(&wire).is_none(), "{at}");
        }
    }

    #[test]
    fn an_old_version_is_told() {
        let mut wire = smallest(0, b"");
        assert!(Hello::read(&wire).unwrap().is_1_2());
        wire[26] = 0xff;
        assert!(!Hello::read(&wire).unwrap().is_1_2());
    }

    /// ATTACKS.md: at most 2.0 times what asked for it.
    #[test]
    fn the_answer_to_a_stranger_is_smaller_than_the_question() {
        let wire = smallest(0, b"");
        let hello = Hello::read(&wire).unwrap();
        assert!(hello.verify_request(&[0; COOKIE]).len() < wire.len());
        assert!(hello.refusal(Refusal::Version).len() < wire.len());
    }

    #[test]
    fn only_records_of_epoch_0_are_renumbered() {
        let mut two = record(22, DTLS_1_2, [0, 0, 0, 0, 0, 2], b"one");
        two.extend(record(22, DTLS_1_2, [0, 0, 0, 0, 0, 3], b"two"));
        let mut protected = record(22, DTLS_1_2, [0; 6], b"three");
        protected[4] = 1;
        two.extend(&protected);
        renumber(&mut two, 0xff);
        assert_eq!(two[5..11], [0, 0, 0, 0, 1, 1]);
        assert_eq!(two[16 + 5..16 + 11], [0, 0, 0, 0, 1, 2]);
        assert_eq!(two[32..], protected);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_too_much_for_it(mut bytes: Vec<u8>) {
            let _ = Hello::read(&bytes);
            renumber(&mut bytes, u64::MAX);
        }

        #[test]
        fn nor_one_that_is_nearly_right(at in 0_usize..67, byte: u8) {
            let mut wire = smallest(0, b"");
            wire[at] = byte;
            if let Some(hello) = Hello::read(&wire) {
                proptest::prop_assert!(hello.record.len() <= wire.len());
            }
        }
    }
}
