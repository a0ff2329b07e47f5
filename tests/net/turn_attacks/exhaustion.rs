//! Taking until nothing is left, for oneself or for others.

use turnpike::turn::quota::Capacity;

use super::*;
use crate::harness::eventually;

fn live(attacked: &Attacked) -> u64 {
    attacked.node.status().unwrap().turn.unwrap().allocations
}

#[test]
fn a_user_who_takes_without_end_is_486_and_takes_from_nobody_else() {
    let attacked = Attacked::with_turn(|turn| {
        let role = Role { allocations: 5, ..(*turn.roles[2]).clone() };
        turn.roles[2] = Arc::new(role);
    });
    let mut thieves: Vec<TurnClient> = (0..20).map(|_| attacked.client("thief")).collect();
    let codes: Vec<u16> = thieves.iter_mut().map(|thief| allocate(thief, |_| ())).collect();
    assert_eq!(codes, [[0; 5].as_slice(), &[486; 15]].concat());
    attacked.still_serves();
    for (thief, _) in thieves.iter_mut().zip(codes).filter(|(_, code)| *code == 0) {
        assert_eq!(thief.refresh(0), 0);
    }
    assert_eq!(allocate(&mut attacked.client("thief"), |_| ()), 0, "what is given back can be had again");
    eventually("only that one is left", || live(&attacked) == 1);
}

#[test]
fn a_full_node_says_508_and_serves_those_that_it_has() {
    let attacked = Attacked::with_turn(|turn| turn.capacity = Capacity { allocations: 10, ..turn.capacity });
    let mut alice = attacked.client("alice");
    alice.allocate();
    let mut thieves: Vec<TurnClient> = (0..12).map(|_| attacked.client("thief")).collect();
    let codes: Vec<u16> = thieves.iter_mut().map(|thief| allocate(thief, |_| ())).collect();
    assert_eq!(codes, [[0; 9].as_slice(), &[508; 3]].concat());
    let (bob, bob_addr) = turn::peer();
    assert_eq!(alice.permit(bob_addr), 0);
    alice.send(bob_addr, b"still there?");
    assert_eq!(turn::receive(&bob).0, b"still there?");
    for thief in &mut thieves[..9] {
        assert_eq!(thief.refresh(0), 0);
    }
    attacked.still_serves();
}

#[test]
fn ports_without_end_are_508_and_come_back() {
    let attacked = Attacked::with(|settings| {
        let first = *settings.relay.ports.start();
        settings.relay.ports = first..=first + 7;
    });
    for _ in 0..5 {
        let mut thieves: Vec<TurnClient> = (0..12).map(|_| attacked.client("thief")).collect();
        let codes: Vec<u16> = thieves.iter_mut().map(|thief| allocate(thief, |_| ())).collect();
        assert!(codes.iter().all(|code| [0, 508].contains(code)) && codes[11] == 508, "{codes:?}");
        for (thief, _) in thieves.iter_mut().zip(codes).filter(|(_, code)| *code == 0) {
            assert_eq!(thief.refresh(0), 0);
        }
        attacked.still_serves();
    }
}

#[test]
fn permissions_and_channels_without_end_are_508() {
    let attacked = Attacked::new();
    let mut thief = attacked.client("thief");
    thief.allocate();
    let victim = |n: u8| SocketAddr::new([192, 0, 2, n].into(), 9);
    let codes = |ask: &mut dyn FnMut(u8) -> u16| (1..=40).map(ask).collect::<Vec<u16>>();
    let permitted = codes(&mut |n| thief.permit(victim(n)));
    assert_eq!(permitted, [[0; 16].as_slice(), &[508; 24]].concat());
    let bound = codes(&mut |n| thief.bind(0x4000 + u16::from(n), victim(n % 16 + 1)));
    assert!(bound[..16].iter().all(|code| *code == 0) && !bound[16..].contains(&0), "{bound:?}");
    attacked.still_serves();
}

#[test]
fn a_reservation_token_is_good_once_and_for_its_owner() {
    let attacked = Attacked::new();
    let mut thief = attacked.client("thief");
    let answer = thief.ask(Method::ALLOCATE, |writer| {
        writer.put_requested_transport(17).put_even_port(true);
    });
    let token = answer.message().reservation_token().unwrap().unwrap();
    let with_token = |writer: &mut Writer<'_>| _ = writer.put(Type::RESERVATION_TOKEN, &token);
    assert_eq!(allocate(&mut attacked.client("alice"), with_token), 508, "another user");
    assert_eq!(allocate(&mut attacked.client("thief"), with_token), 0);
    assert_eq!(allocate(&mut attacked.client("thief"), with_token), 508, "again");
    let guessed = |writer: &mut Writer<'_>| _ = writer.put(Type::RESERVATION_TOKEN, &[0; 8]);
    assert_eq!(allocate(&mut attacked.client("thief"), guessed), 508);
    attacked.still_serves();
}

/// Every client comes from a port of its own and is never heard of again.
#[test]
fn a_thousand_clients_that_ask_and_go_leave_nothing_behind() {
    let attacked = Attacked::new();
    for n in 0..1000_u32 {
        let [.., high, low] = n.to_be_bytes();
        let socket = attacked.socket_at(&format!("127.1.{high}.{low}"));
        socket.send(&message(Class::Request, Method::ALLOCATE, 1, |_| ())).unwrap();
        assert_eq!(code(&answer(&socket)), 401);
    }
    assert_eq!(live(&attacked), 0);
    attacked.still_serves();
}

fn allocate(client: &mut TurnClient, fill: impl Fn(&mut Writer<'_>)) -> u16 {
    let answer = client.ask(Method::ALLOCATE, |writer| {
        writer.put_requested_transport(17);
        fill(writer);
    });
    answer.code()
}
