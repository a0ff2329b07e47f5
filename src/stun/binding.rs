//! The Binding server (RFC 8489 §12): tells a client where its packets come from. Keeps nothing, knows nobody.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use super::message::Message;
use super::types::{Class, ErrorCode, Method, Type};
use super::writer::Writer;
use crate::base::ClientAddr;

/// Appends the answer to a Binding request from `client` to `out`; returns false, and appends nothing, if it deserves none:
/// not a request (answers to answers make loops: CVE-2024-2169), not Binding, or a wrong fingerprint.
///
/// The answer is never more than 2.0 times the request as both travel, IP and UDP headers counted, so that a forged source
/// address gains an attacker next to nothing; SOFTWARE is not sent and reason phrases are empty for the same end.
pub fn answer(request: &Message<'_>, client: ClientAddr, out: &mut Vec<u8>) -> bool {
    let wanted = request.class() == Class::Request && request.method() == Method::BINDING;
    if !wanted || !request.check_fingerprint() {
        return false;
    }
    // RFC 8489 §6.3.1: 420 comes before anything is done. CHANGE-REQUEST and RESPONSE-ADDRESS of RFC 3489 and RESPONSE-PORT of
    // RFC 5780 are unknown here: they would let a client aim our answer at someone else.
    let mut unknown = request.unknown_required(Type::OF_STUN).peekable();
    let mut writer = if unknown.peek().is_some() {
        let mut writer = Writer::error(out, request, ErrorCode::UNKNOWN_ATTRIBUTE, "");
        writer.put_unknown(unknown);
        writer
    } else {
        let mut writer = Writer::success(out, request);
        writer.put_xor_address(Type::XOR_MAPPED_ADDRESS, client.0);
        writer
    };
    // RFC 8489 §7: who sends a fingerprint expects one.
    if request.has_fingerprint() {
        writer.add_fingerprint();
    }
    true
}
