//! INVITE server transaction (RFC 3261 §17.2.1, figure 7; RFC 6026 §7.1). RFC 6026 §8.8 keeps its state over transport
//! errors, so they are no event here.

use super::machine::Action::*;
use super::machine::{After, Step, Timer};

/// Where it stands. It starts in `Proceeding`; the transaction user sends the 100 at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// No final response yet.
    Proceeding,
    /// A non-2xx final response was sent, its ACK has not come.
    Completed,
    /// The ACK came.
    Confirmed,
    /// A 2xx was sent (RFC 6026).
    Accepted,
    /// Gone.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The INVITE again.
    Invite,
    /// An ACK that matches.
    Ack,
    /// The transaction user sends 1xx.
    Provisional,
    /// The transaction user sends 2xx.
    Success,
    /// The transaction user sends 300 to 699.
    Failure,
    /// A timer fired.
    Fired(Timer),
}

/// One step.
pub(super) fn step(state: State, event: Event, reliable: bool) -> Step<State> {
    match state {
        State::Proceeding => proceeding(event, reliable),
        State::Completed => completed(event, reliable),
        State::Confirmed => confirmed(event),
        State::Accepted => accepted(event),
        State::Terminated => (State::Terminated, &[]),
    }
}

fn proceeding(event: Event, reliable: bool) -> Step<State> {
    match event {
        Event::Invite => (State::Proceeding, &[Resend]),
        Event::Provisional => (State::Proceeding, &[Answer]),
        // RFC 6026 §7.1: Timer L runs for reliable transports too.
        Event::Success => (State::Accepted, &[Answer, Start(Timer::L, After::T1x64)]),
        Event::Failure if reliable => (State::Completed, &[Answer, Start(Timer::H, After::T1x64)]),
        Event::Failure => {
            (State::Completed, &[Answer, Start(Timer::G, After::T1), Start(Timer::H, After::T1x64)])
        }
        Event::Ack | Event::Fired(_) => (State::Proceeding, &[]),
    }
}

fn completed(event: Event, reliable: bool) -> Step<State> {
    match event {
        Event::Invite => (State::Completed, &[Resend]),
        Event::Fired(Timer::G) => (State::Completed, &[Resend, Start(Timer::G, After::DoubledToT2)]),
        // Timer I is 0 for reliable transports.
        Event::Ack if reliable => (State::Terminated, &[]),
        Event::Ack => (State::Confirmed, &[Stop(Timer::G), Start(Timer::I, After::T4)]),
        // The ACK never came: that is all the transaction user could be told, and it learns that from the end.
        Event::Fired(Timer::H) => (State::Terminated, &[]),
        _ => (State::Completed, &[]),
    }
}

fn confirmed(event: Event) -> Step<State> {
    match event {
        Event::Fired(Timer::I) => (State::Terminated, &[]),
        _ => (State::Confirmed, &[]),
    }
}

fn accepted(event: Event) -> Step<State> {
    match event {
        // RFC 6026 §7.1: retransmitted INVITEs are absorbed without an answer; 2xx retransmissions come from the
        // callee through the transaction user.
        Event::Success => (State::Accepted, &[Answer]),
        Event::Fired(Timer::L) => (State::Terminated, &[]),
        _ => (State::Accepted, &[]),
    }
}
