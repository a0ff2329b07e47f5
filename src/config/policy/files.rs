//! The files that a policy file names. What is wrong in one is told there, not where it is named.

use std::path::{Path, PathBuf};

use crate::config::diagnose::{Problems, Report};
use crate::config::read::At;
use crate::config::yaml::Position;

/// A million networks fit.
const MAX_BYTES: u64 = 64 << 20;

/// A folder with more is some other folder.
const MOST_FILES: usize = 10_000;

/// Those of one policy file.
pub struct Files {
    folder: PathBuf,
    opened: Vec<Opened>,
}

struct Opened {
    path: PathBuf,
    text: String,
    problems: Problems,
}

/// One of [`Files`].
pub type FileId = usize;

impl Files {
    /// None opened yet; relative paths begin at `folder`, where the policy file is.
    pub fn new(folder: &Path) -> Files {
        Files { folder: folder.to_owned(), opened: Vec::new() }
    }

    /// Where relative paths begin.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads a file; if it cannot be read, that is told where it is named.
    pub fn open(&mut self, named: &At<PathBuf>, problems: &mut Problems) -> Option<FileId> {
        let path = self.folder.join(&named.value);
        self.open_at(path, named.at, problems)
    }

    /// Reads all files of a folder, by name. Hidden ones and folders in it are left out.
    pub fn open_all(&mut self, named: &At<PathBuf>, problems: &mut Problems) -> Option<Vec<FileId>> {
        let folder = self.folder.join(&named.value);
        let mut paths = match files_in(&folder) {
            Ok(paths) => paths,
            Err(error) => return unreadable(&folder, &error, named.at, problems),
        };
        if paths.is_empty() {
            let help = "put a file with one entry on each line there";
            problems.warning(named.at, format!("{} holds no file", folder.display()), help);
        }
        paths.sort();
        // All of them, so that each that cannot be read is told.
        let opened: Vec<_> = paths.into_iter().map(|path| self.open_at(path, named.at, problems)).collect();
        opened.into_iter().collect()
    }

    fn open_at(&mut self, path: PathBuf, at: Position, problems: &mut Problems) -> Option<FileId> {
        let text = std::fs::metadata(&path).and_then(|file| match file.len() {
            0..=MAX_BYTES => std::fs::read_to_string(&path),
            _ => Err(std::io::Error::other("it is larger than 64 MiB")),
        });
        match text {
            Ok(text) => self.opened.push(Opened { path, text, problems: Problems::default() }),
            Err(error) => return unreadable(&path, &error, at, problems),
        }
        Some(self.opened.len() - 1)
    }

    /// The lines of a file that say something, without their comments.
    pub fn entries(&self, id: FileId) -> Vec<At<String>> {
        let text = self.opened.get(id).map_or("", |file| &file.text);
        text.lines().enumerate().filter_map(|(index, line)| entry(index + 1, line)).collect()
    }

    /// Where to tell what is wrong in a file.
    pub fn problems(&mut self, id: FileId) -> Option<&mut Problems> {
        self.opened.get_mut(id).map(|file| &mut file.problems)
    }

    /// True if a file holds what it should not.
    pub fn have_errors(&self) -> bool {
        self.opened.iter().any(|file| file.problems.has_errors())
    }

    /// What is wrong in them.
    pub fn report(self, report: &mut Report) {
        for Opened { path, text, problems } in self.opened {
            report.add(&path, &text, problems);
        }
    }
}

fn files_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        if !is_hidden && entry.path().is_file() {
            paths.push(entry.path());
        }
        if paths.len() > MOST_FILES {
            return Err(std::io::Error::other(format!("it holds more than {MOST_FILES} files")));
        }
    }
    Ok(paths)
}

fn unreadable<T>(path: &Path, error: &std::io::Error, at: Position, problems: &mut Problems) -> Option<T> {
    let help = "paths begin beside the policy file";
    problems.error(at, format!("{}: {error}", path.display()), help);
    None
}

/// One line of a file: nothing, or an entry, and a comment behind `#`.
fn entry(number: usize, line: &str) -> Option<At<String>> {
    let text = match line.split_once(" #") {
        Some((text, _comment)) => text,
        None => line,
    };
    let value = text.trim();
    let column = 1 + text.chars().take_while(|c| c.is_whitespace()).count();
    let is_entry = !value.is_empty() && !value.starts_with('#');
    is_entry.then(|| At { at: Position { file: 0, line: number, column }, value: value.to_owned() })
}
