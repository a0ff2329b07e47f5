//! `preset:` of a trunk and of the PBX: a file of settings that are read as if they stood where it is named. What the
//! config itself writes there wins, key by key, down into mappings; a key with nothing behind it takes the preset's away.
//!
//! The merge is done in the tree, before anything is typed: each value keeps the place it comes from, so a mistake is
//! shown in the file that holds it (docs/adr/0014).

use std::path::{Path, PathBuf};

use super::diagnose::{Problems, Source};
use super::read::{did_you_mean, is_empty};
use super::yaml::{Node, Position, Value};
use super::{compile, tree};

/// A preset that is part of this program.
#[derive(Debug)]
pub struct Shipped {
    /// As `preset:` names it.
    pub name: &'static str,
    /// Its file in the source tree.
    pub path: &'static str,
    /// The file: comments that say what the other side must set, and the settings.
    pub text: &'static str,
}

impl Shipped {
    /// What it is for, in one line: the file's first comment.
    pub fn title(&self) -> &'static str {
        self.text.lines().next().unwrap_or_default().trim_start_matches("# ")
    }
}

macro_rules! shipped {
    ($folder:literal: $($name:literal),+) => {
        [$(Shipped {
            name: $name,
            path: concat!("config/", $folder, "/", $name, ".yaml"),
            text: include_str!(concat!("../../config/", $folder, "/", $name, ".yaml")),
        }),+]
    };
}

/// For trunks.
pub static TRUNKS: [Shipped; 5] = shipped!("presets": "twilio", "telnyx", "teams", "zoom", "registration");

/// For the PBX.
pub static PBX: [Shipped; 4] = shipped!("pbx": "asterisk", "freeswitch", "3cx", "fusionpbx");

/// Merges the presets that `root` names into it. `sources` are the config file and then every preset that was read.
pub(super) fn merge_all(root: &mut Node, folder: &Path, sources: &mut Vec<Source>, problems: &mut Problems) {
    let mut reading = Reading { folder, sources, problems };
    if let Some(pbx) = root.get_mut("pbx") {
        reading.merge(pbx, &PBX, "the PBX");
    }
    if let Some(Node { value: Value::Mapping(trunks), .. }) = root.get_mut("trunks") {
        for (_, trunk) in trunks {
            reading.merge(trunk, &TRUNKS, "a trunk");
        }
    }
}

struct Reading<'r> {
    folder: &'r Path,
    sources: &'r mut Vec<Source>,
    problems: &'r mut Problems,
}

impl Reading<'_> {
    fn merge(&mut self, into: &mut Node, shipped: &'static [Shipped], owner: &str) {
        let Some(named) = into.get_mut("preset").filter(|named| !is_empty(named)) else { return };
        // What is no word is told when the mapping is read.
        let (at, Some(name)) = (named.at, named.text()) else { return };
        let Some(mut source) = self.source(name, at, shipped, owner) else { return };
        let preset = tree(&mut source, self.sources.len(), self.problems);
        self.sources.push(source);
        let Some(mut preset) = preset else { return };
        if let Some(nested) = preset.get_mut("preset") {
            self.problems.error(nested.at, "a preset takes no other preset", "copy here what you need of it");
        } else if let Value::Mapping(_) = preset.value {
            lay_under(into, preset);
        } else {
            let help =
                "write it as under the trunk or `pbx` that names it, without indentation: `health: { … }`";
            self.problems.error(preset.at, format!("a preset is the settings of {owner}"), help);
        }
    }

    /// What `preset: NAME` names: one of ours, or a file.
    fn source(
        &mut self,
        name: &str,
        at: Position,
        shipped: &'static [Shipped],
        owner: &str,
    ) -> Option<Source> {
        let place = format!("{}:{}:{}", self.sources.first()?.path.display(), at.line, at.column);
        if name.contains(['/', '.']) {
            let path = self.folder.join(name);
            let note = Some(format!("a preset, named by {place}"));
            return match std::fs::read_to_string(&path) {
                Ok(text) => Some(Source { path, text, note }),
                Err(error) => {
                    let wrong = compile::missing(&path, &error);
                    self.problems.error(at, wrong.what, wrong.help);
                    None
                }
            };
        }
        let Some(found) = shipped.iter().find(|preset| preset.name == name) else {
            let names = shipped.iter().map(|preset| preset.name);
            let help = format!(
                "{} (a file of your own is named by its path: `./{name}.yaml`)",
                did_you_mean(name, names)
            );
            self.problems.error(at, format!("there is no preset `{name}` for {owner}"), help);
            return None;
        };
        let note = format!(
            "preset `{name}`, which is part of turnpike, named by {place}: what is written there wins"
        );
        Some(Source { path: PathBuf::from(found.path), text: found.text.to_owned(), note: Some(note) })
    }
}

/// Adds to `upper` what it does not say itself.
fn lay_under(upper: &mut Node, lower: Node) {
    let (Value::Mapping(ours), Value::Mapping(theirs)) = (&mut upper.value, lower.value) else { return };
    for (key, value) in theirs {
        match ours.iter_mut().find(|(k, _)| k.text() == key.text()) {
            Some((_, own)) => lay_under(own, value),
            None => ours.push((key, value)),
        }
    }
}
