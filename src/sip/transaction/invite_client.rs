//! INVITE client transaction (RFC 3261 §17.1.1, figure 5; RFC 6026 §7.2), with the proxy's Timer C (§16.6 step 11,
//! §16.8) and CANCEL (§9.1) as states of their own.

use super::machine::Action::*;
use super::machine::{After, Step, Timer};

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Sent, nothing heard.
    Calling,
    /// Calling, and to be cancelled as soon as a provisional response allows it (§9.1).
    CancelWanted,
    /// A provisional response came.
    Proceeding,
    /// Proceeding, and the CANCEL is out.
    Cancelled,
    /// A non-2xx final response came and was acknowledged.
    Completed,
    /// A 2xx came (RFC 6026): more of them may follow.
    Accepted,
    /// Gone.
    Terminated,
}

/// What can happen to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// 100.
    Trying,
    /// 101 to 199.
    Provisional,
    /// 2xx.
    Success,
    /// 300 to 699.
    Failure,
    /// The transaction user wants it cancelled.
    Cancel,
    /// A timer fired.
    Fired(Timer),
    /// The transport could not send, or the connection is gone.
    TransportError,
}

/// The request goes out for the first time.
pub(super) fn start(reliable: bool) -> Step<State> {
    if reliable {
        (State::Calling, &[SendRequest, Start(Timer::B, After::T1x64)])
    } else {
        (State::Calling, &[SendRequest, Start(Timer::A, After::T1), Start(Timer::B, After::T1x64)])
    }
}

/// One step.
pub(super) fn step(state: State, event: Event, reliable: bool) -> Step<State> {
    match state {
        State::Calling => calling(event, reliable),
        State::CancelWanted => cancel_wanted(event, reliable),
        State::Proceeding => proceeding(event, reliable),
        State::Cancelled => cancelled(event, reliable),
        State::Completed => completed(event),
        State::Accepted => accepted(event),
        State::Terminated => (State::Terminated, &[]),
    }
}

fn calling(event: Event, reliable: bool) -> Step<State> {
    match event {
        Event::Trying | Event::Provisional => {
            (State::Proceeding, &[Stop(Timer::A), Start(Timer::C, After::C), PassUp])
        }
        Event::Cancel => (State::CancelWanted, &[]),
        _ => unanswered(State::Calling, event, reliable),
    }
}

fn cancel_wanted(event: Event, reliable: bool) -> Step<State> {
    match event {
        // §9.1: "If no provisional response has been received, the CANCEL request MUST NOT be sent".
        Event::Trying | Event::Provisional => {
            (State::Cancelled, &[Stop(Timer::A), SendCancel, Start(Timer::Cancelled, After::T1x64), PassUp])
        }
        // The INVITE goes on being sent: only an answer to it can tell us that it must be cancelled.
        _ => unanswered(State::CancelWanted, event, reliable),
    }
}

/// What is the same in Calling, whether a CANCEL waits or not.
fn unanswered(state: State, event: Event, reliable: bool) -> Step<State> {
    match event {
        Event::Success | Event::Failure => final_response(event, reliable),
        Event::Fired(Timer::A) => (state, &[SendRequest, Start(Timer::A, After::Doubled)]),
        Event::Fired(Timer::B) => (State::Terminated, &[TimedOut]),
        Event::TransportError => (State::Terminated, &[SendFailed]),
        _ => (state, &[]),
    }
}

fn proceeding(event: Event, reliable: bool) -> Step<State> {
    match event {
        Event::Trying => (State::Proceeding, &[PassUp]),
        // §16.7 step 2: only 101 to 199 reset Timer C.
        Event::Provisional => (State::Proceeding, &[Start(Timer::C, After::C), PassUp]),
        // §16.8: a provisional response was received, so Timer C generates a CANCEL.
        Event::Cancel | Event::Fired(Timer::C) => {
            (State::Cancelled, &[SendCancel, Start(Timer::Cancelled, After::T1x64)])
        }
        _ => ringing(State::Proceeding, event, reliable),
    }
}

fn cancelled(event: Event, reliable: bool) -> Step<State> {
    match event {
        Event::Trying | Event::Provisional => (State::Cancelled, &[PassUp]),
        // §9.1: without a final response in 64*T1 seconds the original transaction counts as cancelled.
        Event::Fired(Timer::Cancelled) => (State::Terminated, &[TimedOut]),
        _ => ringing(State::Cancelled, event, reliable),
    }
}

/// What is the same in Proceeding, whether the CANCEL is out or not.
fn ringing(state: State, event: Event, reliable: bool) -> Step<State> {
    match event {
        Event::Success | Event::Failure => final_response(event, reliable),
        // Figure 5 has nothing here, as nothing is sent. A broken connection takes the answer with it, though, and
        // whoever waits should not hear a phone ring that is gone.
        Event::TransportError if reliable => (State::Terminated, &[SendFailed]),
        _ => (state, &[]),
    }
}

fn final_response(event: Event, reliable: bool) -> Step<State> {
    match event {
        // RFC 6026 §7.2: on 2xx Accepted, not Terminated.
        Event::Success => (State::Accepted, &[Stop(Timer::A), Start(Timer::M, After::T1x64), PassUp]),
        // Timer D is 0 for reliable transports.
        _ if reliable => (State::Terminated, &[SendAck, PassUp]),
        _ => (State::Completed, &[Stop(Timer::A), SendAck, Start(Timer::D, After::D), PassUp]),
    }
}

fn completed(event: Event) -> Step<State> {
    match event {
        // §17.1.1.2: retransmissions of the final response are acknowledged again, but not passed up.
        Event::Failure => (State::Completed, &[SendAck]),
        Event::Fired(Timer::D) | Event::TransportError => (State::Terminated, &[]),
        _ => (State::Completed, &[]),
    }
}

fn accepted(event: Event) -> Step<State> {
    match event {
        // RFC 6026 §7.2: retransmissions and the 2xx of other branches go up; their ACKs are the transaction user's.
        Event::Success => (State::Accepted, &[PassUp]),
        Event::Fired(Timer::M) => (State::Terminated, &[]),
        _ => (State::Accepted, &[]),
    }
}
