//! What the demo shows of its call.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::time::Duration;

use super::phone::{Call, ECHO, USER};
use super::talk::Heard;
use crate::edge::event::{Cdr, LadderMessage};
use crate::observe::ladder;

/// Everything that was seen.
pub(super) struct Report {
    pub edge: SocketAddr,
    pub pbx: SocketAddr,
    pub ladder: Vec<LadderMessage>,
    pub call: Call,
    /// The same talk without the edge between.
    pub direct: Heard,
    pub cdr: Cdr,
}

impl Report {
    /// Every packet that the phone heard had been to the PBX and back; nearly all must have come.
    pub fn audio_both_ways(&self) -> bool {
        let heard = &self.call.heard;
        heard.echoed * 100 >= heard.sent * 95 && self.relayed().is_some_and(|(a, b)| a > 0 && b > 0)
    }

    /// Packets relayed from the phone's side and from the PBX's, as the CDR has them.
    fn relayed(&self) -> Option<(u64, u64)> {
        self.cdr.media.first().map(|stream| (stream.a.packets, stream.b.packets))
    }

    /// The first SDP that passed the edge in this direction towards or from the PBX.
    fn sdp_at_pbx(&self, received: bool) -> String {
        let at_pbx = |m: &&LadderMessage| m.received == received && m.remote.ends_with(&self.pbx.to_string());
        let body = |m: &LadderMessage| {
            let text = String::from_utf8_lossy(&m.bytes).into_owned();
            text.split_once("\r\n\r\n")
                .map(|(_, body)| body.to_owned())
                .filter(|body| body.starts_with("v=0"))
        };
        self.ladder.iter().filter(at_pbx).find_map(body).unwrap_or_default()
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "A phone registers as {USER} and calls {ECHO}: TLS to the edge, UDP to the PBX, audio through the relay.\n"
        )?;
        writeln!(
            f,
            "{}",
            ladder::draw(&self.ladder, &format!("phone → {}", self.edge), &format!("PBX {}", self.pbx))
        )?;
        writeln!(f, "The phone's offer, and what the PBX got:")?;
        changes(f, &self.call.offer, &self.sdp_at_pbx(false))?;
        writeln!(f, "\nThe PBX's answer, and what the phone got:")?;
        changes(f, &self.sdp_at_pbx(true), &self.call.answer)?;
        let heard = &self.call.heard;
        let (a, b) = self.relayed().unwrap_or_default();
        let lost = heard.sent - heard.echoed;
        let share = 100.0 * lost as f64 / heard.sent.max(1) as f64;
        writeln!(f, "\nAudio: a 440 Hz tone, {} packets in {:.0} s", heard.sent, heard.sent as f64 * 0.02)?;
        writeln!(f, "  relayed phone → PBX   {a} packets")?;
        writeln!(f, "  relayed PBX → phone   {b} packets")?;
        writeln!(f, "  lost                  {lost} ({share:.1} %)")?;
        writeln!(
            f,
            "  delay added           {} each way (median, against the same talk without the edge)",
            self.added_delay()
        )?;
        writeln!(
            f,
            "  answered by           {} ({}), rule: {}",
            self.cdr.target, self.cdr.route, self.cdr.rule
        )
    }
}

impl Report {
    fn added_delay(&self) -> String {
        let added: Duration = self.call.heard.median().saturating_sub(self.direct.median()) / 2;
        format!("{:.3} ms", added.as_secs_f64() * 1e3)
    }
}

/// `- old` and `+ new` for each line of two SDPs that differs; what is only on one side, too.
fn changes(f: &mut Formatter<'_>, before: &str, after: &str) -> fmt::Result {
    let (mut old, mut new) = (before.lines().peekable(), after.lines().peekable());
    while old.peek().is_some() || new.peek().is_some() {
        match (old.next(), new.next()) {
            (Some(a), Some(b)) if a == b => writeln!(f, "    {a}")?,
            (a, b) => {
                a.map_or(Ok(()), |line| writeln!(f, "  - {line}"))?;
                b.map_or(Ok(()), |line| writeln!(f, "  + {line}"))?;
            }
        }
    }
    Ok(())
}
