//! The house rules that a compiler does not check, read off the source: imports run one way, what decides is pure,
//! `unsafe` stays in its room, no test sleeps or is skipped.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each floor and the floors that it may name (docs/architecture.md). A floor may always name itself.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("sip", &["base"]),
    ("sdp", &["base", "ice"]),
    ("stun", &["base"]),
    ("ice", &["base", "stun"]),
    ("media", &["base", "sdp", "stun", "ice"]),
    ("turn", &["base", "stun"]),
    ("relay", &["base", "media", "stun", "turn", "ice"]),
    ("policy", &["base"]),
    ("edge", &["base", "sip", "sdp", "media", "stun", "turn", "ice", "relay", "policy"]),
    ("config", &["base", "sip", "sdp", "media", "stun", "turn", "ice", "relay", "policy", "edge"]),
    ("observe", &["base", "sip", "sdp", "media", "stun", "turn", "ice", "relay", "policy", "edge"]),
    (
        "net",
        &[
            "base", "sip", "sdp", "media", "stun", "turn", "ice", "relay", "policy", "edge", "config",
            "observe",
        ],
    ),
    (
        "admin",
        &[
            "base", "sip", "sdp", "media", "stun", "turn", "ice", "relay", "policy", "edge", "config",
            "observe", "net",
        ],
    ),
    (
        "cli",
        &[
            "base", "sip", "sdp", "media", "stun", "turn", "ice", "relay", "policy", "edge", "config",
            "observe", "net", "admin",
        ],
    ),
];

const PURE: &[&str] = &["base", "sip", "sdp", "media", "stun", "turn", "ice", "relay", "policy", "edge"];

/// Words that bring the world in. A pure folder may hold an `Instant`, never ask for one.
const WORLD: &[&str] = &[
    "tokio",
    "mio::",
    "Instant::now",
    "SystemTime::now",
    "std::thread",
    "std::fs",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "std::env",
    "rand::rng()",
];

/// What stands between `src/` and the first folder or file name.
fn floor(path: &Path) -> String {
    let relative = path.strip_prefix("src").expect("under src");
    let first = relative.components().next().expect("a file").as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("readable").map(|e| e.expect("entry").path()) {
        if entry.is_dir() {
            sources(&entry, out);
        } else if entry.extension().is_some_and(|e| e == "rs") {
            out.push(entry);
        }
    }
}

/// The lines of a file that run in production: comments, and everything from `#[cfg(test)] mod … {` on, left out.
fn production_lines(path: &Path) -> Vec<(usize, String)> {
    if path.components().any(|c| c.as_os_str() == "tests" || c.as_os_str() == "tests.rs") {
        return Vec::new();
    }
    let text = fs::read_to_string(path).expect("UTF-8");
    let lines: Vec<&str> = text.lines().collect();
    let opens_tests = |w: &[&str]| {
        w[0].trim() == "#[cfg(test)]" && w[1].trim_start().starts_with("mod ") && w[1].ends_with('{')
    };
    let end = lines.windows(2).position(opens_tests).unwrap_or(lines.len());
    let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    lines[..end].iter().enumerate().map(|(i, line)| (i + 1, code(line))).collect()
}

/// Shows every production line to `look` and fails with all that it found wrong.
fn everywhere(mut look: impl FnMut(&Path, &str, &str) -> Option<String>) {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    assert!(files.len() > 20, "tidy.rs must run at the top of the package and find the source");
    let mut found = Vec::new();
    for path in &files {
        for (number, line) in production_lines(path) {
            if let Some(what) = look(path, &floor(path), &line) {
                found.push(format!("{}:{number}: {what}", path.display()));
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// The floors that a line names as `crate::floor` or `crate::{floor, …}`.
fn imported(line: &str) -> Vec<String> {
    let word =
        |s: &str| s.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut names = Vec::new();
    for after in line.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            Some(list) => names.extend(list.split(',').map(word)),
            None => names.push(word(after)),
        }
    }
    names
}

#[test]
fn imports_run_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    everywhere(|_, floor, line| {
        if floor == "lib" || floor == "main" {
            return None;
        }
        let may = allowed
            .get(floor)
            .unwrap_or_else(|| panic!("src/{floor} is not on the plan: add it to tests/tidy.rs"));
        let runs_up = |name: &String| {
            allowed.contains_key(name.as_str()) && name != floor && !may.contains(&name.as_str())
        };
        // `config::compile` fills in everyone's settings, also those of the floors above it.
        let settings =
            |name: &String| floor == "config" && line.contains(&format!("crate::{name}::settings"));
        let bad = imported(line).into_iter().find(|name| runs_up(name) && !settings(name))?;
        Some(format!("`{floor}` imports `{bad}`, which lies above it"))
    });
}

#[test]
fn what_decides_is_pure() {
    everywhere(|_, floor, line| {
        let word = WORLD.iter().find(|w| PURE.contains(&floor) && line.contains(*w))?;
        Some(format!("`{word}` in a pure folder: pass in what it would fetch"))
    });
}

#[test]
fn unsafe_stays_in_net_udp() {
    everywhere(|path, _, line| {
        let at_home = path.starts_with("src/net/udp") || path == Path::new("src/net/udp.rs");
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        let named = words.any(|w| w == "unsafe" || w == "unsafe_code");
        (named && !at_home).then(|| "`unsafe` outside net/udp".to_owned())
    });
}

/// A test that waits by the clock is slow on a fast machine and wrong on a slow one.
#[test]
fn no_test_sleeps_or_is_skipped() {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    sources(Path::new("tests"), &mut files);
    let mut found = Vec::new();
    for path in files.iter().filter(|p| p.file_name().is_some_and(|n| n != "tidy.rs")) {
        let text = fs::read_to_string(path).expect("UTF-8");
        for (number, line) in text.lines().enumerate().map(|(i, l)| (i + 1, l)) {
            let waits =
                path.starts_with("tests") && line.contains("sleep(") && !line.contains("// between polls");
            if waits || line.contains("#[ignore") {
                found.push(format!("{}:{number}: {}", path.display(), line.trim()));
            }
        }
    }
    assert!(
        found.is_empty(),
        "poll with a deadline (and mark the pause `// between polls`):\n{}",
        found.join("\n")
    );
}
