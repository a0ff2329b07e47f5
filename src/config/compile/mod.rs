//! From the config as typed to what the house is given: names resolved, defaults filled in, contradictions found.
//!
//! Each part goes on after an error, so that one run of `check` tells all of them; whatever it then builds is thrown
//! away, because [`super::load`] looks at the errors first.

mod certificates;
mod dial_plan;
mod files;
mod media;
mod routes;
mod sessions;
mod targets;
mod trunk_rules;
mod turn;
mod users;
mod zones;

pub(super) use certificates::trusted;
pub use files::glob;
pub(super) use files::{missing, secret};

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::compiled::{Compiled, Edge, Names};
use super::diagnose::{Problems, Report};
use super::read::{At, Named, Wrong, did_you_mean};
use super::secret::Secret;
use super::yaml::Position;
use super::{Environment, raw};
use crate::admin::settings::{AdminSettings, Token};
use crate::base::ZoneId;
use crate::net::settings::{Capacity, NetSettings, Patience, Webhook, Website};
use crate::observe::settings::Logging;
use crate::policy::geo::Geo;

/// Ids are 16 bits wide; nobody needs as many.
const MOST_NAMES: usize = 10_000;

/// How long a webhook may take for one alert.
const POST_PATIENCE: Duration = Duration::from_secs(10);
/// How long a client of the admin listener may take, from its connection to the end of the answer.
const ADMIN_PATIENCE: Duration = Duration::from_secs(30);
/// How often one rule alerts.
const USUAL_ALERT: Duration = Duration::from_secs(60);
const SOONEST_ALERT: Duration = Duration::from_secs(1);

/// What is at hand while compiling.
pub(super) struct Context<'c> {
    /// The config as typed.
    pub raw: &'c raw::Config,
    /// The config file's folder: where relative paths begin.
    pub folder: &'c Path,
    /// For `env:`.
    pub environment: Environment<'c>,
    /// All that was typed could be read, and all names so far were found.
    pub sound: bool,
    /// Of the config file.
    pub problems: &'c mut Problems,
    /// Of the other files.
    pub others: &'c mut Report,
}

/// Builds everything; of use only if `cx` has got no error.
pub(super) fn compile(mut cx: Context<'_>) -> Compiled {
    let cx = &mut cx;
    let raw = cx.raw;
    let name: Arc<str> = cx.node_name().into();
    let relay = media::relay(cx);
    let zones = zones::zones(cx);
    let zones::Listeners { edge: listeners, tls: listener_tls, web } = zones::listeners(cx);
    let certificates = certificates::certificates(cx);
    let mut tls = targets::TlsPeers::default();
    let pbx = targets::pbx(cx, &listeners, &mut tls);
    let trunks = targets::trunks(cx, &listeners, &mut tls);
    let routes = routes::routes(cx);
    let accounts = users::users(cx);
    let users = users::of_realm(cx, &accounts);
    users::of_trunks(cx, &accounts);
    let turn = turn::turn(cx, accounts);
    if let Some(state) = raw.state.as_ref().filter(|s| s.value == raw::State::Redis) {
        cx.not_yet(state.at, "state in Redis", "write `state: embedded`");
    }
    let turn_listeners = turn.iter().flat_map(|turn| &turn.listeners).map(|l| l.name.clone());
    let names = Names {
        zones: zones.iter().map(|z| z.name.clone()).collect(),
        listeners: listeners.iter().map(|l| l.name.clone()).chain(turn_listeners).collect(),
        roles: turn::role_names(cx),
        trunks: trunks.iter().map(|t| t.name.clone()).collect(),
        dial_plans: zones.iter().map(|z| z.dial_plan.clone()).collect(),
        no_geoip: raw.geoip.is_none(),
        no_users: raw.users.is_none(),
    };
    let data_dir = cx.data_dir();
    let (tls_peers, peer_trust) = tls.into_settings();
    Compiled {
        report: Report::default(),
        edge: Edge { name, zones, listeners, pbx, trunks, routes, users, tls_peers },
        relay,
        net: NetSettings {
            data_dir: data_dir.clone(),
            certificates,
            listeners: listener_tls,
            web,
            tls_peers: peer_trust,
            dns: raw.dns.iter().flat_map(|dns| &dns.servers).map(|server| server.value).collect(),
            feeds: Vec::new(),
            webhook: raw.alerts.as_ref().and_then(|alerts| cx.webhook(alerts)),
            turn,
            capacity: Capacity::default(),
            patience: Patience::default(),
        },
        data_dir,
        policies: cx.policies(),
        names,
        never_ban: raw.never_ban.clone().unwrap_or_default(),
        geo: raw.geoip.as_ref().and_then(|file| cx.geoip(file)),
        admin: raw.admin.as_ref().and_then(|admin| cx.admin(admin)),
        logging: logging(raw.logging.as_ref()),
    }
}

impl<'c> Context<'c> {
    /// `name:` goes into tokens and metric labels: one word.
    fn node_name(&mut self) -> String {
        let help = "add `name: edge-1`, or whatever you call this machine";
        let Some(name) = &self.raw.name else {
            self.absent(self.raw.at, "the config needs `name`", help);
            return String::new();
        };
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.value.len() > 64 || !name.value.chars().all(word) {
            let help = "write up to 64 letters, digits, `-`, `_` and `.`, such as `edge-fra-1`";
            self.problems.error(name.at, "a node's name is one word", help);
        }
        name.value.clone()
    }

    fn data_dir(&mut self) -> PathBuf {
        let Some(dir) = &self.raw.data_dir else { return self.folder.join("data") };
        let path = self.folder.join(&dir.value);
        if path.exists() && !path.is_dir() {
            let what = format!("{} is not a folder", path.display());
            self.problems.error(dir.at, what, "name a folder; it is made if it is not there");
        }
        path
    }

    /// Read once, at the start.
    fn geoip(&mut self, file: &At<PathBuf>) -> Option<Geo> {
        let path = self.folder.join(&file.value);
        let bytes = std::fs::read(&path).map_err(|error| files::missing(&path, &error));
        let geo = bytes.and_then(|bytes| {
            let help =
                "name a country or city database in MaxMind's format (.mmdb), such as GeoLite2-Country.mmdb";
            Geo::new(bytes).map_err(|why| Wrong::new(format!("{}: {why}", path.display()), help))
        });
        geo.map_err(|wrong| self.problems.error(file.at, wrong.what, wrong.help)).ok()
    }

    fn webhook(&mut self, alerts: &raw::Alerts) -> Option<Webhook> {
        let raw::Alerts { webhook: raw::Webhook { url, ca, secret, .. }, every, .. } = alerts;
        if url.value.is_open() {
            let what = "whoever is on the way can read these alerts, and write others";
            self.problems.warning(url.at, what, "write `https://`");
        }
        let secret = match secret {
            Some(reference) => Some(self.secret(reference)?),
            None => None,
        };
        if let Some(every) = every.as_ref().filter(|every| every.value < SOONEST_ALERT) {
            let what = "nobody reads alerts of one rule as often as that";
            self.problems.error(every.at, what, "write `1s` or more, such as `every: 1m`");
        }
        let every = every.as_ref().map_or(USUAL_ALERT, |every| every.value);
        let ca = ca.as_ref().and_then(|ca| self.trusted(ca));
        let at = Website { url: url.value.0.clone(), ca, patience: POST_PATIENCE };
        Some(Webhook { at, secret, every })
    }

    fn admin(&mut self, admin: &raw::Admin) -> Option<AdminSettings> {
        let listen = admin.listen.value;
        let token = match &admin.token {
            Some(reference) => Some(Token::new(self.secret(reference)?.reveal().to_owned())),
            None => None,
        };
        if token.is_none() && !listen.ip().is_loopback() {
            let what = "whoever reaches this address could ask everything";
            let help = "add `token: \"env:ADMIN_TOKEN\"`, or listen on `127.0.0.1`";
            self.absent(admin.listen.at, what, help);
        }
        Some(AdminSettings { listen, token, patience: ADMIN_PATIENCE })
    }

    /// Files that `policies:` names, in its order, each once.
    fn policies(&mut self) -> Vec<PathBuf> {
        let mut seen = BTreeSet::new();
        let mut files = Vec::new();
        for pattern in self.raw.policies.iter().flatten() {
            files.extend(self.expand(pattern).into_iter().filter(|file| seen.insert(file.clone())));
        }
        files
    }

    /// Position of the entry that `name` refers to; tells if there is none, and then nobody else ([`Self::absent`]).
    fn index<T>(&mut self, named: Option<&Named<T>>, kind: &str, name: &At<String>) -> Option<usize> {
        if let Some(index) = named.and_then(|n| n.index(&name.value)) {
            return Some(index);
        }
        if !named.is_some_and(|n| n.broken.contains(&name.value)) {
            let known: Vec<_> = named.into_iter().flat_map(Named::names).collect();
            let what = format!("there is no {kind} `{}`", name.value);
            self.problems.error(name.at, what, did_you_mean(&name.value, known.iter().copied()));
        }
        self.sound = false;
        None
    }

    /// The zone that `name` refers to.
    fn zone(&mut self, name: &At<String>) -> Option<ZoneId> {
        self.index(self.raw.zones.as_ref(), "zone", name).map(|index| ZoneId(id(index)))
    }

    /// The entries of one of the sections whose names become ids.
    fn entries<T>(&mut self, named: Option<&'c Named<T>>, kind: &str) -> &'c [(At<String>, T)] {
        let Some(named) = named else { return &[] };
        if let Some((name, _)) = named.entries.get(MOST_NAMES) {
            self.problems.plain_error(name.at, format!("more than {MOST_NAMES} {kind}"));
            return named.entries.get(..MOST_NAMES).unwrap_or_default();
        }
        &named.entries
    }

    /// The text behind `env:` or `file:`.
    fn secret(&mut self, reference: &At<super::words::Reference>) -> Option<Secret> {
        files::secret(&reference.value, self.folder, self.environment)
            .map_err(|wrong| self.problems.error(reference.at, wrong.what, wrong.help))
            .ok()
    }

    /// Files that a path with `*` in its last part stands for, sorted; tells of a file that is not there.
    fn expand(&mut self, pattern: &At<String>) -> Vec<PathBuf> {
        let path = self.folder.join(&pattern.value);
        match files::glob(&path) {
            Ok(files) if files.is_empty() => {
                let what = format!("no file is called {}", path.display());
                self.problems.warning(pattern.at, what, "put a policy there, or write `policies: []`");
                files
            }
            Ok(files) => files,
            Err(why) => {
                let what = format!("cannot read {}: {why}", path.display());
                self.problems.error(pattern.at, what, "correct the path, or put the file there");
                Vec::new()
            }
        }
    }

    /// Something is missing: an error, unless it may be the shadow of a value that could not be read.
    fn absent(&mut self, at: Position, what: impl Into<String>, help: impl Into<String>) {
        if self.sound {
            self.problems.error(at, what, help);
        }
    }

    fn not_yet(&mut self, at: Position, what: &str, help: &str) {
        self.problems.not_yet(at, format!("{what} is not supported yet"), help);
    }
}

/// An index below [`MOST_NAMES`] as the number in an id.
fn id(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(u16::MAX)
}

fn logging(raw: Option<&raw::Logging>) -> Logging {
    let defaults = Logging::default();
    let Some(raw) = raw else { return defaults };
    Logging {
        format: raw.format.unwrap_or(defaults.format),
        level: raw.level.unwrap_or(defaults.level),
        numbers: raw.numbers.unwrap_or(defaults.numbers),
    }
}
