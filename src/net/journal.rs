//! A file of records in `data_dir` that outlasts the node, however it ends: changes are appended, the last one of each key
//! counts, and what no longer counts is left out when it takes up half of the file.
//!
//! A record is `length (4 bytes) | key (8 bytes) | sealed bytes`; of length 0: the key is gone. Sealed with the node's key
//! and bound to its own: what is damaged does not open, and whoever copies the file reads nothing.
//!
//! No record waits for the disk itself: what a power cut takes are calls and flows that it has ended anyway.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxHashMap;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::spawn_blocking;

use super::data_dir;
use crate::base::NodeKey;

/// A new state of what a key stands for; `None`: it is gone.
type Change<T> = (u64, Option<T>);

/// So much may lie in a file without counting, whatever the rest.
const SLACK: u64 = 64 * 1024;
const HEAD: usize = 4 + 8;

/// A journal, written to by another thread, for the disk may be slow. There is none where its file could not be opened.
#[derive(Clone)]
pub(super) struct Journal {
    file: Option<Arc<Mutex<Records>>>,
    what: &'static str,
}

impl Journal {
    /// Opens or begins the journal of `what` (`registrations`); what is in there, in no order. Says what cannot be read, and
    /// goes on without.
    pub fn open<T: DeserializeOwned>(
        data_dir: &Path,
        what: &'static str,
        key: &NodeKey,
    ) -> (Journal, Vec<(u64, T)>) {
        let path = data_dir.join(what).with_extension("journal");
        let (file, read) = match Records::open(&path, what, key.clone()) {
            Ok(opened) => opened,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "{what} are lost, and a restart will forget new ones");
                return (Journal { file: None, what }, Vec::new());
            }
        };
        let Read { records, mut damaged } = read;
        let mut all = Vec::with_capacity(records.len());
        for (id, record) in records {
            match serde_json::from_slice(&record) {
                Ok(record) => all.push((id, record)),
                Err(_) => damaged += 1,
            }
        }
        if damaged > 0 {
            tracing::warn!(path = %path.display(), damaged, read = all.len(), "some {what} are lost: their records cannot be read");
        }
        (Journal { file: Some(Arc::new(Mutex::new(file))), what }, all)
    }

    /// Returns when the changes are written.
    pub async fn write<T: Serialize + Send + 'static>(&self, changes: Vec<Change<T>>) {
        let Some(file) = self.file.clone().filter(|_| !changes.is_empty()) else { return };
        let what = self.what;
        let write = move || {
            let json = |record: Option<T>| record.and_then(|record| serde_json::to_vec(&record).ok());
            let changes: Vec<_> = changes.into_iter().map(|(id, record)| (id, json(record))).collect();
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = file.append(&changes) {
                tracing::warn!(path = %file.path.display(), %error, "cannot keep {what}: a restart will forget them");
            }
        };
        let _ = spawn_blocking(write).await;
    }
}

/// The file.
#[derive(Debug)]
struct Records {
    path: PathBuf,
    purpose: &'static str,
    key: NodeKey,
    out: File,
    bytes: u64,
    /// Length of the record that counts, by key.
    counting: FxHashMap<u64, u32>,
    counting_bytes: u64,
}

/// What was in a file.
#[derive(Debug, Default)]
struct Read {
    /// In no order.
    records: Vec<(u64, Vec<u8>)>,
    /// What cannot be read: records, and what stands at the end.
    damaged: usize,
}

impl Records {
    /// Reads the file, or begins it, and leaves out what no longer counts.
    fn open(path: &Path, purpose: &'static str, key: NodeKey) -> io::Result<(Records, Read)> {
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let (frames, rest) = frames(&bytes);
        let mut read = Read { records: Vec::new(), damaged: usize::from(rest > 0) };
        let mut file = Vec::new();
        let mut counting = FxHashMap::default();
        for (id, frame) in last_of_each(&frames) {
            match key.open(purpose, &id.to_be_bytes(), frame.get(HEAD..).unwrap_or_default()) {
                Some(plain) => {
                    file.extend_from_slice(frame);
                    counting.insert(id, frame.len() as u32);
                    read.records.push((id, plain));
                }
                None => read.damaged += 1,
            }
        }
        data_dir::write_private(path, &file)?;
        let out = OpenOptions::new().append(true).open(path)?;
        let bytes = file.len() as u64;
        let records =
            Records { path: path.into(), purpose, key, out, bytes, counting, counting_bytes: bytes };
        Ok((records, read))
    }

    /// Writes changes down. After an error the file is as it was.
    fn append(&mut self, changes: &[Change<Vec<u8>>]) -> io::Result<()> {
        let mut frames = Vec::new();
        let lengths = changes.iter().map(|(id, change)| (*id, self.put(*id, change.as_deref(), &mut frames)));
        let lengths: Vec<(u64, Option<u32>)> = lengths.collect();
        if let Err(error) = self.out.write_all(&frames) {
            // What follows a torn record would be lost with it.
            self.out.set_len(self.bytes)?;
            return Err(error);
        }
        self.bytes += frames.len() as u64;
        for (id, length) in lengths {
            let before = match length {
                Some(length) => self.counting.insert(id, length),
                None => self.counting.remove(&id),
            };
            self.counting_bytes += u64::from(length.unwrap_or(0));
            self.counting_bytes -= u64::from(before.unwrap_or(0));
        }
        if self.bytes > 2 * self.counting_bytes + SLACK { self.rewrite() } else { Ok(()) }
    }

    /// Appends a change to `out`; how long it is there, if it will count.
    fn put(&self, id: u64, change: Option<&[u8]>, out: &mut Vec<u8>) -> Option<u32> {
        let sealed = change.map(|plain| self.key.seal(self.purpose, &id.to_be_bytes(), plain));
        let length = sealed.as_ref().map_or(0, Vec::len) as u32;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(sealed.as_deref().unwrap_or_default());
        sealed.map(|_| HEAD as u32 + length)
    }

    /// Leaves out what no longer counts.
    fn rewrite(&mut self) -> io::Result<()> {
        let bytes = std::fs::read(&self.path)?;
        let (frames, _) = frames(&bytes);
        let file: Vec<u8> = last_of_each(&frames).flat_map(|(_, frame)| frame).copied().collect();
        data_dir::write_private(&self.path, &file)?;
        self.out = OpenOptions::new().append(true).open(&self.path)?;
        self.bytes = file.len() as u64;
        Ok(())
    }
}

/// Keys and frames in their order, and how many bytes at the end are none.
fn frames(bytes: &[u8]) -> (Vec<(u64, &[u8])>, usize) {
    let mut all = Vec::new();
    let mut rest = bytes;
    while let Some((length, after)) = rest.split_first_chunk::<4>()
        && let Some((id, _)) = after.split_first_chunk::<8>()
        && let Some((frame, next)) = rest.split_at_checked(HEAD + u32::from_be_bytes(*length) as usize)
    {
        all.push((u64::from_be_bytes(*id), frame));
        rest = next;
    }
    (all, rest.len())
}

/// The frames that count.
fn last_of_each<'f>(frames: &[(u64, &'f [u8])]) -> impl Iterator<Item = (u64, &'f [u8])> + use<'f> {
    let last: FxHashMap<u64, &[u8]> = frames.iter().copied().collect();
    last.into_iter().filter(|(_, frame)| frame.len() > HEAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> NodeKey {
        NodeKey::new([7; 16])
    }

    fn open(path: &Path) -> (Records, Vec<(u64, Vec<u8>)>, usize) {
        let (journal, mut read) = Records::open(path, "test", key()).unwrap();
        read.records.sort();
        (journal, read.records, read.damaged)
    }

    fn set(id: u64, text: &str) -> Change<Vec<u8>> {
        (id, Some(text.into()))
    }

    #[test]
    fn the_last_word_about_each_key_is_read_again_and_the_file_shows_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.journal");
        let (mut journal, read, _) = open(&path);
        assert!(read.is_empty());
        journal.append(&[set(1, "one"), set(2, "two"), set(3, "three")]).unwrap();
        journal.append(&[set(1, "another one"), (2, None), (9, None)]).unwrap();
        assert!(!std::fs::read(&path).unwrap().windows(3).any(|window| window == b"one"));
        // As after kill -9: nothing more is written.
        let (_, read, damaged) = open(&path);
        assert_eq!(read, [(1, b"another one".to_vec()), (3, b"three".to_vec())]);
        assert_eq!(damaged, 0);
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_is_damaged_is_left_out_and_the_rest_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.journal");
        let (mut journal, ..) = open(&path);
        journal.append(&[set(1, "one"), set(2, "two"), set(3, "three")]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let (_, read, damaged) = open(&path);
            assert!(read.len() < 3);
            assert!(read.iter().all(|record| [(1, b"one".to_vec()), (2, b"two".to_vec())].contains(record)));
            assert!(damaged <= 1);
        }
        for at in 0..whole.len() {
            let mut bent = whole.clone();
            bent[at] ^= 0x10;
            std::fs::write(&path, bent).unwrap();
            let (_, read, damaged) = open(&path);
            assert!(read.len() < 3 && damaged > 0, "byte {at}: {read:?}");
        }
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(Records::open(&path, "another", key()).unwrap().1.damaged, 3);
    }

    #[test]
    fn the_file_stays_within_twice_what_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.journal");
        let (mut journal, ..) = open(&path);
        for round in 0..2_000 {
            journal.append(&[set(round % 10, &"x".repeat(200)), (round % 10 + 1, None)]).unwrap();
        }
        assert!(std::fs::metadata(&path).unwrap().len() < SLACK + 10 * 500);
        let mut counting: Vec<u64> = journal.counting.keys().copied().collect();
        counting.sort_unstable();
        let (_, read, _) = open(&path);
        assert_eq!(read.iter().map(|(id, _)| *id).collect::<Vec<_>>(), counting);
    }
}
