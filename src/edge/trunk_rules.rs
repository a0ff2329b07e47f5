//! What a trunk's rules change in a message on its way to the carrier and from it: numbers, the caller's identity, header fields.

use std::borrow::Cow;

use super::Edge;
use super::context::{Context, Hop, Place};
use super::identify::{Speaker, Who};
use super::settings::{CallerId, CallerIdHeader, NumberRule, Settings, Trunk, TrunkRules};
use super::targets::Owner;
use super::uri;
use crate::sip::message::{Edit, Message, Name};

impl Edge {
    /// A called number as the hop wants it: the rules of the trunk that it comes from, then of the one that it goes to.
    pub(super) fn number_towards<'n>(&self, number: &'n str, who: &Who, hop: &Hop) -> Cow<'n, str> {
        let inbound = trunk_of(&self.settings, who).map_or(&[][..], |trunk| &trunk.rules.inbound);
        let outbound = self.trunk_at(hop).map_or(&[][..], |trunk| &trunk.rules.outbound);
        match rewritten(number, inbound) {
            Some(number) => Cow::Owned(rewritten(&number, outbound).unwrap_or(number)),
            None => rewritten(number, outbound).map_or(Cow::Borrowed(number), Cow::Owned),
        }
    }

    /// Header fields of a request.
    pub(super) fn apply_trunk_rules(&self, edit: &mut Edit<'_>, context: &Context, hop: &Hop) {
        let message = &context.request.message;
        let (from, to) = (trunk_of(&self.settings, &context.who), self.trunk_at(hop));
        for trunk in from.into_iter().chain(to) {
            edit.remove_listed(&trunk.rules.remove);
        }
        let Some(TrunkRules { caller_id, outbound, add, .. }) = to.map(|trunk| &trunk.rules) else { return };
        if let Some(caller_id) = caller_id {
            show_caller(edit, message, caller_id, outbound);
        }
        for (name, value) in add {
            edit.append(name.as_bytes(), value.as_bytes());
        }
    }

    /// Header fields of a response: what neither trunk may see of the other side, or show it.
    pub(super) fn remove_by_trunk_rules(&self, edit: &mut Edit<'_>, context: &Context) {
        let (from, to) = (
            context.current_hop().and_then(|hop| self.trunk_at(hop)),
            trunk_of(&self.settings, &context.who),
        );
        for trunk in from.into_iter().chain(to) {
            edit.remove_listed(&trunk.rules.remove);
        }
    }

    /// The trunk that stands at the end of a hop.
    pub(super) fn trunk_at(&self, hop: &Hop) -> Option<&Trunk> {
        let Place::Target(target) = hop.place else { return None };
        match self.targets.get(target)?.owner {
            Owner::Trunk(trunk) => self.settings.trunk(trunk),
            Owner::Pbx => None,
        }
    }
}

/// A number from a trunk as the trunk's own rules have it, if they say anything about it.
pub(super) fn number_from_trunk(settings: &Settings, number: &str, who: &Who) -> Option<String> {
    rewritten(number, &trunk_of(settings, who)?.rules.inbound)
}

fn trunk_of<'s>(settings: &'s Settings, who: &Who) -> Option<&'s Trunk> {
    match who.speaker {
        Speaker::Trunk(trunk) => settings.trunk(trunk),
        _ => None,
    }
}

/// The number as the first rule that matches has it; `None` if none does.
fn rewritten(number: &str, rules: &[NumberRule]) -> Option<String> {
    let rule = rules.iter().find(|rule| rule.pattern.is_match(number))?;
    Some(rule.pattern.replace(number, &*rule.replace).into_owned())
}

/// Tells the carrier who calls, in the one place where it looks for that.
fn show_caller(edit: &mut Edit<'_>, message: &Message, caller_id: &CallerId, outbound: &[NumberRule]) {
    let Some(number) = caller(message) else { return };
    let number = match rewritten(&number, outbound) {
        Some(number) => Cow::Owned(number),
        None => number,
    };
    let number = match caller_id.e164.then(|| e164(&number)) {
        // RFC 3325 §9.1 lets a proxy leave out what it cannot vouch for; a number in no known form would be taken for another.
        Some(None) => return,
        Some(Some(number)) => Cow::Owned(number),
        None => number,
    };
    let user = uri::escaped_user(&number);
    match caller_id.header {
        CallerIdHeader::From => {
            if let Some(user_at) = uri::user_bytes(message.from().uri)
                && let Some(at) = message.offset_of(user_at)
            {
                edit.replace_span(at, user_at.len(), user.as_bytes());
            }
        }
        header => {
            let host = String::from_utf8_lossy(uri::host_bytes(message.from().uri)).into_owned();
            edit.remove_named(header.name().as_bytes());
            edit.append(header.name().as_bytes(), format!("<sip:{user}@{host}>").as_bytes());
        }
    }
}

/// Who calls: whom the PBX asserts (RFC 3325), else From; nobody where the caller wants to be nobody.
fn caller(message: &Message) -> Option<Cow<'_, str>> {
    let asserted = message.header_named(b"P-Asserted-Identity").and_then(|element| {
        let uri = element.name_addr().ok()?.uri;
        uri::user_in(uri)
    });
    let number = asserted.or_else(|| uri::caller(message))?;
    (!number.eq_ignore_ascii_case("anonymous")).then_some(number)
}

/// `+` and up to 15 digits; `00` in the front is read as `+`.
fn e164(number: &str) -> Option<String> {
    let digits = number.strip_prefix('+').or_else(|| number.strip_prefix("00"))?;
    let is_number = (2..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| format!("+{digits}"))
}

impl CallerIdHeader {
    fn name(self) -> &'static str {
        match self {
            CallerIdHeader::PAssertedIdentity => "P-Asserted-Identity",
            CallerIdHeader::PPreferredIdentity => "P-Preferred-Identity",
            CallerIdHeader::RemotePartyId => "Remote-Party-ID",
            CallerIdHeader::From => Name::From.as_str(),
        }
    }
}
