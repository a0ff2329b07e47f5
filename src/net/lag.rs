//! How long what arrives on connections waits for its turn. The tasks that read them share one thread and stand in one queue, so
//! a task that joins it when something is read, and looks at the clock when its turn comes, has waited as long as they do.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::shard::Shard;

/// Whoever waits longer than this is asked again at once, so that a long wait is known to be over when it is.
const SHORT: Duration = Duration::from_millis(10);

/// Who stands in the queue, and since when.
#[derive(Debug, Default)]
pub(super) struct Lag {
    since: Option<Instant>,
    /// How long it stood there the last time.
    last: Duration,
    joined: Rc<Notify>,
}

impl Lag {
    /// Something was read: joins the queue, unless it stands there already.
    pub fn join(&mut self, now: Instant) {
        if self.since.is_none() {
            self.since = Some(now);
            self.joined.notify_one();
        }
    }

    /// Its turn has come: how long that takes, twice running at least. A process that the system stopped for a moment has waited once.
    pub fn turn(&mut self, now: Instant) -> Duration {
        let waited = self.since.take().map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        if waited > SHORT {
            self.join(now);
        }
        std::mem::replace(&mut self.last, waited).min(waited)
    }

    /// Woken when it has joined.
    pub fn joined(&self) -> Rc<Notify> {
        self.joined.clone()
    }
}

/// Stands in the queue whenever asked to.
pub(super) async fn stand(shard: Rc<RefCell<Shard>>) {
    let joined = shard.borrow().lag();
    loop {
        joined.notified().await;
        shard.borrow_mut().handle_lag();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_wait_is_asked_about_until_it_is_over() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut lag = Lag::default();
        lag.join(at(0));
        lag.join(at(40));
        assert_eq!(lag.turn(at(60)), Duration::ZERO, "once is nothing");
        assert_eq!(lag.turn(at(140)), Duration::from_millis(60), "it has joined again by itself");
        assert_eq!(lag.turn(at(220)), Duration::from_millis(80));
        assert_eq!(lag.turn(at(225)), Duration::from_millis(5));
        assert_eq!(lag.since, None, "and when the wait is short, no more");
        assert_eq!(lag.turn(at(300)), Duration::ZERO);
    }
}
