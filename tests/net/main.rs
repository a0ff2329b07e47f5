//! The world around the edge, on 127.0.0.1: real sockets, real TLS, peers that misbehave.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but looks for #[test] alone

mod admin;
mod alerts;
mod authenticated;
mod calls;
mod dns;
mod drain;
#[path = "../support/dtls_client.rs"]
mod dtls_client;
mod feeds;
mod harness;
mod heard;
mod hostile;
mod life;
mod media_attacks;
mod methods;
mod mutual_tls;
mod outgoing_tls;
mod reload;
mod restart;
mod restart_connections;
#[path = "../support/running.rs"]
mod running;
mod sip_attacks;
mod streams;
mod stun_keep_alives;
mod targets;
mod tls;
mod turn;
mod turn_attacks;
mod turn_calls;
#[path = "../support/turn_client.rs"]
mod turn_client;
mod turn_dtls;
mod turn_policy;
#[path = "../support/turn_stream.rs"]
mod turn_stream;
mod turn_streams;
mod turn_tcp_allocations;
mod web;
mod web_server;
