//! What becomes of ICE between the two sides of a call: it passes, with our candidate in it, or ends at us (DESIGN.md §4).
//! One decision for the whole call, since `a=ice-lite` is said for a whole session (RFC 8839 §5.3).

use serde::{Deserialize, Serialize};

use crate::edge::settings::Ice;
use crate::ice::Credentials;
use crate::relay::Side;
use crate::sdp::MediaEdit;

use super::Sides;
use super::keyed::Legs;

/// What is written towards a side.
#[derive(Clone, Debug)]
pub(super) enum Towards {
    /// The far endpoint's ICE, with our candidate in it, or with ours alone.
    Passed { relay_only: bool },
    /// None.
    Stripped,
    /// That we are an ICE-lite agent.
    Lite(Credentials),
}

impl Towards {
    /// What to write into a section that does not go through the relay, or is off (port 0).
    pub(super) fn left_alone(&self) -> MediaEdit {
        match self {
            Towards::Passed { .. } => MediaEdit::Keep,
            Towards::Stripped | Towards::Lite(_) => MediaEdit::WithoutIce,
        }
    }

    /// Candidates of the far endpoint's own are shown.
    pub(super) fn shows_candidates(&self) -> bool {
        matches!(self, Towards::Passed { relay_only: false })
    }
}

/// How far it has come with one side.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct End {
    /// What the endpoint goes by, as its last offer or answer said.
    theirs: Option<Box<Credentials>>,
    /// What we go by towards it, if its ICE ends at us.
    ours: Option<Box<Credentials>>,
    /// It was told that its ICE ends at us.
    terminated: bool,
}

/// The ICE of a call.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct CallIce {
    a: End,
    b: End,
    /// The last offer's ICE was shown to the other side.
    passes: bool,
}

impl CallIce {
    /// What holds with an offer of `from`, whose credentials are `theirs` unless it does no ICE that could end at us.
    pub(super) fn after_offer(
        &self,
        from: Side,
        sides: &Sides,
        theirs: Option<Credentials>,
        legs: Legs,
        rng: &mut dyn rand::Rng,
    ) -> CallIce {
        let mut next = self.clone();
        let end = next.end_mut(from);
        // RFC 8839 §4.4.1.1.1: both changed.
        let goes_on = match (&end.theirs, &theirs) {
            (Some(before), Some(now)) => before.ufrag == now.ufrag || before.pwd == now.pwd,
            _ => false,
        };
        end.terminated &= goes_on;
        let ours = end.ours.take().filter(|_| goes_on);
        if theirs.is_some() && sides.of(from).ice.may_terminate() {
            end.ours = ours.or_else(|| Some(Box::new(Credentials::generate(rng))));
        }
        end.theirs = theirs.map(Box::new);
        let may_pass = sides.a.ice.may_pass() && sides.b.ice.may_pass();
        let to = from.other();
        let may_offer = !sides.of(to).ice_on_request || next.end(to).theirs.is_some();
        // On a direct path media would come that the other side cannot read.
        next.passes = may_pass && may_offer && !legs.translated && !next.a.terminated && !next.b.terminated;
        // RFC 8827 §6.3: a browser sends nothing to who has not consented, so DTLS of ours is offered with ICE of ours.
        let with_dtls = legs.offered_dtls && sides.of(to).ice == Ice::Auto;
        if (sides.of(to).ice == Ice::Terminate || with_dtls) && may_offer {
            let end = next.end_mut(to);
            end.ours.get_or_insert_with(|| Box::new(Credentials::generate(rng)));
            end.terminated = true;
        }
        next
    }

    /// What an offer is to say to `to`.
    pub(super) fn in_offer(&self, to: Side, sides: &Sides) -> Towards {
        match self.lite(to) {
            Some(ours) => Towards::Lite(Credentials::clone(ours)),
            None => self.unless_lite(sides),
        }
    }

    /// What an answer is to say to `to`, who has offered. `answerer_does_ice`: so says the answer.
    pub(super) fn in_answer(&self, to: Side, sides: &Sides, answerer_does_ice: bool) -> Towards {
        match self.end(to).ours.as_ref().filter(|_| !(self.passes && answerer_does_ice)) {
            Some(ours) => Towards::Lite(Credentials::clone(ours)),
            None => self.unless_lite(sides),
        }
    }

    /// What either side is told besides, where its ICE does not end at us.
    pub(super) fn unless_lite(&self, sides: &Sides) -> Towards {
        let relay_only = sides.a.ice == Ice::RelayOnly || sides.b.ice == Ice::RelayOnly;
        if self.passes { Towards::Passed { relay_only } } else { Towards::Stripped }
    }

    /// What the endpoint of `side` goes by now, as its answer says.
    pub(super) fn set_theirs(&mut self, side: Side, theirs: Option<Credentials>) {
        self.end_mut(side).theirs = theirs.map(Box::new);
    }

    /// The answer that says `towards` to `to` holds.
    pub(super) fn settle(&mut self, to: Side, towards: &Towards) {
        self.end_mut(to).terminated = matches!(towards, Towards::Lite(_));
    }

    /// As [`Self::settle`] left it.
    pub(super) fn is_terminated(&self, side: Side) -> bool {
        self.end(side).terminated
    }

    /// [`Self::settle`], by what [`Self::is_terminated`] said.
    pub(super) fn set_terminated(&mut self, side: Side, terminated: bool) {
        self.end_mut(side).terminated = terminated;
    }

    /// What we go by towards `side`, whose ICE ends at us.
    pub(super) fn lite(&self, side: Side) -> Option<&Credentials> {
        let end = self.end(side);
        end.ours.as_deref().filter(|_| end.terminated)
    }

    /// The two endpoints do ICE with one another.
    pub(super) fn passes(&self) -> bool {
        self.passes && !self.a.terminated && !self.b.terminated
    }

    fn end(&self, side: Side) -> &End {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    fn end_mut(&mut self, side: Side) -> &mut End {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }
}
