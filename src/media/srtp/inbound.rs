//! From SRTP to RTP: the packets of one leg's peer.

use std::fmt;
use std::mem;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::milestones::Milestone;
use super::session_keys::SessionKeys;
use super::sources::Sources;
use super::window::{self, Window};
use super::{LAST_RTP_INDEX, MasterKey, Refused};
use crate::media::packet::{self, RtpHeader};

/// How long packets under the old keys are still taken after new ones were set: the answer that brings the peer our
/// consent may take as long to arrive as a transaction lasts (RFC 3261 §17.1.1.2, 64 * T1).
pub const GRACE: Duration = Duration::from_secs(32);

/// Before an attempt that may destroy a packet and is not the last one, the packet is copied, up to this length, which
/// is more than a path's MTU. A longer one gets the last attempt only.
const LONGEST_COPY: usize = 2048;

/// Unprotects what one peer sends. A packet that is not authentic changes nothing.
pub struct Inbound {
    current: Era,
    previous: Option<Era>,
    /// Until when the previous keys still count.
    grace: Option<Instant>,
    /// Yet to be told.
    milestone: Option<Milestone>,
}

/// Master key and session keys, and what was seen under them.
struct Era {
    master: MasterKey,
    keys: SessionKeys,
    sources: Sources<Seen>,
}

/// One sender's packets.
#[derive(Default)]
struct Seen {
    rtp: Window,
    rtcp: Window,
}

/// Keys to try, and the index that the packet would have.
#[derive(Clone, Copy)]
struct Attempt {
    previous: bool,
    index: u64,
}

type Indices = SmallVec<[u64; 3]>;

impl Inbound {
    /// For a peer that sends under `master`.
    pub fn new(master: &MasterKey) -> Inbound {
        Inbound { current: Era::new(master), previous: None, grace: None, milestone: None }
    }

    /// Goes on after a restart, where its senders had come as far as this under the same key.
    pub fn resume(&mut self, senders: &[Milestone]) {
        for sender in senders {
            if let Some(seen) = self.current.sources.entry(sender.ssrc) {
                seen.rtp = sender.window();
            }
        }
    }

    /// A sender has passed a milestone: once.
    #[inline]
    pub fn take_milestone(&mut self) -> Option<Milestone> {
        self.milestone.take()
    }

    /// The peer's key from now on; the one before it counts for [`GRACE`] longer. The same key again changes nothing;
    /// the one before, set again (a re-INVITE that failed), comes back with all that was seen under it.
    pub fn rekey(&mut self, master: &MasterKey, now: Instant) {
        if self.current.master == *master {
            return;
        }
        let known = self.previous.take_if(|previous| previous.master == *master);
        let era = known.unwrap_or_else(|| Era::new(master));
        self.previous = Some(mem::replace(&mut self.current, era));
        self.grace = now.checked_add(GRACE);
    }

    /// From SRTP to RTP, in place: returns the length of the RTP packet. A packet that is refused may be destroyed.
    pub fn unprotect_rtp(&mut self, packet: &mut [u8], now: Instant) -> Result<usize, Refused> {
        let header = packet::rtp_header(packet).ok_or(Refused::Malformed)?;
        let before = self.previous.as_ref().and_then(|era| era.expect(header));
        let indices = self.current.rtp_indices(header, before);
        let previous = self.still_valid(now).map(|era| era.rtp_indices(header, None));
        let open = |keys: &SessionKeys, index, packet: &mut [u8]| keys.open_rtp(&header, index, packet);
        self.open(header.ssrc, indices, previous, packet, open, |seen| &mut seen.rtp)
    }

    /// From SRTCP to RTCP, likewise.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8], now: Instant) -> Result<usize, Refused> {
        let ssrc = packet::rtcp_ssrc(packet).ok_or(Refused::Malformed)?;
        let indices = self.current.rtcp_index(ssrc, packet);
        let previous = self.still_valid(now).map(|era| era.rtcp_index(ssrc, packet));
        let open = |keys: &SessionKeys, index, packet: &mut [u8]| keys.open_rtcp(ssrc, index as u32, packet);
        self.open(ssrc, indices, previous, packet, open, |seen| &mut seen.rtcp)
    }

    fn still_valid(&self, now: Instant) -> Option<&Era> {
        self.previous.as_ref().filter(|_| self.grace.is_some_and(|until| now < until))
    }

    /// Tries the current keys with the current indices, then the previous ones; what opens the packet is marked.
    fn open(
        &mut self,
        ssrc: u32,
        current: Result<Indices, Refused>,
        previous: Option<Result<Indices, Refused>>,
        packet: &mut [u8],
        open: impl Fn(&SessionKeys, u64, &mut [u8]) -> Option<usize>,
        window: impl Fn(&mut Seen) -> &mut Window,
    ) -> Result<usize, Refused> {
        let refused = *current.as_ref().err().unwrap_or(&Refused::Authentication);
        let of = |previous| move |index| Attempt { previous, index };
        let current = current.into_iter().flatten().map(of(false));
        let previous = previous.into_iter().flatten().flatten().map(of(true));
        let mut attempts = current.chain(previous).peekable();
        while let Some(Attempt { previous, index }) = attempts.next() {
            let Some(era) = (if previous { self.previous.as_mut() } else { Some(&mut self.current) }) else {
                continue;
            };
            let opened = match attempts.peek() {
                None => open(&era.keys, index, packet),
                Some(_) => or_restored(packet, |packet| open(&era.keys, index, packet)),
            };
            if let Some(len) = opened {
                if let Some(seen) = era.sources.entry(ssrc) {
                    let before = seen.rtp;
                    window(seen).mark(index);
                    let passed = Milestone::passed(ssrc, before, seen.rtp).filter(|_| !previous);
                    self.milestone = passed.or(self.milestone);
                }
                return Ok(len);
            }
        }
        Err(refused)
    }
}

impl Era {
    fn new(master: &MasterKey) -> Era {
        Era { master: master.clone(), keys: SessionKeys::derive(master), sources: Sources::new() }
    }

    /// The index that follows from what was seen of the source.
    fn expect(&self, header: RtpHeader) -> Option<u64> {
        let window = self.sources.get(header.ssrc)?.rtp;
        window.has_begun().then(|| window.expect(header.sequence))
    }

    /// Indices that the packet may have: one, unless it is the source's first. Then its rollover counter is the one
    /// `before` the keys changed (RFC 3711 §3.3.1: it goes on), or zero (RFC 4568 §7.1.4 with a new address, and what
    /// many do with any new key), or one, if those before the first rollover were lost (RFC 3711 §3.3.1).
    fn rtp_indices(&self, header: RtpHeader, before: Option<u64>) -> Result<Indices, Refused> {
        let sequence = header.sequence;
        let mut indices = Indices::new();
        if let Some(index) = self.expect(header) {
            indices.push(index);
        } else {
            indices.extend(before);
            let early = sequence < 0x8000;
            for index in [Some(window::index(0, sequence)), early.then(|| window::index(1, sequence))] {
                indices.extend(index.filter(|_| before != index));
            }
        }
        self.check(header.ssrc, indices, |seen| &seen.rtp)
    }

    /// The index that the packet says.
    fn rtcp_index(&self, ssrc: u32, packet: &[u8]) -> Result<Indices, Refused> {
        let (index, encrypted) = self.keys.rtcp_index(packet).ok_or(Refused::Malformed)?;
        // UNENCRYPTED_SRTCP (RFC 4568 §6.3.2) was not agreed on.
        if !encrypted {
            return Err(Refused::Unencrypted);
        }
        self.check(ssrc, SmallVec::from_iter([index.into()]), |seen| &seen.rtcp)
    }

    fn check(
        &self,
        ssrc: u32,
        mut indices: Indices,
        window: impl Fn(&Seen) -> &Window,
    ) -> Result<Indices, Refused> {
        match self.sources.get(ssrc) {
            None if !self.sources.has_room() => return Err(Refused::Sources),
            Some(seen) => indices.retain(|index| window(seen).is_fresh(*index)),
            None => {}
        }
        if indices.is_empty() {
            return Err(Refused::Replayed);
        }
        indices.retain(|index| *index <= LAST_RTP_INDEX);
        if indices.is_empty() { Err(Refused::Exhausted) } else { Ok(indices) }
    }
}

/// Does what may destroy the packet; where it fails, the packet is what it was.
fn or_restored(packet: &mut [u8], open: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<usize> {
    let mut copy = [0; LONGEST_COPY];
    let copy = copy.get_mut(..packet.len())?;
    copy.copy_from_slice(packet);
    let opened = open(packet);
    if opened.is_none() {
        packet.copy_from_slice(copy);
    }
    opened
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, sources) = (&self.current.master, self.current.sources.len());
        f.debug_struct("Inbound").field("key", key).field("sources", &sources).finish_non_exhaustive()
    }
}
