//! What policies counted, kept in `data_dir/policy.json`: a day's budget is still spent after a restart.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::data_dir;
use super::shard::Shard;
use crate::policy::{Engine, Saved};

/// How much is lost at most when the node is killed.
const EVERY: Duration = Duration::from_secs(5);

/// The file.
pub(super) fn file(data_dir: &Path) -> PathBuf {
    data_dir.join("policy.json")
}

/// Puts back what an earlier run left. One that cannot be read is left aside, and said so: the edge goes on.
pub(super) fn restore(engine: &mut Engine, file: &Path) {
    match std::fs::read(file) {
        Ok(bytes) => match serde_json::from_slice::<Saved>(&bytes) {
            Ok(saved) => engine.restore(saved, super::shard::now()),
            Err(error) => {
                let aside = file.with_extension("damaged");
                let kept = std::fs::rename(file, &aside).is_ok();
                tracing::warn!(path = %file.display(), %error, kept, "what policies had counted is lost: budgets begin anew");
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(path = %file.display(), %error, "what policies had counted is lost: budgets begin anew")
        }
    }
}

/// Writes it whenever it has changed, on another thread.
pub(super) async fn keep(shard: Rc<RefCell<Shard>>, file: PathBuf) {
    loop {
        sleep(EVERY).await;
        let saved = shard.borrow_mut().save_policy();
        if let Some(saved) = saved {
            let file = file.clone();
            let _ = spawn_blocking(move || write(&saved, &file)).await;
        }
    }
}

/// Writes it now.
pub(super) fn write(saved: &Saved, file: &Path) {
    let bytes = serde_json::to_vec(saved).unwrap_or_default();
    if let Err(error) = data_dir::write_private(file, &bytes) {
        tracing::warn!(path = %file.display(), %error, "cannot keep what policies counted: after a restart budgets begin anew");
    }
}
