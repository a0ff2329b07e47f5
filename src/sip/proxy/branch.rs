//! The branch that we put into our Via (RFC 3261 §8.1.1.7, §16.6 step 8): magic cookie, a number of its own, the loop
//! hash of §16.3 step 4, and a MAC: nobody can guess the branch that a response must carry to be read (ATTACKS.md), nor
//! make us take a stranger's Via for ours.

use crate::base::NodeKey;
use crate::sip::message::{Message, Name};
use crate::sip::transaction::MAGIC_COOKIE;

use super::token::{BASE32_U64, decode, encode};

/// One of our branches, as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branch([u8; Branch::LEN]);

/// Hash over what decides where a request goes: the same in a request that comes back unchanged (a loop), another one
/// in a request that comes back with a new target (a spiral).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopHash(pub u64);

impl Branch {
    /// Characters of every branch of ours.
    pub const LEN: usize = MAGIC_COOKIE.len() + 3 * BASE32_U64;

    /// Mints one. `number` must be another one each time (random, or counted): it makes the branch unique.
    pub fn mint(key: &NodeKey, number: u64, loop_hash: LoopHash) -> Branch {
        let mut text = [0; Branch::LEN];
        let mac = mac(key, number, loop_hash);
        let parts = [encode(number), encode(loop_hash.0), encode(mac)];
        for (place, letter) in text.iter_mut().zip(MAGIC_COOKIE.iter().chain(parts.as_flattened())) {
            *place = *letter;
        }
        Branch(text)
    }

    /// The hash of the request that went out under it; `None` if this node's key did not mint it.
    pub fn verify(key: &NodeKey, branch: &[u8]) -> Option<LoopHash> {
        let rest = branch.strip_prefix(MAGIC_COOKIE)?;
        let (number, rest) = rest.split_at_checked(BASE32_U64)?;
        let (hash, sealed) = rest.split_at_checked(BASE32_U64)?;
        let (number, loop_hash) = (decode(number)?, LoopHash(decode(hash)?));
        (decode(sealed)? == mac(key, number, loop_hash)).then_some(loop_hash)
    }

    /// As it stands in the Via.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn mac(key: &NodeKey, number: u64, loop_hash: LoopHash) -> u64 {
    key.mac("branch", &[&number.to_be_bytes(), &loop_hash.0.to_be_bytes()]) as u64
}

impl LoopHash {
    /// §16.6 step 8 as RFC 5393 §4.2.1 corrects it: everything that routing reads, of the request *as received* and of `origin`, who sent it;
    /// and Call-ID and CSeq, so that hashes that collide do so once (§4.2.4). Not the Via, which grows with each pass, and not the method
    /// (§4.2.1), so that CANCEL and ACK agree with their INVITE.
    pub fn of(key: &NodeKey, origin: &[u8], request: &Message) -> LoopHash {
        let cseq = request.cseq().number.to_be_bytes();
        let mut parts: smallvec::SmallVec<[&[u8]; 12]> = smallvec::smallvec![
            origin,
            request.request_uri().unwrap_or_default(),
            request.call_id(),
            request.from().tag().unwrap_or_default(),
            request.to().tag().unwrap_or_default(),
            &cseq[..],
        ];
        for name in [Name::Route, Name::ProxyRequire, Name::ProxyAuthorization] {
            parts.extend(request.elements(name).map(|element| element.value));
        }
        LoopHash(key.mac("loop", &parts) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_branches_verify() {
        let key = NodeKey::new([1; 16]);
        let branch = Branch::mint(&key, 42, LoopHash(7));
        assert_eq!(Branch::verify(&key, branch.as_bytes()), Some(LoopHash(7)));
        assert_eq!(Branch::verify(&NodeKey::new([2; 16]), branch.as_bytes()), None);
        for i in 0..Branch::LEN {
            let mut forged = branch.as_bytes().to_vec();
            forged[i] ^= 1;
            assert_eq!(Branch::verify(&key, &forged), None, "letter {i}");
        }
        for guess in [&b""[..], b"z9hG4bK", b"z9hG4bKaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"] {
            assert_eq!(Branch::verify(&key, guess), None);
        }
    }
}
