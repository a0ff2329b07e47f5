//! A file of records in `data_dir` that outlasts the node, however it ends: changes are appended, and the last one of each key
//! counts. When what counts no more takes up half of the file, the rest is copied to a new one, a piece with each write: no write
//! takes long, however large the file is.
//!
//! A record is `length (4 bytes) | key (8 bytes) | sealed bytes`; of length 0: the key is gone. Sealed with the node's key
//! and bound to its own: what is damaged does not open, and whoever copies the file reads nothing.
//!
//! No record waits for the disk itself: what a power cut takes are calls and flows that it has ended anyway.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
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
/// So much is copied to a new file with each write; or twice what is written, so that the copy comes to an end.
const PIECE: usize = 64 * 1024;
/// When so much counts (some 100,000 calls), new keys are turned away.
const MOST: u64 = 256 * 1024 * 1024;
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
            let written = file.write(&changes);
            if let Some(error) = file.complaint(written) {
                tracing::warn!(path = %file.path.display(), error, "cannot keep all {what}: a restart will forget some");
            }
        };
        let _ = spawn_blocking(write).await;
    }
}

/// A journal's file, and the next one while that is made.
#[derive(Debug)]
struct Records {
    path: PathBuf,
    purpose: &'static str,
    key: NodeKey,
    /// See [`MOST`].
    most: u64,
    current: Frames,
    next: Option<Next>,
    /// Something could not be written, and the current file still says what was before.
    is_behind: bool,
    has_complained: bool,
}

/// The file that takes the place of the current one when all is in there that counts.
#[derive(Debug)]
struct Next {
    frames: Frames,
    /// What is to be copied, the first last, and where it was when this began. What has changed since is here already.
    left: Vec<(u64, Place)>,
}

/// A file of records.
#[derive(Debug)]
struct Frames {
    file: File,
    bytes: u64,
    /// Where the record is that counts, by key.
    counting: FxHashMap<u64, Place>,
    counting_bytes: u64,
}

/// Of a record with its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    at: u64,
    length: u32,
}

/// Records that are written together.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Keys, and how long each one's record is with its head.
    lengths: Vec<(u64, u32)>,
    /// New keys that there was no room for.
    turned_away: usize,
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
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let (frames, rest) = frames(&bytes);
        let mut read = Read { records: Vec::new(), damaged: usize::from(rest > 0) };
        let mut batch = Batch::default();
        for (id, frame) in last_of_each(&frames) {
            match key.open(purpose, &id.to_be_bytes(), frame.get(HEAD..).unwrap_or_default()) {
                Some(plain) => {
                    batch.bytes.extend_from_slice(frame);
                    batch.lengths.push((id, frame.len() as u32));
                    read.records.push((id, plain));
                }
                None => read.damaged += 1,
            }
        }
        let mut current = Frames::begin(path)?;
        current.append(&batch)?;
        current.take_place(path)?;
        let (next, is_behind, has_complained) = (None, false, false);
        let path = path.into();
        Ok((Records { path, purpose, key, most: MOST, current, next, is_behind, has_complained }, read))
    }

    /// Writes changes down. How many new keys were turned away.
    fn write(&mut self, changes: &[Change<Vec<u8>>]) -> io::Result<usize> {
        let batch = self.sealed(changes);
        let written = self.append(&batch);
        if written.is_err() {
            // A call that is over must not stand in the file for ever: the next one is begun anew, without it.
            self.next = None;
            self.is_behind = true;
            let gone = changes.iter().filter(|(_, change)| change.is_none());
            gone.for_each(|(id, _)| self.current.count(*id, None));
        }
        written.map(|()| batch.turned_away)
    }

    fn sealed(&self, changes: &[Change<Vec<u8>>]) -> Batch {
        let mut batch = Batch::default();
        for (id, change) in changes {
            let is_known = self.current.counting.contains_key(id);
            let is_full = self.current.counting_bytes + batch.bytes.len() as u64 >= self.most;
            match change {
                Some(_) if !is_known && is_full => batch.turned_away += 1,
                None if !is_known => {}
                Some(plain) => batch.put(*id, &self.key.seal(self.purpose, &id.to_be_bytes(), plain)),
                None => batch.put(*id, &[]),
            }
        }
        batch
    }

    fn append(&mut self, batch: &Batch) -> io::Result<()> {
        self.current.append(batch)?;
        let Some(next) = &mut self.next else {
            if self.is_behind || self.current.bytes > 2 * self.current.counting_bytes + SLACK {
                self.next = Some(Next::begin(&self.path, &self.current)?);
            }
            return Ok(());
        };
        next.frames.append(batch)?;
        next.copy(&self.current, PIECE.max(2 * batch.bytes.len()))?;
        if let Some(next) = self.next.take_if(|next| next.left.is_empty()) {
            next.frames.take_place(&self.path)?;
            self.current = next.frames;
            self.is_behind = false;
        }
        Ok(())
    }

    /// What to say of a write: once when something is not kept, and not again before there is room for much.
    fn complaint(&mut self, written: io::Result<usize>) -> Option<String> {
        let error = match written {
            Ok(0) => {
                self.has_complained &= self.current.counting_bytes > self.most / 8 * 7;
                return None;
            }
            Ok(_) => {
                format!("the journal is full ({} MiB): it takes new ones when others end", self.most >> 20)
            }
            Err(error) => error.to_string(),
        };
        (!std::mem::replace(&mut self.has_complained, true)).then_some(error)
    }
}

impl Next {
    fn begin(path: &Path, current: &Frames) -> io::Result<Next> {
        let mut left: Vec<_> = current.counting.iter().map(|(id, place)| (*id, *place)).collect();
        left.sort_unstable_by_key(|(_, place)| std::cmp::Reverse(place.at));
        Ok(Next { frames: Frames::begin(path)?, left })
    }

    /// Copies so many bytes of what still counts, or a record more.
    fn copy(&mut self, current: &Frames, bytes: usize) -> io::Result<()> {
        let mut batch = Batch::default();
        while batch.bytes.len() < bytes
            && let Some((id, place)) = self.left.pop()
        {
            if current.counting.get(&id) == Some(&place) {
                let start = batch.bytes.len();
                batch.bytes.resize(start + place.length as usize, 0);
                current.file.read_exact_at(&mut batch.bytes[start..], place.at)?;
                batch.lengths.push((id, place.length));
            }
        }
        self.frames.append(&batch)
    }
}

impl Frames {
    /// An empty file beside the one at `path`.
    fn begin(path: &Path) -> io::Result<Frames> {
        let file = data_dir::begin_private(path)?;
        Ok(Frames { file, bytes: 0, counting: FxHashMap::default(), counting_bytes: 0 })
    }

    /// It takes the place of the one at `path`.
    fn take_place(&self, path: &Path) -> io::Result<()> {
        data_dir::put_in_place(&self.file, path)
    }

    /// After an error the file is as it was.
    fn append(&mut self, batch: &Batch) -> io::Result<()> {
        if let Err(error) = self.file.write_all_at(&batch.bytes, self.bytes) {
            // What follows a torn record would be lost with it.
            self.file.set_len(self.bytes)?;
            return Err(error);
        }
        for &(id, length) in &batch.lengths {
            let counts = length as usize > HEAD;
            self.count(id, counts.then_some(Place { at: self.bytes, length }));
            self.bytes += u64::from(length);
        }
        Ok(())
    }

    /// Only this record of the key counts from now on.
    fn count(&mut self, id: u64, place: Option<Place>) {
        let before = match place {
            Some(place) => self.counting.insert(id, place),
            None => self.counting.remove(&id),
        };
        self.counting_bytes += place.map_or(0, |place| u64::from(place.length));
        self.counting_bytes -= before.map_or(0, |place| u64::from(place.length));
    }
}

impl Batch {
    fn put(&mut self, id: u64, sealed: &[u8]) {
        self.bytes.extend_from_slice(&(sealed.len() as u32).to_be_bytes());
        self.bytes.extend_from_slice(&id.to_be_bytes());
        self.bytes.extend_from_slice(sealed);
        self.lengths.push((id, (HEAD + sealed.len()) as u32));
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
mod tests;
