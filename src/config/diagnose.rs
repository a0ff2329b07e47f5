//! Every problem of a file, not just the first, shown the way a compiler does: file, line, column, the line itself, and
//! what to type instead.

use std::fmt;
use std::path::{Path, PathBuf};

use super::yaml::Position;

/// What a problem means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file says what this build cannot do: `check` warns, `run` refuses.
    NotYet,
    /// It can be used, and probably does not do what was meant.
    Warning,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// Where.
    pub at: Position,
    /// What is wrong.
    pub what: String,
    /// What to type.
    pub help: Option<String>,
}

/// Collects the problems of one file while it is read.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    list: Vec<Problem>,
    hidden: Vec<Position>,
}

impl Problems {
    /// An error with what to type instead.
    pub fn error(&mut self, at: Position, what: impl Into<String>, help: impl Into<String>) {
        self.push(Severity::Error, at, what.into(), Some(help.into()));
    }

    /// An error that says in itself what to do.
    pub fn plain_error(&mut self, at: Position, what: impl Into<String>) {
        self.push(Severity::Error, at, what.into(), None);
    }

    /// A warning.
    pub fn warning(&mut self, at: Position, what: impl Into<String>, help: impl Into<String>) {
        self.push(Severity::Warning, at, what.into(), Some(help.into()));
    }

    /// Something that `run` refuses because it is not built yet.
    pub fn not_yet(&mut self, at: Position, what: impl Into<String>, help: impl Into<String>) {
        self.push(Severity::NotYet, at, what.into(), Some(help.into()));
    }

    /// The scalar at `at` may be a secret: shown as `***` wherever its line is shown.
    pub fn hide(&mut self, at: Position) {
        self.hidden.push(at);
    }

    /// True if the file cannot be used.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|p| p.severity == Severity::Error)
    }

    fn push(&mut self, severity: Severity, at: Position, what: String, help: Option<String>) {
        self.list.push(Problem { severity, at, what, help });
    }
}

/// The problems of all files that were read, ready to be shown.
#[derive(Clone, Debug, Default)]
pub struct Report {
    files: Vec<File>,
}

/// One of the files that are read as one: the config, and the presets that it names.
#[derive(Clone, Debug)]
pub struct Source {
    /// As shown.
    pub path: PathBuf,
    /// All of it.
    pub text: String,
    /// What more the administrator has to know of where it comes from.
    pub note: Option<String>,
}

#[derive(Clone, Debug)]
struct File {
    path: PathBuf,
    note: Option<String>,
    /// The lines that a problem stands in, secrets masked, by line number.
    lines: std::collections::BTreeMap<usize, String>,
    problems: Vec<Problem>,
}

impl Report {
    /// Adds the problems of the file at `path`, whose text is `text`, in the order of their lines.
    pub fn add(&mut self, path: &Path, text: &str, problems: Problems) {
        self.add_all(&[Source { path: path.to_owned(), text: text.to_owned(), note: None }], problems);
    }

    /// Adds the problems of files that were read as one, file by file, in the order of their lines. A position's `file` is
    /// an index into `sources`.
    pub fn add_all(&mut self, sources: &[Source], problems: Problems) {
        let Problems { mut list, hidden } = problems;
        list.sort_by_key(|p| (p.at, p.severity as u8));
        for (index, source) in sources.iter().enumerate() {
            let of_file: Vec<_> = list.iter().filter(|p| p.at.file == index).cloned().collect();
            let hidden: Vec<_> = hidden.iter().filter(|at| at.file == index).copied().collect();
            if !of_file.is_empty() {
                self.files.push(File::new(source, of_file, &hidden));
            }
        }
    }

    /// A report of one error about a file as a whole: it cannot be read.
    pub fn unreadable(path: &Path, why: impl Into<String>, help: impl Into<String>) -> Report {
        let mut problems = Problems::default();
        problems.error(Position::default(), why, help);
        let mut report = Report::default();
        report.add(path, "", problems);
        report
    }

    /// Puts another report's files behind ours.
    pub fn append(&mut self, other: Report) {
        self.files.extend(other.files);
    }

    /// Nothing to say.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// True if one of them is an error.
    pub fn has_errors(&self) -> bool {
        self.problems().any(|p| p.severity == Severity::Error)
    }

    /// All problems, in the order in which they are shown.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.files.iter().flat_map(|f| &f.problems)
    }

    /// Only what `run` refuses because it is not built yet, as errors.
    pub fn not_yet(&self) -> Report {
        let files = self.files.iter().filter_map(|file| {
            let of_kind = file.problems.iter().filter(|p| p.severity == Severity::NotYet);
            let problems: Vec<_> =
                of_kind.map(|p| Problem { severity: Severity::Error, ..p.clone() }).collect();
            (!problems.is_empty()).then(|| File { problems, ..file.clone() })
        });
        Report { files: files.collect() }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in &self.files {
            for problem in &file.problems {
                file.show(problem, f)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

impl File {
    fn new(source: &Source, problems: Vec<Problem>, hidden: &[Position]) -> File {
        let lines = (1..)
            .zip(source.text.lines())
            .filter(|(number, _)| problems.iter().any(|p| p.at.line == *number))
            .map(|(number, line)| (number, masked(number, line, hidden)))
            .collect();
        File { path: source.path.clone(), note: source.note.clone(), lines, problems }
    }

    fn show(&self, problem: &Problem, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { severity, at, what, help } = problem;
        let kind = match severity {
            Severity::Error => "error",
            Severity::NotYet | Severity::Warning => "warning",
        };
        let path = self.path.display();
        match self.lines.get(&at.line) {
            None if *at == Position::default() => writeln!(f, "{path}: {kind}: {what}")?,
            None => writeln!(f, "{path}:{}:{}: {kind}: {what}", at.line, at.column)?,
            Some(line) => {
                writeln!(f, "{path}:{}:{}: {kind}: {what}", at.line, at.column)?;
                let gutter = at.line.to_string();
                let blank = " ".repeat(gutter.len());
                let carets = "^".repeat(word_length(line, at.column));
                writeln!(f, " {gutter} | {line}")?;
                writeln!(f, " {blank} | {}{carets}", " ".repeat(at.column.saturating_sub(1)))?;
            }
        }
        if let Some(help) = help {
            writeln!(f, "   help: {help}")?;
        }
        if let Some(note) = &self.note {
            writeln!(f, "   note: {note}")?;
        }
        writeln!(f)
    }
}

/// How many characters the word at `column` (from 1) has: to its closing quote, or to the next blank or bracket.
fn word_length(line: &str, column: usize) -> usize {
    let mut rest = line.chars().skip(column.saturating_sub(1));
    let length = match rest.next() {
        Some(quote @ ('"' | '\'')) => rest.take_while(|c| *c != quote).count() + 2,
        Some('{' | '[') | None => 1,
        Some(_) => 1 + rest.take_while(|c| !c.is_whitespace() && !matches!(c, ',' | '}' | ']' | ':')).count(),
    };
    length.min(line.chars().count().saturating_sub(column.saturating_sub(1))).max(1)
}

/// The line with every hidden scalar that begins in it starred out. Columns hold, since carets are yet to be placed.
fn masked(number: usize, line: &str, hidden: &[Position]) -> String {
    let mut chars: Vec<char> = line.chars().collect();
    for at in hidden.iter().filter(|h| h.line == number) {
        let mut quote = None;
        let mut stars = 3;
        for (i, c) in chars.iter_mut().skip(at.column.saturating_sub(1)).enumerate() {
            match (quote, *c) {
                (None, '"' | '\'') if i == 0 => {
                    quote = Some(*c);
                    continue;
                }
                (Some(open), close) if open == close => break,
                (None, ',' | '}' | ']') => break,
                _ => *c = if stars > 0 { '*' } else { ' ' },
            }
            stars -= i32::from(stars > 0);
        }
    }
    chars.into_iter().collect()
}
