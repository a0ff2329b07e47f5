//! `tests:`, run against the policy of their file.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use jiff::tz::TimeZone;

use super::raw;
use super::rules::{RESERVED, named};
use super::times;
use super::words::{self, SizeWord, SpentSoFar, StageWord, YesNo};
use crate::base::{ListenerId, TrunkId};
use crate::config::compiled::Names;
use crate::config::diagnose::Problems;
use crate::config::read::{At, FromWord, Wrong, did_you_mean};
use crate::policy::matcher::{Matcher, Party};
use crate::policy::settings::Policy;
use crate::policy::trial::{self, Counted, Expect, Given, Trial};
use crate::policy::{Stage, number, relay};

/// When a test takes place that does not say: a Monday at noon, in the zone of the policy's first `time`.
const USUAL_TIME: &str = "2026-01-05 12:00";

/// A carrier that no config names: shipped policies know none by name.
const ANY_TRUNK: TrunkId = TrunkId(u16::MAX);

/// Runs them all; each that fails is told at its name. The rules that none of them had speak.
pub fn run(
    policy: &Policy,
    tests: &[raw::Test],
    rules: &[raw::Rule],
    names: &Names,
    clock: Instant,
    problems: &mut Problems,
) -> Vec<Arc<str>> {
    let zone = first_zone(policy);
    let mut unreached: Vec<_> = policy.rules.iter().map(|rule| rule.name.clone()).collect();
    for test in tests {
        let expect = expected(policy, &test.expect, rules, problems);
        let given = given(policy, &test.given, &zone, names, problems);
        let (Some(expect), Some(given)) = (expect, given) else { continue };
        let trial = Trial { given, counted: counted(&test.given), expect };
        match trial::run(policy, &trial, clock) {
            Ok(spoke) => unreached.retain(|rule| !spoke.contains(rule)),
            Err(instead) => {
                let help = format!(
                    "`{}` was expected: change the rules, or what the test expects",
                    test.expect.value
                );
                problems.error(test.name.at, format!("test failed: {instead}"), help);
            }
        }
    }
    unreached
}

fn first_zone(policy: &Policy) -> TimeZone {
    let mut conditions = policy.rules.iter().flat_map(|rule| &rule.when);
    let zone = conditions.find_map(|condition| match &condition.matcher {
        Matcher::Time(windows) => windows.first().map(|window| window.zone.clone()),
        _ => None,
    });
    zone.unwrap_or(TimeZone::UTC)
}

/// None if it expects a rule that is not there, or one that is not built yet and so cannot be tested.
fn expected(
    policy: &Policy,
    typed: &At<String>,
    rules: &[raw::Rule],
    problems: &mut Problems,
) -> Option<Expect> {
    let name = typed.value.as_str();
    match name {
        "allow" => return Some(Expect::Allow),
        "default" => return Some(Expect::Default),
        _ => {}
    }
    let full = format!("{} / {name}", policy.name);
    if policy.rules.iter().any(|rule| *rule.name == *full) {
        return Some(Expect::Rule(full.into()));
    }
    let known: Vec<_> =
        RESERVED.into_iter().chain(rules.iter().map(|rule| rule.name.value.as_str())).collect();
    if !known.contains(&name) {
        let help = did_you_mean(name, known.iter().copied());
        problems.error(typed.at, format!("no rule is called `{name}`"), help);
    }
    None
}

fn given(
    policy: &Policy,
    typed: &raw::Given,
    zone: &TimeZone,
    names: &Names,
    problems: &mut Problems,
) -> Option<Given> {
    let usual = times::moment(USUAL_TIME, zone).ok()?;
    let mut given = Given::new(stage(policy, typed), usual);
    let mut fine = true;
    let mut tell = |at, wrong: Wrong| {
        problems.error(at, wrong.what, wrong.help);
        fine = false;
    };
    if let Some(At { at, value }) = &typed.time {
        times::moment(value, zone).map_or_else(|wrong| tell(*at, wrong), |time| given.at = time);
    }
    if let Some(At { at, value: n }) = &typed.trunk {
        let trunk = named("trunk", n, names.trunk(n), &names.trunks);
        trunk.map_or_else(
            |wrong| tell(*at, wrong),
            |trunk| match given.known.stage {
                Stage::Routes => given.known.trunk_out = Some(trunk),
                _ => given.known.trunk = Some(trunk),
            },
        );
    }
    if let Some(At { at, value: n }) = &typed.zone {
        let zone = named("zone", n, names.zone(n), &names.zones);
        zone.map_or_else(|wrong| tell(*at, wrong), |zone| given.known.zone = zone);
    }
    if let Some(At { at, value: n }) = &typed.listener {
        let listeners = named("listener", n, names.listeners_called(n), &names.listeners);
        // One of TURN stands behind one of SIP that has the same name.
        let of_stage = |listeners: Vec<ListenerId>| match given.known.stage {
            Stage::Relay => listeners.last().copied(),
            _ => listeners.first().copied(),
        };
        match listeners.map(of_stage) {
            Err(wrong) => tell(*at, wrong),
            Ok(listener) => given.known.listener = listener.unwrap_or(given.known.listener),
        }
    }
    if let Some(At { at, value: n }) = &typed.role {
        let role = named("TURN role", n, names.role(n), &names.roles);
        role.map_or_else(|wrong| tell(*at, wrong), |role| given.known.role = Some(role));
    }
    if let Some(peer) = typed.peer {
        given.known.peer = Some(peer);
        given.known.method = relay::PERMISSION.into();
    }
    if let Some(At { at, value }) = &typed.party {
        match Party::from_word(value) {
            Ok(Party::Trunks) => {
                given.known.trunk.get_or_insert(ANY_TRUNK);
            }
            Ok(party) => given.known.from_pbx = party == Party::Pbx,
            Err(wrong) => tell(*at, wrong),
        }
    }
    if let Some(At { at, value }) = &typed.source_country {
        words::country(value).map_or_else(|wrong| tell(*at, wrong), |c| given.source_country = Some(c));
    }
    given.known.source = typed.source.unwrap_or(given.known.source);
    given.known.tls = matches!(typed.tls, Some(YesNo(true)));
    let text = |typed: &Option<String>| typed.as_deref().map(Into::into);
    given.known.user = text(&typed.user);
    // As whoever stands there dials them.
    let plan = names.dial_plan(given.known.zone);
    let number = |typed: &Option<String>| {
        let number = number::normalise(typed.as_deref()?);
        Some(plan.map_or(Cow::Borrowed(&*number), |plan| plan.e164(&number)).as_ref().into())
    };
    given.known.from = number(&typed.from);
    given.known.to = number(&typed.to);
    given.known.agent = text(&typed.agent);
    if let Some(method) = &typed.method {
        given.known.method = method.as_str().into();
    }
    given.known.talked = typed.talked;
    fine.then_some(given)
}

/// The stage that the test names; else the one that its facts belong to.
fn stage(policy: &Policy, typed: &raw::Given) -> Stage {
    let of_relay = typed.peer.is_some()
        || typed.role.is_some()
        || typed.allocations_at_once.is_some()
        || typed.new_allocations.is_some();
    let register = typed.method.as_deref().is_some_and(|m| m.eq_ignore_ascii_case("REGISTER"));
    match typed.stage {
        Some(StageWord(stage)) => stage,
        None if typed.packets.is_some() => Stage::Packets,
        None if typed.talked.is_some() => Stage::InCall,
        None if of_relay => Stage::Relay,
        None if register => Stage::Registrations,
        None if policy.stages.contains(&Stage::Calls) => Stage::Calls,
        None => policy.stages.first().copied().unwrap_or(Stage::Calls),
    }
}

fn counted(typed: &raw::Given) -> Counted {
    Counted {
        calls_at_once: typed.calls_at_once,
        new_calls: typed.new_calls,
        requests: typed.requests,
        packets: typed.packets,
        failed_logins: typed.failed_logins,
        minutes: typed.minutes,
        spend: typed.spend.map(|SpentSoFar(money)| money),
        short_calls: typed.short_calls,
        sequential_numbers: typed.sequential_numbers,
        new_countries: typed.new_countries,
        new_source_countries: typed.new_source_countries,
        new_sources: typed.new_sources,
        allocations_at_once: typed.allocations_at_once,
        new_allocations: typed.new_allocations,
        bytes: typed.bytes.map(|SizeWord(bytes)| bytes),
    }
}
