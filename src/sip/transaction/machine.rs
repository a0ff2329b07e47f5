//! What the four machines share: the timers of RFC 3261 table 4 and RFC 6026, and what a machine may ask for.
//!
//! A machine is a function `(state, event) → (state, actions)`. It says *after what* a timer fires in the RFC's own
//! terms, so that its table can be read beside the RFC; the layer turns that into instants.

use std::time::Duration;

use super::TimerValues;

/// §16.6 step 11: "MUST be larger than 3 minutes".
const TIMER_C: Duration = Duration::from_secs(185);
/// §17.1.1.2: at least 32 s, whatever T1 is, because the server's Timer H may be longer than ours.
const TIMER_D: Duration = Duration::from_secs(32);

/// Timers by their letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// INVITE request retransmission, UDP only.
    A,
    /// INVITE client gives up.
    B,
    /// Proxy gives up on an INVITE that keeps ringing (§16.6 step 11).
    C,
    /// Wait for retransmissions of a non-2xx response.
    D,
    /// Non-INVITE request retransmission, UDP only.
    E,
    /// Non-INVITE client gives up.
    F,
    /// INVITE response retransmission, UDP only.
    G,
    /// Wait for the ACK.
    H,
    /// Wait for ACK retransmissions.
    I,
    /// Wait for non-INVITE request retransmissions.
    J,
    /// Wait for non-INVITE response retransmissions.
    K,
    /// Wait for accepted INVITE retransmissions (RFC 6026).
    L,
    /// Wait for retransmitted and further 2xx (RFC 6026).
    M,
    /// §9.1 has no letter for it: 64*T1 after a CANCEL the INVITE counts as cancelled without a final response.
    Cancelled,
}

impl Timer {
    /// A transaction has at most two armed at once: one that repeats a message and one that ends a state.
    pub(super) fn repeats(self) -> bool {
        matches!(self, Timer::A | Timer::E | Timer::G)
    }
}

/// How long a timer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    T1,
    T2,
    T4,
    /// 64*T1.
    T1x64,
    /// Twice the last interval (Timer A).
    Doubled,
    /// Twice the last interval, at most T2 (Timers E and G).
    DoubledToT2,
    /// Timer C's own.
    C,
    /// Timer D's own.
    D,
}

impl After {
    /// `last` is the interval that the repeating timer ran before.
    pub(super) fn duration(self, values: &TimerValues, last: Duration) -> Duration {
        match self {
            After::T1 => values.t1,
            After::T2 => values.t2,
            After::T4 => values.t4,
            After::T1x64 => values.t1 * 64,
            After::Doubled => last * 2,
            After::DoubledToT2 => (last * 2).min(values.t2),
            After::C => TIMER_C,
            After::D => TIMER_D,
        }
    }
}

/// What a machine asks the layer to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Client: send the request (again).
    SendRequest,
    /// Client: acknowledge the non-2xx response that just came (§17.1.1.3).
    SendAck,
    /// Client: cancel the INVITE in a transaction of its own (§9.1).
    SendCancel,
    /// Client: give the response to the transaction user.
    PassUp,
    /// Client: no answer in time.
    TimedOut,
    /// Client: the transport failed (§17.1.4).
    SendFailed,
    /// Server: keep the transaction user's response and send it.
    Answer,
    /// Server: send the kept response again, if there is one.
    Resend,
    /// Arm a timer; one of the same kind (repeating or ending) is replaced.
    Start(Timer, After),
    /// Disarm it.
    Stop(Timer),
}

/// What a step leads to: the state after it, and what to do.
pub(super) type Step<S> = (S, &'static [Action]);
