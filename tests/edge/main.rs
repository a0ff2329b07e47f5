//! The edge in a simulated world with a fake clock and a fake relay: phones, PBX and carriers are scripted as text.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but looks for #[test] alone

mod attacks;
mod authenticated;
mod bans;
mod believed;
mod budgets;
mod call_peers;
mod calls;
mod dialled;
mod early;
mod ends;
mod fail_over;
mod gone;
mod hearing;
mod hidden_bodies;
mod media;
mod methods;
mod outgrown;
mod overload;
mod passwords;
mod play;
mod registration;
mod requests;
mod restart;
mod security;
mod storm;
mod topology;
mod trickle;
mod trunk_login;
mod trunk_register;
mod trunk_rules;
mod trunks;
mod ua;
mod world;
