//! Captures of the network (pcap, pcapng): the SIP in them, as requests that policies can be asked about.

mod frames;
mod heard;
mod streams;

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::time::Duration;

use pcap_parser::traits::PcapReaderIterator;
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};

use super::{Failed, Traffic};
use crate::base::UnixTime;
use crate::edge::settings::Settings;
use frames::{Frames, Kind, Link};
use heard::Heard;
use streams::Streams;

/// Room for the longest packet that a capture holds, and then some.
const BUFFER: usize = 1 << 20;

/// The packets of a capture.
pub type Packets = Box<dyn PcapReaderIterator + Send>;

/// None: the file is no capture.
pub fn open(path: &Path) -> Result<Option<Packets>, Failed> {
    let failed = |why: &str| Failed::Other(format!("{}: {why}", path.display()));
    let mut first = [0; 4];
    let mut file = File::open(path).map_err(|error| failed(&error.to_string()))?;
    // A pipe is read once, and holds records.
    if !file.metadata().is_ok_and(|about| about.is_file()) {
        return Ok(None);
    }
    let read = file.read(&mut first).and_then(|_| file.rewind());
    read.map_err(|error| failed(&error.to_string()))?;
    match first {
        // pcap in either byte order, with microseconds and with nanoseconds; pcapng.
        [0xa1, 0xb2, 0xc3, 0xd4]
        | [0xd4, 0xc3, 0xb2, 0xa1]
        | [0xa1, 0xb2, 0x3c, 0x4d]
        | [0x4d, 0x3c, 0xb2, 0xa1]
        | [0x0a, 0x0d, 0x0d, 0x0a] => {}
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd] => {
            return Err(failed("it is compressed: unpack it first"));
        }
        _ => return Ok(None),
    }
    create_reader(BUFFER, file).map(Some).map_err(|_| failed("it begins like a capture, and is none"))
}

/// Adds what was asked for in a capture.
pub fn read(mut packets: Packets, path: &Path, edge: &Settings, traffic: &mut Traffic) -> Result<(), Failed> {
    let failed = |why: &str| Failed::Other(format!("{}: {why}", path.display()));
    let mut interfaces = Interfaces::default();
    let (mut frames, mut streams, mut heard) = (Frames::default(), Streams::default(), Heard::new(edge));
    let mut strange: Option<Linktype> = None;
    let (mut breaks_off, mut offset) = (false, 0);
    loop {
        match packets.next() {
            Ok((length, block)) => {
                match interfaces.packet(&block) {
                    Some((at, Ok(link), data)) => {
                        if let Some(segment) = frames.read(link, data) {
                            match segment.kind {
                                Kind::Datagram => heard.datagram(&segment, at),
                                Kind::Stream { .. } => {
                                    streams
                                        .read(&segment, edge, |message| heard.message(message, &segment, at));
                                }
                            }
                        }
                    }
                    Some((_, Err(link), _)) => strange = Some(link),
                    None => {}
                }
                offset += length;
                packets.consume(length);
            }
            Err(PcapError::Eof) => break,
            Err(PcapError::Incomplete(_)) => {
                let had = packets.data().len();
                packets.refill().map_err(|_| failed("cannot read on"))?;
                if packets.data().len() == had && !packets.reader_exhausted() {
                    return Err(failed(&format!("the packet at byte {offset} is longer than any")));
                }
            }
            // Whoever captured was stopped in the middle of a packet.
            Err(PcapError::UnexpectedEof) => {
                breaks_off = true;
                break;
            }
            Err(_) => return Err(failed(&format!("it is damaged at byte {offset}"))),
        }
    }
    let mut note = |count: u64, what: &str| {
        if count > 0 {
            traffic.notes.push(format!("{}: {count} {what}", path.display()));
        }
    };
    note(u64::from(breaks_off), "packet at its end is not whole");
    note(
        frames.cut_short,
        "packets were cut short by whoever captured them, and are left out (tcpdump -s 0 takes all)",
    );
    note(frames.lost_fragments, "fragments of datagrams were left out, as others of the same are missing");
    note(streams.sealed, "connections are TLS, or no SIP: what went over them is not read");
    note(streams.gaps, "gaps in TCP connections: what was in them is missing");
    if let Some(link) = strange {
        note(
            1,
            &format!("or more interfaces have packets of a kind that is not read (link type {})", link.0),
        );
    }
    heard.finish(path, traffic);
    Ok(())
}

/// What the packets of a capture stand in.
#[derive(Default)]
struct Interfaces {
    /// Of a pcap: the only one. Of a pcapng: those of its section.
    all: Vec<Interface>,
    nanoseconds: bool,
}

struct Interface {
    link: Linktype,
    /// Of its clock: parts of a second, and seconds ahead of 1970.
    resolution: u64,
    offset: i64,
}

/// A section of a pcapng has no more of them, or the rest is not read.
const INTERFACES: usize = 1_024;

impl Interfaces {
    /// Its time, on what it was captured, and its bytes. None: it is no packet, or nobody knows when it came.
    fn packet<'b>(
        &mut self,
        block: &'b PcapBlockOwned<'_>,
    ) -> Option<(UnixTime, Result<Link, Linktype>, &'b [u8])> {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                self.nanoseconds = header.is_nanosecond_precision();
                self.all = vec![Interface { link: header.network, resolution: 0, offset: 0 }];
                None
            }
            PcapBlockOwned::Legacy(packet) => {
                let part = u64::from(packet.ts_usec) * if self.nanoseconds { 1 } else { 1_000 };
                let at = Duration::from_secs(packet.ts_sec.into()) + Duration::from_nanos(part);
                Some((UnixTime(at), Link::of(self.all.first()?.link), packet.data))
            }
            PcapBlockOwned::NG(Block::SectionHeader(_)) => {
                self.all.clear();
                None
            }
            PcapBlockOwned::NG(Block::InterfaceDescription(found)) => {
                if self.all.len() < INTERFACES {
                    let resolution = found.ts_resolution().unwrap_or(1_000_000);
                    self.all.push(Interface { link: found.linktype, resolution, offset: found.ts_offset() });
                }
                None
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                let interface = self.all.get(usize::try_from(packet.if_id).ok()?)?;
                let ticks = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                let resolution = interface.resolution.max(1);
                let seconds = (ticks / resolution).checked_add_signed(interface.offset)?;
                let part = u128::from(ticks % resolution) * 1_000_000_000 / u128::from(resolution);
                let at = Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(part).ok()?);
                let data = packet.data.get(..usize::try_from(packet.caplen).ok()?)?;
                Some((UnixTime(at), Link::of(interface.link), data))
            }
            // A simple packet has no time.
            PcapBlockOwned::NG(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
