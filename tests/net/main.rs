//! The world around the edge, on 127.0.0.1: real sockets, real TLS, peers that misbehave.

mod admin;
mod calls;
mod drain;
mod harness;
mod hostile;
mod life;
mod streams;
mod targets;
mod tls;
