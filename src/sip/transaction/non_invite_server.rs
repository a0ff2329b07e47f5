//! Non-INVITE server transaction (RFC 3261 §17.2.2, figure 8). Transport errors are no event here, as in
//! [`super::invite_server`]: the answer is lost either way, and the kept one may still serve a retransmission.

use super::machine::Action::*;
use super::machine::{After, Step, Timer};

/// Where it stands. It starts in `Trying`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// No response yet.
    Trying,
    /// A provisional response was sent.
    Proceeding,
    /// A final response was sent.
    Completed,
    /// Gone.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The request again.
    Request,
    /// The transaction user sends 1xx.
    Provisional,
    /// The transaction user sends 200 to 699.
    Final,
    /// A timer fired.
    Fired(Timer),
}

/// One step.
pub(super) fn step(state: State, event: Event, reliable: bool) -> Step<State> {
    match state {
        State::Trying => trying(event, reliable),
        State::Proceeding => proceeding(event, reliable),
        State::Completed => completed(event),
        State::Terminated => (State::Terminated, &[]),
    }
}

fn trying(event: Event, reliable: bool) -> Step<State> {
    match event {
        Event::Provisional => (State::Proceeding, &[Answer]),
        Event::Final => final_response(reliable),
        Event::Request | Event::Fired(_) => (State::Trying, &[]),
    }
}

fn proceeding(event: Event, reliable: bool) -> Step<State> {
    match event {
        Event::Request => (State::Proceeding, &[Resend]),
        Event::Provisional => (State::Proceeding, &[Answer]),
        Event::Final => final_response(reliable),
        Event::Fired(_) => (State::Proceeding, &[]),
    }
}

fn final_response(reliable: bool) -> Step<State> {
    // Timer J is 0 for reliable transports.
    if reliable {
        (State::Terminated, &[Answer])
    } else {
        (State::Completed, &[Answer, Start(Timer::J, After::T1x64)])
    }
}

fn completed(event: Event) -> Step<State> {
    match event {
        Event::Request => (State::Completed, &[Resend]),
        // "Any other final responses passed by the TU MUST be discarded while in the Completed state."
        Event::Provisional | Event::Final => (State::Completed, &[]),
        Event::Fired(Timer::J) => (State::Terminated, &[]),
        Event::Fired(_) => (State::Completed, &[]),
    }
}
