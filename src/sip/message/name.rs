//! Header names and methods: from bytes to an enum and back, in O(1).

use super::{Method, Name};

impl Name {
    /// How many values [`Name`] has.
    pub(super) const COUNT: usize = Name::Other as usize + 1;

    /// Reads a header name in any case, compact forms included (RFC 3261 §7.3.3). Length, first and last letter leave
    /// one candidate.
    pub fn from_bytes(name: &[u8]) -> Name {
        let (&[first], &[.., last]) = (name.get(..1).and_then(|one| one.first_chunk()).unwrap_or(&[0]), name)
        else {
            return Name::Other;
        };
        let candidate = match (name.len(), first | 0x20, last | 0x20) {
            (1, letter, _) => return Name::from_compact(letter),
            (2, b't', _) => Name::To,
            (3, b'v', _) => Name::Via,
            (4, b'f', _) => Name::From,
            (4, b'c', _) => Name::CSeq,
            (4, b'p', _) => Name::Path,
            (4, b'r', b'q') => Name::RSeq,
            (4, b'r', _) => Name::RAck,
            (5, b'r', _) => Name::Route,
            (5, b'e', _) => Name::Event,
            (6, b's', _) => Name::Server,
            (6, b'r', _) => Name::Reason,
            (6, b'm', _) => Name::MinSe,
            (7, b'c', b'd') => Name::CallId,
            (7, b'c', _) => Name::Contact,
            (7, b'e', _) => Name::Expires,
            (7, b'r', _) => Name::Require,
            (7, b'p', _) => Name::Privacy,
            (8, b'r', b'o') => Name::ReferTo,
            (8, b'r', _) => Name::Replaces,
            (9, b's', _) => Name::Supported,
            (9, b'd', _) => Name::Diversion,
            (9, b't', _) => Name::Timestamp,
            (10, b'u', _) => Name::UserAgent,
            (11, b'r', _) => Name::RetryAfter,
            (11, b'm', _) => Name::MaxBreadth,
            (12, b'm', _) => Name::MaxForwards,
            (12, b'r', _) => Name::RecordRoute,
            (12, b'c', _) => Name::ContentType,
            (13, b'p', _) => Name::ProxyRequire,
            (13, b'a', _) => Name::Authorization,
            (14, b'c', _) => Name::ContentLength,
            (15, b'r', _) => Name::RemotePartyId,
            (15, b's', _) => Name::SessionExpires,
            (17, b't', _) => Name::TransferEncoding,
            (19, b'c', _) => Name::ContentDisposition,
            (19, b'p', b'n') => Name::ProxyAuthorization,
            (19, b'p', _) => Name::PAssertedIdentity,
            (20, b'p', _) => Name::PPreferredIdentity,
            _ => return Name::Other,
        };
        let expected = candidate.as_str().as_bytes();
        // Most senders write it as the RFC does, and comparing that is cheaper.
        if name == expected || name.eq_ignore_ascii_case(expected) { candidate } else { Name::Other }
    }

    /// RFC 3261 §7.3.3, RFC 3515, RFC 4028, RFC 6665.
    fn from_compact(letter: u8) -> Name {
        match letter {
            b'v' => Name::Via,
            b'f' => Name::From,
            b't' => Name::To,
            b'i' => Name::CallId,
            b'm' => Name::Contact,
            b'l' => Name::ContentLength,
            b'c' => Name::ContentType,
            b'k' => Name::Supported,
            b'r' => Name::ReferTo,
            b'o' => Name::Event,
            b'x' => Name::SessionExpires,
            _ => Name::Other,
        }
    }

    /// As it is written; empty for [`Name::Other`].
    pub fn as_str(self) -> &'static str {
        match self {
            Name::Via => "Via",
            Name::From => "From",
            Name::To => "To",
            Name::CallId => "Call-ID",
            Name::CSeq => "CSeq",
            Name::MaxForwards => "Max-Forwards",
            Name::Contact => "Contact",
            Name::Route => "Route",
            Name::RecordRoute => "Record-Route",
            Name::Path => "Path",
            Name::ContentLength => "Content-Length",
            Name::ContentType => "Content-Type",
            Name::ContentDisposition => "Content-Disposition",
            Name::Expires => "Expires",
            Name::Supported => "Supported",
            Name::Require => "Require",
            Name::ProxyRequire => "Proxy-Require",
            Name::Authorization => "Authorization",
            Name::ProxyAuthorization => "Proxy-Authorization",
            Name::UserAgent => "User-Agent",
            Name::Server => "Server",
            Name::RetryAfter => "Retry-After",
            Name::Reason => "Reason",
            Name::PAssertedIdentity => "P-Asserted-Identity",
            Name::PPreferredIdentity => "P-Preferred-Identity",
            Name::RemotePartyId => "Remote-Party-ID",
            Name::Diversion => "Diversion",
            Name::Privacy => "Privacy",
            Name::Event => "Event",
            Name::ReferTo => "Refer-To",
            Name::Replaces => "Replaces",
            Name::SessionExpires => "Session-Expires",
            Name::MinSe => "Min-SE",
            Name::RSeq => "RSeq",
            Name::RAck => "RAck",
            Name::Timestamp => "Timestamp",
            Name::TransferEncoding => "Transfer-Encoding",
            Name::MaxBreadth => "Max-Breadth",
            Name::Other => "",
        }
    }

    /// Why a second field of that name is refused, for those on whose single value routing, matching, framing or the
    /// rewriting of SDP depends: two readers could take different ones.
    pub(super) fn duplicate(self) -> Option<&'static str> {
        Some(match self {
            Name::From => "Duplicate From",
            Name::To => "Duplicate To",
            Name::CallId => "Duplicate Call-ID",
            Name::CSeq => "Duplicate CSeq",
            Name::MaxForwards => "Duplicate Max-Forwards",
            Name::ContentLength => "Duplicate Content-Length",
            Name::ContentType => "Duplicate Content-Type",
            _ => return None,
        })
    }
}

/// Compact forms of names that are not in [`Name`] (RFC 3261 §7.3.3, RFC 3841, 3892, 6665, 8224).
const OTHER_COMPACT: [(&[u8], u8); 8] = [
    (b"subject", b's'),
    (b"content-encoding", b'e'),
    (b"allow-events", b'u'),
    (b"referred-by", b'b'),
    (b"accept-contact", b'a'),
    (b"reject-contact", b'j'),
    (b"request-disposition", b'd'),
    (b"identity", b'y'),
];

/// Same header: any case, compact or long.
pub(super) fn same_name(one: &[u8], other: &[u8]) -> bool {
    // Else one of them is the compact form.
    if one.len() != other.len() && one.len() != 1 && other.len() != 1 {
        return false;
    }
    let is_compact_of = |short: &[u8], long: &[u8]| {
        let [letter] = short else { return false };
        OTHER_COMPACT
            .iter()
            .any(|(name, compact)| *compact == letter | 0x20 && long.eq_ignore_ascii_case(name))
    };
    match Name::from_bytes(one) {
        Name::Other => {
            one.eq_ignore_ascii_case(other) || is_compact_of(one, other) || is_compact_of(other, one)
        }
        known => known == Name::from_bytes(other),
    }
}

/// A bit for the letter that a name or a pattern begins with, in any case: names that have none in common do not match. All bits
/// for a compact form, which may begin with another letter than what it stands for.
pub(super) fn initial(name: &[u8]) -> u32 {
    match name {
        [first, _, ..] => 1 << (first & 0x1f),
        _ => u32::MAX,
    }
}

/// [`same_name`], or, where `pattern` ends in `*`, a name that begins like it.
pub(super) fn matches_pattern(name: &[u8], pattern: &[u8]) -> bool {
    match pattern.split_last() {
        Some((b'*', prefix)) => {
            name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        }
        _ => same_name(name, pattern),
    }
}

impl Method {
    /// Reads a method: case matters (RFC 3261 §7.1).
    pub fn from_bytes(method: &[u8]) -> Method {
        match method {
            b"INVITE" => Method::Invite,
            b"ACK" => Method::Ack,
            b"BYE" => Method::Bye,
            b"CANCEL" => Method::Cancel,
            b"OPTIONS" => Method::Options,
            b"REGISTER" => Method::Register,
            b"PRACK" => Method::Prack,
            b"UPDATE" => Method::Update,
            b"INFO" => Method::Info,
            b"MESSAGE" => Method::Message,
            b"SUBSCRIBE" => Method::Subscribe,
            b"NOTIFY" => Method::Notify,
            b"REFER" => Method::Refer,
            b"PUBLISH" => Method::Publish,
            _ => Method::Other,
        }
    }

    /// As it is written; empty for [`Method::Other`].
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Invite => "INVITE",
            Method::Ack => "ACK",
            Method::Bye => "BYE",
            Method::Cancel => "CANCEL",
            Method::Options => "OPTIONS",
            Method::Register => "REGISTER",
            Method::Prack => "PRACK",
            Method::Update => "UPDATE",
            Method::Info => "INFO",
            Method::Message => "MESSAGE",
            Method::Subscribe => "SUBSCRIBE",
            Method::Notify => "NOTIFY",
            Method::Refer => "REFER",
            Method::Publish => "PUBLISH",
            Method::Other => "",
        }
    }
}
