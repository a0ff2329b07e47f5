//! What a leg of a call's media is allowed to do.

pub mod latch;
pub mod packet;
