//! From RTP to SRTP: the packets for one leg's peer.

use std::fmt;
use std::mem;

use super::milestones::Milestone;
use super::session_keys::SessionKeys;
use super::sources::Sources;
use super::window::{self, Window};
use super::{LAST_RTCP_INDEX, LAST_RTP_INDEX, MasterKey, Refused, TAILROOM};
use crate::media::packet;

/// SRTCP packets of one sender between two restarts: ten of them a second for three weeks. 128 lives have room.
const RTCP_PACKETS: u32 = 1 << 24;

/// What becomes of the rollover counters when keys change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rollover {
    /// They go on (RFC 3711 §3.3.1): new keys, same transport address.
    Continues,
    /// They begin again at zero (RFC 4568 §7.1.4: a new transport address; a new DTLS association).
    Restarts,
}

/// Protects what one peer is sent. No key stream is used twice: a packet whose index was used before is refused.
pub struct Outbound {
    current: Era,
    previous: Option<Era>,
    /// SRTCP begins there.
    first_rtcp: u32,
    /// Yet to be told.
    milestone: Option<Milestone>,
}

/// Master key and session keys, and what was sent under them.
struct Era {
    master: MasterKey,
    keys: SessionKeys,
    sources: Sources<Sent>,
}

/// One sender's packets.
#[derive(Clone, Default)]
struct Sent {
    rtp: Window,
    /// How many SRTCP packets.
    rtcp: u32,
}

impl Outbound {
    /// Sends under `master`.
    pub fn new(master: &MasterKey) -> Outbound {
        let current = Era::new(master, Sources::new());
        Outbound { current, previous: None, first_rtcp: 0, milestone: None }
    }

    /// Goes on after the `life`th restart under the same key, where its senders had come as far as this. Nobody knows how many
    /// SRTCP packets there were, so each life has indices of its own (RFC 3711 §9.1).
    pub fn resume(&mut self, senders: &[Milestone], life: u8) {
        self.first_rtcp = u32::from(life) * RTCP_PACKETS;
        for sender in senders {
            if let Some(sent) = self.current.sources.entry(sender.ssrc) {
                sent.rtp = sender.window();
            }
        }
    }

    /// A sender has passed a milestone: once.
    #[inline]
    pub fn take_milestone(&mut self) -> Option<Milestone> {
        self.milestone.take()
    }

    /// Sends under that key from now on. The same key again changes nothing; the one before, set again (a re-INVITE
    /// that failed), goes on where it was left. An older one must not come back.
    pub fn rekey(&mut self, master: &MasterKey, rollover: Rollover) {
        if self.current.master == *master {
            return;
        }
        let known = self.previous.take_if(|previous| previous.master == *master);
        let era = known.unwrap_or_else(|| match rollover {
            Rollover::Continues => Era::new(master, self.current.sources.clone()),
            Rollover::Restarts => Era::new(master, Sources::new()),
        });
        self.previous = Some(mem::replace(&mut self.current, era));
    }

    /// From RTP to SRTP, in place: `buffer[..len]` is the packet, behind it is room for [`TAILROOM`] bytes. Returns the
    /// length of the SRTP packet.
    pub fn protect_rtp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, Refused> {
        let header = packet::rtp_header(with_tailroom(buffer, len)?).ok_or(Refused::Malformed)?;
        let sent = self.current.sources.entry(header.ssrc).ok_or(Refused::Sources)?;
        let index = if sent.rtp.has_begun() {
            sent.rtp.expect(header.sequence)
        } else {
            window::index(0, header.sequence)
        };
        if !sent.rtp.is_fresh(index) {
            return Err(Refused::Replayed);
        }
        if index > LAST_RTP_INDEX {
            return Err(Refused::Exhausted);
        }
        let before = sent.rtp;
        sent.rtp.mark(index);
        self.milestone = Milestone::passed(header.ssrc, before, sent.rtp).or(self.milestone);
        self.current.keys.seal_rtp(&header, index, buffer, len).ok_or(Refused::Malformed)
    }

    /// From RTCP to SRTCP, likewise.
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, Refused> {
        let ssrc = packet::rtcp_ssrc(with_tailroom(buffer, len)?).ok_or(Refused::Malformed)?;
        let sent = self.current.sources.entry(ssrc).ok_or(Refused::Sources)?;
        let index = self.first_rtcp + sent.rtcp;
        if index > LAST_RTCP_INDEX || sent.rtcp >= RTCP_PACKETS {
            return Err(Refused::Exhausted);
        }
        sent.rtcp += 1;
        self.current.keys.seal_rtcp(ssrc, index, buffer, len).ok_or(Refused::Malformed)
    }
}

impl Era {
    fn new(master: &MasterKey, sources: Sources<Sent>) -> Era {
        Era { master: master.clone(), keys: SessionKeys::derive(master), sources }
    }
}

/// The packet, if there is room behind it.
fn with_tailroom(buffer: &[u8], len: usize) -> Result<&[u8], Refused> {
    let (packet, room) = buffer.split_at_checked(len).ok_or(Refused::NoRoom)?;
    if room.len() < TAILROOM { Err(Refused::NoRoom) } else { Ok(packet) }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, sources) = (&self.current.master, self.current.sources.len());
        f.debug_struct("Outbound").field("key", key).field("sources", &sources).finish_non_exhaustive()
    }
}
