//! Lets requests with bodies through, as many at once as a target's server can take, and no faster than asked.
//!
//! The rules are `guard`'s; here are the clock and the queue. Looks do not queue: they settle what is in doubt.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::guard::pace::{Bucket, Change, Ended, Pace, Ticket};
use crate::model::event::{Event, Watch};
use crate::model::write::{Cause, PutError};
use crate::store::s3::{Limits, Toll};

use super::lock;

/// What one frame of a body carries. A burst is never less.
const FRAME_BYTES: u64 = 256 << 10;
/// A body gets a frame's worth of bandwidth at least this often: servers give up on bodies that do not move.
const FRAME_EVERY_SECONDS: u64 = 4;

/// Where the requests to one target wait for their turn.
#[derive(Debug)]
pub(crate) struct Gate {
    target: String,
    began: Instant,
    permits: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    pace: Pace,
    /// Permits that are to be taken away, but are still held by requests under way.
    surplus: u32,
}

/// A request that may be under way.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    gate: &'a Gate,
    permit: SemaphorePermit<'a>,
    ticket: Ticket,
}

impl Gate {
    pub fn new(target: String, most: usize) -> Self {
        let most = u32::try_from(most).unwrap_or(u32::MAX).max(1);
        Self {
            target,
            began: Instant::now(),
            permits: Semaphore::new(most as usize),
            state: Mutex::new(State { pace: Pace::new(most), surplus: 0 }),
        }
    }

    /// Waits for a turn, first come, first served.
    async fn enter(&self) -> Option<Turn<'_>> {
        // Never closed.
        let permit = self.permits.acquire().await.ok()?;
        let ticket = lock(&self.state).pace.start();
        Some(Turn { gate: self, permit, ticket })
    }
}

impl Turn<'_> {
    /// Ends the turn by what its request was answered.
    fn end<T>(self, answer: &Result<T, PutError>, watch: &dyn Watch) {
        let Turn { gate, permit, ticket } = self;
        let how = Ended::of(answer);
        let now = match how {
            Ended::Well | Ended::Otherwise => Duration::ZERO,
            Ended::Throttled | Ended::TimedOut => gate.began.elapsed(),
        };
        let mut state = lock(&gate.state);
        let change = state.pace.end(ticket, how, now);
        let limit = state.pace.limit();
        match change {
            Change::None => {}
            Change::Grown if state.surplus > 0 => state.surplus -= 1,
            Change::Grown => gate.permits.add_permits(1),
            Change::Fallen { by, .. } => state.surplus += by,
        }
        if state.surplus > 0 {
            permit.forget();
            state.surplus -= 1;
            let idle = gate.permits.forget_permits(state.surplus as usize);
            state.surplus -= u32::try_from(idle).unwrap_or(state.surplus);
        }
        drop(state);
        if let (Change::Fallen { tell: true, .. }, Err(error)) = (change, answer) {
            watch.tell(Event::Note(&slower(&gate.target, limit, error.cause())));
        }
    }
}

/// Waits for a turn where there is a gate.
pub(super) async fn enter(gate: Option<&Gate>) -> Option<Turn<'_>> {
    match gate {
        Some(gate) => gate.enter().await,
        None => None,
    }
}

/// Ends the turn, if it was one.
pub(super) fn end<T>(turn: Option<Turn<'_>>, answer: &Result<T, PutError>, watch: &dyn Watch) {
    if let Some(turn) = turn {
        turn.end(answer, watch);
    }
}

fn slower(target: &str, limit: u32, cause: &Cause) -> String {
    format!("target {target}: slowed down to {limit} at once: {cause}")
}

/// The limits of all stores together: bytes of bodies a second, and requests a second.
#[must_use]
pub fn limits(bandwidth: Option<NonZeroU64>, requests: Option<NonZeroU64>) -> Limits {
    let tenth = |rate: NonZeroU64| rate.get() / 10;
    Limits {
        bytes: bandwidth.map(|rate| toll(Bucket::new(rate, tenth(rate).max(FRAME_BYTES)))),
        requests: requests.map(|rate| toll(Bucket::new(rate, tenth(rate)))),
    }
}

/// How many bodies a bandwidth can feed at once.
#[must_use]
pub fn fed(bandwidth: NonZeroU64) -> usize {
    let bodies = bandwidth.get().saturating_mul(FRAME_EVERY_SECONDS) / FRAME_BYTES;
    usize::try_from(bodies).unwrap_or(usize::MAX).max(1)
}

fn toll(bucket: Bucket) -> Toll {
    let (began, bucket) = (Instant::now(), Mutex::new(bucket));
    Arc::new(move |units| {
        let mut bucket = lock(&bucket);
        bucket.take(began.elapsed(), units)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::write::Refusal;

    /// Keeps the notes.
    #[derive(Default)]
    struct Notes(Mutex<Vec<String>>);

    impl Watch for Notes {
        fn tell(&self, event: Event<'_>) {
            if let Event::Note(text) = event {
                self.0.lock().unwrap().push(text.to_owned());
            }
        }
    }

    fn throttled() -> Result<(), PutError> {
        let cause = Cause {
            http_status: Some(503),
            code: "SlowDown".into(),
            message: "Please reduce your request rate.".into(),
            request_id: None,
        };
        Err(PutError::Refused(Refusal::Throttled, cause))
    }

    /// Takes as many turns as there are without waiting.
    async fn fill(gate: &Gate) -> Vec<Turn<'_>> {
        let mut turns = Vec::new();
        while gate.permits.available_permits() > 0 {
            turns.push(gate.enter().await.unwrap());
        }
        turns
    }

    #[tokio::test]
    async fn a_gate_lets_through_what_its_pace_allows_and_no_more() {
        let (gate, notes) = (Gate::new("eu".into(), 8), Notes::default());
        let mut turns = fill(&gate).await;
        assert_eq!(turns.len(), 8);
        // Halved while all are under way: the next four that end make no room.
        for ended in 1..=8 {
            turns.pop().unwrap().end(&throttled(), &notes);
            assert_eq!(gate.permits.available_permits(), usize::max(ended, 4) - 4, "{ended} ended");
        }
        // Halved while others are free: they go at once.
        let turn = gate.enter().await.unwrap();
        turn.end(&throttled(), &notes);
        assert_eq!(fill(&gate).await.len(), 2);
        // It grows while a turn is under way, one by one, back to what it was.
        let under_way = gate.enter().await.unwrap();
        for room in [2, 3, 3, 3, 4] {
            gate.enter().await.unwrap().end(&Ok(()), &notes);
            assert_eq!(gate.permits.available_permits() + 1, room);
        }
        for _ in 0..100 {
            gate.enter().await.unwrap().end(&Ok(()), &notes);
        }
        under_way.end(&Ok(()), &notes);
        assert_eq!(gate.permits.available_permits(), 8);
        let text = "target eu: slowed down to 4 at once: 503 SlowDown: Please reduce your request rate.";
        assert_eq!(*notes.0.lock().unwrap(), [text], "once, however often it falls in a moment");
    }

    #[test]
    fn a_small_bandwidth_feeds_few_bodies() {
        for (bandwidth, bodies) in [(1, 1), (64 << 10, 1), (128 << 10, 2), (1 << 20, 16), (50 << 20, 800)] {
            assert_eq!(fed(NonZeroU64::new(bandwidth).unwrap()), bodies, "{bandwidth} B/s");
        }
    }

    #[test]
    fn all_stores_share_one_rate() {
        let rate = NonZeroU64::new(1);
        let limits = limits(None, rate);
        assert!(limits.bytes.is_none());
        let (one, other) = (limits.requests.clone().unwrap(), limits.requests.unwrap());
        assert_eq!(one(1), Duration::ZERO);
        assert!(other(1) > Duration::ZERO);
    }
}
