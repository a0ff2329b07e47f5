//! What is taken off a response on its way back (RFC 3261 §16.7 step 3).

use crate::sip::message::{Edit, Message, Name};

/// Takes our Via off. False if no other is left: the response answers a request of our own and is not forwarded.
pub fn remove_via<'m>(edit: &mut Edit<'m>, response: &'m Message) -> bool {
    let mut vias = response.elements(Name::Via);
    if let Some(ours) = vias.next() {
        edit.remove(ours);
    }
    vias.next().is_some()
}
