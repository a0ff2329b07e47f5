//! Files and variables that the config names: secrets, and policies by pattern.

use std::io;
use std::path::{Path, PathBuf};

use super::super::Environment;
use super::super::read::Wrong;
use super::super::secret::Secret;
use super::super::words::Reference;

/// A secret's file holds a word, not a book.
const LARGEST_SECRET: usize = 64 * 1024;

/// The text behind a reference; a relative path begins at `folder`.
pub fn secret(reference: &Reference, folder: &Path, environment: Environment<'_>) -> Result<Secret, Wrong> {
    let (text, from) = match reference {
        Reference::Environment(name) => {
            let what = format!("the environment variable `{name}` is not set");
            let help =
                format!("type `export {name}=…` in the shell that starts Turnpike, or refer to `file:PATH`");
            (environment(name).ok_or_else(|| Wrong::new(what, help))?, format!("`{name}`"))
        }
        Reference::File(path) => {
            let path = folder.join(path);
            let text = std::fs::read_to_string(&path).map_err(|e| missing(&path, &e))?;
            (text, path.display().to_string())
        }
    };
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(Wrong::new(format!("{from} is empty"), "put the secret there")),
        secret if secret.len() > LARGEST_SECRET => Err(Wrong::new(
            format!("{from} is too large for a secret"),
            "refer to the file that holds only it",
        )),
        secret => Ok(Secret::new(secret.to_owned())),
    }
}

/// What to say of a file that cannot be read.
pub fn missing(path: &Path, error: &io::Error) -> Wrong {
    let help = match error.kind() {
        io::ErrorKind::NotFound => {
            "correct the path (it begins at this file's folder), or put the file there"
        }
        io::ErrorKind::PermissionDenied => "let the user that Turnpike runs as read it: `chgrp`, `chmod g+r`",
        _ => "look what is there: `ls -l`",
    };
    Wrong::new(format!("cannot read {}: {error}", path.display()), help)
}

/// The files that `path` stands for, sorted: itself, or, if its last part holds a `*`, all that fit (maybe none).
pub fn glob(path: &Path) -> io::Result<Vec<PathBuf>> {
    let pattern = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !pattern.contains('*') {
        std::fs::metadata(path)?;
        return Ok(vec![path.to_owned()]);
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        if fits(&pattern, &entry.file_name().to_string_lossy()) {
            files.push(folder.join(entry.file_name()));
        }
    }
    files.sort();
    Ok(files)
}

/// `*` stands for any characters; a name that begins with a dot is hidden from it.
fn fits(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters_but_not_for_a_dot_in_front() {
        for (pattern, name, expected) in [
            ("*.yaml", "toll-fraud.yaml", true),
            ("*.yaml", "toll-fraud.yml", false),
            ("*.yaml", ".hidden.yaml", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a1b2c", true),
            ("a*bb*b", "abb", false),
            ("a*a", "a", false),
            ("*", "anything", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_secret_is_read_without_its_line_break_and_never_from_an_empty_place() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "s3cret\n").unwrap();
        std::fs::write(folder.path().join("empty"), "\n").unwrap();
        let environment = |name: &str| (name == "SET").then(|| "value".to_owned());
        let read = |reference| secret(&reference, folder.path(), &environment);
        assert_eq!(read(Reference::File("token".into())).unwrap().reveal(), "s3cret");
        assert_eq!(read(Reference::Environment("SET".into())).unwrap().reveal(), "value");
        assert!(read(Reference::File("empty".into())).unwrap_err().what.ends_with("is empty"));
        assert!(read(Reference::File("none".into())).unwrap_err().what.contains("cannot read"));
        assert!(read(Reference::Environment("UNSET".into())).unwrap_err().help.contains("export UNSET="));
    }
}
