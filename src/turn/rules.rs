//! Who is asked besides roles: the node's rules, which whoever owns the server puts in. They can only say no: what a role does
//! not allow, no rule does.

use std::net::IpAddr;

use super::FiveTuple;
use super::credentials::RoleId;
use crate::stun::ErrorCode;

/// What a user wants, who has shown the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// An allocation.
    Allocate,
    /// To keep it.
    Refresh,
    /// A permission for this peer, with or without a channel, or a connection with it.
    Peer(IpAddr),
}

/// Who wants what.
#[derive(Clone, Copy, Debug)]
pub struct Question<'q> {
    /// From where.
    pub client: FiveTuple,
    /// As whom.
    pub user: &'q str,
    /// Theirs.
    pub role: RoleId,
    /// What.
    pub wish: Wish,
}

/// The rules say no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum No {
    /// With this answer.
    Answer(ErrorCode),
    /// Without one.
    Silence,
}

impl From<ErrorCode> for No {
    fn from(code: ErrorCode) -> No {
        No::Answer(code)
    }
}

/// The node's rules. One set for all workers; asked per request, never per packet that is relayed.
pub trait Rules: Send {
    /// True: whatever this source sends to this listener is to be dropped unread. For who is no client yet, and for requests.
    fn refuses_packet(&self, listener: u16, source: IpAddr) -> bool;

    /// May they? To a [`Wish::Allocate`] the answer is what the rules want to know of the allocation, if anything.
    ///
    /// # Errors
    /// They may not.
    fn ask(&self, question: &Question<'_>) -> Result<Option<Box<dyn Leave>>, No>;
}

/// What the rules have counted an allocation for; dropped when it is gone, however it went, and also when it never came to be.
pub trait Leave: Send {
    /// The allocation has relayed so many bytes of payload since it began, in both directions. False: it must end.
    fn relayed(&mut self, bytes: u64) -> bool;

    /// It has ended, and had relayed so many.
    fn ended(&mut self, bytes: u64);

    /// They want to be told while it lives.
    fn counts_bytes(&self) -> bool;
}
