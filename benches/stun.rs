//! What a control message costs: reading, the Binding server, and a request with long-term credentials.
#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use turnpike::base::{ClientAddr, NodeKey, Now, UnixTime};
use turnpike::stun::{Class, ErrorCode, Hash, Key, Message, Method, TransactionId, Type, Writer, binding};
use turnpike::turn::credentials::{
    Accounts, Credentials, Keys, RoleId, Settings, SharedSecret, Source, User,
};

const REALM: &str = "turnpike";
const ID: TransactionId = TransactionId([7; 12]);

fn now() -> Now {
    Now { instant: Instant::now(), unix: UnixTime(Duration::from_secs(1_800_000_000)) }
}

fn client() -> ClientAddr {
    ClientAddr("198.51.100.7:5000".parse::<SocketAddr>().unwrap())
}

fn allocate(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut wire = Vec::new();
    write(Writer::begin(&mut wire, Class::Request, Method::ALLOCATE, ID).put_requested_transport(17));
    wire
}

fn nonce(credentials: &Credentials, now: Now) -> String {
    let (request, mut answer) = (allocate(|_| {}), Vec::new());
    let request = Message::parse(&request).unwrap();
    credentials.refuse(&request, ErrorCode::UNAUTHENTICATED, client(), now, &mut answer);
    Message::parse(&answer).unwrap().nonce().unwrap().unwrap().to_owned()
}

fn stun(c: &mut Criterion) {
    let now = now();
    let secret = SharedSecret::new(b"secret");
    let issued = secret.issue("carol", Duration::from_secs(3600), now.unix);
    let alice = User { name: "alice".into(), keys: Keys::of_password("alice", REALM, "pw"), role: RoleId(0) };
    let settings = Settings {
        realm: REALM.into(),
        users: vec![alice],
        secrets: [secret].into_iter().collect(),
        short_lived_role: RoleId(0),
    };
    let accounts = Arc::new(Accounts::new(settings, [1; 32]));
    let mut credentials = Credentials::new(accounts, NodeKey::new([3; 16]));
    let nonce = nonce(&credentials, now);
    let signed = |name: &str, password: &str| {
        allocate(|w| {
            w.put(Type::USERNAME, name.as_bytes()).put(Type::REALM, REALM.as_bytes());
            w.put(Type::NONCE, nonce.as_bytes()).add_integrity(&Key::md5(name, REALM, password), Hash::Sha1);
        })
    };
    let (long, short) = (signed("alice", "pw"), signed(&issued.username, &issued.password));
    let mut bare = Vec::new();
    Writer::begin(&mut bare, Class::Request, Method::BINDING, ID);
    let key = Key::md5("alice", REALM, "pw");
    let mut out = Vec::with_capacity(512);

    c.bench_function("stun/parse", |b| b.iter(|| Message::parse(black_box(&long)).unwrap().nonce()));
    c.bench_function("stun/parse and check integrity", |b| {
        b.iter(|| assert!(Message::parse(black_box(&long)).unwrap().check_integrity(&key)));
    });
    c.bench_function("stun/binding answer", |b| {
        b.iter(|| {
            out.clear();
            binding::answer(&Message::parse(black_box(&bare)).unwrap(), client(), &mut out)
        });
    });
    let source = Source { client: client(), proven: true };
    for (what, wire) in [("long-term", &long), ("short-lived", &short)] {
        c.bench_function(&format!("turn/authenticate {what}"), |b| {
            b.iter(|| {
                credentials.authenticate(&Message::parse(black_box(wire)).unwrap(), source, now).unwrap()
            });
        });
    }
    c.bench_function("turn/401", |b| {
        let wire = allocate(|_| {});
        b.iter(|| {
            out.clear();
            let request = Message::parse(black_box(&wire)).unwrap();
            let _ = credentials.authenticate(&request, source, now);
            credentials.refuse(&request, ErrorCode::UNAUTHENTICATED, client(), now, &mut out);
        });
    });
}

criterion_group!(benches, stun);
criterion_main!(benches);
