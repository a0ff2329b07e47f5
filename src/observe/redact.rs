//! What came off the wire, made fit to be seen: telephone numbers shortened, control characters escaped.

use std::fmt;

use super::settings::Numbers;

/// Fewer digits are an extension or part of a name, not somebody's telephone number.
const SHORTEST_NUMBER: usize = 5;
/// Digits that `last_4_digits` leaves.
const LEFT: usize = 4;

/// Text from the wire: control characters, quotes and terminal codes are escaped (CVE-2021-1000004).
pub(super) struct Escaped<'t>(pub &'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_debug())
    }
}

/// A number, user or URI from the wire: escaped, and the digits of its user part shown as configured.
pub(super) struct Redacted<'t>(pub &'t str, pub Numbers);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Redacted(text, numbers) = *self;
        let left = match numbers {
            Numbers::Full => usize::MAX,
            Numbers::Last4Digits => LEFT,
            Numbers::None => 0,
        };
        let (user, host) = text.split_at(text.find('@').unwrap_or(text.len()));
        let digits = user.bytes().filter(u8::is_ascii_digit).count();
        if digits < SHORTEST_NUMBER {
            return Escaped(text).fmt(f);
        }
        let mut to_hide = digits.saturating_sub(left);
        for char in user.chars() {
            if char.is_ascii_digit() && to_hide > 0 {
                to_hide -= 1;
                f.write_str("*")?;
            } else {
                write!(f, "{}", char.escape_debug())?;
            }
        }
        Escaped(host).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, numbers: Numbers) -> String {
        Redacted(text, numbers).to_string()
    }

    #[test]
    fn numbers_are_shown_as_configured_and_names_as_they_are() {
        let (last4, none) = (Numbers::Last4Digits, Numbers::None);
        assert_eq!(shown("+493012345678", last4), "+********5678");
        assert_eq!(shown("+49 (30) 12-34-567", last4), "+** (**) **-*4-567");
        assert_eq!(shown("+493012345678", none), "+************");
        assert_eq!(shown("+493012345678", Numbers::Full), "+493012345678");
        assert_eq!(shown("alice", last4), "alice");
        assert_eq!(shown("200", none), "200");
        assert_eq!(shown("sip:4930123456@192.0.2.17", last4), "sip:******3456@192.0.2.17");
    }

    #[test]
    fn nothing_from_the_wire_reaches_a_terminal_unescaped() {
        let evil = "a\x1b[2J\r\nfake line\u{202e}\u{9b}31m";
        for text in [Escaped(evil).to_string(), shown(evil, Numbers::Full), shown(evil, Numbers::None)] {
            assert!(text.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{text}");
        }
    }
}
