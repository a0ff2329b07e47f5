//! Numbers and user names as people type them, and sets of them: exact ones and prefixes (`+49`, `0*`).

use std::borrow::Cow;

/// A number without what only pleases the eye: `+49 (30) 123-45` is `+493012345`. Percent-escapes are undone and user
/// parameters cut off first, so that `%2B882` and `+882;isub=1` are no way around a list (RFC 3261 §19.1.4, RFC 3966
/// §5.1.1). A user name (`john.doe`) comes back as it is.
pub fn normalise(typed: &str) -> Cow<'_, str> {
    let plain = unescape(typed);
    match plain {
        Cow::Borrowed(text) => without_separators(text),
        Cow::Owned(text) => Cow::Owned(without_separators(&text).into_owned()),
    }
}

fn without_separators(text: &str) -> Cow<'_, str> {
    let number = text.split_once(';').map_or(text, |(number, _parameters)| number);
    let is_separator = |c: char| matches!(c, '-' | '.' | '(' | ')' | ' ');
    let is_number =
        number.bytes().all(|b| symbol(b).is_some() || is_separator(b.into())) && !number.is_empty();
    match is_number {
        false => Cow::Borrowed(text),
        true if number.contains(is_separator) => Cow::Owned(number.replace(is_separator, "")),
        true => Cow::Borrowed(number),
    }
}

/// RFC 3986 §2.1. What is not UTF-8 afterwards stays escaped: no list holds it.
fn unescape(typed: &str) -> Cow<'_, str> {
    if !typed.contains('%') {
        return Cow::Borrowed(typed);
    }
    let mut bytes = Vec::with_capacity(typed.len());
    let mut rest = typed.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = match (first, tail) {
            (b'%', [high, low, tail @ ..]) => hex(*high).zip(hex(*low)).map(|(h, l)| (h << 4 | l, tail)),
            _ => None,
        };
        let (byte, tail) = escaped.unwrap_or((first, tail));
        bytes.push(byte);
        rest = tail;
    }
    String::from_utf8(bytes).map_or(Cow::Borrowed(typed), Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

/// Everything that a telephone number is made of.
const SYMBOLS: usize = 13;

fn symbol(byte: u8) -> Option<usize> {
    match byte {
        b'0'..=b'9' => Some(usize::from(byte - b'0')),
        b'+' => Some(10),
        b'*' => Some(11),
        b'#' => Some(12),
        _ => None,
    }
}

/// A set of numbers and names. Telephone numbers live in a trie by digit, so a look-up costs as many steps as the
/// number shares with an entry, however long the list is; names, which are few, in a plain list.
#[derive(Clone, Debug)]
pub struct NumberSet {
    nodes: Vec<Node>,
    names: Vec<(Box<str>, End)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Node {
    /// Index of the next node by symbol; 0: none (the root is nobody's child).
    children: [u32; SYMBOLS],
    end: Option<End>,
}

impl Node {
    fn is_prefix(&self) -> bool {
        self.end == Some(End::Prefix)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Exact,
    Prefix,
}

impl Default for NumberSet {
    fn default() -> Self {
        NumberSet { nodes: vec![Node::default()], names: Vec::new() }
    }
}

impl NumberSet {
    /// Adds an entry as it stands in a policy: a prefix if it begins with `+` or ends in `*`, else exact.
    pub fn insert(&mut self, entry: &str) {
        let (entry, end) = match entry.strip_suffix('*') {
            Some(prefix) => (prefix, End::Prefix),
            None if entry.starts_with('+') => (entry, End::Prefix),
            None => (entry, End::Exact),
        };
        let entry = normalise(entry);
        if entry.bytes().any(|b| symbol(b).is_none()) {
            self.names.push((entry.as_ref().into(), end));
            return;
        }
        let mut at = 0;
        for step in entry.bytes().filter_map(symbol) {
            let free = self.nodes.len();
            let child = &mut self.nodes[at].children[step];
            if *child == 0 {
                // A file of at most 1 MiB has fewer symbols than u32 has values.
                *child = u32::try_from(free).unwrap_or(0);
                self.nodes.push(Node::default());
            }
            at = self.nodes[at].children[step] as usize;
        }
        let slot = &mut self.nodes[at].end;
        *slot = if *slot == Some(End::Prefix) { *slot } else { Some(end) };
    }

    /// True if an entry is this number or name, or a prefix of it. `number` is as [`normalise`] gives it.
    pub fn contains(&self, number: &str) -> bool {
        self.in_trie(number)
            || self.names.iter().any(|(name, end)| match end {
                End::Exact => **name == *number,
                End::Prefix => number.starts_with(&**name),
            })
    }

    /// True if everything that `other` contains is in this set.
    pub fn covers(&self, other: &NumberSet) -> bool {
        let is_named = |(name, end): &(Box<str>, End)| match end {
            End::Exact => self.contains(name),
            End::Prefix => self.nodes.first().is_some_and(Node::is_prefix) || self.has_prefix_of(name),
        };
        other.names.iter().all(is_named) && self.covers_numbers(other)
    }

    fn has_prefix_of(&self, name: &str) -> bool {
        self.names.iter().any(|(known, end)| *end == End::Prefix && name.starts_with(&**known))
    }

    /// Walks both tries in step.
    fn covers_numbers(&self, other: &NumberSet) -> bool {
        let mut open = vec![(0, 0)];
        while let Some((ours, theirs)) = open.pop() {
            let (Some(our), Some(their)) = (self.nodes.get(ours), other.nodes.get(theirs)) else {
                return false;
            };
            let covered = match their.end {
                None => true,
                Some(End::Exact) => our.end.is_some(),
                Some(End::Prefix) => our.is_prefix(),
            };
            if our.is_prefix() {
                continue;
            }
            if !covered {
                return false;
            }
            for (our_child, their_child) in our.children.iter().zip(&their.children).filter(|(_, t)| **t != 0)
            {
                if *our_child == 0 {
                    return false;
                }
                open.push((*our_child as usize, *their_child as usize));
            }
        }
        true
    }

    fn in_trie(&self, number: &str) -> bool {
        let mut node = self.nodes.first();
        for byte in number.bytes() {
            let Some(here) = node else { return false };
            if here.end == Some(End::Prefix) {
                return true;
            }
            let child = symbol(byte).and_then(|s| here.children.get(s)).copied().filter(|c| *c != 0);
            node = child.and_then(|c| self.nodes.get(c as usize));
        }
        node.is_some_and(|here| here.end.is_some())
    }
}

impl<'e> FromIterator<&'e str> for NumberSet {
    fn from_iter<I: IntoIterator<Item = &'e str>>(entries: I) -> Self {
        let mut set = NumberSet::default();
        entries.into_iter().for_each(|entry| set.insert(entry));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_lose_what_only_pleases_the_eye() {
        for (typed, plain) in [
            ("+49 (30) 123-45", "+493012345"),
            ("0.30.12", "03012"),
            ("%2b882%31", "+8821"),
            ("+882;isub=12", "+882"),
            ("*98#", "*98#"),
            ("john.doe", "john.doe"),
            ("a-1", "a-1"),
            ("%zz", "%zz"),
            ("%ff", "%ff"),
            ("", ""),
        ] {
            assert_eq!(normalise(typed), plain, "{typed}");
        }
    }

    #[test]
    fn plus_and_star_make_a_prefix_and_nothing_else_does() {
        let set: NumberSet = ["+49", "110", "0800*", "alice", "bot-*", "+33"].into_iter().collect();
        for inside in ["+49", "+4930", "110", "0800", "08001", "alice", "bot-", "bot-7", "+331"] {
            assert!(set.contains(inside), "{inside}");
        }
        for outside in ["+4", "49", "1100", "11", "080", "alice2", "bot", "", "+"] {
            assert!(!set.contains(outside), "{outside}");
        }
        let all: NumberSet = ["*"].into_iter().collect();
        assert!(all.contains("") && all.contains("201") && all.contains("alice"));
    }

    #[test]
    fn a_prefix_outlives_the_same_entry_as_exact() {
        for entries in [["12*", "12"], ["12", "12*"]] {
            assert!(entries.into_iter().collect::<NumberSet>().contains("123"));
        }
    }

    proptest! {
        #[test]
        fn the_trie_agrees_with_reading_the_list(
            entries in prop::collection::vec("[+]?[0-3a]{0,4}[*]?", 0..8),
            number in "[+]?[0-3a]{0,6}",
        ) {
            let set: NumberSet = entries.iter().map(String::as_str).collect();
            let naive = entries.iter().any(|entry| match entry.strip_suffix('*') {
                Some(prefix) => number.starts_with(prefix),
                None if entry.starts_with('+') => number.starts_with(entry.as_str()),
                None => number == *entry,
            });
            prop_assert_eq!(set.contains(&number), naive);
        }

        #[test]
        fn a_set_covers_its_parts_and_nothing_that_it_lacks(
            entries in prop::collection::vec("[+]?[0-1a]{0,3}[*]?", 0..6),
            others in prop::collection::vec("[+]?[0-1a]{0,3}[*]?", 0..3),
            number in "[+]?[0-1a]{0,4}",
        ) {
            let set = |entries: &[String]| entries.iter().map(String::as_str).collect::<NumberSet>();
            let (wide, other) = (set(&entries), set(&others));
            let both = set(&[entries, others].concat());
            prop_assert!(both.covers(&wide) && both.covers(&other));
            prop_assert!(!wide.covers(&other) || !other.contains(&number) || wide.contains(&number));
        }
    }
}
