//! Dialogs (RFC 3261 §12) seen from the middle: what a proxy must know to follow, and if need be to end, both legs.
//!
//! One [`Dialog`] per To tag: an INVITE that is forked downstream makes several, and each has its own callee.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use crate::sip::message::{Message, Method, Name, NameAddr};
use crate::sip::proxy::forward::is_loose;

/// A side of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Who sent the INVITE.
    Caller,
    /// Who answered it.
    Callee,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Side {
        match self {
            Side::Caller => Side::Callee,
            Side::Callee => Side::Caller,
        }
    }
}

/// §12: where a dialog stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialogState {
    /// A provisional response with a To tag came.
    Early,
    /// A 2xx came.
    Confirmed,
    /// Over.
    Terminated,
}

/// Why a request within a dialog is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfDialog {
    /// Call-ID and tags are not this dialog's.
    #[error("no such dialog")]
    Unknown,
    /// CSeq is below what this side has sent before (§12.2.2).
    #[error("CSeq out of order")]
    CSeq,
}

impl OutOfDialog {
    /// Status of the answer: 481, 500.
    pub fn status(self) -> u16 {
        match self {
            OutOfDialog::Unknown => 481,
            OutOfDialog::CSeq => 500,
        }
    }
}

/// One dialog between a caller and a callee.
#[derive(Clone, Debug)]
pub struct Dialog {
    call_id: Box<[u8]>,
    state: DialogState,
    caller: Party,
    callee: Party,
    /// Record-Route values that the INVITE left us with: those it came with and our own. They stand at the bottom of
    /// what the callee sends back.
    record_routes_sent: usize,
}

/// One side as the other sees it through us.
#[derive(Clone, Debug)]
struct Party {
    /// Its From or To value, with the tag.
    address: Box<[u8]>,
    tag: Box<[u8]>,
    /// Its Contact (§12.1 "remote target"); `None` until one was seen.
    target: Option<Box<[u8]>>,
    /// Route values that lead from us to it, next hop first; our own are not among them.
    routes: Vec<Box<[u8]>>,
    /// Highest CSeq that it sent.
    cseq: Option<u32>,
}

impl Dialog {
    /// From an INVITE as it came from the caller and a response as it came from the callee: an early dialog for 101 to
    /// 199 with a To tag, a confirmed one for 2xx, `None` for any other. `record_routes_sent` is how many Record-Route
    /// values it left us with.
    pub fn new(invite: &Message, response: &Message, record_routes_sent: usize) -> Option<Dialog> {
        let state = match response.status()? {
            101..200 if response.to().tag().is_some() => DialogState::Early,
            200..300 => DialogState::Confirmed,
            _ => return None,
        };
        // The caller's proxies stand in the INVITE in the order in which a request from us passes them (§12.1.1).
        let routes: Vec<Box<[u8]>> =
            invite.elements(Name::RecordRoute).map(|route| route.value.into()).collect();
        let caller = Party {
            address: value(invite, Name::From),
            tag: tag(&invite.from()),
            target: contact(invite),
            routes,
            cseq: Some(invite.cseq().number),
        };
        let callee = Party {
            address: value(response, Name::To),
            tag: tag(&response.to()),
            target: contact(response),
            routes: callee_routes(response, record_routes_sent),
            cseq: None,
        };
        Some(Dialog { call_id: invite.call_id().into(), state, caller, callee, record_routes_sent })
    }

    /// Where it stands.
    pub fn state(&self) -> DialogState {
        self.state
    }

    /// Call-ID.
    pub fn call_id(&self) -> &[u8] {
        &self.call_id
    }

    /// That side's tag; empty for a side older than RFC 3261 that has none.
    pub fn tag(&self, side: Side) -> &[u8] {
        &self.party(side).tag
    }

    /// That side's remote target (its Contact URI), if one was seen.
    pub fn target(&self, side: Side) -> Option<&[u8]> {
        self.party(side).target.as_deref()
    }

    /// URI of where a request from us to that side goes first: its nearest proxy, else its remote target.
    pub fn next_hop(&self, side: Side) -> Option<&[u8]> {
        let party = self.party(side);
        party.routes.first().and_then(|route| uri(route)).or(party.target.as_deref())
    }

    /// The side that sent this request, or that a response answers to: whose tag stands in From. `None` if Call-ID and
    /// both tags are not this dialog's.
    pub fn sender(&self, message: &Message) -> Option<Side> {
        let (from, to) = (message.from().tag().unwrap_or_default(), message.to().tag().unwrap_or_default());
        if message.call_id() != self.call_id() {
            None
        } else if from == self.tag(Side::Caller) && to == self.tag(Side::Callee) {
            Some(Side::Caller)
        } else if from == self.tag(Side::Callee) && to == self.tag(Side::Caller) {
            Some(Side::Callee)
        } else {
            None
        }
    }

    /// Whether a request can belong to this dialog, and who sent it. It changes nothing: whether the request came from
    /// where that side is, is for the edge to say first.
    pub fn check(&self, request: &Message) -> Result<Side, OutOfDialog> {
        let side = self.sender(request).ok_or(OutOfDialog::Unknown)?;
        let number = request.cseq().number;
        match (self.party(side).cseq, request.method()) {
            // §17.1.1.3, §9.1: these repeat the number of an INVITE that was sent before.
            (Some(highest), Method::Ack | Method::Cancel) if number <= highest => Ok(side),
            (_, Method::Ack | Method::Cancel) => Err(OutOfDialog::CSeq),
            // §12.2.2: a lower number is out of order.
            (Some(highest), _) if number < highest => Err(OutOfDialog::CSeq),
            _ => Ok(side),
        }
    }

    /// A request of `side` was let through: its CSeq counts, and its Contact, if it may refresh the target (§12.2.2,
    /// RFC 3311 §5.1).
    pub fn follow_request(&mut self, side: Side, request: &Message) {
        let is_refresh = matches!(request.method(), Method::Invite | Method::Update);
        let party = self.party_mut(side);
        party.cseq = party.cseq.max(Some(request.cseq().number));
        if is_refresh {
            party.refresh(request);
        }
    }

    /// A response came from `side` to a request of the other. The first 2xx to INVITE confirms the dialog and replaces
    /// what the early one had learnt (§13.2.2.4); later ones refresh the target (§12.2.1.2); the final response to BYE
    /// ends it (§15.1.1).
    pub fn follow_response(&mut self, side: Side, response: &Message) {
        let Some(status) = response.status() else { return };
        match (status, response.method()) {
            (200..300, Method::Invite) if self.state == DialogState::Early => {
                self.state = DialogState::Confirmed;
                self.callee.routes = callee_routes(response, self.record_routes_sent);
                self.callee.refresh(response);
            }
            (200..300, Method::Invite | Method::Update) => self.party_mut(side).refresh(response),
            // A challenged BYE is sent again.
            (200.., Method::Bye) if !matches!(status, 401 | 407) => self.terminate(),
            _ => {}
        }
    }

    /// It is over: the INVITE failed, or we have ended it.
    pub fn terminate(&mut self) {
        self.state = DialogState::Terminated;
    }

    /// Appends a BYE to `toward` in the name of the other side (§15.1.1, §12.2.1.1) to `out`. `via` is the value of its
    /// only Via, `reason` that of a Reason header (RFC 3326); `ahead`: by how much our CSeqs towards it are ahead of the other
    /// side's. False, and nothing appended, if that side never gave a Contact.
    pub fn bye(
        &self,
        toward: Side,
        ahead: u32,
        via: &[u8],
        reason: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> bool {
        // A side that has sent nothing yet may begin with any number.
        let cseq = self.party(toward.other()).cseq.unwrap_or(0).saturating_add(ahead).saturating_add(1);
        self.request("BYE", toward, cseq, via, reason, out)
    }

    /// Appends the ACK of a 2xx of `toward` to the INVITE of that CSeq (§13.2.2.4), as [`Self::bye`] does.
    pub fn ack(&self, toward: Side, cseq: u32, via: &[u8], out: &mut Vec<u8>) -> bool {
        self.request("ACK", toward, cseq, via, None, out)
    }

    fn request(
        &self,
        method: &str,
        toward: Side,
        cseq: u32,
        via: &[u8],
        reason: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> bool {
        let (to, from) = (self.party(toward), self.party(toward.other()));
        let Some(target) = to.target.as_deref() else { return false };
        // §12.2.1.1: a first Route without lr is a strict router, which wants to be the Request-URI itself.
        let strict = to.routes.first().and_then(|route| uri(route)).filter(|first| !is_loose(first));
        put(out, &[method.as_bytes(), b" ", strict.unwrap_or(target), b" SIP/2.0\r\nVia: ", via, b"\r\n"]);
        for route in to.routes.iter().skip(usize::from(strict.is_some())) {
            put(out, &[b"Route: ", route, b"\r\n"]);
        }
        if strict.is_some() {
            put(out, &[b"Route: <", target, b">\r\n"]);
        }
        put(out, &[b"Max-Forwards: 70\r\nFrom: ", &from.address, b"\r\nTo: ", &to.address]);
        put(out, &[b"\r\nCall-ID: ", &self.call_id, b"\r\n"]);
        out.extend_from_slice(format!("CSeq: {cseq} {method}\r\n").as_bytes());
        if let Some(reason) = reason {
            put(out, &[b"Reason: ", reason, b"\r\n"]);
        }
        out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        true
    }

    fn party(&self, side: Side) -> &Party {
        match side {
            Side::Caller => &self.caller,
            Side::Callee => &self.callee,
        }
    }

    fn party_mut(&mut self, side: Side) -> &mut Party {
        match side {
            Side::Caller => &mut self.caller,
            Side::Callee => &mut self.callee,
        }
    }
}

impl Party {
    fn refresh(&mut self, message: &Message) {
        if let Some(target) = contact(message) {
            self.target = Some(target);
        }
    }
}

/// §12.1.2 from the middle: the callee's proxies are what stands above the values that the INVITE had when it left us,
/// and a request from us passes them from the bottom up.
fn callee_routes(response: &Message, record_routes_sent: usize) -> Vec<Box<[u8]>> {
    let mut routes: Vec<Box<[u8]>> =
        response.elements(Name::RecordRoute).map(|route| route.value.into()).collect();
    routes.truncate(routes.len().saturating_sub(record_routes_sent));
    routes.reverse();
    routes
}

fn value(message: &Message, name: Name) -> Box<[u8]> {
    message.header(name).map_or(Box::default(), |element| element.value.into())
}

fn tag(address: &NameAddr<'_>) -> Box<[u8]> {
    address.tag().unwrap_or_default().into()
}

fn contact(message: &Message) -> Option<Box<[u8]>> {
    let uri = message.elements(Name::Contact).next()?.name_addr().ok()?.uri;
    (uri != b"*").then(|| uri.into())
}

/// The URI of a kept Route value, which always stands in angle brackets (§20.34).
fn uri(route: &[u8]) -> Option<&[u8]> {
    let (_, rest) = route.split_at_checked(memchr::memchr(b'<', route)? + 1)?;
    rest.get(..memchr::memchr(b'>', rest)?)
}

fn put(out: &mut Vec<u8>, pieces: &[&[u8]]) {
    out.extend(pieces.iter().copied().flatten());
}
