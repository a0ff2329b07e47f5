//! A call as an ASCII ladder: the caller on the left, Turnpike in the middle, the PBX on the right.

use std::fmt::Write;
use std::time::Duration;

use super::redact::Escaped;
use crate::edge::event::LadderMessage;

/// Characters between two rails.
const WIDTH: usize = 34;

/// Draws the messages in the order given. `left` and `right` name the outer rails; the far end of the first message
/// stands on the left, everyone else on the right. Times count from the first message.
pub fn draw(messages: &[LadderMessage], left: &str, right: &str) -> String {
    let mut out = String::new();
    let Some(first) = messages.first() else { return out };
    let gap = " ".repeat(WIDTH);
    let _ = writeln!(out, "{:>9}   {left:<WIDTH$} {:<WIDTH$} {right}", "", "turnpike");
    for message in messages {
        let at = message.at.0.saturating_sub(first.at.0);
        let on_the_left = message.remote == first.remote;
        let arrow = arrow(&label(&message.bytes), message.received == on_the_left);
        let (near, far) = if on_the_left { (&arrow, &gap) } else { (&gap, &arrow) };
        let _ = writeln!(out, "{:>9}   |{near}|{far}|", seconds(at));
    }
    out
}

fn seconds(at: Duration) -> String {
    format!("{}.{:03} s", at.as_secs(), at.subsec_millis())
}

/// `---- INVITE + SDP ---->`, as wide as the gap between two rails.
fn arrow(label: &str, rightwards: bool) -> String {
    let room = WIDTH - 6;
    let label: String = label.chars().take(room).collect();
    let line = WIDTH - 3 - label.chars().count();
    let (before, after) = ("-".repeat(line / 2), "-".repeat(line - line / 2));
    if rightwards { format!("{before} {label} {after}>") } else { format!("<{before} {label} {after}") }
}

/// Method or status with reason, the CSeq method of a response, and whether there is SDP.
fn label(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let first = head.lines().next().unwrap_or_default();
    let mut label = match first.strip_prefix("SIP/2.0 ") {
        Some(status) => status.to_owned(),
        None => first.split(' ').next().unwrap_or_default().to_owned(),
    };
    if body.starts_with("v=0") {
        label.push_str(" + SDP");
    }
    Escaped(&label).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ListenerId, UnixTime};

    fn message(ms: u64, received: bool, remote: &str, text: &str) -> LadderMessage {
        LadderMessage {
            at: UnixTime(Duration::from_millis(1_000_000 + ms)),
            received,
            remote: remote.into(),
            listener: ListenerId(0),
            bytes: text.to_owned().into(),
        }
    }

    #[test]
    fn a_call() {
        let (phone, pbx) = ("192.0.2.1:4711", "10.0.0.1:5060");
        let sdp = "\r\nContent-Length: 3\r\n\r\nv=0";
        let invite = format!("INVITE sip:echo@example.com SIP/2.0{sdp}");
        let ok = format!("SIP/2.0 200 OK{sdp}");
        let drawn = draw(
            &[
                message(0, true, phone, &invite),
                message(0, false, phone, "SIP/2.0 100 Trying\r\n\r\n"),
                message(1, false, pbx, &invite),
                message(12, true, pbx, &ok),
                message(13, false, phone, &ok),
                message(1_020, true, phone, "BYE sip:a SIP/2.0\r\n\r\n"),
                message(
                    1_021,
                    true,
                    pbx,
                    "SIP/2.0 481 \x1b[31mA reason that is much too long for one rung\r\n\r\n",
                ),
            ],
            "phone",
            "pbx",
        );
        insta::assert_snapshot!(drawn);
    }

    #[test]
    fn nothing() {
        assert_eq!(draw(&[], "phone", "pbx"), "");
    }
}
