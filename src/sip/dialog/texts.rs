//! The texts of a dialog in one block: a held call has a dozen, most shorter than what an allocation costs.

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    CallId,
    Caller(OfParty),
    Callee(OfParty),
}

/// What is kept of a party; empty: nothing was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OfParty {
    /// Its From or To value, with the tag.
    Address,
    Tag,
    /// The URI of its Contact (§12.1 "remote target").
    Target,
    /// Route values that lead from us to it, next hop first, as [`joined`]; our own are not among them.
    Routes,
}

const TEXTS: usize = 9;

impl Text {
    fn place(self) -> usize {
        match self {
            Text::CallId => 0,
            Text::Caller(text) => 1 + text as usize,
            Text::Callee(text) => 5 + text as usize,
        }
    }
}

/// All of them, one behind the other.
#[derive(Clone, Debug)]
pub(super) struct Texts {
    bytes: Box<[u8]>,
    ends: [u32; TEXTS],
}

impl Texts {
    pub fn new(call_id: &[u8], caller: [&[u8]; 4], callee: [&[u8]; 4]) -> Texts {
        let [a, b, c, d] = caller;
        let [e, f, g, h] = callee;
        Texts::of([call_id, a, b, c, d, e, f, g, h])
    }

    pub fn get(&self, text: Text) -> &[u8] {
        self.at(text.place())
    }

    /// This text instead of the one that stood there.
    pub fn replace(&mut self, text: Text, with: &[u8]) {
        if self.get(text) != with {
            let place = text.place();
            *self = Texts::of(std::array::from_fn(|at| if at == place { with } else { self.at(at) }));
        }
    }

    fn of(all: [&[u8]; TEXTS]) -> Texts {
        let mut end = 0;
        // No message is as long as 4 GiB.
        let ends = all.map(|text| {
            end += text.len() as u32;
            end
        });
        Texts { bytes: all.concat().into(), ends }
    }

    fn at(&self, place: usize) -> &[u8] {
        let end_of = |place: usize| self.ends.get(place).map_or(0, |end| *end as usize);
        let start = place.checked_sub(1).map_or(0, end_of);
        self.bytes.get(start..end_of(place)).unwrap_or_default()
    }
}

/// Values as one text: before each stands its length.
pub(super) fn joined<'v>(values: impl Iterator<Item = &'v [u8]>) -> Vec<u8> {
    let mut all = Vec::new();
    for value in values {
        all.extend_from_slice(&(value.len() as u32).to_be_bytes());
        all.extend_from_slice(value);
    }
    all
}

/// The values of a text that is [`joined`].
pub(super) fn parted(mut text: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = text.split_first_chunk::<4>()?;
        let (value, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        text = rest;
        Some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_text_that_is_replaced_leaves_the_others_as_they_were(
            texts in prop::collection::vec("[a-c]{0,4}", 9),
            place in 0..9usize,
            new in "[a-d]{0,6}",
        ) {
            use OfParty::*;
            let of = [Address, Tag, Target, Routes];
            let all = std::iter::once(Text::CallId).chain(of.map(Text::Caller)).chain(of.map(Text::Callee));
            let all: Vec<Text> = all.collect();
            let part = |from: usize| std::array::from_fn(|at| texts[from + at].as_bytes());
            let mut kept = Texts::new(texts[0].as_bytes(), part(1), part(5));
            kept.replace(all[place], new.as_bytes());
            for (at, text) in all.iter().enumerate() {
                let expected = if at == place { &new } else { &texts[at] };
                prop_assert_eq!(kept.get(*text), expected.as_bytes());
            }
        }

        #[test]
        fn what_was_joined_is_parted(values in prop::collection::vec(".{0,9}", 0..4)) {
            let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
            let text = joined(values.iter().copied());
            prop_assert_eq!(parted(&text).collect::<Vec<_>>(), values);
        }
    }
}
