//! `relay: { turn: … }`: who may come, to where, and what they may do there.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::super::raw;
use super::super::read::{At, Named};
use super::super::words::{Bandwidth, bracketed};
use super::users::{Account, Password, accounts};
use super::zones::{Place, collide};
use super::{Context, files, id, media};
use crate::edge::settings::Trust;
use crate::net::settings::{TurnAddress, TurnListener, TurnSettings, TurnTransport};
use crate::turn::credentials::{RoleId, Settings, SharedSecret, User};
use crate::turn::peers::Peers;
use crate::turn::quota::{Capacity, Role};

/// Used when `credentials: { lifetime: … }` says nothing: a working day.
const CREDENTIALS_LIFETIME: Duration = Duration::from_secs(8 * 3600);
/// RFC 8656 §7.2 recommends an hour as the longest lifetime.
const LIFETIME: Duration = Duration::from_secs(3600);
/// A browser makes one allocation for each URI and network.
const ALLOCATIONS: u32 = 10;
/// RFC 8656 §8: clients refresh an allocation roughly a minute before it expires.
const SHORTEST_LIFETIME: Duration = Duration::from_secs(60);
/// From one pair of user name and password anyone can guess a short secret at leisure.
const SHORT_SECRET: usize = 16;
/// RFC 8489 §14.9: fewer than 128 characters.
const LONGEST_REALM: usize = 127;

/// The TURN server, if there is to be one; `users` are those of the users file.
pub(super) fn turn(cx: &mut Context<'_>, users: Vec<Account>) -> Option<TurnSettings> {
    let turn = cx.raw.relay.as_ref()?.turn.as_ref()?;
    if turn.realm.value.chars().count() > LONGEST_REALM {
        let what = format!("a realm has at most {LONGEST_REALM} characters");
        cx.problems.error(turn.realm.at, what, "shorten it: every answer to a stranger carries it");
    }
    let listeners = listeners(cx, turn);
    let roles = roles(cx, turn);
    let default_role = turn.default_role.as_ref();
    let default_role = default_role.and_then(|name| cx.index(turn.roles.as_ref(), "TURN role", name));
    Some(TurnSettings {
        listeners,
        accounts: Settings {
            realm: turn.realm.value.clone(),
            users: all_users(cx, turn, users),
            secrets: secrets(cx, turn),
            short_lived_role: RoleId(id(default_role.unwrap_or_default())),
        },
        credentials_lifetime: credentials(turn).and_then(|c| c.lifetime).unwrap_or(CREDENTIALS_LIFETIME),
        roles,
        capacity: Capacity::default(),
        addresses: addresses(cx, turn),
        alternates: alternates(cx, turn),
    })
}

fn credentials(turn: &raw::Turn) -> Option<&raw::Credentials> {
    turn.credentials.as_ref()
}

fn listeners(cx: &mut Context<'_>, turn: &raw::Turn) -> Vec<TurnListener> {
    let entries = &turn.listeners.value.entries;
    if entries.is_empty() && turn.listeners.value.broken.is_empty() {
        let help = "write `listeners: { udp: \"udp://0.0.0.0:3478\" }`";
        cx.problems.error(turn.listeners.at, "nobody can come to a TURN server without listeners", help);
    }
    let mut built = Vec::new();
    for (index, (name, listener)) in entries.iter().enumerate() {
        is_free(cx, entries.get(..index).unwrap_or_default(), listener);
        built.push(TurnListener {
            name: name.value.as_str().into(),
            bind: listener.bind.value.address,
            advertise: advertised(cx, name, listener),
            transport: listener.bind.value.transport,
            certificate: certificate(cx, name, listener),
        });
    }
    built
}

/// Tells if somebody else has the listener's address, or the relay its port.
fn is_free(cx: &mut Context<'_>, earlier: &[(At<String>, raw::TurnListener)], listener: &raw::TurnListener) {
    let bind = &listener.bind;
    let mine = place(listener);
    let turn = earlier.iter().map(|(name, other)| (format!("TURN listener `{}`", name.value), place(other)));
    let sip = cx.raw.listeners.iter().flat_map(|l| &l.entries);
    let sip = sip.map(|(name, other)| (format!("listener `{}`", name.value), Place::of(&other.bind.value)));
    let admin =
        cx.raw.admin.iter().map(|admin| {
            ("the admin listener".to_owned(), Place { address: admin.listen.value, is_udp: false })
        });
    let taken = turn.chain(sip).chain(admin).find(|(_, other)| collide(mine, *other) || mine.shades(*other));
    if let Some((who, _)) = taken {
        let what = format!("{who} is bound to this address already");
        cx.problems.error(bind.at, what, "give one of them another port");
    }
    let (ports, port) = (media::ports(cx.raw), mine.address.port());
    if mine.is_udp && (ports.first..=ports.last).contains(&port) {
        let what = format!("port {port} is also one of the relay's");
        let help = format!("choose a port outside of `ports: {}-{}`", ports.first, ports.last);
        cx.problems.error(bind.at, what, help);
    }
}

fn place(listener: &raw::TurnListener) -> Place {
    let bind = listener.bind.value;
    Place { address: bind.address, is_udp: bind.transport.is_datagram() }
}

fn certificate(cx: &mut Context<'_>, name: &At<String>, listener: &raw::TurnListener) -> Option<usize> {
    let bind = &listener.bind;
    let transport = bind.value.transport;
    match &listener.certificate {
        Some(certificate) if transport.is_secure() => {
            let index = cx.index(cx.raw.certificates.as_ref(), "certificate", certificate)?;
            if transport == TurnTransport::Dtls {
                cx.check_for_dtls(certificate, index);
            }
            Some(index)
        }
        Some(certificate) => {
            let what = format!("a {} listener shows no certificate", transport.name());
            cx.problems.error(
                certificate.at,
                what,
                "write `tls://` or `dtls://` in its `bind`, or remove this",
            );
            None
        }
        None => {
            if transport.is_secure() {
                let what = format!("a {} listener needs `certificate`", transport.name().to_uppercase());
                let known = cx.raw.certificates.as_ref().and_then(|c| c.names().next()).unwrap_or("public");
                let help = format!(
                    "write `{}: {{ bind: \"{}://…\", certificate: {known} }}`",
                    name.value,
                    transport.name()
                );
                cx.absent(bind.at, what, help);
            }
            None
        }
    }
}

/// How clients name the listener: what it says itself; else, as the relay is named that is bound like it; else the address
/// that it is bound to.
fn advertised(cx: &mut Context<'_>, name: &At<String>, listener: &raw::TurnListener) -> Arc<str> {
    let address = listener.bind.value.address;
    if let Some(advertise) = &listener.advertise {
        return format!("{}:{}", advertise.host, advertise.port.unwrap_or(address.port())).into();
    }
    let mut relays = addresses_by_trust(cx.raw).map(|(relay, _)| relay);
    let shown = match address.ip() {
        any if any.is_unspecified() => relays
            .map(|relay| relay.advertise)
            .find(|ip| ip.is_ipv4() == any.is_ipv4() && !ip.is_unspecified()),
        ip => Some(relays.find(|relay| relay.bind == ip).map_or(ip, |relay| relay.advertise)),
    };
    let Some(ip) = shown else {
        let what = format!("TURN listener `{}` is told nowhere how clients name it", name.value);
        let help = format!("add `advertise: \"turn.example.com:{}\"`, or bind one address", address.port());
        cx.absent(listener.bind.at, what, help);
        return "".into();
    };
    let shown = format!("{}:{}", bracketed(ip), address.port());
    if listener.certificate.is_some() && cx.sound {
        let what = format!("clients are told to find TURN listener `{}` at {shown}", name.value);
        let help =
            "they compare that with the certificate: add `advertise: \"turn.example.com\"`, the name in it";
        cx.problems.warning(listener.bind.at, what, help);
    }
    shown.into()
}

fn roles<'c>(cx: &mut Context<'c>, turn: &'c raw::Turn) -> Vec<Arc<Role>> {
    let named = cx.entries(turn.roles.as_ref(), "TURN roles");
    if named.is_empty() {
        return vec![Arc::new(role(None))];
    }
    for (_, role) in named {
        if let Some(allocations) = role.allocations.as_ref().filter(|a| a.value == 0) {
            cx.problems.error(allocations.at, "this role could not do anything", "write 1 or more");
        }
        if let Some(lifetime) = role.lifetime.as_ref().filter(|l| l.value < SHORTEST_LIFETIME) {
            let what = "clients refresh their allocations a minute before the end of their lifetime";
            cx.problems.error(lifetime.at, what, "write more than a minute, such as `10m`");
        }
    }
    named.iter().map(|(_, raw)| Arc::new(role(Some(raw)))).collect()
}

/// What the roles are called, by [`RoleId`].
pub(super) fn role_names(cx: &Context<'_>) -> Vec<Arc<str>> {
    let roles = cx.raw.relay.as_ref().and_then(|relay| relay.turn.as_ref()?.roles.as_ref());
    roles.iter().flat_map(|roles| roles.names()).map(Into::into).collect()
}

/// What `raw` says, and for the rest what is safe: calls only.
fn role(raw: Option<&raw::Role>) -> Role {
    let bytes_per_second = |Bandwidth(bits): Bandwidth| (bits / 8).max(1);
    let allocations = raw.and_then(|r| r.allocations.as_ref()).map_or(ALLOCATIONS, |a| a.value);
    Role {
        allocations: usize::try_from(allocations).unwrap_or(usize::MAX),
        bandwidth: raw.and_then(|r| r.bandwidth).map(bytes_per_second),
        lifetime: raw.and_then(|r| r.lifetime.as_ref()).map_or(LIFETIME, |l| l.value),
        peers: match raw.and_then(|r| r.peers.as_ref()) {
            Some(raw::Peers::Networks(networks)) => Peers::Networks(networks.clone()),
            Some(raw::Peers::Calls) | None => Peers::Calls,
        },
        deny: raw.and_then(|r| r.deny.clone()).unwrap_or_default(),
        tcp: raw.and_then(|r| r.tcp.as_ref()).is_some_and(|tcp| tcp.value),
    }
}

/// Those of the users file and those of `turn`.
fn all_users(cx: &mut Context<'_>, turn: &raw::Turn, of_file: Vec<Account>) -> Vec<User> {
    let realm = &turn.realm.value;
    let hashed = of_file.iter().find(|account| matches!(account.password, Password::Hashed { .. }));
    if let (Some(users), Some(account)) = (&cx.raw.users, hashed)
        && users.realm.value != *realm
    {
        let what = format!("TURN's realm is `{realm}`, so that no `ha1` of these users is good there");
        let help =
            format!("write the same realm in both places, or give user `{}` a `password`", account.name);
        cx.problems.warning(users.realm.at, what, help);
    }
    let none = Named::default();
    let own = credentials(turn).and_then(|c| c.users.as_ref()).unwrap_or(&none);
    let secret = credentials(turn).and_then(|c| c.shared_secret.as_ref());
    if own.names().next().is_none() && secret.is_none() && cx.raw.users.is_none() {
        let help = "add `credentials: { shared_secret: \"env:TURN_SECRET\" }`, or users";
        cx.absent(turn.at, "nobody has credentials for this TURN server", help);
    }
    for (name, _) in &own.entries {
        if of_file.iter().any(|account| account.name == name.value) {
            let what = format!("user `{}` is in the users file too", name.value);
            cx.problems.error(name.at, what, "remove one of them");
        }
    }
    let (folder, environment) = (cx.folder, cx.environment);
    let own =
        accounts(own, Some(turn), cx.problems, |reference| files::secret(reference, folder, environment));
    of_file.into_iter().chain(own).map(|account| account.in_realm(realm)).collect()
}

fn secrets(cx: &mut Context<'_>, turn: &raw::Turn) -> SmallVec<[SharedSecret; 2]> {
    let mut secrets = SmallVec::new();
    let references = credentials(turn).and_then(|c| c.shared_secret.as_deref()).unwrap_or_default();
    if let Some(third) = references.get(2) {
        let help = "write the new one first, then the one before it";
        cx.problems.error(third.at, "two secrets at a time are enough for changing them", help);
    }
    for reference in references {
        let Some(secret) = cx.secret(reference) else { continue };
        if secret.reveal().len() < SHORT_SECRET {
            let what = format!("this secret is shorter than {SHORT_SECRET} characters, and can be guessed");
            cx.problems.warning(reference.at, what, "make one: `openssl rand -base64 24`");
        }
        secrets.push(SharedSecret::new(secret.reveal().as_bytes()));
    }
    let role = turn.roles.as_ref().and_then(|roles| roles.names().next());
    if let (Some(reference), None, Some(role)) = (references.first(), &turn.default_role, role) {
        let what = "nothing says what the holders of short-lived credentials may do";
        cx.absent(reference.at, what, format!("add `default_role: {role}` to `turn`"));
    }
    secrets
}

/// Relayed addresses of all zones, strangers' first: most clients are strangers, and zones without networks are for anybody.
fn addresses_by_trust(
    config: &raw::Config,
) -> impl Iterator<Item = (crate::relay::RelayAddress, &raw::Zone)> {
    let zones = || config.zones.iter().flat_map(|z| &z.entries);
    let strangers = zones().filter(|(_, zone)| zone.trust == Trust::None);
    let others = zones().filter(|(_, zone)| zone.trust != Trust::None);
    let of_zone = |(name, zone)| media::addresses(config, name).map(move |address| (address, zone));
    strangers
        .chain(others)
        .flat_map(move |(name, zone): &(At<String>, raw::Zone)| of_zone((&name.value, zone)))
}

fn addresses(cx: &mut Context<'_>, turn: &raw::Turn) -> Vec<TurnAddress> {
    let mut built: Vec<TurnAddress> = Vec::new();
    for (address, zone) in addresses_by_trust(cx.raw) {
        let networks: Arc<[_]> = zone.networks.as_deref().unwrap_or_default().into();
        if !built.iter().any(|known| known.address == address && known.networks == networks) {
            built.push(TurnAddress { address, networks });
        }
    }
    if built.is_empty() {
        let help = "add `addresses: { internet: { bind: 203.0.113.10 } }` to `relay`";
        cx.absent(turn.at, "a TURN server needs an address to relay from", help);
    }
    built
}

fn alternates(cx: &mut Context<'_>, turn: &raw::Turn) -> Vec<SocketAddr> {
    let alternates = turn.alternates.as_deref().unwrap_or_default();
    let nobody = |ip: IpAddr| ip.is_unspecified() || ip.is_multicast();
    if let Some(wrong) = alternates.iter().find(|a| nobody(a.value.ip()) || a.value.port() == 0) {
        let what = format!("nobody can be sent to {}", wrong.value);
        cx.problems.error(
            wrong.at,
            what,
            "write address and port of another TURN server: `203.0.113.20:3478`",
        );
    }
    alternates.iter().map(|alternate| alternate.value).collect()
}
