//! Dialogs (RFC 3261 §12) seen from the middle: what a proxy must know to follow, and if need be to end, both legs.
//!
//! One [`Dialog`] per To tag: an INVITE that is forked downstream makes several, and each has its own callee.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

mod saved;
mod texts;

use crate::sip::message::{Message, Method, Name};
use crate::sip::proxy::forward::is_loose;
pub use saved::SavedDialog;
use texts::{OfParty, Text, Texts, joined, parted};

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
    texts: Texts,
    /// Highest CSeq that the caller sent.
    caller_cseq: Option<u32>,
    /// Likewise.
    callee_cseq: Option<u32>,
    /// Record-Route values that the INVITE left us with: those it came with and our own. They stand at the bottom of
    /// what the callee sends back.
    record_routes_sent: u32,
    state: DialogState,
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
        let routes = joined(invite.elements(Name::RecordRoute).map(|route| route.value));
        let caller = [
            value(invite, Name::From),
            invite.from().tag().unwrap_or_default(),
            contact(invite).unwrap_or_default(),
            &routes,
        ];
        let routes = callee_routes(response, record_routes_sent);
        let callee = [
            value(response, Name::To),
            response.to().tag().unwrap_or_default(),
            contact(response).unwrap_or_default(),
            &routes,
        ];
        Some(Dialog {
            texts: Texts::new(invite.call_id(), caller, callee),
            caller_cseq: Some(invite.cseq().number),
            callee_cseq: None,
            record_routes_sent: record_routes_sent as u32,
            state,
        })
    }

    /// Where it stands.
    pub fn state(&self) -> DialogState {
        self.state
    }

    /// Call-ID.
    pub fn call_id(&self) -> &[u8] {
        self.texts.get(Text::CallId)
    }

    /// That side's tag; empty for a side older than RFC 3261 that has none.
    pub fn tag(&self, side: Side) -> &[u8] {
        self.text(side, OfParty::Tag)
    }

    /// That side's remote target (its Contact URI), if one was seen.
    pub fn target(&self, side: Side) -> Option<&[u8]> {
        Some(self.text(side, OfParty::Target)).filter(|target| !target.is_empty())
    }

    /// URI of where a request from us to that side goes first: its nearest proxy, else its remote target.
    pub fn next_hop(&self, side: Side) -> Option<&[u8]> {
        self.routes(side).next().and_then(uri).or(self.target(side))
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
        match (self.cseq(side), request.method()) {
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
        let highest = match side {
            Side::Caller => &mut self.caller_cseq,
            Side::Callee => &mut self.callee_cseq,
        };
        *highest = (*highest).max(Some(request.cseq().number));
        if is_refresh {
            self.refresh(side, request);
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
                let routes = callee_routes(response, self.record_routes_sent as usize);
                self.texts.replace(Text::Callee(OfParty::Routes), &routes);
                self.refresh(Side::Callee, response);
            }
            (200..300, Method::Invite | Method::Update) => self.refresh(side, response),
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
        let cseq = self.cseq(toward.other()).unwrap_or(0).saturating_add(ahead).saturating_add(1);
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
        let Some(target) = self.target(toward) else { return false };
        // §12.2.1.1: a first Route without lr is a strict router, which wants to be the Request-URI itself.
        let strict = self.routes(toward).next().and_then(uri).filter(|first| !is_loose(first));
        put(out, &[method.as_bytes(), b" ", strict.unwrap_or(target), b" SIP/2.0\r\nVia: ", via, b"\r\n"]);
        for route in self.routes(toward).skip(usize::from(strict.is_some())) {
            put(out, &[b"Route: ", route, b"\r\n"]);
        }
        if strict.is_some() {
            put(out, &[b"Route: <", target, b">\r\n"]);
        }
        let address = |side| self.text(side, OfParty::Address);
        put(out, &[b"Max-Forwards: 70\r\nFrom: ", address(toward.other()), b"\r\nTo: ", address(toward)]);
        put(out, &[b"\r\nCall-ID: ", self.call_id(), b"\r\n"]);
        out.extend_from_slice(format!("CSeq: {cseq} {method}\r\n").as_bytes());
        if let Some(reason) = reason {
            put(out, &[b"Reason: ", reason, b"\r\n"]);
        }
        out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        true
    }

    fn cseq(&self, side: Side) -> Option<u32> {
        match side {
            Side::Caller => self.caller_cseq,
            Side::Callee => self.callee_cseq,
        }
    }

    fn text(&self, side: Side, text: OfParty) -> &[u8] {
        self.texts.get(text_of(side, text))
    }

    /// Route values that lead from us to that side, next hop first; our own are not among them.
    fn routes(&self, side: Side) -> impl Iterator<Item = &[u8]> {
        parted(self.text(side, OfParty::Routes))
    }

    fn refresh(&mut self, side: Side, message: &Message) {
        if let Some(target) = contact(message) {
            self.texts.replace(text_of(side, OfParty::Target), target);
        }
    }
}

fn text_of(side: Side, text: OfParty) -> Text {
    match side {
        Side::Caller => Text::Caller(text),
        Side::Callee => Text::Callee(text),
    }
}

/// §12.1.2 from the middle: the callee's proxies are what stands above the values that the INVITE had when it left us,
/// and a request from us passes them from the bottom up.
fn callee_routes(response: &Message, record_routes_sent: usize) -> Vec<u8> {
    let mut routes: Vec<&[u8]> = response.elements(Name::RecordRoute).map(|route| route.value).collect();
    routes.truncate(routes.len().saturating_sub(record_routes_sent));
    joined(routes.into_iter().rev())
}

fn value(message: &Message, name: Name) -> &[u8] {
    message.header(name).map(|element| element.value).unwrap_or_default()
}

fn contact(message: &Message) -> Option<&[u8]> {
    let uri = message.elements(Name::Contact).next()?.name_addr().ok()?.uri;
    (uri != b"*").then_some(uri)
}

/// The URI of a kept Route value, which always stands in angle brackets (§20.34).
fn uri(route: &[u8]) -> Option<&[u8]> {
    let (_, rest) = route.split_at_checked(memchr::memchr(b'<', route)? + 1)?;
    rest.get(..memchr::memchr(b'>', rest)?)
}

fn put(out: &mut Vec<u8>, pieces: &[&[u8]]) {
    out.extend(pieces.iter().copied().flatten());
}
