//! Where responses go, and what is taken off them on the way (RFC 3261 §16.7 steps 1 and 3, §18.2.2).

use crate::base::NodeKey;
use crate::sip::message::{Edit, Message, Name};
use crate::sip::transaction::{Destination, Source};

use super::branch::{Branch, BranchParts};

/// Where the response to a request goes: back over the flow that the request came by, and nowhere else. This is §18.2.2
/// as everyone behind a NAT needs it (RFC 3581), whether or not the Via asks for it; `maddr`, `received`, `rport` and
/// sent-by that the sender wrote are not believed, or he could aim our answers at a stranger (ATTACKS.md).
pub fn reply_to(source: &Source) -> Destination {
    Destination::Flow(source.flow)
}

/// §16.7 step 1, before any table is asked: a response whose top Via does not carry a branch of ours is dropped.
pub fn verify(response: &Message, key: &NodeKey) -> Option<BranchParts> {
    Branch::verify(key, response.top_via().branch()?)
}

/// §16.7 step 3: takes our Via off. False if no other is left: the response answers a request of our own and is not
/// forwarded.
pub fn remove_via<'m>(edit: &mut Edit<'m>, response: &'m Message) -> bool {
    let mut vias = response.elements(Name::Via);
    if let Some(ours) = vias.next() {
        edit.remove(ours);
    }
    vias.next().is_some()
}
