//! `turnpike run` as a process of its own, and what it says of itself.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// It runs; killed when this is dropped.
pub struct Running {
    pub child: Child,
    /// What it has yet to say.
    pub out: Option<BufReader<ChildStdout>>,
    /// Its lines so far.
    said: Vec<String>,
}

impl Running {
    /// With the `turnpike.yaml` of this folder; its log goes there.
    pub fn start(folder: &Path, log: impl Into<Stdio>) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_turnpike"));
        command.args(["run", "--config", "turnpike.yaml"]).current_dir(folder);
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let out = child.stdout.take().map(BufReader::new);
        Running { child, out, said: Vec::new() }
    }

    /// Where the listener of this name is.
    pub fn listener(&mut self, name: &str) -> SocketAddr {
        self.find(&format!(" {name} (zone "))
    }

    /// Where the admin listener is.
    pub fn admin(&mut self) -> SocketAddr {
        self.find(" admin: ")
    }

    fn find(&mut self, what: &str) -> SocketAddr {
        let is_it = |line: &String| line.contains(what);
        while !self.said.iter().any(is_it) {
            let mut line = String::new();
            let length = self.out.as_mut().unwrap().read_line(&mut line).unwrap();
            assert!(length > 0, "it ended before it said {what}: {:?}", self.said);
            self.said.push(line);
        }
        let line = self.said.iter().find(|line| is_it(line)).unwrap();
        line.split_whitespace().next().unwrap().split_once("://").unwrap().1.parse().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
