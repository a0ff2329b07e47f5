//! What a leg of a call's media is allowed to do.

use serde::{Deserialize, Serialize};

pub mod dtls;
pub mod latch;
pub mod packet;
pub mod quality;
pub mod srtp;

/// The two transport addresses of one side of a stream (RFC 8445 §2).
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Component {
    /// RTP, or whatever the stream is.
    Rtp,
    Rtcp,
}
