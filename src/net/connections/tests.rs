use super::*;
use crate::base::{ClientAddr, ListenerId, Transport};

fn source(flow: u64) -> Source {
    Source {
        flow: FlowId(flow),
        listener: ListenerId(0),
        transport: Transport::Tcp,
        remote: ClientAddr("192.0.2.1:5060".parse().unwrap()),
    }
}

fn target() -> Destination {
    Destination::Address {
        listener: ListenerId(0),
        transport: Transport::Tcp,
        remote: "192.0.2.1:5060".parse().unwrap(),
        tls: u16::MAX,
    }
}

fn patience() -> Patience {
    Patience {
        message: Duration::from_secs(10),
        idle: Duration::from_secs(600),
        write: Duration::from_secs(20),
        ..Patience::default()
    }
}

#[test]
fn what_is_queued_is_written_and_what_does_not_fit_is_refused() {
    let t0 = Instant::now();
    let mut connections = Connections::new(10);
    connections.insert(source(1), None, t0);
    let mut buffer = Vec::new();
    assert_eq!(connections.take_outbound(FlowId(1), &mut buffer, t0), Next::Wait);
    connections.queue(FlowId(1), b"1234").unwrap();
    connections.queue(FlowId(1), b"5678").unwrap();
    assert_eq!(connections.take_outbound(FlowId(1), &mut buffer, t0), Next::Write);
    assert_eq!(buffer, b"12345678");
    // What the writer holds counts until the peer has taken it.
    assert_eq!(connections.queue(FlowId(1), b"90a"), Err(NotQueued::Full));
    connections.wrote(FlowId(1), 1, t0);
    connections.queue(FlowId(1), b"90a").unwrap();
    let (_, unsent) = connections.remove(FlowId(1)).unwrap();
    assert_eq!(unsent, 10);
    assert_eq!(connections.queue(FlowId(1), b"x"), Err(NotQueued::Closed));
    assert_eq!(connections.take_outbound(FlowId(1), &mut buffer, t0), Next::Close);
}

#[test]
fn closing_writes_first_and_takes_nothing_more() {
    let t0 = Instant::now();
    let mut connections = Connections::new(100);
    connections.insert(source(1), Some(target()), t0);
    assert_eq!(connections.to_target(&target()), Some(FlowId(1)));
    connections.queue(FlowId(1), b"bye").unwrap();
    connections.close(FlowId(1));
    assert_eq!(connections.to_target(&target()), None, "the next message opens a new connection");
    assert_eq!(connections.queue(FlowId(1), b"more"), Err(NotQueued::Closed));
    assert!(connections.heard(FlowId(1), t0).is_none());
    let mut buffer = Vec::new();
    assert_eq!(connections.take_outbound(FlowId(1), &mut buffer, t0), Next::Write);
    connections.wrote(FlowId(1), 3, t0);
    buffer.clear();
    assert_eq!(connections.take_outbound(FlowId(1), &mut buffer, t0), Next::Close);
}

#[test]
fn a_closed_connection_does_not_take_its_successor_off_the_target() {
    let t0 = Instant::now();
    let mut connections = Connections::new(100);
    connections.insert(source(1), Some(target()), t0);
    connections.close(FlowId(1));
    connections.insert(source(2), Some(target()), t0);
    connections.remove(FlowId(1));
    assert_eq!(connections.to_target(&target()), Some(FlowId(2)));
}

#[test]
fn patience_ends_for_the_silent_the_slow_and_the_deaf() {
    let t0 = Instant::now();
    let at = |s| t0 + Duration::from_secs(s);
    let mut connections = Connections::new(100);
    for flow in 1..=4 {
        connections.insert(source(flow), None, t0);
    }
    // 2 drips a message; 3 does not read; 4 talks.
    connections.unfinished(FlowId(2), true, false, at(1));
    connections.unfinished(FlowId(2), true, false, at(8));
    connections.queue(FlowId(3), b"x").unwrap();
    connections.take_outbound(FlowId(3), &mut Vec::new(), at(2));
    connections.unfinished(FlowId(4), true, false, at(1));
    connections.unfinished(FlowId(4), true, true, at(8));
    connections.unfinished(FlowId(4), false, true, at(9));
    let overdue = |connections: &Connections, s| {
        let mut flows: Vec<_> =
            connections.overdue(&patience(), at(s)).iter().map(|(flow, _)| flow.0).collect();
        flows.sort_unstable();
        flows
    };
    assert!(overdue(&connections, 10).is_empty());
    assert_eq!(overdue(&connections, 11), [2]);
    assert_eq!(overdue(&connections, 22), [2, 3]);
    for flow in 2..=4 {
        connections.heard(FlowId(flow), at(599));
    }
    assert_eq!(overdue(&connections, 600), [1, 2, 3]);
}
