//! Users: of the users file, and of TURN's own list. TURN asks for their passwords, and zones with `admit: authenticated` do.

use super::super::diagnose::Problems;
use super::super::read::{At, FromNode, Named, Wrong, did_you_mean};
use super::super::secret::Secret;
use super::super::words::Reference;
use super::super::{parse, raw};
use super::{Context, files, id};
use crate::edge::settings::{Admit, Users};
use crate::sip::digest;
use crate::turn::credentials::{Keys, RoleId, User};

/// A user, and what is known of the password.
pub(super) struct Account {
    pub name: String,
    pub password: Password,
    pub role: RoleId,
}

/// What is known of a password.
pub(super) enum Password {
    Plain(Secret),
    /// Good for one realm only.
    Hashed {
        md5: [u8; 16],
        sha256: Option<[u8; 32]>,
    },
}

impl Account {
    /// As TURN needs it, in its realm.
    pub fn in_realm(self, realm: &str) -> User {
        let keys = match self.password {
            Password::Plain(secret) => Keys::of_password(&self.name, realm, secret.reveal()),
            Password::Hashed { md5, sha256: Some(sha256) } => Keys::of_ha1(md5).and_sha256(sha256),
            Password::Hashed { md5, sha256: None } => Keys::of_ha1(md5),
        };
        User { name: self.name, keys, role: self.role }
    }
}

/// Reads the file that `users:` names.
pub(super) fn users(cx: &mut Context<'_>) -> Vec<Account> {
    let Some(users) = &cx.raw.users else { return Vec::new() };
    let turn = cx.raw.relay.as_ref().and_then(|r| r.turn.as_ref());
    let mut zones = cx.raw.zones.iter().flat_map(|zones| &zones.entries);
    let mut trunks = cx.raw.trunks.iter().flat_map(|trunks| &trunks.entries);
    let asks = zones.any(|(_, zone)| zone.admit.value == Admit::Authenticated)
        || trunks.any(|(_, trunk)| trunk.accept_user.is_some())
        // One of their rules may.
        || cx.raw.policies.as_ref().is_some_and(|policies| !policies.is_empty());
    if turn.is_none() && !asks {
        let help = "`admit: registered` leaves the asking for passwords to the PBX; `admit: authenticated` and TURN ask themselves";
        cx.problems.warning(users.file.at, "nothing asks for these users", help);
    }
    let path = cx.folder.join(&users.file.value);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            let wrong = files::missing(&path, &error);
            cx.problems.error(users.file.at, wrong.what, wrong.help);
            return Vec::new();
        }
    };
    let root = match parse(&path, &text) {
        Ok(root) => root,
        Err(report) => {
            cx.others.append(report);
            return Vec::new();
        }
    };
    let mut problems = Problems::default();
    let named = Named::<raw::User>::from_node(&root, &mut problems).unwrap_or_default();
    let folder = path.parent().unwrap_or(cx.folder);
    let secret = |reference: &Reference| files::secret(reference, folder, cx.environment);
    let accounts = accounts(&named, turn, &mut problems, secret);
    cx.others.add(&path, &text, problems);
    accounts
}

/// As zones with `admit: authenticated` need them.
pub(super) fn of_realm(cx: &mut Context<'_>, accounts: &[Account]) -> Users {
    let Some(users) = &cx.raw.users else { return Users::default() };
    let realm = &users.realm;
    if realm.value.is_empty() || realm.value.chars().any(|c| c.is_control() || matches!(c, '"' | '\\')) {
        let help = "write a name, such as `realm: example.com`";
        cx.problems.error(
            realm.at,
            "a realm has no quotes, backslashes or control characters, and is not empty",
            help,
        );
    }
    let secrets = accounts.iter().map(|Account { name, password, .. }| {
        let secret = match password {
            Password::Plain(plain) => digest::Secret::of_password(name, &realm.value, plain.reveal()),
            Password::Hashed { md5, sha256 } => digest::Secret::Hashed { md5: *md5, sha256: *sha256 },
        };
        (name.as_str().into(), secret)
    });
    Users::new(&realm.value, secrets)
}

/// Users whose passwords trunks show (`accept_user`).
pub(super) fn of_trunks(cx: &mut Context<'_>, accounts: &[Account]) {
    let entries = cx.raw.trunks.as_ref().map_or(&[][..], |trunks| &trunks.entries);
    for (index, (_, trunk)) in entries.iter().enumerate() {
        let Some(user) = &trunk.accept_user else { continue };
        let zones = cx.raw.zones.iter().flat_map(|zones| &zones.entries);
        let zone = zones.into_iter().find(|(name, _)| name.value == trunk.zone.value);
        if zone.is_some_and(|(_, zone)| zone.admit.value == Admit::Any) {
            let what = format!("zone `{}` asks nobody for a password", trunk.zone.value);
            cx.problems.error(
                user.at,
                what,
                "let it say `admit: trunks`, or put the trunk into another zone",
            );
        }
        if cx.raw.users.is_none() {
            cx.absent(user.at, "there are no users", "add `users: { realm: example.com, file: users.yaml }`");
        } else if !accounts.iter().any(|account| account.name == user.value) {
            let known = accounts.iter().map(|account| account.name.as_str());
            let help = did_you_mean(&user.value, known);
            cx.absent(user.at, format!("the users file has no user `{}`", user.value), help);
        }
        let mut before = entries.get(..index).unwrap_or_default().iter();
        let is_same = |other: &raw::Trunk| {
            other.zone.value == trunk.zone.value
                && other.accept_user.as_ref().is_some_and(|other| other.value == user.value)
        };
        if let Some((other, _)) = before.find(|(_, other)| is_same(other)) {
            let what = format!("trunk `{}` has the same user", other.value);
            cx.problems.error(
                user.at,
                what,
                "who shows a password speaks as one trunk: give each a user of its own",
            );
        }
    }
}

/// Those of `named` who have a password and a role that exists; tells why the others have not.
pub(super) fn accounts(
    named: &Named<raw::User>,
    turn: Option<&raw::Turn>,
    problems: &mut Problems,
    secret: impl Fn(&Reference) -> Result<Secret, Wrong>,
) -> Vec<Account> {
    let mut accounts = Vec::new();
    for (name, user) in &named.entries {
        let password = password(name, user, problems, &secret);
        let role = turn.map_or(Some(RoleId(0)), |turn| role(name, user, turn, problems));
        if let (Some(password), Some(role)) = (password, role) {
            accounts.push(Account { name: name.value.clone(), password, role });
        }
    }
    accounts
}

fn password(
    name: &At<String>,
    user: &raw::User,
    problems: &mut Problems,
    secret: impl Fn(&Reference) -> Result<Secret, Wrong>,
) -> Option<Password> {
    match (&user.password, &user.ha1) {
        (Some(password), None) => {
            let told =
                secret(&password.value).map_err(|wrong| problems.error(password.at, wrong.what, wrong.help));
            told.ok().map(Password::Plain)
        }
        (None, Some(ha1)) => {
            let sha256 = user.ha1_sha256.as_ref().map(|sha256| sha256.value.0);
            Some(Password::Hashed { md5: ha1.value.0, sha256 })
        }
        (Some(_), Some(ha1)) => {
            let what = format!("user `{}` has both `password` and `ha1`", name.value);
            problems.error(ha1.at, what, "remove one of them");
            None
        }
        (None, None) => {
            // One that could not be read has been told.
            if !problems.has_errors() {
                let help = "add `password: \"env:NAME\"`, or `ha1:` as `turnpike credentials ha1` prints it";
                let what = format!("user `{}` has neither `password` nor `ha1`", name.value);
                problems.error(name.at, what, help);
            }
            None
        }
    }
}

fn role(name: &At<String>, user: &raw::User, turn: &raw::Turn, problems: &mut Problems) -> Option<RoleId> {
    let none = Named::default();
    let roles = turn.roles.as_ref().unwrap_or(&none);
    match (&user.role, &turn.default_role) {
        (Some(role), _) => {
            let index = roles.index(&role.value);
            if index.is_none() && !roles.broken.contains(&role.value) {
                let known: Vec<_> = roles.names().collect();
                let what = format!("there is no TURN role `{}`", role.value);
                problems.error(role.at, what, did_you_mean(&role.value, known.into_iter()));
            }
            index.map(|index| RoleId(id(index)))
        }
        // One that is not there has been told.
        (None, Some(default)) => roles.index(&default.value).map(|index| RoleId(id(index))),
        (None, None) => {
            let Some(first) = roles.names().next() else { return Some(RoleId(0)) };
            if !problems.has_errors() {
                let what = format!("user `{}` has no role", name.value);
                let help = format!("add `role: {first}` here, or `default_role: {first}` to `turn`");
                problems.error(name.at, what, help);
            }
            None
        }
    }
}
