//! SDES (RFC 4568): which `a=crypto` line is taken, on either side of an offer and its answer.

use serde::{Deserialize, Serialize};

use super::{MasterKey, Suite};
use crate::sdp::crypto::{Crypto, Unusable};

/// A line that was taken: its number, and the key that its writer sends under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The answer has the same one.
    pub tag: u32,
    /// For what comes in.
    pub key: MasterKey,
}

/// Why no line was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// There is none; or, in an answer, there is more than one (RFC 4568 §5.1.2).
    #[error("there is not the one a=crypto line that there should be")]
    Count,
    /// The first line (of the answer, the only one).
    #[error("the a=crypto line {0}")]
    Unusable(#[from] Unusable),
    /// Its suite is unknown, or not one that may be used here.
    #[error("no a=crypto line has a suite that `srtp` allows here")]
    Suite,
    /// Its key does not have the length that its suite asks for.
    #[error("the a=crypto line has a key of the wrong length")]
    KeyLength,
    /// An answer with another tag or suite than was offered (RFC 4568 §5.1.3).
    #[error("the answer's a=crypto line is none of the offer's")]
    NotOffered,
}

/// Takes the first line of an offer that can be used with one of `suites`: they stand in the offerer's order of
/// preference (RFC 4568 §5.1.1). If there is none, says what is wrong with the first.
pub fn take_offered<'s>(
    lines: impl IntoIterator<Item = &'s [u8]>,
    suites: &[Suite],
) -> Result<Taken, NotTaken> {
    let mut refused = None;
    for line in lines {
        match read(line).and_then(|taken| {
            if suites.contains(&taken.key.suite()) { Ok(taken) } else { Err(NotTaken::Suite) }
        }) {
            Ok(taken) => return Ok(taken),
            Err(why) => _ = refused.get_or_insert(why),
        }
    }
    Err(refused.unwrap_or(NotTaken::Count))
}

/// Takes the line of an answer: exactly one, with tag and suite of one that was `offered` (RFC 4568 §5.1.3).
pub fn take_answered<'s>(
    lines: impl IntoIterator<Item = &'s [u8]>,
    offered: &[(u32, Suite)],
) -> Result<Taken, NotTaken> {
    let mut lines = lines.into_iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return Err(NotTaken::Count) };
    let taken = read(line)?;
    if offered.contains(&(taken.tag, taken.key.suite())) { Ok(taken) } else { Err(NotTaken::NotOffered) }
}

fn read(line: &[u8]) -> Result<Taken, NotTaken> {
    let crypto = Crypto::parse(line)?;
    let suite = Suite::named(crypto.suite).ok_or(NotTaken::Suite)?;
    let key = MasterKey::new(suite, crypto.key_and_salt()).ok_or(NotTaken::KeyLength)?;
    Ok(Taken { tag: crypto.tag, key })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sdp::crypto;

    /// The value of a line.
    fn line(tag: u32, suite: &str, key_len: usize) -> Vec<u8> {
        let mut line = Vec::new();
        crypto::write(tag, suite, &vec![tag as u8; key_len], &mut line);
        line.split_off("a=crypto:".len())
    }

    fn offered(lines: &[Vec<u8>], suites: &[Suite]) -> Result<(u32, Suite), NotTaken> {
        let taken = take_offered(lines.iter().map(Vec::as_slice), suites)?;
        assert!(taken.key.key_and_salt().iter().all(|byte| *byte == taken.tag as u8), "the line's own key");
        Ok((taken.tag, taken.key.suite()))
    }

    #[test]
    fn the_first_line_that_can_be_used_is_taken() {
        let lines = [
            line(1, "AES_256_CM_HMAC_SHA1_80", 46),
            line(2, "AEAD_AES_256_GCM", 44),
            [&line(3, "AES_CM_128_HMAC_SHA1_80", 30)[..], b" UNENCRYPTED_SRTP"].concat(),
            line(4, "AES_CM_128_HMAC_SHA1_80", 30),
            line(5, "AES_CM_128_HMAC_SHA1_32", 30),
        ];
        assert_eq!(offered(&lines, &Suite::ALL), Ok((2, Suite::AeadAes256Gcm)));
        let counter_mode = [Suite::AesCm128HmacSha1_32, Suite::AesCm128HmacSha1_80];
        assert_eq!(
            offered(&lines, &counter_mode),
            Ok((4, Suite::AesCm128HmacSha1_80)),
            "the offerer's order"
        );
    }

    #[test]
    fn without_one_the_first_ones_fault_is_told() {
        let weak = [&line(1, "AES_CM_128_HMAC_SHA1_80", 30)[..], b"|2^20|1:1"].concat();
        let unknown = line(2, "ARIA_CM_192_HMAC_SHA1_80", 38);
        assert_eq!(offered(&[weak, unknown.clone()], &Suite::ALL), Err(NotTaken::Unusable(Unusable::Mki)));
        assert_eq!(offered(&[unknown], &Suite::ALL), Err(NotTaken::Suite));
        assert_eq!(offered(&[], &Suite::ALL), Err(NotTaken::Count));
    }

    #[test]
    fn an_answer_has_one_line_and_it_was_offered() {
        let offered = [(1, Suite::AeadAes128Gcm), (2, Suite::AesCm128HmacSha1_80)];
        let take = |lines: &[Vec<u8>]| take_answered(lines.iter().map(Vec::as_slice), &offered);
        let good = line(2, "AES_CM_128_HMAC_SHA1_80", 30);
        assert_eq!(take(std::slice::from_ref(&good)).map(|taken| taken.tag), Ok(2));
        assert_eq!(take(&[good.clone(), good]), Err(NotTaken::Count));
        assert_eq!(take(&[]), Err(NotTaken::Count));
        assert_eq!(
            take(&[line(1, "AES_CM_128_HMAC_SHA1_80", 30)]),
            Err(NotTaken::NotOffered),
            "another suite"
        );
        assert_eq!(take(&[line(3, "AES_CM_128_HMAC_SHA1_80", 30)]), Err(NotTaken::NotOffered), "another tag");
    }

    proptest! {
        #[test]
        fn a_key_of_another_length_is_never_taken(suite in 0..4usize, len in 1..64usize) {
            let suite = Suite::ALL[suite];
            let taken = offered(&[line(1, suite.name(), len)], &Suite::ALL);
            let right = len == suite.key_len() + suite.salt_len();
            prop_assert_eq!(taken, if right { Ok((1, suite)) } else { Err(NotTaken::KeyLength) });
        }
    }
}
