//! Non-INVITE client transaction (RFC 3261 §17.1.2, figure 6).

use super::machine::Action::*;
use super::machine::{After, Step, Timer};

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Sent, nothing heard.
    Trying,
    /// A provisional response came.
    Proceeding,
    /// A final response came.
    Completed,
    /// Gone.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// 1xx.
    Provisional,
    /// 200 to 699.
    Final,
    /// A timer fired.
    Fired(Timer),
    /// The transport could not send, or the connection is gone.
    TransportError,
}

/// The request goes out for the first time.
pub(super) fn start(reliable: bool) -> Step<State> {
    if reliable {
        (State::Trying, &[SendRequest, Start(Timer::F, After::T1x64)])
    } else {
        (State::Trying, &[SendRequest, Start(Timer::E, After::T1), Start(Timer::F, After::T1x64)])
    }
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
        Event::Provisional => (State::Proceeding, &[PassUp]),
        Event::Fired(Timer::E) => (State::Trying, &[SendRequest, Start(Timer::E, After::DoubledToT2)]),
        _ => unfinished(State::Trying, event, reliable),
    }
}

fn proceeding(event: Event, reliable: bool) -> Step<State> {
    match event {
        Event::Provisional => (State::Proceeding, &[PassUp]),
        Event::Fired(Timer::E) => (State::Proceeding, &[SendRequest, Start(Timer::E, After::T2)]),
        _ => unfinished(State::Proceeding, event, reliable),
    }
}

/// What is the same before and after a provisional response.
fn unfinished(state: State, event: Event, reliable: bool) -> Step<State> {
    match event {
        // Timer K is 0 for reliable transports.
        Event::Final if reliable => (State::Terminated, &[PassUp]),
        Event::Final => (State::Completed, &[Stop(Timer::E), Start(Timer::K, After::T4), PassUp]),
        Event::Fired(Timer::F) => (State::Terminated, &[TimedOut]),
        Event::TransportError => (State::Terminated, &[SendFailed]),
        _ => (state, &[]),
    }
}

fn completed(event: Event) -> Step<State> {
    match event {
        Event::Fired(Timer::K) => (State::Terminated, &[]),
        _ => (State::Completed, &[]),
    }
}
