//! `turnpike explain --turn`: what would be decided about a TURN client.

use super::{Args, Untold, untold};
use crate::base::{ListenerId, Now};
use crate::config::Compiled;
use crate::edge::explain::Foreseen;
use crate::policy::explain::Names;
use crate::policy::relay::{ALLOCATE, PERMISSION};
use crate::policy::{Engine, Facts};

/// Asks about an allocation of the user, or about a peer that they want to reach.
pub(super) fn foresee(
    args: &Args,
    config: &Compiled,
    engine: &mut Engine,
    at: Now,
) -> Result<Foreseen, Untold> {
    let turn = config.net.turn.as_ref().ok_or_else(|| untold("the config has no `relay: { turn: … }`"))?;
    let index = match &args.listener {
        None => 0,
        Some(name) => {
            turn.listeners.iter().position(|listener| *listener.name == **name).ok_or_else(|| {
                let known: Vec<_> = turn.listeners.iter().map(|listener| &*listener.name).collect();
                untold(format_args!("the config has no TURN listener `{name}`; it has: {}", known.join(", ")))
            })?
        }
    };
    let listener = ListenerId(u16::try_from(config.edge.listeners.len() + index).unwrap_or(u16::MAX));
    let mut assumed = vec!["the password was right, and the role allows it".to_owned()];
    let user = args.user.as_deref().unwrap_or_default();
    let known = turn.accounts.users.iter().find(|known| known.name == user);
    if known.is_none() {
        assumed.push("no TURN user of that name stands in the config: short-lived credentials".to_owned());
    }
    let source = args.source.to_canonical();
    let facts = Facts {
        listener,
        method: if args.peer.is_some() { PERMISSION } else { ALLOCATE },
        tls: turn.listeners.get(index).is_some_and(|listener| listener.transport.is_secure()),
        role: Some(known.map_or(turn.accounts.short_lived_role, |known| known.role).0),
        peer: args.peer,
        ..Facts::of_turn(source, user)
    };
    let names = Names {
        zones: config.names.zones.clone(),
        listeners: config.names.listeners.clone(),
        trunks: config.names.trunks.clone(),
        roles: config.names.roles.clone(),
    };
    let packets = engine.explain_packet(source, listener, &names, at);
    let is_refused = packets.as_ref().is_some_and(|packets| packets.decision == "refused");
    let decision = (!is_refused).then(|| engine.explain(&facts, &names, at));
    Ok(Foreseen { assumed, decisions: packets.into_iter().chain(decision).collect(), route: None })
}
