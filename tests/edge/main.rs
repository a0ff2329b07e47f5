//! The edge in a simulated world with a fake clock and a fake relay: phones, PBX and carriers are scripted as text.

mod attacks;
mod calls;
mod ends;
mod fail_over;
mod media;
mod registration;
mod trunks;
mod ua;
mod world;
