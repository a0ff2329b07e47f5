//! The users file. Nothing asks for a user yet (`admit: authenticated` and TURN will), but a mistake is told today.

use super::super::diagnose::Problems;
use super::super::read::{At, FromNode, Named, did_you_mean};
use super::super::{parse, raw};
use super::{Context, files};

/// Reads the file that `users:` names.
pub(super) fn users(cx: &mut Context<'_>) {
    let Some(users) = &cx.raw.users else { return };
    let help = "`admit: registered` leaves the asking for passwords to the PBX";
    cx.problems.warning(users.file.at, "nothing asks for these users yet", help);
    let path = cx.folder.join(&users.file.value);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            let wrong = files::missing(&path, &error);
            return cx.problems.error(users.file.at, wrong.what, wrong.help);
        }
    };
    let root = match parse(&path, &text) {
        Ok(root) => root,
        Err(report) => return cx.others.append(report),
    };
    let mut problems = Problems::default();
    let turn = cx.raw.relay.as_ref().and_then(|r| r.turn.as_ref());
    let named = Named::<raw::User>::from_node(&root, &mut problems).unwrap_or_default();
    for (name, user) in &named.entries {
        check(&mut problems, name, user, turn);
        if let Some(password) = &user.password {
            let folder = path.parent().unwrap_or(cx.folder);
            if let Err(wrong) = files::secret(&password.value, folder, cx.environment) {
                problems.error(password.at, wrong.what, wrong.help);
            }
        }
    }
    cx.others.add(&path, &text, problems);
}

/// A user has a password or its hash, and a role that exists.
pub(super) fn check(problems: &mut Problems, name: &At<String>, user: &raw::User, turn: Option<&raw::Turn>) {
    match (&user.password, &user.ha1) {
        (None, None) if !problems.has_errors() => {
            let help = "add `password: \"env:NAME\"`, or `ha1:` with MD5(user:realm:password) in hex";
            problems.error(name.at, format!("user `{}` has neither `password` nor `ha1`", name.value), help);
        }
        (Some(_), Some(ha1)) => {
            let what = format!("user `{}` has both `password` and `ha1`", name.value);
            problems.error(ha1.at, what, "remove one of them");
        }
        _ => {}
    }
    let roles = turn.and_then(|t| t.roles.as_ref());
    if let (Some(role), Some(roles)) = (&user.role, roles)
        && roles.names().all(|name| name != role.value)
    {
        let known: Vec<_> = roles.names().collect();
        let what = format!("there is no TURN role `{}`", role.value);
        problems.error(role.at, what, did_you_mean(&role.value, known.into_iter()));
    }
}
