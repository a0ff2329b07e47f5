//! Typed readers over the tree: what a scalar, a list or a mapping must be, and what to type if it is not.
//!
//! A [`FromWord`] is read from a scalar, a [`FromNode`] from any value, a [`FromEntry`] from the value of a key that may
//! be missing. A reader that returns `None` has told [`Problems`] why.

use std::fmt::Display;

use super::diagnose::Problems;
use super::yaml::{Node, Position, Value};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct At<T> {
    /// Where.
    pub at: Position,
    /// What.
    pub value: T,
}

/// `name: value` pairs under names that the administrator chose.
#[derive(Clone, Debug)]
pub struct Named<T> {
    /// Those that could be read, in the order of the file.
    pub entries: Vec<(At<String>, T)>,
    /// Names of those that could not: they exist, so nobody who refers to one is told that it does not.
    pub broken: Vec<String>,
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Named { entries: Vec::new(), broken: Vec::new() }
    }
}

impl<T> Named<T> {
    /// Position among the entries.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.entries.iter().position(|(n, _)| n.value == name)
    }

    /// All names, for suggestions.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(n, _)| n.value.as_str()).chain(self.broken.iter().map(String::as_str))
    }
}

/// What is wrong with a word, and what to type instead.
#[derive(Debug)]
pub struct Wrong {
    /// The complaint.
    pub what: String,
    /// The remedy.
    pub help: String,
}

impl Wrong {
    /// Puts the two together.
    pub fn new(what: impl Display, help: impl Display) -> Wrong {
        Wrong { what: what.to_string(), help: help.to_string() }
    }
}

/// Read from a scalar, as typed.
pub trait FromWord: Sized {
    /// Reads it.
    fn from_word(text: &str) -> Result<Self, Wrong>;
}

/// Read from any value.
pub trait FromNode: Sized {
    /// Reads it; `None` after telling `problems` why not.
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self>;
}

/// Read from the value of a key, which may be missing (`node` is `None`).
pub trait FromEntry: Sized {
    /// Reads it; `owner` is what the key belongs to and where that stands.
    fn from_entry(
        node: Option<&Node>,
        key: &str,
        owner: (&str, Position),
        problems: &mut Problems,
    ) -> Option<Self>;
}

impl<T: FromWord> FromNode for T {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<T> {
        let word = scalar(node, problems)?;
        T::from_word(word).map_err(|wrong| problems.error(node.at, wrong.what, wrong.help)).ok()
    }
}

impl<T: FromNode> FromNode for At<T> {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<At<T>> {
        T::from_node(node, problems).map(|value| At { at: node.at, value })
    }
}

/// A list; a list of one word may be written without its brackets.
impl<T: FromNode> FromNode for Vec<T> {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Vec<T>> {
        match &node.value {
            // Without those that could not be read, so that the others are looked at too.
            Value::Sequence(items) => {
                Some(items.iter().filter_map(|item| T::from_node(item, problems)).collect())
            }
            Value::Scalar { .. } => Some(vec![T::from_node(node, problems)?]),
            Value::Mapping(_) => {
                problems.error(
                    node.at,
                    "a list is expected here",
                    "write `[a, b]`, or each on a line after `- `",
                );
                None
            }
        }
    }
}

impl<T: FromNode> FromNode for Named<T> {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Named<T>> {
        let mut named = Named::default();
        for (key, value) in mapping(node, "names, each with its settings,", problems)? {
            let Some(name) = String::from_node(key, problems) else { continue };
            match T::from_node(value, problems) {
                Some(read) => named.entries.push((At { at: key.at, value: name }, read)),
                None => named.broken.push(name),
            }
        }
        Some(named)
    }
}

/// A key that must be there.
impl<T: FromNode> FromEntry for T {
    fn from_entry(
        node: Option<&Node>,
        key: &str,
        (owner, at): (&str, Position),
        problems: &mut Problems,
    ) -> Option<T> {
        match node {
            Some(node) => T::from_node(node, problems),
            None => {
                problems.error(at, format!("{owner} needs `{key}`"), format!("add `{key}: …`"));
                None
            }
        }
    }
}

/// A key that may be missing. A broken value is told and then treated as missing, so that reading goes on; whoever then
/// misses it keeps quiet (`compile`'s `absent`).
impl<T: FromNode> FromEntry for Option<T> {
    fn from_entry(
        node: Option<&Node>,
        _key: &str,
        _owner: (&str, Position),
        problems: &mut Problems,
    ) -> Option<Option<T>> {
        Some(node.and_then(|node| T::from_node(node, problems)))
    }
}

/// The scalar's text.
pub fn scalar<'n>(node: &'n Node, problems: &mut Problems) -> Option<&'n str> {
    match &node.value {
        Value::Scalar { text, .. } => Some(text),
        Value::Sequence(_) => {
            problems.error(
                node.at,
                "one value is expected here, not a list",
                "remove the brackets or dashes",
            );
            None
        }
        Value::Mapping(_) => {
            problems.error(
                node.at,
                "one value is expected here, not a mapping",
                "remove the braces or the keys",
            );
            None
        }
    }
}

/// The mapping's entries; a key without a value (all under it is commented out) has none.
pub fn mapping<'n>(node: &'n Node, of: &str, problems: &mut Problems) -> Option<&'n [(Node, Node)]> {
    match &node.value {
        Value::Mapping(entries) => Some(entries),
        _ if is_empty(node) => Some(&[]),
        _ => {
            let help = "write `{ key: value, … }`, or each `key: value` indented on a line of its own";
            problems.error(node.at, format!("{of} are expected here as a mapping"), help);
            None
        }
    }
}

/// `key:` with nothing behind it.
pub fn is_empty(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar { text, quoted: false } if matches!(text.as_str(), "" | "~" | "null"))
}

/// A mapping whose keys are known.
pub struct Fields<'n> {
    entries: Vec<(&'n str, &'n Node)>,
    owner: &'static str,
    at: Position,
}

impl<'n> Fields<'n> {
    /// Reads the mapping of `owner` ("a listener"); each key that is none of `known` is an error. A misspelt one is then
    /// read as what it was meant to be, so that nobody is also told that it is missing.
    pub fn of(
        node: &'n Node,
        owner: &'static str,
        known: &[&'static str],
        problems: &mut Problems,
    ) -> Option<Fields<'n>> {
        let mut entries: Vec<(&str, &Node)> = Vec::new();
        for (key, value) in mapping(node, &format!("the settings of {owner}"), problems)? {
            let Some(word) = scalar(key, problems) else { continue };
            let mut meant = word;
            if !known.contains(&word) {
                let what = format!("{owner} has no key `{word}`");
                problems.error(key.at, what, did_you_mean(word, known.iter().copied()));
                match nearest(word, known.iter().copied()) {
                    Some(near) => meant = near,
                    None => hide_all(value, problems),
                }
            }
            entries.push((meant, value));
        }
        Some(Fields { entries, owner, at: node.at })
    }

    /// The value of `key`, unless it is missing or empty.
    pub fn get(&self, key: &str) -> Option<&'n Node> {
        let (_, value) = self.entries.iter().find(|(k, _)| *k == key)?;
        (!is_empty(value)).then_some(value)
    }

    /// Reads the value of `key`.
    pub fn read<T: FromEntry>(&self, key: &str, problems: &mut Problems) -> Option<T> {
        T::from_entry(self.get(key), key, (self.owner, self.at), problems)
    }
}

/// Behind a key that we do not know there may be a password.
fn hide_all(node: &Node, problems: &mut Problems) {
    match &node.value {
        Value::Scalar { .. } => problems.hide(node.at),
        Value::Sequence(items) => items.iter().for_each(|item| hide_all(item, problems)),
        Value::Mapping(entries) => entries.iter().for_each(|(_, value)| hide_all(value, problems)),
    }
}

/// The choice that `word` may be a misspelling of.
fn nearest<'c>(word: &str, choices: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let word = word.to_lowercase();
    choices
        .map(|choice| (strsim::damerau_levenshtein(&word, &choice.to_lowercase()), choice))
        .filter(|(distance, choice)| *distance <= 1 + choice.len() / 4)
        .min()
        .map(|(_, choice)| choice)
}

/// "did you mean `zone`?", or all there is to choose from.
pub fn did_you_mean<'c>(word: &str, choices: impl Iterator<Item = &'c str> + Clone) -> String {
    if let Some(choice) = nearest(word, choices.clone()) {
        return format!("did you mean `{choice}`?");
    }
    let all: Vec<_> = choices.map(|choice| format!("`{choice}`")).collect();
    match all.as_slice() {
        [] => "there is none yet".to_owned(),
        [only] => format!("there is only {only}"),
        all => format!("write one of {}", all.join(", ")),
    }
}

/// Reads one of a few words.
pub fn one_of<T: Clone>(text: &str, what: &str, choices: &[(&str, T)]) -> Result<T, Wrong> {
    match choices.iter().find(|(word, _)| *word == text) {
        Some((_, value)) => Ok(value.clone()),
        None => {
            let words = choices.iter().map(|(word, _)| *word);
            Err(Wrong::new(format!("`{text}` is no {what}"), did_you_mean(text, words)))
        }
    }
}

/// Declares what words stand for the values of an enum: `words!(Trust, "level of trust", { "none" => Trust::None })`.
macro_rules! words {
    ($type:ty, $what:literal, { $($word:literal => $value:expr),+ $(,)? }) => {
        impl $crate::config::read::FromWord for $type {
            fn from_word(text: &str) -> Result<Self, $crate::config::read::Wrong> {
                $crate::config::read::one_of(text, $what, &[$(($word, $value)),+])
            }
        }
    };
}
pub(in crate::config) use words;

/// Declares a mapping: a struct whose fields are its keys, with `at`, where it stands. `Option` makes a key optional.
macro_rules! record {
    ($(#[$doc:meta])* $name:ident is $what:literal { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name {
            /// Where it stands.
            #[allow(dead_code, reason = "every record has it, some need it")]
            pub at: $crate::config::yaml::Position,
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $crate::config::read::FromNode for $name {
            fn from_node(
                node: &$crate::config::yaml::Node,
                problems: &mut $crate::config::diagnose::Problems,
            ) -> Option<Self> {
                // `match` is a key of the schema and a word of Rust.
                let known = [$(stringify!($field).trim_start_matches("r#")),*];
                let fields = $crate::config::read::Fields::of(node, $what, &known, problems)?;
                $(let $field = fields.read::<$type>(stringify!($field).trim_start_matches("r#"), problems);)*
                Some($name { at: node.at, $($field: $field?,)* })
            }
        }
    };
}
pub(in crate::config) use record;
