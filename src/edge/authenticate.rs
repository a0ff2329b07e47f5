//! `admit: authenticated`, `accept_user` of a trunk, `then: challenge` of a rule: Turnpike asks for the password itself (digest: RFC 3261 §22, RFC 7616, RFC 8760), and the PBX sees nothing of
//! who does not know one. Challenges keep no state; what is kept of those who try is bounded and forgets.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::Edge;
use super::context::Context;
use super::flow::FlowEnd;
use super::identify::Speaker;
use super::keyed::source_key;
use super::received::Request;
use super::refusal::Refusal;
use super::settings::{Admit, Settings, Users};
use super::uri;
use crate::base::throttle::{Recent, Throttle};
use crate::base::{NodeKey, Now, Rng, Transport};
use crate::sip::digest::{Credentials, Nonces, Presented, Replays, Secret};
use crate::sip::message::{Edit, Element, Message, Method};
use crate::sip::uri::Uri;

/// How long a nonce may be answered; then the phone is given another one and repeats (`stale=true`).
const NONCE_LIFETIME: Duration = Duration::from_secs(300);

/// Nonces that were answered rightly and whose `nc` is remembered.
const REPLAYS: usize = 100_000;

/// Wrong passwords at once, and the time for one more: of a source, against a user, or of a phone that has been right before.
const GUESSES: (u32, Duration) = (20, Duration::from_secs(3));

/// Challenges over UDP at once, and the time for one more, of one source: it may be forged.
const CHALLENGES: (u32, Duration) = (200, Duration::from_millis(10));

/// What is remembered of those who ask for entry.
#[derive(Debug)]
pub struct Authentication {
    nonces: Nonces,
    replays: Replays,
    /// Wrong passwords. Only an answer to a nonce of ours counts, which no forged source can have.
    guesses: Throttle,
    challenges: Throttle,
    /// User and flow, user and address that were right not long ago: whatever strangers try, these are heard.
    known: Recent,
    /// User and address that were wrong not long ago.
    wrong: Recent,
    /// Stands in for the secret of who does not exist, so that an unknown user costs what a wrong password does.
    nobody: Secret,
    key: NodeKey,
}

/// Why a request is not let in yet, and how it may ask again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// RFC 3261 §22.3: a proxy asks with 407. A REGISTER is asked with 401 (§22.2), as by the registrar for which we speak: phones expect
    /// that.
    pub status: u16,
    /// Values of WWW-Authenticate or Proxy-Authenticate.
    pub values: SmallVec<[Box<str>; 2]>,
    /// Somebody at that source has answered a challenge, in this name, and wrongly.
    pub wrong: Option<Box<str>>,
}

impl Challenge {
    /// Which header field carries the values.
    pub fn field(&self) -> &'static str {
        if self.status == 401 { "WWW-Authenticate" } else { "Proxy-Authenticate" }
    }
}

/// What a request says about who sent it.
enum Claim<'m> {
    /// Nothing that is worth a look; `stale`: the nonce is too old, or was answered with this count before.
    None { stale: bool },
    /// Credentials with a nonce that this source was given, by its number.
    Fresh(Credentials<'m>, u64),
}

/// Under which keys the throttles know a request.
struct Keys {
    source: u128,
    user: u128,
    /// The user at this address.
    address: u128,
    /// The user on this flow.
    flow: u128,
}

impl Authentication {
    /// Nobody is known yet.
    pub fn new(settings: &Settings, rng: &mut Rng) -> Authentication {
        // Where nobody can log in there is nothing to remember.
        let of = |capacity: usize| if settings.users.is_empty() { 1 } else { capacity };
        let (mut md5, mut sha256) = ([0; 16], [0; 32]);
        rng.fill_bytes(&mut md5);
        rng.fill_bytes(&mut sha256);
        let key = settings.key.clone();
        Authentication {
            nonces: Nonces::new(key.clone(), NONCE_LIFETIME),
            replays: Replays::new(REPLAYS),
            guesses: Throttle::new(of(16_384), GUESSES.0, GUESSES.1),
            challenges: Throttle::new(of(4_096), CHALLENGES.0, CHALLENGES.1),
            known: Recent::new(of(65_536), Duration::from_secs(3_600)),
            wrong: Recent::new(of(16_384), Duration::from_secs(3_600)),
            nobody: Secret::Hashed { md5, sha256: Some(sha256) },
            key,
        }
    }

    /// What has been answered before `now` is not remembered, so nonces from then are no longer good.
    pub fn start(&mut self, now: Now) {
        self.replays.forget(self.nonces.number_before(now.unix));
    }

    fn keys(&self, request: &Request, user: &[u8]) -> Keys {
        let mac = |purpose, parts: &[&[u8]]| self.key.mac(purpose, parts);
        let flow = FlowEnd::from(&request.source);
        let (listener, id, port) =
            (flow.listener.0.to_be_bytes(), flow.flow.0.to_be_bytes(), flow.remote.port().to_be_bytes());
        let address = octets(flow.remote.ip());
        Keys {
            source: mac("login source", &[&octets(source_key(flow.remote.ip()))]),
            user: mac("login user", &[user]),
            address: mac("login address", &[user, &address]),
            flow: mac("login flow", &[user, &address, &port, &listener, &id]),
        }
    }

    /// May this answer be judged? A stranger's failures, however many, keep nobody out who was right before; nor does who guesses from many
    /// addresses keep the owner out who comes from a new one: each address has one try of its own.
    fn may_try(&mut self, keys: &Keys, now: Now) -> bool {
        let now = now.instant;
        if self.known.contains(keys.flow, now) {
            return true;
        }
        if self.known.contains(keys.address, now) {
            return !self.guesses.is_spent(keys.address, now);
        }
        let has_tried = self.wrong.contains(keys.address, now);
        !self.guesses.is_spent(keys.source, now) && (!has_tried || !self.guesses.is_spent(keys.user, now))
    }

    fn was_wrong(&mut self, keys: &Keys, now: Now) {
        let now = now.instant;
        if self.known.contains(keys.address, now) {
            self.guesses.take(keys.address, now);
            return;
        }
        self.guesses.take(keys.source, now);
        self.guesses.take(keys.user, now);
        self.wrong.remember(keys.address, now);
    }

    fn claim<'m>(&self, request: &'m Request, users: &Users) -> Claim<'m> {
        let message = &request.message;
        let source = request.source.remote.0.ip();
        let mut stale = false;
        for (_, credentials) in credentials_in(message, &users.realm) {
            // Without `qop` a replay could not be told; and what was said of another URI was not said of this one (RFC 7616 §3.4.6).
            let usable = credentials.count.is_some()
                && users.algorithms().contains(&credentials.algorithm)
                && same_resource(credentials.uri, uri::request_uri(message));
            match self.nonces.recognise(credentials.nonce, source, request.at.unix) {
                Presented::Fresh(number) if usable => return Claim::Fresh(credentials, number),
                Presented::Stale => stale = true,
                Presented::Fresh(_) | Presented::Foreign => {}
            }
        }
        Claim::None { stale }
    }

    /// Who sent it, if it says so and knows the password.
    fn authenticate(&mut self, request: &Request, users: &Users, chance: u32) -> Result<Arc<str>, Refusal> {
        let (credentials, number) = match self.claim(request, users) {
            Claim::None { stale } => return Err(self.challenge(request, users, chance, stale, None)),
            Claim::Fresh(credentials, number) => (credentials, number),
        };
        let account = std::str::from_utf8(credentials.user).ok().and_then(|name| users.get(name));
        let keys = self.keys(request, credentials.user);
        let message = &request.message;
        let is_right = self.may_try(&keys, request.at) && {
            let secret = account.map_or(&self.nobody, |(_, secret)| secret);
            credentials.verify(secret, message.method_bytes(), message.body())
        };
        let Some((name, _)) = account.filter(|_| is_right) else {
            self.was_wrong(&keys, request.at);
            let claimed = String::from_utf8_lossy(credentials.user).into();
            return Err(self.challenge(request, users, chance, false, Some(claimed)));
        };
        self.known.remember(keys.flow, request.at.instant);
        self.known.remember(keys.address, request.at.instant);
        match credentials.count.is_some_and(|count| self.replays.accept(number, count)) {
            true => Ok(name.clone()),
            false => Err(self.challenge(request, users, chance, true, None)),
        }
    }

    /// What it must answer. Short: of an address that may be forged, every byte is amplification.
    fn challenge(
        &mut self,
        request: &Request,
        users: &Users,
        chance: u32,
        stale: bool,
        wrong: Option<Box<str>>,
    ) -> Refusal {
        let ip = request.source.remote.0.ip();
        let source = self.key.mac("login source", &[&octets(source_key(ip))]);
        if request.source.transport == Transport::Udp && !self.challenges.take(source, request.at.instant) {
            return Refusal::ChallengedTooOften;
        }
        let nonce = self.nonces.mint(ip, chance, request.at.unix);
        let stale = if stale { ", stale=true" } else { "" };
        // RFC 8760 §2.3: the one that we like best on top.
        let values = users.algorithms().iter().map(|algorithm| {
            let (realm, algorithm) = (&users.realm, algorithm.name());
            format!("Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm={algorithm}, qop=\"auth\"{stale}")
                .into()
        });
        let status = if request.message.method() == Method::Register { 401 } else { 407 };
        Refusal::Challenged(Box::new(Challenge { status, values: values.collect(), wrong }))
    }
}

impl Edge {
    /// The user whose password this request shows; else it is asked for one.
    pub(super) fn password_shown(&mut self, request: &Request) -> Result<Arc<str>, Refusal> {
        let settings = self.settings.clone();
        let chance = self.rng.next_u32();
        let user = self.authentication.authenticate(request, &settings.users, chance);
        if let Err(Refusal::Challenged(challenge)) = &user
            && let Some(claimed) = challenge.wrong.as_deref()
        {
            self.policy.open().login_failed(request.source.remote.0.ip(), Some(claimed), request.at);
        }
        user
    }

    /// Takes off what was said to us: it is good for nobody else, and a digest is something to guess passwords with.
    pub(super) fn strip_credentials<'m>(&self, edit: &mut Edit<'m>, context: &Context, message: &'m Message) {
        self.credentials_for_us(context, message).for_each(|field| edit.remove_field(field));
    }

    /// Are there credentials for somebody else than for us?
    pub(super) fn carries_others(&self, context: &Context) -> bool {
        let message = &context.request.message;
        fields_in(message).count() > self.credentials_for_us(context, message).count()
    }

    /// What answers a challenge of ours, or seems to, where nobody gets past us without; elsewhere a realm of the same name may be the PBX's.
    fn credentials_for_us<'m>(
        &self,
        context: &Context,
        message: &'m Message,
    ) -> impl Iterator<Item = Element<'m>> {
        let (who, request) = (&context.who, &context.request);
        let is_asked = who.speaker == Speaker::Stranger
            && self.settings.zone(who.zone).is_some_and(|zone| zone.admit == Admit::Authenticated);
        let (ip, now) = (request.source.remote.0.ip(), request.at.unix);
        let is_ours = move |said: &Credentials<'_>| {
            is_asked || self.authentication.nonces.recognise(said.nonce, ip, now) != Presented::Foreign
        };
        let said = credentials_in(message, &self.settings.users.realm);
        said.filter(move |(_, said)| is_ours(said)).map(|(field, _)| field)
    }
}

/// Who has shown a password speaks for himself only, and registers nobody else (RFC 3261 §10.3 step 4).
pub fn speaks_for(message: &Message, user: &str) -> bool {
    let is_register = message.method() == Method::Register;
    let is_nobody =
        |name: &str| name.eq_ignore_ascii_case("anonymous") || name.eq_ignore_ascii_case("anonymous.invalid");
    let is_his = match uri::caller(message).as_deref() {
        Some(caller) => caller == user || !is_register && is_nobody(caller),
        None => !is_register,
    };
    is_his && (!is_register || uri::user_in(message.to().uri).as_deref() == Some(user))
}

pub(super) fn fields_in(message: &Message) -> impl Iterator<Item = Element<'_>> {
    let names: [&[u8]; 2] = [b"Proxy-Authorization", b"Authorization"];
    let fields =
        message.headers().filter(move |(name, _)| names.iter().any(|n| n.eq_ignore_ascii_case(name)));
    fields.map(|(_, field)| field)
}

/// Credentials for our realm. Where several realms ask, each has a field of its own (RFC 3261 §22.3).
fn credentials_in<'m, 'r>(
    message: &'m Message,
    realm: &'r str,
) -> impl Iterator<Item = (Element<'m>, Credentials<'m>)> + use<'m, 'r> {
    let credentials = fields_in(message).filter_map(|field| Some((field, Credentials::parse(field.value)?)));
    credentials.filter(move |(_, credentials)| credentials.realm == realm.as_bytes())
}

/// Phones leave parameters away, or write a default port.
fn same_resource(said: &[u8], asked: &[u8]) -> bool {
    match (Uri::parse(said), Uri::parse(asked)) {
        (Some(said), Some(asked)) => said.user == asked.user && said.host.eq_ignore_ascii_case(asked.host),
        _ => said == asked,
    }
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}
