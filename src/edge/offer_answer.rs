//! Who sent the offer that waits for its answer (RFC 3264 §4, RFC 6337): tells for every SIP message of a call whether
//! the SDP in it is an offer, an answer, or neither. One exchange at a time per call.

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
    /// An offer while the other side's waits for its answer (RFC 3261 §14.2): 491.
    Glare,
}

/// What a transaction of the call means for the exchange, kept with it until its final response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// Its request carried an offer, so that its response carries the answer.
    offered: bool,
    /// It is an INVITE without an offer: its responses may carry one.
    invites_offer: bool,
}

/// The exchange of one call.
#[derive(Debug, Default)]
pub struct OfferAnswer {
    /// Who offered, while no final answer has come.
    pending: Option<Side>,
}

impl OfferAnswer {
    /// A request of the call, sent by `from`.
    pub fn request(&mut self, method: Method, from: Side, has_sdp: bool) -> (Part, Exchange) {
        if !has_sdp {
            // Whoever acknowledges an offer without an answer has let it fall.
            if method == Method::Ack && self.pending == Some(from.other()) {
                self.pending = None;
            }
            let invites_offer = method == Method::Invite;
            return (Part::Nothing, Exchange { invites_offer, ..Exchange::default() });
        }
        match (method, self.pending) {
            // RFC 3261 §13.2.1, RFC 3262 §5: the answer to an offer in a 2xx or a reliable 18x.
            (Method::Ack | Method::Prack, Some(pending)) if pending != from => {
                self.pending = None;
                (Part::Answer(true), Exchange::default())
            }
            (Method::Invite | Method::Update | Method::Prack, None) => {
                self.pending = Some(from);
                (Part::Offer, Exchange { offered: true, ..Exchange::default() })
            }
            (Method::Invite | Method::Update | Method::Prack, Some(_)) => (Part::Glare, Exchange::default()),
            _ => (Part::Nothing, Exchange::default()),
        }
    }

    /// A response of the call, sent by `from`, in the transaction of `exchange`.
    pub fn response(&mut self, exchange: Exchange, from: Side, response: Answering, has_sdp: bool) -> Part {
        let Answering { method, status, reliable } = response;
        if !(101..300).contains(&status) {
            return Part::Nothing;
        }
        if !has_sdp {
            // RFC 3261 §13.2.1 wants the answer in a reliable message; a peer that gave it in an unreliable 18x alone
            // means it all the same, and the exchange is over.
            if exchange.offered && status >= 200 && self.pending == Some(from.other()) {
                self.pending = None;
            }
            return Part::Nothing;
        }
        if exchange.offered {
            // RFC 3261 §13.2.1: after the answer in a reliable message, later SDP of the transaction is a copy.
            let last = status >= 200 || reliable;
            if last && self.pending == Some(from.other()) {
                self.pending = None;
            }
            return Part::Answer(last);
        }
        match (method, self.pending) {
            // RFC 3261 §13.2.1: no offer in the INVITE, so the first reliable message carries it.
            (Method::Invite, None) => {
                self.pending = Some(from);
                Part::Offer
            }
            // The same offer again, in the 2xx behind a reliable 18x, or on another fork.
            (Method::Invite, Some(pending)) if pending == from => Part::Offer,
            _ => Part::Nothing,
        }
    }

    /// The transaction of `exchange`, begun by `from`, failed. True: its offer, or the one that its 18x carried, is
    /// withdrawn and what held before holds again (RFC 3261 §14.1, RFC 3311 §5.1).
    pub fn failed(&mut self, exchange: Exchange, from: Side) -> bool {
        let withdrawn = exchange.offered && self.pending == Some(from)
            || exchange.invites_offer && self.pending == Some(from.other());
        if withdrawn {
            self.pending = None;
        }
        withdrawn
    }
}

/// A response, as far as offer and answer go.
#[derive(Clone, Copy, Debug)]
pub struct Answering {
    /// Of its request.
    pub method: Method,
    /// Its status.
    pub status: u16,
    /// RFC 3262: it carries `Require: 100rel` and `RSeq`.
    pub reliable: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite(status: u16, reliable: bool) -> Answering {
        Answering { method: Method::Invite, status, reliable }
    }

    #[test]
    fn offer_in_the_invite() {
        let mut call = OfferAnswer::default();
        let (part, exchange) = call.request(Method::Invite, Side::A, true);
        assert_eq!(part, Part::Offer);
        assert_eq!(call.response(exchange, Side::B, invite(180, false), false), Part::Nothing);
        assert_eq!(call.response(exchange, Side::B, invite(183, false), true), Part::Answer(false));
        assert_eq!(call.response(exchange, Side::B, invite(200, false), true), Part::Answer(true));
        assert_eq!(call.request(Method::Ack, Side::A, false).0, Part::Nothing);
        assert_eq!(call.request(Method::Invite, Side::B, true).0, Part::Offer, "the next exchange may begin");
    }

    #[test]
    fn a_2xx_without_sdp_ends_the_exchange_all_the_same() {
        let mut call = OfferAnswer::default();
        let (_, exchange) = call.request(Method::Invite, Side::A, true);
        assert_eq!(call.response(exchange, Side::B, invite(183, false), true), Part::Answer(false));
        assert_eq!(call.response(exchange, Side::B, invite(200, false), false), Part::Nothing);
        assert_eq!(call.request(Method::Invite, Side::B, true).0, Part::Offer, "no 491 for ever");
    }

    #[test]
    fn late_offer_is_answered_in_the_ack() {
        let mut call = OfferAnswer::default();
        let (part, exchange) = call.request(Method::Invite, Side::A, false);
        assert_eq!(part, Part::Nothing);
        assert_eq!(call.response(exchange, Side::B, invite(200, false), true), Part::Offer);
        assert_eq!(call.request(Method::Ack, Side::A, true).0, Part::Answer(true));
    }

    #[test]
    fn late_offer_in_a_reliable_183_is_answered_in_the_prack() {
        let mut call = OfferAnswer::default();
        let (_, exchange) = call.request(Method::Invite, Side::A, false);
        assert_eq!(call.response(exchange, Side::B, invite(183, true), true), Part::Offer);
        assert_eq!(call.request(Method::Prack, Side::A, true).0, Part::Answer(true));
        assert_eq!(call.response(exchange, Side::B, invite(200, false), false), Part::Nothing);
    }

    #[test]
    fn a_refused_re_invite_withdraws_its_offer_and_glare_is_seen() {
        let mut call = OfferAnswer::default();
        let (_, first) = call.request(Method::Invite, Side::A, true);
        assert_eq!(call.request(Method::Update, Side::B, true).0, Part::Glare);
        assert!(call.failed(first, Side::A));
        assert!(!call.failed(first, Side::A));
        assert_eq!(call.request(Method::Update, Side::B, true).0, Part::Offer);
    }

    #[test]
    fn a_late_offer_that_nobody_answers_does_not_block_the_next() {
        for acknowledged in [true, false] {
            let mut call = OfferAnswer::default();
            let (_, exchange) = call.request(Method::Invite, Side::A, false);
            assert_eq!(call.response(exchange, Side::B, invite(183, true), true), Part::Offer);
            if acknowledged {
                call.request(Method::Ack, Side::A, false);
            } else {
                assert!(call.failed(exchange, Side::A));
            }
            assert_eq!(call.request(Method::Invite, Side::A, true).0, Part::Offer);
        }
    }

    #[test]
    fn sdp_in_other_methods_is_none_of_ours() {
        let mut call = OfferAnswer::default();
        assert_eq!(call.request(Method::Info, Side::A, true).0, Part::Nothing);
        assert_eq!(call.request(Method::Ack, Side::A, true).0, Part::Nothing, "an answer to no offer");
    }
}
