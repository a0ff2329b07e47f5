//! Policy files: from YAML to [`policy::Settings`], every name resolved and every test in them passed.
//!
//! | file | story |
//! |---|---|
//! | `raw` | the keys of a policy file, as typed |
//! | `words` | words with a syntax of their own: answers, rates with a burst; `times`: windows of time, holidays |
//! | `files` | the files that a policy names |
//! | `lists` | `lists:`, compiled to sets once each; `rates`: `rates:` |
//! | `rules` | rules with their names resolved, and what is odd about them |
//! | `trials` | `tests:`, run |

mod files;
mod lists;
mod rates;
mod raw;
mod rules;
mod times;
mod trials;
mod words;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use ipnetwork::IpNetwork;

use super::compiled::{Compiled, Names};
use super::diagnose::{Problems, Report};
use super::read::{FromNode, Wrong};
use super::yaml;
use crate::base::UnixTime;
use crate::edge::settings::{Host, Trust};
use crate::net::settings::FeedSource;
use crate::policy::deck::Deck;
use crate::policy::feed::Feed;
use crate::policy::settings::{Answer, Capacity, Mode, Policy, Settings};

/// A date and time as tests write it, `2026-03-02 23:00`; in UTC unless a zone stands behind it.
///
/// # Errors
/// What is wrong with it, and what to write.
pub fn moment(text: &str) -> Result<UnixTime, Wrong> {
    times::moment(text, &jiff::tz::TimeZone::UTC)
}

/// What the policy files come to.
#[derive(Debug, Default)]
pub struct Loaded {
    /// In the order of the files.
    pub policies: Vec<Policy>,
    /// Warnings; no errors.
    pub report: Report,
    /// Lists that policies have from elsewhere, at the index of their ids.
    pub feeds: Vec<FeedSource>,
    /// Tests in the files; all of them passed.
    pub tests: usize,
    /// For each of the policies: its rules that no test has speak.
    pub untested: Vec<Vec<Arc<str>>>,
}

impl Loaded {
    /// For the engine. Whoever the config relies on is kept out of reach of bans: `never_ban`, fully trusted zones, the
    /// PBX and the trunks.
    pub fn settings(self, config: &Compiled) -> Settings {
        let feeds = self.feeds.iter().map(|source| Feed::empty(source.kind)).collect();
        let never_ban = relied_on(config);
        let capacity = Capacity::default();
        Settings { policies: self.policies, never_ban, geo: config.geo.clone(), feeds, capacity }
    }
}

fn relied_on(config: &Compiled) -> Vec<IpNetwork> {
    let zones = config.edge.zones.iter().filter(|zone| zone.trust == Trust::Full);
    let pbx = config.edge.pbx.iter().flat_map(|pbx| &pbx.hosts);
    let pbx = pbx.filter_map(|host| match host.host {
        Host::Ip(ip) => Some(IpNetwork::from(ip)),
        Host::Name(_) => None,
    });
    let mut networks = config.never_ban.clone();
    networks.extend(zones.flat_map(|zone| &zone.networks));
    networks.extend(config.edge.trunks.iter().flat_map(|trunk| &trunk.accept_from));
    networks.extend(pbx);
    networks
}

/// Reads the policy files at `paths`, which may use the config's `names`, and runs the tests in them (`clock` only
/// anchors them: no test waits).
///
/// # Errors
/// Every mistake found in any of the files, and every test that failed.
pub fn load(paths: &[PathBuf], names: &Names, clock: Instant) -> Result<Loaded, Report> {
    let mut loaded = Loaded::default();
    let mut known: HashMap<Arc<str>, &Path> = HashMap::new();
    for path in paths {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                let help = "check the path, and that this user may read it";
                loaded.report.append(Report::unreadable(path, error.to_string(), help));
                continue;
            }
        };
        let mut problems = Problems::default();
        let files = files::Files::new(path.parent().unwrap_or(Path::new("")));
        let mut lists = lists::Lists::new(files, loaded.feeds.len());
        if let Some((policy, tests, untested)) =
            read(path, &text, names, &known, &mut lists, clock, &mut problems)
        {
            known.insert(Arc::clone(&policy.name), path);
            loaded.tests += tests;
            loaded.untested.push(untested);
            loaded.policies.push(policy);
        }
        loaded.report.add(path, &text, problems);
        loaded.feeds.extend(lists.report(&mut loaded.report));
    }
    if loaded.report.has_errors() { Err(loaded.report) } else { Ok(loaded) }
}

/// One file: its policy, how many tests it passed, and the rules that none of them reached.
fn read(
    path: &Path,
    text: &str,
    names: &Names,
    known: &HashMap<Arc<str>, &Path>,
    lists: &mut lists::Lists,
    clock: Instant,
    problems: &mut Problems,
) -> Option<(Policy, usize, Vec<Arc<str>>)> {
    let root = yaml::parse(text, 0)
        .map_err(|invalid| {
            problems.error(invalid.at, invalid.reason, "docs/policies.md shows the whole language")
        })
        .ok()?;
    let raw::File {
        policy: name,
        applies_to,
        mode,
        lists: named,
        holidays,
        rates,
        rules,
        default,
        tests,
        why: _,
        at: _,
    } = raw::File::from_node(&root, problems)?;
    if let Some(elsewhere) = known.get(name.value.as_str()) {
        let help = format!("{} has it already; give this one another name", elsewhere.display());
        problems.error(name.at, format!("a second policy called `{}`", name.value), help);
    }
    lists.declare(&name.value, named.unwrap_or_default(), problems);
    let holidays = holidays.map(|days| Arc::new(lists.holidays(&days, problems)));
    let prices = rates.and_then(|rates| lists.files().open(&rates.file, problems));
    let deck: Option<Arc<Deck>> = prices.map(|file| rates::deck(lists.files(), file).into());
    let stages = words::stages(&applies_to, problems);
    let mut compiler = rules::Compiler {
        policy: &name.value,
        file: path.display().to_string().into(),
        stages: &stages,
        names,
        lists,
        deck: deck.clone(),
        holidays,
        problems,
    };
    let compiled = compiler.rules(&rules);
    let place = compiler.place(default.iter().flatten().next().map_or(name.at, |answer| answer.at));
    let default = default.and_then(|answers| compiler.answer(&answers)).unwrap_or(Answer::ALLOW);
    let policy = Policy {
        name: name.value.into(),
        mode: mode.unwrap_or(Mode::Enforce),
        stages,
        rules: compiled,
        default,
        deck,
        place,
    };
    // A test of half a policy would only repeat what is wrong with it.
    let tests = tests.unwrap_or_default();
    let untested = if problems.has_errors() || lists.files().have_errors() {
        Vec::new()
    } else {
        trials::run(&policy, &tests, &rules, names, clock, problems)
    };
    Some((policy, tests.len(), untested))
}

#[cfg(test)]
mod tests;
