//! Config and policy files: read as typed (with file, line and column), then as needed (names resolved).
//!
//! | file | story |
//! |---|---|
//! | [`yaml`] | YAML as a tree that knows its positions |
//! | [`read`] | typed readers over that tree: unknown keys, misspelt words, durations, addresses |
//! | [`diagnose`] | every problem of a file, shown with its line and what to type |
//! | [`preset`] | settings of well-known carriers and PBXs, merged in where `preset:` names them |
//! | [`secret`] | secrets by reference, which print as `***` |
//! | [`compiled`] | what the rest of the house is given |

mod compile;
pub mod compiled;
pub mod diagnose;
pub mod policy;
pub mod preset;
pub mod raw;
pub mod read;
pub mod secret;
pub mod words;
mod x509;
pub mod yaml;

use std::path::Path;

pub use compile::glob;
pub use compiled::Compiled;
pub use diagnose::Report;

use diagnose::{Problems, Source};
use read::FromNode;

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
    let text = read_text(path)?;
    let mut root = parse(path, &text)?;
    let mut problems = Problems::default();
    let mut others = Report::default();
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut sources = vec![Source { path: path.to_owned(), text, note: None }];
    preset::merge_all(&mut root, folder, &mut sources, &mut problems);
    let raw = raw::Config::from_node(&root, &mut problems);
    let compiled = raw.map(|raw| {
        let sound = !problems.has_errors();
        let (problems, others) = (&mut problems, &mut others);
        compile::compile(compile::Context { raw: &raw, folder, environment, sound, problems, others })
    });
    let mut report = Report::default();
    report.add_all(&sources, problems);
    report.append(others);
    match compiled {
        Some(compiled) if !report.has_errors() => Ok(Compiled { report, ..compiled }),
        _ => Err(report),
    }
}

/// The text of a config or policy file.
pub fn read_text(path: &Path) -> Result<String, Report> {
    std::fs::read_to_string(path).map_err(|error| {
        let wrong = compile::missing(path, &error);
        Report::unreadable(path, wrong.what, wrong.help)
    })
}

/// The tree of a config or policy file; `path` is only for the report.
pub fn parse(path: &Path, text: &str) -> Result<yaml::Node, Report> {
    let mut problems = Problems::default();
    let mut source = Source { path: path.to_owned(), text: text.to_owned(), note: None };
    tree(&mut source, 0, &mut problems).ok_or_else(|| {
        let mut report = Report::default();
        report.add_all(&[source], problems);
        report
    })
}

/// The tree of the `file`-th of the files that are read as one; `None` after telling `problems` why it is no YAML.
fn tree(source: &mut Source, file: usize, problems: &mut Problems) -> Option<yaml::Node> {
    let invalid = match yaml::parse(&source.text, file) {
        Ok(root) => return Some(root),
        Err(invalid) => invalid,
    };
    let line = source.text.lines().nth(invalid.at.line.saturating_sub(1)).unwrap_or_default();
    let help = if line.contains('\t') {
        "indent with blanks, not with tabs"
    } else {
        "look in this line and the one above for a missing quote, bracket, blank or `:`"
    };
    problems.error(invalid.at, format!("this cannot be read as YAML: {}", invalid.reason), help);
    // Without the tree nobody knows what of the line is a secret.
    if ["password", "secret", "token", "ha1", "redis"].iter().any(|word| line.contains(word)) {
        source.text.clear();
    }
    None
}
