//! `caller_id:`, `numbers:` and `headers:` of a trunk.

use regex_lite::Regex;

use super::super::raw;
use super::super::read::At;
use super::Context;
use crate::edge::settings::{CallerId, NumberRule, TrunkRules};

/// What a message cannot do without, or what is ours to write (RFC 3261 §16.6): rules leave it alone. Each with its short form.
const NOT_THEIRS: [&str; 24] = [
    "Via",
    "v",
    "From",
    "f",
    "To",
    "t",
    "Call-ID",
    "i",
    "CSeq",
    "Contact",
    "m",
    "Route",
    "Record-Route",
    "Path",
    "Max-Forwards",
    "Content-Length",
    "l",
    "Content-Type",
    "c",
    "Require",
    "Proxy-Require",
    "RSeq",
    "RAck",
    "Session-Expires",
];

/// Of one trunk.
pub(super) fn rules(cx: &mut Context<'_>, trunk: &raw::Trunk) -> TrunkRules {
    let caller_id = trunk.caller_id.as_ref().map(|caller_id| CallerId {
        header: caller_id.header,
        e164: caller_id.format == Some(raw::NumberFormat::E164),
    });
    let numbers = trunk.numbers.as_ref();
    let outbound = numbers.and_then(|numbers| numbers.outbound.as_deref()).unwrap_or_default();
    let inbound = numbers.and_then(|numbers| numbers.inbound.as_deref()).unwrap_or_default();
    let headers = trunk.headers.as_ref();
    TrunkRules {
        caller_id,
        outbound: outbound.iter().filter_map(|rule| number_rule(cx, rule)).collect(),
        inbound: inbound.iter().filter_map(|rule| number_rule(cx, rule)).collect(),
        remove: headers
            .and_then(|headers| headers.remove.as_deref())
            .unwrap_or_default()
            .iter()
            .filter(|pattern| may_touch(cx, pattern))
            .map(|pattern| pattern.value.as_bytes().into())
            .collect(),
        add: headers
            .and_then(|headers| headers.add.as_ref())
            .map_or(&[][..], |add| &add.entries)
            .iter()
            .filter(|(name, _)| may_touch(cx, name))
            .map(|(name, value)| (name.value.as_str().into(), value.as_str().into()))
            .collect(),
    }
}

fn number_rule(cx: &mut Context<'_>, rule: &raw::NumberRule) -> Option<NumberRule> {
    let pattern = match Regex::new(&rule.r#match.value) {
        Ok(pattern) => pattern,
        Err(error) => {
            let what = format!("`{}` is no pattern: {error}", rule.r#match.value);
            cx.problems.error(
                rule.r#match.at,
                what,
                "write a regular expression, such as `^00` or `^\\\\+49`",
            );
            return None;
        }
    };
    let replace = &rule.replace.value.0;
    if replace.contains('\\') {
        cx.problems.error(
            rule.replace.at,
            "a group is not written with `\\`",
            "write `$1` for the first group",
        );
        return None;
    }
    Some(NumberRule { pattern, replace: replace.as_str().into() })
}

fn may_touch(cx: &mut Context<'_>, name: &At<String>) -> bool {
    let (stem, is_prefix) = match name.value.strip_suffix('*') {
        Some(stem) => (stem, true),
        None => (&*name.value, false),
    };
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-.!%_`'~".contains(&byte);
    if stem.is_empty() || !stem.bytes().all(is_token) {
        let what = format!("`{}` is no name of header fields", name.value);
        cx.problems.error(name.at, what, "write a name such as `X-Account`, or its beginning, such as `X-*`");
        return false;
    }
    let begins = |known: &&str| known.get(..stem.len()).is_some_and(|start| start.eq_ignore_ascii_case(stem));
    let fits = |known: &&str| if is_prefix { begins(known) } else { known.eq_ignore_ascii_case(stem) };
    if let Some(known) = NOT_THEIRS.iter().find(|known| fits(known)) {
        let what = format!("`{known}` is not for rules to change");
        cx.problems.error(name.at, what, "name header fields that no call depends on");
        return false;
    }
    true
}
