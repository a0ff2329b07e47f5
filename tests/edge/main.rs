//! The edge in a simulated world with a fake clock and a fake relay: phones, PBX and carriers are scripted as text.

mod calls;
mod ua;
mod world;
