//! Bytes from the network as text that is safe in a log and on a terminal (ATTACKS.md, log injection).

use std::fmt;

/// Shows control characters (ESC, CR, LF, …), the backslash, invisible and direction-changing characters, and bytes
/// that are no UTF-8, as escapes; the rest as it is.
pub fn escape_for_log(bytes: &[u8]) -> impl fmt::Display + '_ {
    Escaped(bytes)
}

struct Escaped<'b>(&'b [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '"' | '\'' => fmt::Write::write_char(f, character)?,
                    _ => write!(f, "{}", character.escape_debug())?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}
