//! Config and policy files: read as typed (with file, line and column), then as needed (names resolved).
//!
//! | file | story |
//! |---|---|
//! | [`yaml`] | YAML as a tree that knows its positions |
//! | [`read`] | typed readers over that tree: unknown keys, misspelt words, durations, addresses |
//! | [`diagnose`] | every problem of a file, shown with its line and what to type |
//! | [`secret`] | secrets by reference, which print as `***` |
//! | [`compiled`] | what the rest of the house is given |

pub mod compiled;
pub mod diagnose;
pub mod policy;
pub mod raw;
pub mod read;
pub mod secret;
pub mod words;
pub mod yaml;

use std::path::Path;

pub use compiled::Compiled;
pub use diagnose::Report;

/// How `env:NAME` is looked up: the process's environment in `run`, a table in tests.
pub type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

/// The environment of this process; a variable that is not UTF-8 counts as missing.
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Reads the config file at `path` and every file that it names (certificates, users; not the policies). Paths in it are
/// relative to its own folder.
///
/// # Errors
/// Every mistake found, not just the first. What [`Compiled::report`] then still holds are warnings, and things that
/// `run` refuses ([`Compiled::runnable`]).
pub fn load(path: &Path, environment: Environment<'_>) -> Result<Compiled, Report> {
    let _ = (path, environment);
    todo!()
}
