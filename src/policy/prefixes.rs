//! What is known by the beginning of a number: country, price. The longest prefix that is listed wins.

/// Values by prefix, in a trie by digit: a look-up costs as many steps as the longest prefix has digits.
#[derive(Clone, Debug)]
pub(super) struct Prefixes<T> {
    nodes: Vec<Node<T>>,
}

#[derive(Clone, Debug)]
struct Node<T> {
    /// Index of the next node by digit; 0: none (the root is nobody's child).
    children: [u32; 10],
    value: Option<T>,
}

impl<T> Default for Prefixes<T> {
    fn default() -> Self {
        Prefixes { nodes: vec![Node { children: [0; 10], value: None }] }
    }
}

impl<T> Prefixes<T> {
    /// Adds a prefix of digits; returns what stood there before. A `+` in front changes nothing.
    pub fn insert(&mut self, prefix: &str, value: T) -> Option<T> {
        let mut at = 0;
        for step in digits(prefix.strip_prefix('+').unwrap_or(prefix)) {
            let free = self.nodes.len();
            let child = &mut self.nodes[at].children[step];
            if *child == 0 {
                // Sources are limited to files with fewer digits than u32 has values.
                *child = u32::try_from(free).unwrap_or(0);
                self.nodes.push(Node { children: [0; 10], value: None });
            }
            at = self.nodes[at].children[step] as usize;
        }
        self.nodes[at].value.replace(value)
    }

    /// The value of the longest prefix of `number`, which is E.164: `+` and digits.
    pub fn longest(&self, number: &str) -> Option<&T> {
        let mut node = self.nodes.first()?;
        let mut found = None;
        for step in digits(number.strip_prefix('+')?) {
            let child = node.children.get(step).copied().filter(|child| *child != 0);
            let Some(next) = child.and_then(|child| self.nodes.get(child as usize)) else { break };
            node = next;
            found = node.value.as_ref().or(found);
        }
        found
    }
}

/// Up to the first byte that is none.
fn digits(number: &str) -> impl Iterator<Item = usize> {
    number.bytes().map_while(|b| b.is_ascii_digit().then(|| usize::from(b - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_trie_agrees_with_reading_the_list(
            prefixes in prop::collection::vec("[0-2]{1,4}", 0..8),
            number in "[0-2]{0,6}",
        ) {
            let mut trie = Prefixes::default();
            for (index, prefix) in prefixes.iter().enumerate() {
                trie.insert(prefix, index);
            }
            let longest = prefixes.iter().enumerate().filter(|(_, p)| number.starts_with(p.as_str()));
            let longest = longest.max_by_key(|(index, p)| (p.len(), *index)).map(|(index, _)| index);
            prop_assert_eq!(trie.longest(&format!("+{number}")).copied(), longest);
        }
    }

    #[test]
    fn only_e164_has_a_prefix() {
        let mut trie = Prefixes::default();
        trie.insert("+49", ());
        assert!(trie.longest("+4930").is_some());
        for other in ["4930", "004930", "alice", "+", "", "+4", "++49"] {
            assert!(trie.longest(other).is_none(), "{other}");
        }
    }
}
