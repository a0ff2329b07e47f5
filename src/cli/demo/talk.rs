//! RTP that is listened to: a tone goes out, and what comes back is compared and timed.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

const PTIME: Duration = Duration::from_millis(20);
const SAMPLES: usize = 160;
const HEADER: usize = 12;

/// What one side of a talk saw.
pub(super) struct Heard {
    pub sent: usize,
    /// Packets that came back with the very audio that went out.
    pub echoed: usize,
    /// Round trips, sorted.
    round_trips: Vec<Duration>,
}

impl Heard {
    /// Median round trip.
    pub fn median(&self) -> Duration {
        self.round_trips.get(self.round_trips.len() / 2).copied().unwrap_or_default()
    }
}

/// Sends `packets` of a tone to `to` in real time and listens for their echo.
pub(super) fn talk(socket: &UdpSocket, to: SocketAddr, packets: usize) -> io::Result<Heard> {
    let began = Instant::now();
    let mut sent_at = Vec::with_capacity(packets);
    let mut seen = vec![false; packets];
    let mut round_trips = Vec::new();
    for number in 0..packets {
        let due = began + PTIME * number as u32;
        listen_until(socket, due, &sent_at, &mut seen, &mut round_trips)?;
        sent_at.push(Instant::now());
        socket.send_to(&packet(number), to)?;
    }
    let last = Instant::now() + Duration::from_millis(300);
    listen_until(socket, last, &sent_at, &mut seen, &mut round_trips)?;
    round_trips.sort();
    Ok(Heard { sent: packets, echoed: round_trips.len(), round_trips })
}

fn listen_until(
    socket: &UdpSocket,
    until: Instant,
    sent_at: &[Instant],
    seen: &mut [bool],
    round_trips: &mut Vec<Duration>,
) -> io::Result<()> {
    let mut buffer = [0; 2048];
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        socket.set_read_timeout(Some(left))?;
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        let echo = &buffer[..length];
        let Some(number) = echo.get(2..4).map(|n| usize::from(u16::from_be_bytes([n[0], n[1]]))) else {
            continue;
        };
        if let (Some(at), Some(seen)) = (sent_at.get(number), seen.get_mut(number))
            && !std::mem::replace(seen, true)
            && echo == packet(number)
        {
            round_trips.push(at.elapsed());
        }
    }
    Ok(())
}

/// Packet `number` of a 440 Hz tone in G.711 µ-law (RFC 3551 §4.5.14), RTP version 2.
fn packet(number: usize) -> [u8; HEADER + SAMPLES] {
    let mut packet = [0; HEADER + SAMPLES];
    packet[0] = 0x80;
    packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
    packet[4..8].copy_from_slice(&((number * SAMPLES) as u32).to_be_bytes());
    packet[8..12].copy_from_slice(b"demo");
    for (i, byte) in packet[HEADER..].iter_mut().enumerate() {
        let phase = (number * SAMPLES + i) as f32 * 440.0 / 8000.0 * std::f32::consts::TAU;
        *byte = mu_law((phase.sin() * 12_000.0) as i16);
    }
    packet
}

/// One 16-bit sample as G.711 µ-law.
fn mu_law(sample: i16) -> u8 {
    let magnitude = (i32::from(sample).abs() + 132).min(32_767);
    let exponent = (magnitude >> 8).checked_ilog2().map_or(0, |e| e + 1);
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (exponent as i32) << 4 | mantissa) as u8
}
