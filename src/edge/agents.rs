//! What callers say they are (User-Agent), for CDRs. Thousands of calls come from a few kinds of phones: a name is kept once.

use std::sync::Arc;

use super::keyed::{KeyedMap, keyed_map};
use crate::base::Rng;
use crate::sip::message::{Message, Name};

/// The names that calls share.
#[derive(Debug)]
pub struct Agents {
    known: KeyedMap<Arc<str>, ()>,
}

/// So many names are shared; one more, and all are forgotten (calls keep theirs).
const KNOWN: usize = 256;
/// Characters of a name; those of browsers are the longest honest ones.
const LONGEST: usize = 160;

impl Agents {
    /// None known.
    pub fn new(rng: &mut Rng) -> Agents {
        Agents { known: keyed_map(rng) }
    }

    /// The User-Agent of a request, fit to be written down: cut off, and without what would break a line.
    pub fn of(&mut self, message: &Message) -> Option<Arc<str>> {
        let header = message.header(Name::UserAgent)?;
        let text = String::from_utf8_lossy(header.value);
        if let Some((known, ())) = self.known.get_key_value(&*text) {
            return Some(known.clone());
        }
        // RFC 3261 §7.3.1: a folded line is one with a blank.
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let cleaned: String = text.chars().take(LONGEST).map(plain).collect();
        if let Some((known, ())) = self.known.get_key_value(&*cleaned) {
            return Some(known.clone());
        }
        if self.known.len() >= KNOWN {
            self.known.clear();
        }
        let name: Arc<str> = cleaned.into();
        self.known.insert(name.clone(), ());
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn from(agent: &str) -> Message {
        let text = format!(
            "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP c;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n\
             Call-ID: 1\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n{agent}Content-Length: 0\r\n\r\n"
        );
        Message::parse(text.into_bytes().into(), &Default::default()).unwrap()
    }

    #[test]
    fn a_name_is_kept_once_cut_off_and_on_one_line() {
        let mut rng: Rng = Box::new(rand::rngs::StdRng::seed_from_u64(1));
        let mut agents = Agents::new(&mut rng);
        assert_eq!(agents.of(&from("")), None);
        let one = agents.of(&from("User-Agent: Yealink SIP-T46U 108.86\r\n")).unwrap();
        let again = agents.of(&from("User-Agent: Yealink SIP-T46U 108.86\r\n")).unwrap();
        assert!(Arc::ptr_eq(&one, &again));
        let long = agents.of(&from(&format!("User-Agent: a\tb{}\r\n", "x".repeat(1_000)))).unwrap();
        assert!(long.starts_with("a b") && long.len() == LONGEST, "{long}");
        for number in 0..1_000 {
            agents.of(&from(&format!("User-Agent: {number}\r\n")));
            assert!(agents.known.len() <= KNOWN);
        }
    }
}
