//! Every (state, event) pair of the four machines, as a table to be read beside the RFC's figures, and machines driven
//! at random.

use std::fmt::{Debug, Write};

use proptest::prelude::*;

use super::super::machine::{Action, Step, Timer};
use super::super::{invite_client, invite_server, non_invite_client, non_invite_server};

/// One line per pair; reliable transports stand in a line of their own only where they differ.
fn table<S: Copy + Debug + PartialEq, E: Copy + Debug>(
    states: &[S],
    events: &[E],
    step: impl Fn(S, E, bool) -> Step<S>,
) -> String {
    let mut out = String::new();
    for &state in states {
        for &event in events {
            let (udp, tcp) = (step(state, event, false), step(state, event, true));
            line(&mut out, &format!("{state:?} {event:?}"), state, &udp);
            if udp != tcp {
                line(&mut out, &format!("{state:?} {event:?} (reliable)"), state, &tcp);
            }
        }
    }
    out
}

fn line<S: Debug + PartialEq>(out: &mut String, left: &str, before: S, (after, actions): &Step<S>) {
    if before == *after && actions.is_empty() {
        writeln!(out, "{left:<42} -").unwrap();
    } else {
        let actions: Vec<String> = actions.iter().map(|a| format!("{a:?}")).collect();
        writeln!(out, "{left:<42} {after:?}: {}", actions.join(", ")).unwrap();
    }
}

const INVITE_CLIENT: [invite_client::Event; 12] = {
    use invite_client::Event::*;
    [
        Trying,
        Provisional,
        Success,
        Failure,
        Cancel,
        Fired(Timer::A),
        Fired(Timer::B),
        Fired(Timer::C),
        Fired(Timer::D),
        Fired(Timer::M),
        Fired(Timer::Cancelled),
        TransportError,
    ]
};

const NON_INVITE_CLIENT: [non_invite_client::Event; 6] = {
    use non_invite_client::Event::*;
    [Provisional, Final, Fired(Timer::E), Fired(Timer::F), Fired(Timer::K), TransportError]
};

const INVITE_SERVER: [invite_server::Event; 9] = {
    use invite_server::Event::*;
    [
        Invite,
        Ack,
        Provisional,
        Success,
        Failure,
        Fired(Timer::G),
        Fired(Timer::H),
        Fired(Timer::I),
        Fired(Timer::L),
    ]
};

const NON_INVITE_SERVER: [non_invite_server::Event; 4] = {
    use non_invite_server::Event::*;
    [Request, Provisional, Final, Fired(Timer::J)]
};

#[test]
fn rfc3261_17_1_1_invite_client() {
    use invite_client::State::*;
    let states = [Calling, CancelWanted, Proceeding, Cancelled, Completed, Accepted, Terminated];
    insta::assert_snapshot!(table(&states, &INVITE_CLIENT, invite_client::step));
}

#[test]
fn rfc3261_17_1_2_non_invite_client() {
    use non_invite_client::State::*;
    let states = [Trying, Proceeding, Completed, Terminated];
    insta::assert_snapshot!(table(&states, &NON_INVITE_CLIENT, non_invite_client::step));
}

#[test]
fn rfc3261_17_2_1_invite_server() {
    use invite_server::State::*;
    let states = [Proceeding, Completed, Confirmed, Accepted, Terminated];
    insta::assert_snapshot!(table(&states, &INVITE_SERVER, invite_server::step));
}

#[test]
fn rfc3261_17_2_2_non_invite_server() {
    use non_invite_server::State::*;
    let states = [Trying, Proceeding, Completed, Terminated];
    insta::assert_snapshot!(table(&states, &NON_INVITE_SERVER, non_invite_server::step));
}

/// Drives a machine the way the layer does: a timer fires only while it is armed. Checks that nothing comes after
/// Terminated, and that in every state but those that wait for the transaction user (`waits`) a timer leads on.
fn drive<S: Copy + Debug + PartialEq, E: Copy + Debug>(
    (state, actions): Step<S>,
    picks: &[usize],
    events: &[E],
    timer_of: impl Fn(E) -> Option<Timer>,
    step: impl Fn(S, E) -> Step<S>,
    terminated: S,
    waits: &[S],
) {
    let mut armed = Vec::new();
    let mut state = state;
    arm(&mut armed, actions);
    for pick in picks {
        let event = events[pick % events.len()];
        if let Some(timer) = timer_of(event) {
            if !armed.contains(&timer) {
                continue;
            }
            armed.retain(|t| *t != timer);
        }
        let (after, actions) = step(state, event);
        assert!(state != terminated || (after == terminated && actions.is_empty()), "{state:?} {event:?}");
        state = after;
        arm(&mut armed, actions);
        let ends = armed.iter().any(|timer| !timer.repeats());
        assert!(
            state == terminated || waits.contains(&state) || ends,
            "{state:?} after {event:?} never ends"
        );
    }
}

fn arm(armed: &mut Vec<Timer>, actions: &[Action]) {
    for action in actions {
        match *action {
            Action::Start(timer, _) => {
                armed.retain(|t| t.repeats() != timer.repeats());
                armed.push(timer);
            }
            Action::Stop(timer) => armed.retain(|t| *t != timer),
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn nothing_after_terminated_and_every_wait_ends(
        picks in prop::collection::vec(any::<usize>(), 1..60),
        reliable: bool,
    ) {
        drive(
            invite_client::start(reliable), &picks, &INVITE_CLIENT,
            |e| match e { invite_client::Event::Fired(t) => Some(t), _ => None },
            |s, e| invite_client::step(s, e, reliable),
            invite_client::State::Terminated, &[],
        );
        drive(
            non_invite_client::start(reliable), &picks, &NON_INVITE_CLIENT,
            |e| match e { non_invite_client::Event::Fired(t) => Some(t), _ => None },
            |s, e| non_invite_client::step(s, e, reliable),
            non_invite_client::State::Terminated, &[],
        );
        drive(
            (invite_server::State::Proceeding, &[]), &picks, &INVITE_SERVER,
            |e| match e { invite_server::Event::Fired(t) => Some(t), _ => None },
            |s, e| invite_server::step(s, e, reliable),
            invite_server::State::Terminated, &[invite_server::State::Proceeding],
        );
        drive(
            (non_invite_server::State::Trying, &[]), &picks, &NON_INVITE_SERVER,
            |e| match e { non_invite_server::Event::Fired(t) => Some(t), _ => None },
            |s, e| non_invite_server::step(s, e, reliable),
            non_invite_server::State::Terminated,
            &[non_invite_server::State::Trying, non_invite_server::State::Proceeding],
        );
    }
}
