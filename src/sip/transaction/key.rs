//! Which transaction a message belongs to (RFC 3261 §17.1.3, §17.2.3), as one keyed 128-bit hash. The hash's own key
//! is drawn when the layer starts, so nobody outside can make two messages collide, and no bytes are kept to compare.

use std::hash::{BuildHasher, Hasher, RandomState};

use memchr::{memchr, memchr3, memmem};
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::sip::message::{Message, Name};

/// §8.1.1.7: what the branch of an RFC 3261 client starts with.
pub(crate) const MAGIC_COOKIE: &[u8] = b"z9hG4bK";

/// One transaction's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(pub(super) u128);

/// Makes keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    k0: u64,
    k1: u64,
}

impl Keys {
    pub(super) fn new() -> Keys {
        let random = RandomState::new();
        Keys { k0: random.hash_one(0), k1: random.hash_one(1) }
    }

    /// §17.1.3: the top Via's branch and the method in CSeq.
    pub(super) fn client(&self, branch: &[u8], method: &[u8]) -> Key {
        let mut hash = self.start(b'C');
        hash.part(method);
        hash.part(branch);
        hash.finish()
    }

    /// §17.2.3. `method` is the request's own, or INVITE to look up the INVITE that an ACK or CANCEL is about.
    pub(super) fn server(&self, request: &Message, method: &[u8]) -> Key {
        let via = request.top_via();
        match via.branch().filter(|branch| is_unique(branch)) {
            Some(branch) => {
                let mut hash = self.start(b'S');
                hash.part(method);
                hash.part(branch);
                // sent-by is compared because another client may have made the same branch, by accident or on purpose.
                hash.part_lowercase(via.host);
                hash.number(via.port.map_or(u64::MAX, u64::from));
                hash.finish()
            }
            None => self.rfc2543_server(request, method),
        }
    }

    /// §17.2.3 without the magic cookie: Request-URI, From tag, Call-ID, CSeq and the top Via. The To tag is left to
    /// the caller, because that of the ACK is the one in the response (`Transactions` compares it there).
    fn rfc2543_server(&self, request: &Message, method: &[u8]) -> Key {
        let mut hash = self.start(b'O');
        hash.part(method);
        hash.part(request.request_uri().unwrap_or_default());
        hash.part(request.from().tag().unwrap_or_default());
        hash.part(request.call_id());
        hash.number(u64::from(request.cseq().number));
        hash.part(request.elements(Name::Via).next().map_or(b"", |via| via.value));
        hash.finish()
    }

    fn start(&self, kind: u8) -> Parts {
        let mut hasher = SipHasher13::new_with_keys(self.k0, self.k1);
        hasher.write_u8(kind);
        Parts(hasher)
    }
}

/// True if the request's branch names the transaction on its own. RFC 4475 §3.2.1: the bare cookie does not.
pub(super) fn is_rfc3261(request: &Message) -> bool {
    request.top_via().branch().is_some_and(is_unique)
}

/// Method and whole branch of a request of ours, of which only the beginning is there.
pub(super) fn top_branch(beginning: &[u8]) -> Option<(&[u8], &[u8])> {
    let after = |bytes: &[u8], what: &[u8]| memmem::find(bytes, what).map(|at| at + what.len());
    let method = beginning.get(..memchr(b' ', beginning)?)?;
    let via = beginning.get(after(beginning, b"\r\nVia: ")?..)?;
    let branch = via.get(after(via, b";branch=")?..)?;
    Some((method, branch.get(..memchr3(b';', b',', b'\r', branch)?)?))
}

fn is_unique(branch: &[u8]) -> bool {
    match branch.split_at_checked(MAGIC_COOKIE.len()) {
        Some((cookie, rest)) => cookie.eq_ignore_ascii_case(MAGIC_COOKIE) && !rest.is_empty(),
        None => false,
    }
}

/// Feeds parts with their lengths, so that where one ends and the next begins counts.
struct Parts(SipHasher13);

impl Parts {
    fn part(&mut self, bytes: &[u8]) {
        self.0.write_usize(bytes.len());
        self.0.write(bytes);
    }

    fn part_lowercase(&mut self, bytes: &[u8]) {
        let mut lower: smallvec::SmallVec<[u8; 64]> = bytes.into();
        lower.make_ascii_lowercase();
        self.part(&lower);
    }

    fn number(&mut self, number: u64) {
        self.0.write_u64(number);
    }

    fn finish(self) -> Key {
        Key(self.0.finish128().as_u128())
    }
}
