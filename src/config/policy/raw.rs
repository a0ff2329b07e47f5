//! The keys of a policy file, as typed.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::words::{
    AllowanceWord, AnswerWord, BurstRate, ShortCallsWord, SizeWord, SpentSoFar, StageWord, VolumeWord, YesNo,
};
use crate::config::diagnose::Problems;
use crate::config::raw::Authorities;
use crate::config::read::{At, Fields, FromEntry, FromNode, Named, record, words};
use crate::config::words::{Rate, Reference, Url};
use crate::config::yaml::{Node, Position, Value};
use crate::policy::settings::Mode;

record! {
    /// A policy file.
    #[expect(dead_code, reason = "`why` is read by people only, and nothing is told of the file as a whole")]
    File is "a policy" {
        policy: At<String>,
        why: Option<String>,
        applies_to: Vec<At<StageWord>>,
        mode: Option<Mode>,
        lists: Option<Named<List>>,
        holidays: Option<Vec<At<String>>>,
        rates: Option<Rates>,
        rules: Vec<Rule>,
        default: Option<Vec<At<AnswerWord>>>,
        tests: Option<Vec<Test>>,
    }
}

record! {
    /// `rates:`.
    Rates is "`rates`" {
        file: At<PathBuf>,
    }
}

words!(Mode, "mode", { "enforce" => Mode::Enforce, "audit" => Mode::Audit, "disabled" => Mode::Disabled });

/// One of `lists:`.
#[derive(Clone, Debug)]
pub enum List {
    /// Its entries.
    Inline(Vec<At<String>>),
    /// A file with one entry on each line, relative to the policy file.
    File(At<PathBuf>),
    /// A folder of such files.
    Folder(At<PathBuf>),
    /// Somebody publishes it, and it is fetched again and again.
    Url(Box<Published>),
}

record! {
    /// `{ url: … }` of `lists:`.
    Published is "a list" {
        url: At<Url>,
        refresh: Option<At<Duration>>,
        ca: Option<At<Authorities>>,
        format: Option<At<Format>>,
        key: Optional<At<Reference>>,
    }
}

/// How a list is published.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Plain,
    Apiban,
}

words!(Format, "format of a list", { "plain" => Format::Plain, "apiban" => Format::Apiban });

impl FromNode for List {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<List> {
        let Value::Mapping(_) = &node.value else {
            return Vec::from_node(node, problems).map(List::Inline);
        };
        let known = ["file", "folder", "url", "refresh", "ca", "format", "key"];
        let fields = Fields::of(node, "a list", &known, problems)?;
        if fields.get("folder").is_some() {
            return fields.read::<At<PathBuf>>("folder", problems).map(List::Folder);
        }
        if let Some(url) = fields.get("url") {
            // Services that give each customer a URL take it for a password.
            problems.hide(url.at);
            return Published::from_node(node, problems).map(Box::new).map(List::Url);
        }
        fields.read::<At<PathBuf>>("file", problems).map(List::File)
    }
}

/// A key that may be missing. One whose value is broken is not missing: nobody is told to add it.
#[derive(Clone, Debug)]
pub enum Optional<T> {
    /// Not there.
    Missing,
    /// There, and told to be wrong.
    Broken,
    /// There.
    Read(T),
}

impl<T> Optional<T> {
    /// What was read.
    pub fn read(&self) -> Option<&T> {
        match self {
            Optional::Read(value) => Some(value),
            Optional::Missing | Optional::Broken => None,
        }
    }

    /// True if the key stands in the file.
    pub fn is_there(&self) -> bool {
        !matches!(self, Optional::Missing)
    }
}

impl<T: FromNode> FromEntry for Optional<T> {
    fn from_entry(
        node: Option<&Node>,
        _key: &str,
        _owner: (&str, Position),
        problems: &mut Problems,
    ) -> Option<Optional<T>> {
        Some(match node {
            None => Optional::Missing,
            Some(node) => T::from_node(node, problems).map_or(Optional::Broken, Optional::Read),
        })
    }
}

record! {
    /// One of `rules:`.
    Rule is "a rule" {
        name: At<String>,
        when: Option<When>,
        count: Optional<Count>,
        then: Optional<At<Vec<At<AnswerWord>>>>,
        over: Optional<At<Vec<At<AnswerWord>>>>,
    }
}

record! {
    /// `when:`.
    When is "`when`" {
        to: Option<OneOf>,
        from: Option<OneOf>,
        user: Option<OneOf>,
        party: Option<OneOf>,
        trunk: Option<OneOf>,
        zone: Option<OneOf>,
        listener: Option<OneOf>,
        source: Option<OneOf>,
        agent: Option<OneOf>,
        method: Option<OneOf>,
        tls: Option<YesNo>,
        time: Option<OneOf>,
        country: Option<OneOf>,
        source_country: Option<OneOf>,
        longer_than: Option<Duration>,
        role: Option<OneOf>,
        peer: Option<OneOf>,
    }
}

/// `[a, $list]`, `not $list`, `{ not: [a, b] }`.
#[derive(Clone, Debug)]
pub struct OneOf {
    /// Where it stands.
    pub at: Position,
    /// `not`.
    pub negated: bool,
    /// What is looked for.
    pub items: Vec<At<String>>,
}

/// As it is written, of a long list the beginning.
impl fmt::Display for OneOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 4;
        let mut items: Vec<_> = self.items.iter().take(MOST).map(|item| item.value.as_str()).collect();
        if self.items.len() > MOST {
            items.push("…");
        }
        let not = if self.negated { "not " } else { "" };
        match items.as_slice() {
            [one] => write!(f, "{not}{one}"),
            several => write!(f, "{not}[{}]", several.join(", ")),
        }
    }
}

impl FromNode for OneOf {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<OneOf> {
        let at = node.at;
        match &node.value {
            Value::Mapping(_) => {
                let fields = Fields::of(node, "a condition", &["not"], problems)?;
                let items = fields.read("not", problems)?;
                Some(OneOf { at, negated: true, items })
            }
            Value::Scalar { text, quoted: false } if text.starts_with("not ") => {
                let item = text.trim_start_matches("not ").trim_start();
                if item.starts_with('[') {
                    problems.error(at, "`not` before brackets is no YAML list", "write `{ not: [a, b] }`");
                    return None;
                }
                let item = At { at, value: item.to_owned() };
                Some(OneOf { at, negated: true, items: vec![item] })
            }
            _ => {
                let items: Vec<At<String>> = Vec::from_node(node, problems)?;
                if let Some(item) = items.iter().find(|item| item.value.starts_with("not ")) {
                    problems.error(
                        item.at,
                        "`not` stands before a whole list, not in it",
                        "write `{ not: [a, b] }`",
                    );
                    return None;
                }
                Some(OneOf { at, negated: false, items })
            }
        }
    }
}

record! {
    /// `count:`.
    Count is "`count`" {
        per: At<String>,
        calls_at_once: Optional<u32>,
        new_calls: Optional<BurstRate>,
        requests: Optional<BurstRate>,
        packets: Optional<BurstRate>,
        failed_logins: Optional<At<BurstRate>>,
        minutes: Optional<Rate>,
        spend: Optional<At<AllowanceWord>>,
        short_calls: Optional<ShortCallsWord>,
        sequential_numbers: Optional<BurstRate>,
        new_countries: Optional<BurstRate>,
        new_source_countries: Optional<At<BurstRate>>,
        new_sources: Optional<BurstRate>,
        allocations_at_once: Optional<u32>,
        new_allocations: Optional<BurstRate>,
        bytes: Optional<VolumeWord>,
    }
}

record! {
    /// One of `tests:`.
    Test is "a test" {
        name: At<String>,
        given: Given,
        expect: At<String>,
    }
}

record! {
    /// `given:`.
    Given is "`given`" {
        stage: Option<StageWord>,
        to: Option<String>,
        from: Option<String>,
        user: Option<String>,
        party: Option<At<String>>,
        trunk: Option<At<String>>,
        zone: Option<At<String>>,
        listener: Option<At<String>>,
        source: Option<std::net::IpAddr>,
        source_country: Option<At<String>>,
        agent: Option<String>,
        method: Option<String>,
        tls: Option<YesNo>,
        time: Option<At<String>>,
        calls_at_once: Option<u32>,
        new_calls: Option<u32>,
        requests: Option<u32>,
        packets: Option<u32>,
        failed_logins: Option<u32>,
        minutes: Option<u32>,
        spend: Option<SpentSoFar>,
        short_calls: Option<u32>,
        sequential_numbers: Option<u32>,
        new_countries: Option<u32>,
        new_source_countries: Option<u32>,
        new_sources: Option<u32>,
        talked: Option<Duration>,
        role: Option<At<String>>,
        peer: Option<std::net::IpAddr>,
        allocations_at_once: Option<u32>,
        new_allocations: Option<u32>,
        bytes: Option<SizeWord>,
    }
}
