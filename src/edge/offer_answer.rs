//! Who sent the offer that waits for its answer (RFC 3264 §4, RFC 6337): tells for every SIP message of a call whether
//! the SDP in it is an offer, an answer, or neither. One exchange at a time per call.

use smallvec::SmallVec;

use super::call::FORKS_MAX;
use crate::relay::Side;
use crate::sip::message::Method;

/// What the SDP of one message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// No SDP that concerns the call.
    Nothing,
    /// An offer by the message's sender.
    Offer,
    /// An answer by the message's sender; true: no later one may differ (2xx, ACK, PRACK, reliable 18x).
    Answer(bool),
    /// Neither: it repeats what was said before, or stands where none belongs. It is shown as the call stands, and
    /// changes nothing.
    Copy,
    /// No SDP, where the answer to the other side's offer should be: that offer has fallen.
    LetFall,
    /// An offer while the other side's waits for its answer (RFC 3261 §14.2, RFC 3311 §5.2): 491.
    Glare,
    /// An offer while the sender's own waits for its answer (the same sections): 500.
    Overlap,
}

/// What a transaction of the call means for the exchange, kept with it until its final response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// Its own among the call's.
    number: u32,
    /// CSeq of its request, as its sender wrote it.
    cseq: u32,
    role: Role,
    /// To tags of those who have given their last answer in it.
    answered: SmallVec<[Box<[u8]>; 1]>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Role {
    #[default]
    None,
    /// Its request carried an offer, so that its responses carry the answer.
    Offered,
    /// It is an INVITE without an offer: its responses may carry one.
    InvitesOffer,
}

/// An offer that waits for its final answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pending {
    from: Side,
    /// [`Exchange::number`] of its transaction.
    exchange: u32,
    /// CSeq of the INVITE whose response carried it, so that an ACK or PRACK carries the answer.
    late: Option<u32>,
}

/// The exchange of one call.
#[derive(Debug, Default)]
pub struct OfferAnswer {
    pending: Option<Pending>,
    /// Transactions that could carry an offer, so far.
    begun: u32,
    /// The transaction whose offer is the latest.
    latest: u32,
    /// The transaction, and the To tag, of the latest offer that an ACK or PRACK has answered.
    late_answered: Option<(u32, Box<[u8]>)>,
}

/// A message of the call, as far as offer and answer go.
#[derive(Clone, Copy, Debug)]
pub struct Carrier<'m> {
    /// Of the request.
    pub method: Method,
    /// The called side's tag: it names the dialog.
    pub tag: &'m [u8],
    /// It carries SDP.
    pub has_sdp: bool,
}

impl OfferAnswer {
    /// A request of the call, sent by `from` under this number.
    pub fn request(&mut self, from: Side, cseq: u32, request: Carrier<'_>) -> (Part, Exchange) {
        let Carrier { method, tag, has_sdp } = request;
        let of_late_offer = match (method, self.pending) {
            // RFC 3261 §13.2.1, RFC 3262 §5: the answer to an offer in a 2xx or a reliable 18x.
            (Method::Ack, Some(pending)) => pending.from != from && pending.late == Some(cseq),
            (Method::Prack, Some(pending)) => pending.from != from && pending.late.is_some(),
            _ => false,
        };
        match (method, has_sdp) {
            (Method::Ack | Method::Prack, true) if of_late_offer => {
                let answered = self.pending.take().map(|pending| pending.exchange);
                self.late_answered = answered.map(|exchange| (exchange, tag.into()));
                (Part::Answer(true), Exchange::default())
            }
            (Method::Ack, false) if of_late_offer => {
                self.pending = None;
                (Part::LetFall, Exchange::default())
            }
            (Method::Ack, true) => (Part::Copy, Exchange::default()),
            (Method::Invite, false) => (Part::Nothing, self.begin(cseq, Role::InvitesOffer)),
            (Method::Invite | Method::Update | Method::Prack, true) => match self.pending {
                None => {
                    let exchange = self.begin(cseq, Role::Offered);
                    self.latest = exchange.number;
                    self.pending = Some(Pending { from, exchange: exchange.number, late: None });
                    (Part::Offer, exchange)
                }
                Some(pending) if pending.from == from => (Part::Overlap, Exchange::default()),
                Some(_) => (Part::Glare, Exchange::default()),
            },
            _ => (Part::Nothing, Exchange::default()),
        }
    }

    /// A response of the call with this status, sent by `from`, in the transaction of `exchange`; `reliable`: it is a
    /// provisional one that will be PRACK'd (RFC 3262).
    pub fn response(
        &mut self,
        exchange: &mut Exchange,
        from: Side,
        response: Carrier<'_>,
        status: u16,
        reliable: bool,
    ) -> Part {
        let Carrier { method, tag, has_sdp } = response;
        let carries = matches!(method, Method::Invite | Method::Update | Method::Prack);
        if !carries || !(101..300).contains(&status) {
            return Part::Nothing;
        }
        let is_pending = self.pending.is_some_and(|pending| pending.exchange == exchange.number);
        match (exchange.role, has_sdp) {
            (Role::Offered, false) => {
                // RFC 3261 §13.2.1 wants the answer in a reliable message; a peer that gave it in an unreliable 18x alone
                // means it all the same, and the exchange is over.
                if status >= 200 && is_pending {
                    self.pending = None;
                }
                Part::Nothing
            }
            (Role::Offered, true) => {
                // RFC 3261 §13.2.1: after the answer in a reliable message, later SDP of the transaction is a copy. It may
                // come when another exchange has changed what it says (RFC 3311 §5.1).
                let is_copy = exchange.answered.iter().any(|answered| **answered == *tag);
                if is_copy && self.latest != exchange.number {
                    return Part::Copy;
                }
                let is_last = status >= 200 || reliable;
                if is_last && is_pending {
                    self.pending = None;
                }
                if is_last && !is_copy && exchange.answered.len() < FORKS_MAX {
                    exchange.answered.push(tag.into());
                }
                Part::Answer(is_last)
            }
            (Role::InvitesOffer, true) => {
                let answered = (exchange.number, tag);
                let is_copy = self.late_answered.as_ref().is_some_and(|(n, tag)| (*n, &**tag) == answered);
                match self.pending {
                    // RFC 3261 §13.2.1: no offer in the INVITE, so the first reliable message carries it.
                    None if !is_copy => {
                        self.latest = exchange.number;
                        self.pending =
                            Some(Pending { from, exchange: exchange.number, late: Some(exchange.cseq) });
                        Part::Offer
                    }
                    // The same offer again, in the 2xx behind a reliable 18x, or on another fork.
                    Some(_) if is_pending => Part::Offer,
                    _ => Part::Copy,
                }
            }
            (Role::None, true) => Part::Copy,
            (Role::None | Role::InvitesOffer, false) => Part::Nothing,
        }
    }

    /// The transaction of `exchange` failed. True: its offer, or the one that its 18x carried, is withdrawn and what held
    /// before holds again (RFC 3261 §14.1, RFC 3311 §5.1). One that was answered meanwhile, in a reliable 18x, stands
    /// (RFC 6141 §3).
    pub fn failed(&mut self, exchange: &Exchange) -> bool {
        let withdrawn = self.pending.is_some_and(|pending| pending.exchange == exchange.number);
        if withdrawn {
            self.pending = None;
        }
        withdrawn
    }

    fn begin(&mut self, cseq: u32, role: Role) -> Exchange {
        self.begun = self.begun.wrapping_add(1);
        Exchange { number: self.begun, cseq, role, answered: SmallVec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The call's exchange; every message of these tests has the same CSeq.
    #[derive(Default)]
    struct Talk(OfferAnswer);

    fn carrier(method: Method, has_sdp: bool) -> Carrier<'static> {
        Carrier { method, tag: b"t", has_sdp }
    }

    impl Talk {
        fn request(&mut self, method: Method, from: Side, has_sdp: bool) -> (Part, Exchange) {
            self.0.request(from, 7, carrier(method, has_sdp))
        }

        /// To an INVITE, from B.
        fn invite(&mut self, exchange: &mut Exchange, status: u16, reliable: bool, has_sdp: bool) -> Part {
            self.0.response(exchange, Side::B, carrier(Method::Invite, has_sdp), status, reliable)
        }

        /// A 200 to an UPDATE or PRACK.
        fn ok(&mut self, exchange: &mut Exchange, from: Side) -> Part {
            self.0.response(exchange, from, carrier(Method::Update, true), 200, false)
        }
    }

    #[test]
    fn offer_in_the_invite() {
        let mut call = Talk::default();
        let (part, mut exchange) = call.request(Method::Invite, Side::A, true);
        assert_eq!(part, Part::Offer);
        assert_eq!(call.invite(&mut exchange, 180, false, false), Part::Nothing);
        assert_eq!(call.invite(&mut exchange, 183, false, true), Part::Answer(false));
        assert_eq!(call.invite(&mut exchange, 200, false, true), Part::Answer(true));
        assert_eq!(call.invite(&mut exchange, 200, false, true), Part::Answer(true), "once more");
        assert_eq!(call.request(Method::Ack, Side::A, false).0, Part::Nothing);
        assert_eq!(call.request(Method::Invite, Side::B, true).0, Part::Offer, "the next exchange may begin");
    }

    #[test]
    fn a_2xx_without_sdp_ends_the_exchange_all_the_same() {
        let mut call = Talk::default();
        let (_, mut exchange) = call.request(Method::Invite, Side::A, true);
        assert_eq!(call.invite(&mut exchange, 183, false, true), Part::Answer(false));
        assert_eq!(call.invite(&mut exchange, 200, false, false), Part::Nothing);
        assert_eq!(call.request(Method::Invite, Side::B, true).0, Part::Offer, "no 491 for ever");
    }

    #[test]
    fn late_offer_is_answered_in_the_ack_and_the_ack_may_come_again() {
        let mut call = Talk::default();
        let (part, mut exchange) = call.request(Method::Invite, Side::A, false);
        assert_eq!(part, Part::Nothing);
        assert_eq!(call.invite(&mut exchange, 200, false, true), Part::Offer);
        assert_eq!(call.request(Method::Ack, Side::A, true).0, Part::Answer(true));
        assert_eq!(call.request(Method::Ack, Side::A, true).0, Part::Copy, "the 200 was sent again");
    }

    #[test]
    fn late_offer_in_a_reliable_183_is_answered_in_the_prack() {
        let mut call = Talk::default();
        let (_, mut exchange) = call.request(Method::Invite, Side::A, false);
        assert_eq!(call.invite(&mut exchange, 183, true, true), Part::Offer);
        assert_eq!(call.request(Method::Prack, Side::A, true).0, Part::Answer(true));
        assert_eq!(call.invite(&mut exchange, 200, false, true), Part::Copy, "the offer is not made anew");
        assert_eq!(call.request(Method::Ack, Side::A, false).0, Part::Nothing);
        assert_eq!(call.request(Method::Update, Side::B, true).0, Part::Offer);
    }

    #[test]
    fn the_ack_of_another_invite_lets_no_offer_fall() {
        let mut call = Talk::default();
        let (_, mut exchange) = call.request(Method::Invite, Side::A, true);
        assert_eq!(call.invite(&mut exchange, 200, false, true), Part::Answer(true));
        let (_, mut update) = call.request(Method::Update, Side::B, true);
        assert_eq!(call.request(Method::Ack, Side::A, false).0, Part::Nothing);
        assert_eq!(call.request(Method::Update, Side::A, true).0, Part::Glare);
        assert_eq!(call.ok(&mut update, Side::A), Part::Answer(true));
    }

    #[test]
    fn a_2xx_that_repeats_an_answer_that_has_been_changed_since_changes_nothing() {
        let mut call = Talk::default();
        let (_, mut exchange) = call.request(Method::Invite, Side::A, true);
        assert_eq!(call.invite(&mut exchange, 183, true, true), Part::Answer(true));
        let (part, mut update) = call.request(Method::Update, Side::B, true);
        assert_eq!((part, call.ok(&mut update, Side::A)), (Part::Offer, Part::Answer(true)));
        assert_eq!(call.invite(&mut exchange, 200, false, true), Part::Copy);
        let fork = Carrier { tag: b"fork", ..carrier(Method::Invite, true) };
        assert_eq!(
            call.0.response(&mut exchange, Side::B, fork, 200, false),
            Part::Answer(true),
            "its own first"
        );
    }

    #[test]
    fn a_refused_re_invite_withdraws_its_offer_and_glare_is_seen() {
        let mut call = Talk::default();
        let (_, first) = call.request(Method::Invite, Side::A, true);
        assert_eq!(call.request(Method::Update, Side::B, true).0, Part::Glare);
        assert_eq!(call.request(Method::Update, Side::A, true).0, Part::Overlap);
        assert!(call.0.failed(&first));
        assert!(!call.0.failed(&first));
        assert_eq!(call.request(Method::Update, Side::B, true).0, Part::Offer);
        assert!(!call.0.failed(&first), "an offer of another transaction");
    }

    #[test]
    fn what_a_reliable_183_has_answered_stands_when_the_re_invite_fails() {
        let mut call = Talk::default();
        let (_, mut exchange) = call.request(Method::Invite, Side::A, true);
        assert_eq!(call.invite(&mut exchange, 183, true, true), Part::Answer(true));
        assert!(!call.0.failed(&exchange));
    }

    #[test]
    fn a_late_offer_that_nobody_answers_does_not_block_the_next() {
        for acknowledged in [true, false] {
            let mut call = Talk::default();
            let (_, mut exchange) = call.request(Method::Invite, Side::A, false);
            assert_eq!(call.invite(&mut exchange, 183, true, true), Part::Offer);
            if acknowledged {
                assert_eq!(call.request(Method::Ack, Side::A, false).0, Part::LetFall);
            } else {
                assert!(call.0.failed(&exchange));
            }
            assert_eq!(call.request(Method::Invite, Side::A, true).0, Part::Offer);
        }
    }

    #[test]
    fn sdp_where_none_belongs() {
        let mut call = Talk::default();
        assert_eq!(call.request(Method::Info, Side::A, true).0, Part::Nothing, "none of the call's");
        assert_eq!(call.request(Method::Ack, Side::A, true).0, Part::Copy, "an answer to no offer");
        let (_, mut update) = call.request(Method::Update, Side::A, false);
        assert_eq!(call.ok(&mut update, Side::B), Part::Copy);
        let (_, mut info) = call.request(Method::Info, Side::A, true);
        let ok = carrier(Method::Info, true);
        assert_eq!(call.0.response(&mut info, Side::B, ok, 200, false), Part::Nothing);
    }
}
