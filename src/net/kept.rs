//! What a node must not forget in a restart: files in `data_dir` that it alone reads and writes. What policies counted is
//! written within a second, or a few where it is much (`policy.json`), bans within one (`bans.json`), and a ban that somebody asks for at once;
//! registrations within one, in a journal, and so are calls; that one is over, sooner.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::data_dir;
use super::journal::Journal;
use super::shard::{self, Shard};
use crate::base::NodeKey;
use crate::edge::{Edge, RestoredCalls, SavedBinding, SavedCall};
use crate::policy::Engine;

/// How much of bans by rules, of registrations and of calls is lost at most when the node is killed; and of what was counted,
/// if that is little.
const QUICK: Duration = Duration::from_secs(1);
/// The same of what was counted, however much it is.
const COUNTED: Duration = Duration::from_secs(5);
/// It is written as a whole: on an average so many bytes a second, at most.
const COUNTED_BYTES: usize = 512 * 1024;
/// For so long a call that is over would come back if the node were killed, and be recorded twice.
const ENDED: Duration = Duration::from_millis(100);
/// Calls that are written down in one go, while no message is read.
const AT_ONCE: usize = 50;
/// After that nothing is written for as many times as long as it took, within bounds: that is time of the disk, too.
const REST: u32 = 3;
const LONGEST_REST: Duration = Duration::from_millis(100);

/// The files of one node.
#[derive(Clone)]
pub(super) struct Kept {
    counted: PathBuf,
    bans: PathBuf,
    registrations: Journal,
    calls: Journal,
    /// Held while something is written: what is older never replaces what is newer.
    writing: Rc<Mutex<()>>,
}

impl Kept {
    /// Opens those of this folder. With what is to be put back into the edge.
    pub fn open(data_dir: &Path, key: &NodeKey) -> (Kept, Left) {
        let (registrations_journal, registrations) = Journal::open(data_dir, "registrations", key);
        let (calls_journal, calls) = Journal::open(data_dir, "calls", key);
        let kept = Kept {
            counted: data_dir.join("policy.json"),
            bans: data_dir.join("bans.json"),
            registrations: registrations_journal,
            calls: calls_journal,
            writing: Rc::default(),
        };
        (kept, Left { registrations, calls })
    }

    /// Puts back what an earlier run had counted, and whom it had banned.
    pub fn restore(&self, engine: &mut Engine) {
        let now = shard::now();
        if let Some(saved) = read(&self.counted, "what policies had counted is lost: budgets begin anew") {
            engine.restore(saved, now);
        }
        if let Some(saved) = read(&self.bans, "bans are lost: nobody is banned") {
            engine.bans().restore(saved, now);
        }
    }

    /// Writes whatever has changed, from time to time.
    pub async fn keep(self, shard: Rc<RefCell<Shard>>) {
        let quick = async {
            loop {
                sleep(QUICK).await;
                self.write_bans(&shard).await;
                self.write_registrations(&shard).await;
                self.write_changed_calls(&shard).await;
            }
        };
        let ended = async {
            loop {
                sleep(ENDED).await;
                self.write_ended_calls(&shard).await;
            }
        };
        let counted = async {
            let mut bytes = 0;
            loop {
                sleep(pause_after(bytes)).await;
                bytes = self.write_counted(&shard).await.unwrap_or(bytes);
            }
        };
        tokio::join!(quick, ended, counted);
    }

    /// Returns when all bans are on the disk.
    pub async fn write_bans(&self, shard: &RefCell<Shard>) {
        let _writing = self.writing.lock().await;
        let saved = shard.borrow_mut().edge().save_bans(shard::now());
        if let Some(saved) = saved {
            write(saved, &self.bans, "bans").await;
        }
    }

    /// Returns when all registrations that outlast us are written.
    pub async fn write_registrations(&self, shard: &RefCell<Shard>) {
        let _writing = self.writing.lock().await;
        let changes = shard.borrow_mut().edge().save_registrations();
        self.registrations.write(changes).await;
    }

    /// Returns when everything is written that a restart must not forget.
    pub async fn write_all(&self, shard: &RefCell<Shard>) {
        self.write_counted(shard).await;
        self.write_bans(shard).await;
        self.write_registrations(shard).await;
        self.write_ended_calls(shard).await;
        let all = shard.borrow_mut().edge().all_calls();
        for some in all.chunks(AT_ONCE) {
            self.write_calls(some, shard).await;
        }
    }

    /// Takes a part of the time only, however many they are and however little of a processor we get: calls that are set up
    /// meanwhile must not wait for those that stand.
    async fn write_changed_calls(&self, shard: &RefCell<Shard>) {
        let changed = shard.borrow_mut().edge().changed_calls();
        for some in changed.chunks(AT_ONCE) {
            let took = self.write_calls(some, shard).await;
            sleep(LONGEST_REST.min(took * REST)).await;
        }
    }

    /// Returns when these calls are written, of which there are no more than [`AT_ONCE`]. How long that took.
    async fn write_calls(&self, keys: &[u64], shard: &RefCell<Shard>) -> Duration {
        let _writing = self.writing.lock().await;
        let began = Instant::now();
        let save = |key: &u64| Some((*key, Some(shard.borrow_mut().edge().save_call(*key)?)));
        let saved: Vec<_> = keys.iter().filter_map(save).collect();
        self.calls.write(saved).await;
        began.elapsed()
    }

    /// Returns when no call is in the journal that is over.
    async fn write_ended_calls(&self, shard: &RefCell<Shard>) {
        let _writing = self.writing.lock().await;
        let ended = shard.borrow_mut().edge().ended_calls();
        let ended: Vec<(u64, Option<SavedCall>)> = ended.into_iter().map(|key| (key, None)).collect();
        self.calls.write(ended).await;
    }

    /// Returns when all that policies counted is on the disk. How many bytes were written, if anything had changed.
    pub async fn write_counted(&self, shard: &RefCell<Shard>) -> Option<usize> {
        let _writing = self.writing.lock().await;
        let saved = shard.borrow_mut().edge().save_policy(shard::now())?;
        Some(write(saved, &self.counted, "what policies counted").await)
    }
}

/// What an earlier run left for the edge.
pub(super) struct Left {
    registrations: Vec<(u64, SavedBinding)>,
    calls: Vec<(u64, SavedCall)>,
}

impl Left {
    /// Puts it back.
    pub fn restore(self, edge: &mut Edge) {
        let now = shard::now();
        let registrations = edge.restore_registrations(self.registrations, now);
        let RestoredCalls { live, ended, silent, why_silent } = edge.restore_calls(self.calls, now);
        if registrations + live + ended > 0 {
            tracing::info!(registrations, calls = live, ended, "taken up again from before the restart");
        }
        if let Some(error) = why_silent {
            tracing::warn!(calls = silent, %error, "calls of before the restart go on without their media");
        }
    }
}

/// A file that cannot be read is left aside, and said so: the edge goes on.
fn read<T: DeserializeOwned>(file: &Path, lost: &str) -> Option<T> {
    match std::fs::read(file) {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(saved) => return Some(saved),
            Err(error) => {
                let kept = std::fs::rename(file, file.with_extension("damaged")).is_ok();
                tracing::warn!(path = %file.display(), %error, kept, "{lost}");
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(path = %file.display(), %error, "{lost}"),
    }
    None
}

/// How long to wait after so much has been written.
fn pause_after(bytes: usize) -> Duration {
    Duration::from_secs((bytes / COUNTED_BYTES) as u64).clamp(QUICK, COUNTED)
}

/// On another thread, for the disk may be slow. How many bytes it comes to.
async fn write<T: Serialize + Send + 'static>(saved: T, file: &Path, what: &'static str) -> usize {
    let file = file.to_owned();
    let write = move || {
        let bytes = serde_json::to_vec(&saved).unwrap_or_default();
        if let Err(error) = data_dir::write_private(&file, &bytes) {
            tracing::warn!(path = %file.display(), %error, "cannot keep {what}: a restart will forget them");
        }
        bytes.len()
    };
    spawn_blocking(write).await.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_written_every_second_and_much_less_often() {
        let pauses = [0, 500_000, 1_200_000, 100_000_000].map(|bytes| pause_after(bytes).as_secs());
        assert_eq!(pauses, [1, 1, 2, 5]);
    }
}
