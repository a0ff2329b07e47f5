//! `lists:`: what is named once and used by many rules, compiled once for each kind of use.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnetwork::IpNetwork;

use super::files::{FileId, Files};
use super::raw::{self, List, Optional, Published};
use super::times;
use super::words;
use crate::config::diagnose::{Problems, Report};
use crate::config::read::{At, FromWord, Named, Wrong, did_you_mean};
use crate::config::{compile, process_environment};
use crate::net::settings::{FeedSource, Format, Website};
use crate::policy::country::Country;
use crate::policy::feed::{FeedId, Kind, Subject};
use crate::policy::matcher::{Glob, Matcher};
use crate::policy::network::NetworkSet;
use crate::policy::number::NumberSet;
use crate::policy::window::Holidays;

/// How often a list is fetched that does not say.
const USUAL: Duration = Duration::from_secs(3600);
const SOONEST: Duration = Duration::from_secs(60);
/// How long a page of it may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The lists of one policy file.
pub struct Lists {
    lists: HashMap<String, Vec<Entries>>,
    broken: Vec<String>,
    numbers: HashMap<String, Arc<NumberSet>>,
    networks: HashMap<String, Arc<NetworkSet>>,
    feeds: HashMap<String, Declared>,
    /// Those of `feeds` that a rule looks in, in the order of their ids, which begin at `first_feed`.
    used: Vec<FeedSource>,
    first_feed: usize,
    files: Files,
}

/// A list from a URL.
struct Declared {
    source: FeedSource,
    /// It can be a list of one kind only.
    used: Option<FeedId>,
}

/// Entries, and the file that they stand in if it is not the policy's own.
#[derive(Clone, Debug)]
struct Entries {
    items: Vec<At<String>>,
    file: Option<FileId>,
}

impl Lists {
    /// None yet. The first feed will have the id `first_feed`.
    pub fn new(files: Files, first_feed: usize) -> Lists {
        Lists {
            lists: HashMap::new(),
            broken: Vec::new(),
            numbers: HashMap::new(),
            networks: HashMap::new(),
            feeds: HashMap::new(),
            used: Vec::new(),
            first_feed,
            files,
        }
    }

    /// Takes the lists that a policy declares, and reads their files.
    pub fn declare(&mut self, policy: &str, named: Named<List>, problems: &mut Problems) {
        self.broken = named.broken;
        for (name, list) in named.entries {
            let files = match list {
                List::Inline(items) => {
                    self.lists.insert(name.value, vec![Entries { items, file: None }]);
                    continue;
                }
                List::Url(published) => {
                    let full_name = format!("{policy} / {}", name.value);
                    match Declared::new(full_name, &published, self.files.folder(), problems) {
                        Some(declared) => _ = self.feeds.insert(name.value, declared),
                        None => self.broken.push(name.value),
                    }
                    continue;
                }
                List::File(path) => self.files.open(&path, problems).map(|file| vec![file]),
                List::Folder(path) => self.files.open_all(&path, problems),
            };
            let Some(files) = files else {
                self.broken.push(name.value);
                continue;
            };
            let entries =
                files.into_iter().map(|id| Entries { items: self.files.entries(id), file: Some(id) });
            let entries = entries.collect();
            self.lists.insert(name.value, entries);
        }
    }

    /// The files that lists and other keys name.
    pub fn files(&mut self) -> &mut Files {
        &mut self.files
    }

    /// What is wrong in the files; and the feeds that are to be fetched.
    pub fn report(self, report: &mut Report) -> Vec<FeedSource> {
        self.files.report(report);
        self.used
    }

    /// Whatever of `items` is a feed, as a matcher for `subject`; and the others.
    pub fn feeds<'i>(
        &mut self,
        subject: Subject,
        items: &'i [At<String>],
        problems: &mut Problems,
    ) -> (Vec<Matcher>, Cow<'i, [At<String>]>) {
        let is_feed =
            |item: &At<String>| item.value.strip_prefix('$').is_some_and(|n| self.feeds.contains_key(n));
        if !items.iter().any(is_feed) {
            return (Vec::new(), Cow::Borrowed(items));
        }
        let (of_feeds, others): (Vec<_>, Vec<_>) = items.iter().cloned().partition(is_feed);
        let matchers = of_feeds.iter().filter_map(|item| {
            self.feed(item, subject.kind(), problems).map(|id| Matcher::Feed(subject, id))
        });
        (matchers.collect(), Cow::Owned(others))
    }

    fn feed(&mut self, item: &At<String>, kind: Kind, problems: &mut Problems) -> Option<FeedId> {
        let declared = self.feeds.get_mut(item.value.strip_prefix('$')?)?;
        if kind == Kind::Numbers && matches!(declared.source.format, Format::Apiban(_)) {
            problems.error(item.at, "APIBAN lists networks", "name it under `source`");
            return None;
        }
        if let Some(id) = declared.used {
            if declared.source.kind != kind {
                let help = "declare it a second time, under another name";
                problems.error(item.at, "one list cannot hold both networks and numbers", help);
            }
            return Some(id);
        }
        let id = FeedId(self.first_feed + self.used.len());
        declared.source.kind = kind;
        declared.used = Some(id);
        self.used.push(declared.source.clone());
        Some(id)
    }

    /// Numbers, user names and lists of them.
    pub fn numbers(&mut self, items: &[At<String>], problems: &mut Problems) -> Arc<NumberSet> {
        if let Some(set) = alone(items).and_then(|name| self.numbers.get(name)) {
            return Arc::clone(set);
        }
        let words = self.words(items, problems, number);
        let set: Arc<NumberSet> = Arc::new(words.iter().map(String::as_str).collect());
        if let Some(name) = alone(items) {
            self.numbers.insert(name.to_owned(), Arc::clone(&set));
        }
        set
    }

    /// Networks and lists of them.
    pub fn networks(&mut self, items: &[At<String>], problems: &mut Problems) -> Arc<NetworkSet> {
        if let Some(set) = alone(items).and_then(|name| self.networks.get(name)) {
            return Arc::clone(set);
        }
        let networks = self.words(items, problems, IpNetwork::from_word);
        let set: Arc<NetworkSet> = Arc::new(networks.into_iter().collect());
        if let Some(name) = alone(items) {
            self.networks.insert(name.to_owned(), Arc::clone(&set));
        }
        set
    }

    /// Countries and lists of them.
    pub fn countries(&mut self, items: &[At<String>], problems: &mut Problems) -> Arc<[Country]> {
        self.words(items, problems, words::country).into()
    }

    /// Days and lists of them.
    pub fn holidays(&mut self, items: &[At<String>], problems: &mut Problems) -> Holidays {
        self.words(items, problems, times::holiday).into_iter().collect()
    }

    /// Patterns and lists of them.
    pub fn globs(&mut self, items: &[At<String>], problems: &mut Problems) -> Arc<[Glob]> {
        self.words(items, problems, |pattern| Ok(Glob::new(pattern))).into()
    }

    /// Each item and each entry of each `$list` through `read`; errors are told where the entry stands.
    fn words<T>(
        &mut self,
        items: &[At<String>],
        problems: &mut Problems,
        read: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Vec<T> {
        let mut words = Vec::new();
        for item in items {
            let Some(name) = item.value.strip_prefix('$') else {
                take(&read, item, problems, &mut words);
                continue;
            };
            match self.lists.get(name) {
                Some(parts) => {
                    for Entries { items, file } in parts {
                        let problems = file.and_then(|id| self.files.problems(id)).unwrap_or(&mut *problems);
                        items.iter().for_each(|entry| take(&read, entry, problems, &mut words));
                    }
                }
                None if self.feeds.contains_key(name) => {
                    let help = "name it under `source`, `peer`, `to`, `from` or `user`";
                    problems.error(item.at, "a list from a URL holds networks or numbers", help);
                }
                None if self.broken.iter().any(|b| b == name) => {}
                None => {
                    let names = self.lists.keys().chain(self.feeds.keys()).chain(&self.broken);
                    let names: Vec<_> = names.map(String::as_str).collect();
                    let help = did_you_mean(name, names.iter().copied());
                    problems.error(item.at, format!("`lists` has no `{name}`"), help);
                }
            }
        }
        words
    }
}

impl Declared {
    fn new(name: String, list: &Published, folder: &Path, problems: &mut Problems) -> Option<Declared> {
        let Published { url, refresh, ca, .. } = list;
        if url.value.is_open() {
            let what = "whoever is on the way can write into this list";
            problems.warning(url.at, what, "write `https://`");
        }
        if let Some(refresh) = refresh.as_ref().filter(|refresh| refresh.value < SOONEST) {
            let what = "whoever publishes this list will not like to be asked so often";
            problems.error(refresh.at, what, "write `1m` or more, such as `refresh: 1h`");
        }
        let ca = ca.as_ref().and_then(|ca| compile::trusted(ca, folder, problems));
        let source = FeedSource {
            name: name.into(),
            at: Website { url: url.value.0.clone(), ca, patience: PATIENCE },
            refresh: refresh.as_ref().map_or(USUAL, |refresh| refresh.value),
            kind: Kind::Networks,
            format: format(list, folder, problems)?,
        };
        Some(Declared { source, used: None })
    }
}

/// How the list is published, with the key for it.
fn format(list: &Published, folder: &Path, problems: &mut Problems) -> Option<Format> {
    let format = list.format.as_ref().map_or(raw::Format::Plain, |format| format.value);
    match (format, &list.key) {
        (_, Optional::Broken) => None,
        (raw::Format::Plain, Optional::Missing) => Some(Format::Plain),
        (raw::Format::Plain, Optional::Read(key)) => {
            problems.error(key.at, "a plain page needs no key", "add `format: apiban`, or remove `key`");
            None
        }
        (raw::Format::Apiban, Optional::Missing) => {
            let help = "add `key: \"env:APIBAN_KEY\"`; apiban.org gives everybody one";
            problems.error(list.at, "APIBAN wants a key", help);
            None
        }
        (raw::Format::Apiban, Optional::Read(key)) => {
            let secret = compile::secret(&key.value, folder, &process_environment);
            let secret =
                secret.and_then(|secret| match secret.reveal().bytes().all(|b| b.is_ascii_alphanumeric()) {
                    true => Ok(Format::Apiban(secret)),
                    false => Err(Wrong::new(
                        "this is no key of APIBAN",
                        "put there what apiban.org has sent, and nothing else",
                    )),
                });
            secret.map_err(|wrong| problems.error(key.at, wrong.what, wrong.help)).ok()
        }
    }
}

fn take<T>(
    read: impl Fn(&str) -> Result<T, Wrong>,
    item: &At<String>,
    problems: &mut Problems,
    words: &mut Vec<T>,
) {
    match read(&item.value) {
        Ok(word) => words.push(word),
        Err(wrong) => problems.error(item.at, wrong.what, wrong.help),
    }
}

/// The name of the one list that is all that is asked for.
fn alone(items: &[At<String>]) -> Option<&str> {
    match items {
        [only] => only.value.strip_prefix('$'),
        _ => None,
    }
}

/// A number, a prefix (`+49`, `0*`) or a user name.
fn number(text: &str) -> Result<String, Wrong> {
    let body = text.strip_suffix('*').unwrap_or(text);
    if let Some(digits) = body.strip_prefix('+')
        && !digits.bytes().all(|b| b.is_ascii_digit() || b" -.()".contains(&b))
    {
        return Err(Wrong::new(
            format!("`{text}` is no number"),
            "write digits behind the `+`, such as `+4930`",
        ));
    }
    if body.contains('*') && body.contains(|c: char| c.is_ascii_alphanumeric()) && !body.starts_with('*') {
        let help = "`*` stands at the end, for a prefix, or at the beginning, as a phone's star key";
        return Err(Wrong::new(format!("`{text}` has a `*` in the middle"), help));
    }
    Ok(text.to_owned())
}
