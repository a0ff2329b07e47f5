//! Lists that change while we run: somebody publishes them, `net` fetches them, rules look them up where they stand now.

use std::sync::Arc;

use ipnetwork::IpNetwork;

use super::matcher::Asked;
use super::network::NetworkSet;
use super::number::NumberSet;

/// Index of a feed among [`super::Settings::feeds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedId(pub usize);

/// What a feed is a list of.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Networks,
    Numbers,
}

/// What a feed held when it was last fetched. Clones share it.
#[allow(missing_docs)]
#[derive(Clone, Debug)]
pub enum Feed {
    Networks(Arc<NetworkSet>),
    Numbers(Arc<NumberSet>),
}

/// The text is no list: most of its lines are neither networks nor numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoList {
    /// Lines that say something else.
    pub wrong: usize,
}

/// A feed that was read.
#[derive(Clone, Debug)]
pub struct Read {
    /// It.
    pub feed: Feed,
    /// How many entries it has.
    pub entries: usize,
    /// Lines that were passed over, because they say something else.
    pub wrong: usize,
}

impl Feed {
    /// Nothing is in it.
    pub fn empty(kind: Kind) -> Feed {
        match kind {
            Kind::Networks => Feed::Networks(Arc::default()),
            Kind::Numbers => Feed::Numbers(Arc::default()),
        }
    }

    /// From the text that somebody publishes: one entry on each line, comments behind `#` and `;`. A few lines that say
    /// something else are passed over.
    ///
    /// # Errors
    /// It is no list of this kind: a page that asks to log in, for example. The one before should stay.
    pub fn read(kind: Kind, text: &str) -> Result<Read, NoList> {
        let (mut entries, mut wrong) = (0, 0);
        let lines = text.lines().map(|line| line.split(['#', ';']).next().unwrap_or_default().trim());
        let lines = lines.filter(|line| !line.is_empty());
        let mut taken = |taken: bool| if taken { entries += 1 } else { wrong += 1 };
        let feed = match kind {
            Kind::Networks => {
                let networks = lines.filter_map(|line| {
                    let network = line.parse::<IpNetwork>().ok();
                    taken(network.is_some());
                    network
                });
                Feed::Networks(Arc::new(networks.collect()))
            }
            Kind::Numbers => {
                let is_number = |line: &&str| {
                    let is_number = line.bytes().all(|b| b.is_ascii_digit() || b"+*-.() ".contains(&b));
                    taken(is_number);
                    is_number
                };
                Feed::Numbers(Arc::new(lines.filter(is_number).collect()))
            }
        };
        if wrong > entries { Err(NoList { wrong }) } else { Ok(Read { feed, entries, wrong }) }
    }
}

/// What of a request is looked up in a feed.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    To,
    From,
    User,
    Source,
    Peer,
}

impl Subject {
    /// The kind of list that can hold it.
    pub fn kind(self) -> Kind {
        match self {
            Subject::Source | Subject::Peer => Kind::Networks,
            Subject::To | Subject::From | Subject::User => Kind::Numbers,
        }
    }

    pub(super) fn is_in(self, feed: &Feed, asked: &Asked<'_>) -> bool {
        let number = match self {
            Subject::To => &asked.to,
            Subject::From => &asked.from,
            Subject::User => &asked.user,
            Subject::Source | Subject::Peer => &None,
        };
        let address = match self {
            Subject::Source => Some(asked.source),
            Subject::Peer => asked.facts.peer,
            Subject::To | Subject::From | Subject::User => None,
        };
        match feed {
            Feed::Networks(networks) => address.is_some_and(|address| networks.contains(address)),
            Feed::Numbers(numbers) => number.as_deref().is_some_and(|number| numbers.contains(number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feeds_are_read_as_they_are_published() {
        let text =
            "# Don't route or peer\n192.0.2.0/24 ; SBL1\n198.51.100.7\n2001:db8::/32 # v6\n\nwhat is this\n";
        let Read { feed: Feed::Networks(networks), entries, wrong } =
            Feed::read(Kind::Networks, text).unwrap()
        else {
            panic!("networks")
        };
        assert_eq!((entries, wrong), (3, 1));
        for (address, listed) in
            [("192.0.2.9", true), ("198.51.100.7", true), ("198.51.100.8", false), ("2001:db8::9", true)]
        {
            assert_eq!(networks.contains(address.parse().unwrap()), listed, "{address}");
        }
        let Read { feed: Feed::Numbers(numbers), .. } =
            Feed::read(Kind::Numbers, "+882 # satellite\n+1-900\n").unwrap()
        else {
            panic!("numbers")
        };
        assert!(numbers.contains("+8821") && numbers.contains("+19001") && !numbers.contains("+49"));
    }

    #[test]
    fn a_page_that_is_no_list_is_refused_and_an_empty_list_is_one() {
        let page = "<html>\n<body>\nPlease log in\n</body>\n</html>\n";
        assert_eq!(Feed::read(Kind::Networks, page).unwrap_err(), NoList { wrong: 5 });
        assert!(Feed::read(Kind::Numbers, page).is_err());
        assert_eq!(Feed::read(Kind::Networks, "# nobody today\n").unwrap().entries, 0);
    }
}
