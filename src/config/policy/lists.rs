//! `lists:`: what is named once and used by many rules, compiled once for each kind of use.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnetwork::IpNetwork;

use super::raw::List;
use crate::config::diagnose::{Problems, Report};
use crate::config::read::{At, FromWord, Named, Wrong, did_you_mean};
use crate::config::yaml::Position;
use crate::policy::matcher::Glob;
use crate::policy::network::NetworkSet;
use crate::policy::number::NumberSet;

/// A million networks fit.
const MAX_BYTES: u64 = 64 << 20;

/// The lists of one policy file.
pub struct Lists {
    folder: PathBuf,
    lists: HashMap<String, Entries>,
    broken: Vec<String>,
    files: Vec<ListFile>,
    numbers: HashMap<String, Arc<NumberSet>>,
    networks: HashMap<String, Arc<NetworkSet>>,
}

/// A list's entries, and the file that they stand in if it is not the policy's own.
#[derive(Clone, Debug)]
struct Entries {
    items: Vec<At<String>>,
    file: Option<usize>,
}

struct ListFile {
    path: PathBuf,
    text: String,
    problems: Problems,
}

impl Lists {
    /// None yet; files are looked for in `folder`.
    pub fn new(folder: &Path) -> Lists {
        Lists {
            folder: folder.to_owned(),
            lists: HashMap::new(),
            broken: Vec::new(),
            files: Vec::new(),
            numbers: HashMap::new(),
            networks: HashMap::new(),
        }
    }

    /// Takes the lists that a policy declares, and reads their files.
    pub fn declare(&mut self, named: Named<List>, problems: &mut Problems) {
        self.broken = named.broken;
        for (name, list) in named.entries {
            let entries = match list {
                List::Inline(items) => Some(Entries { items, file: None }),
                List::NotYet => Some(Entries { items: Vec::new(), file: None }),
                List::File(path) => self.read_file(&path, problems),
            };
            match entries {
                Some(entries) => drop(self.lists.insert(name.value, entries)),
                None => self.broken.push(name.value),
            }
        }
    }

    fn read_file(&mut self, named: &At<PathBuf>, problems: &mut Problems) -> Option<Entries> {
        let path = self.folder.join(&named.value);
        let readable = std::fs::metadata(&path).and_then(|file| match file.len() {
            0..=MAX_BYTES => std::fs::read_to_string(&path),
            _ => Err(std::io::Error::other("it is larger than 64 MiB")),
        });
        let text = match readable {
            Ok(text) => text,
            Err(error) => {
                let help = "list files are looked for beside the policy file";
                problems.error(named.at, format!("{}: {error}", path.display()), help);
                return None;
            }
        };
        let items = text.lines().enumerate().filter_map(|(index, line)| entry(index + 1, line)).collect();
        self.files.push(ListFile { path, text, problems: Problems::default() });
        Some(Entries { items, file: Some(self.files.len() - 1) })
    }

    /// What is wrong in the list files.
    pub fn report(self, report: &mut Report) {
        for ListFile { path, text, problems } in self.files {
            report.add(&path, &text, problems);
        }
    }

    /// True if a list file holds what it should not.
    pub fn has_errors(&self) -> bool {
        self.files.iter().any(|file| file.problems.has_errors())
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
                Some(Entries { items, file }) => {
                    let file = file.and_then(|i| self.files.get_mut(i));
                    let problems = file.map_or(&mut *problems, |file| &mut file.problems);
                    items.iter().for_each(|entry| take(&read, entry, problems, &mut words));
                }
                None if self.broken.iter().any(|b| b == name) => {}
                None => {
                    let names: Vec<_> = self.lists.keys().chain(&self.broken).map(String::as_str).collect();
                    let help = did_you_mean(name, names.iter().copied());
                    problems.error(item.at, format!("`lists` has no `{name}`"), help);
                }
            }
        }
        words
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

/// One line of a list file: nothing, or an entry, and a comment behind `#`.
fn entry(number: usize, line: &str) -> Option<At<String>> {
    let text = match line.split_once(" #") {
        Some((text, _comment)) => text,
        None => line,
    };
    let value = text.trim();
    let column = 1 + text.chars().take_while(|c| c.is_whitespace()).count();
    let is_entry = !value.is_empty() && !value.starts_with('#');
    is_entry.then(|| At { at: Position { line: number, column }, value: value.to_owned() })
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
