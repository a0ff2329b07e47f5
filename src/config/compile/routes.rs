//! `routes:`.

use std::collections::HashSet;
use std::time::Duration;

use super::super::raw;
use super::super::read::{At, did_you_mean};
use super::zones::RESERVED;
use super::{Context, id};
use crate::base::{TrunkId, ZoneId};
use crate::edge::settings::{Failover, Party, Route, RouteThen};

/// Where a name stands in a route.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    From,
    SendTo,
}

/// `routes:`, in the order of the file.
pub(super) fn routes(cx: &mut Context<'_>) -> Vec<Route> {
    let raw = cx.raw;
    let Some(routes) = &raw.routes else {
        let help = "add `routes: [{ name: all, send_to: pbx }]`";
        cx.absent(raw.at, "calls go nowhere: the config needs `routes`", help);
        return Vec::new();
    };
    let mut names = HashSet::new();
    let mut built: Vec<Route> = Vec::new();
    for route in routes {
        if !names.insert(route.name.value.as_str()) {
            let what = format!("another route is called `{}`", route.name.value);
            cx.problems.error(route.name.at, what, "logs and CDRs tell routes by name: choose another");
        }
        let Some(compiled) = self::route(cx, route) else { continue };
        if let Some(above) = built.iter().find(|above| covers(above, &compiled)) {
            let what = format!("route `{}` above takes all that would come here", above.name);
            cx.problems.warning(route.name.at, what, "move this one up, or narrow that one");
        }
        built.push(compiled);
    }
    built
}

fn route(cx: &mut Context<'_>, route: &raw::Route) -> Option<Route> {
    let from = parties(cx, route.from.as_deref().unwrap_or_default(), Place::From);
    let to: Vec<_> = route.to.iter().flatten().map(|pattern| self::pattern(cx, pattern)).collect();
    let failover = route.failover.as_ref().map(|f| failover(cx, Some(f)));
    let then = match (&route.send_to, &route.reject) {
        (Some(names), None) => RouteThen::SendTo(parties(cx, names, Place::SendTo)?),
        (None, Some(status)) => RouteThen::Reject(final_failure(cx, status)?),
        (None, None) => {
            let what = format!("route `{}` says neither where to nor no", route.name.value);
            cx.absent(route.name.at, what, "add `send_to: pbx` or `reject: 404`");
            return None;
        }
        (Some(_), Some(status)) => {
            cx.problems.error(
                status.at,
                "a route sends or rejects, not both",
                "remove `reject` or `send_to`",
            );
            return None;
        }
    };
    let name = route.name.value.as_str().into();
    let emergency = route.emergency.unwrap_or(false);
    Some(Route { name, from: from?, to: to.into_iter().collect::<Option<_>>()?, emergency, then, failover })
}

/// `pbx`, `trunks`, the name of a trunk or of a zone.
fn parties(cx: &mut Context<'_>, names: &[At<String>], place: Place) -> Option<Vec<Party>> {
    let parties: Vec<_> = names.iter().map(|name| party(cx, name, place)).collect();
    parties.into_iter().collect()
}

fn party(cx: &mut Context<'_>, name: &At<String>, place: Place) -> Option<Party> {
    let raw = cx.raw;
    match name.value.as_str() {
        "pbx" if raw.pbx.is_none() => {
            let help = "add `pbx: { zone: office, hosts: [\"sip:10.20.0.20:5060\"] }`";
            cx.absent(name.at, "there is no PBX", help);
            return None;
        }
        "pbx" => return Some(Party::Pbx),
        "trunks" => return Some(Party::AnyTrunk),
        _ => {}
    }
    let trunk = raw.trunks.as_ref().and_then(|t| t.entries.iter().position(|(n, _)| n.value == name.value));
    let zone = raw.zones.as_ref().and_then(|z| z.index(&name.value));
    match (trunk, zone) {
        (Some(_), Some(_)) => {
            let what = format!("`{}` is the name of a trunk and of a zone", name.value);
            cx.problems.error(name.at, what, "rename one of them");
            None
        }
        (Some(index), None) => {
            let hosts =
                raw.trunks.as_ref().and_then(|t| t.entries.get(index)).and_then(|(_, t)| t.hosts.as_ref());
            if place == Place::SendTo && hosts.is_none_or(|h| h.value.is_empty()) {
                let what = format!("trunk `{}` has no `hosts`: it only calls in", name.value);
                let help = "add `hosts: [\"sip:sip.carrier.example\"]` to the trunk, or remove it here";
                cx.absent(name.at, what, help);
            }
            Some(Party::Trunk(TrunkId(id(index))))
        }
        (None, Some(index)) => Some(Party::Zone(ZoneId(id(index)))),
        (None, None) => {
            unknown(cx, name);
            None
        }
    }
}

fn unknown(cx: &mut Context<'_>, name: &At<String>) {
    let raw = cx.raw;
    let (trunks, zones) = (raw.trunks.as_ref(), raw.zones.as_ref());
    let broken = trunks.map(|t| &t.broken).into_iter().chain(zones.map(|z| &z.broken)).flatten();
    if broken.into_iter().any(|b| *b == name.value) {
        return;
    }
    let trunks = trunks.into_iter().flat_map(|t| t.names());
    let zones = zones.into_iter().flat_map(|z| z.names());
    let known: Vec<_> = RESERVED.into_iter().chain(trunks).chain(zones).collect();
    let what = format!("there is no trunk or zone `{}`", name.value);
    cx.problems.error(name.at, what, did_you_mean(&name.value, known.into_iter()));
}

/// A number or user: exact, or a prefix with `*` behind it.
fn pattern(cx: &mut Context<'_>, pattern: &At<String>) -> Option<std::sync::Arc<str>> {
    let text = pattern.value.as_str();
    if text.strip_suffix('*').unwrap_or(text).contains('*') {
        let what = "`*` stands only at the end of a pattern";
        cx.problems.error(
            pattern.at,
            what,
            "write a number such as `\"112\"`, or a prefix such as `\"+49*\"`",
        );
        return None;
    }
    Some(text.into())
}

/// `failover:`, or what holds without it.
pub(super) fn failover(cx: &mut Context<'_>, failover: Option<&raw::Failover>) -> Failover {
    let statuses = failover.and_then(|f| f.statuses.as_ref());
    Failover {
        statuses: match statuses {
            Some(statuses) => statuses.iter().filter_map(|status| final_failure(cx, status)).collect(),
            None => vec![503],
        },
        after: failover.and_then(|f| f.after).unwrap_or(Duration::from_secs(4)),
    }
}

/// RFC 3261 §7.2: a status that refuses.
fn final_failure(cx: &mut Context<'_>, status: &At<u16>) -> Option<u16> {
    if (400..=699).contains(&status.value) {
        return Some(status.value);
    }
    let what = format!("`{}` is no status that refuses a call", status.value);
    cx.problems.error(status.at, what, "write one from 400 to 699, such as `404` or `503`");
    None
}

/// True if nothing that fits `below` is left over by `above`.
fn covers(above: &Route, below: &Route) -> bool {
    let from = above.from.is_empty()
        || !below.from.is_empty()
            && below.from.iter().all(|party| {
                above.from.contains(party)
                    || matches!(party, Party::Trunk(_)) && above.from.contains(&Party::AnyTrunk)
            });
    let to = above.to.is_empty()
        || !below.to.is_empty()
            && below.to.iter().all(|narrow| {
                above.to.iter().any(|wide| match wide.strip_suffix('*') {
                    Some(prefix) => narrow.starts_with(prefix),
                    None => wide == narrow,
                })
            });
    from && to
}
