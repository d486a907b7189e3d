//! How much may be under way at once, and how fast it may go. Pure: the time is told, never read.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::model::write::{PutError, Refusal};

/// A person is told that it goes slower at most this often.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How many requests may be under way at once: halved when a server asks for less or falls silent, and one more for each
/// round of good answers.
///
/// Requests that were under way when it was halved do not halve it again: they were sent at the old pace, and what they
/// meet says nothing of the new one.
#[derive(Debug, Clone)]
pub struct Pace {
    most: u32,
    limit: u32,
    /// Good answers since the limit last changed.
    good: u32,
    started: u64,
    /// Requests before this one were sent before the last halving.
    epoch: u64,
    told: Option<Duration>,
}

/// A request under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

/// How a request ended, as far as the pace is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The server did its work. A precondition that did not hold is such an answer too.
    Well,
    /// 503 or 429.
    Throttled,
    /// No answer in time, or a connection that broke.
    TimedOut,
    /// It says nothing of how busy the server is.
    Otherwise,
}

/// What an end changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    None,
    /// One more may be under way.
    Grown,
    /// So many fewer may be.
    Fallen {
        by: u32,
        /// Whether it is news for a person.
        tell: bool,
    },
}

impl Ended {
    /// | answer | |
    /// |---|---|
    /// | yes; the precondition did not hold | well |
    /// | refused as too fast; any 503 or 429 | throttled |
    /// | no answer; 408 or RequestTimeout: the bytes came too slowly | timed out |
    /// | anything else | otherwise |
    #[must_use]
    pub fn of<T>(answer: &Result<T, PutError>) -> Self {
        let error = match answer {
            Ok(_) | Err(PutError::Lost(_)) => return Self::Well,
            Err(error) => error,
        };
        let cause = error.cause();
        match (cause.http_status, cause.code.as_str()) {
            (Some(503 | 429), _) => Self::Throttled,
            (Some(408), _) | (_, "RequestTimeout") | (None, "Timeout" | "Connection") => Self::TimedOut,
            _ if matches!(error, PutError::Refused(Refusal::Throttled, _)) => Self::Throttled,
            _ => Self::Otherwise,
        }
    }
}

impl Pace {
    /// Starts at the most.
    #[must_use]
    pub fn new(most: u32) -> Self {
        let most = most.max(1);
        Self { most, limit: most, good: 0, started: 0, epoch: 0, told: None }
    }

    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// A request is sent.
    pub fn start(&mut self) -> Ticket {
        let ticket = Ticket(self.started);
        self.started += 1;
        ticket
    }

    /// A request ended, at `now` since some fixed moment.
    ///
    /// | ended | sent before the last halving | sent since |
    /// |---|---|---|
    /// | well | nothing | counts: as many as the limit make it grow by one, up to the most |
    /// | throttled, timed out | nothing | half the limit, rounded down, but one |
    /// | otherwise | nothing | nothing |
    pub fn end(&mut self, Ticket(ticket): Ticket, how: Ended, now: Duration) -> Change {
        if ticket < self.epoch {
            return Change::None;
        }
        match how {
            Ended::Otherwise => Change::None,
            Ended::Well => {
                self.good += 1;
                if self.limit == self.most || self.good < self.limit {
                    // Kept small where it cannot count for anything.
                    self.good = self.good.min(self.limit);
                    return Change::None;
                }
                self.good = 0;
                self.limit += 1;
                Change::Grown
            }
            Ended::Throttled | Ended::TimedOut => {
                let before = self.limit;
                self.limit = (before / 2).max(1);
                self.good = 0;
                self.epoch = self.started;
                if self.limit == before {
                    return Change::None;
                }
                let tell = self.told.is_none_or(|told| now.saturating_sub(told) >= TELL_EVERY);
                if tell {
                    self.told = Some(now);
                }
                Change::Fallen { by: before - self.limit, tell }
            }
        }
    }
}

/// A token bucket: in any stretch of time no more leaves than its rate allows, and a burst.
///
/// Whoever takes is told how long to wait, and is in the queue from then on: who takes later leaves later.
#[derive(Debug, Clone)]
pub struct Bucket {
    per_second: NonZeroU64,
    burst_nanos: u128,
    /// When all that was taken will have been filled up again.
    full_at_nanos: u128,
}

impl Bucket {
    /// Full. `burst` is what may leave at once after a quiet time; whoever takes more than that leaves alone.
    #[must_use]
    pub fn new(per_second: NonZeroU64, burst: u64) -> Self {
        Self { per_second, burst_nanos: nanos_of(burst.max(1), per_second), full_at_nanos: 0 }
    }

    /// Takes `units` at `now` since some fixed moment, and says how long they must wait before they leave.
    pub fn take(&mut self, now: Duration, units: u64) -> Duration {
        let now = now.as_nanos();
        self.full_at_nanos = self.full_at_nanos.max(now).saturating_add(nanos_of(units, self.per_second));
        let wait = self.full_at_nanos.saturating_sub(self.burst_nanos).saturating_sub(now);
        Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX))
    }
}

/// How long so many units take to fill up. Rounded up: never faster than the rate.
fn nanos_of(units: u64, per_second: NonZeroU64) -> u128 {
    (u128::from(units) * 1_000_000_000).div_ceil(u128::from(per_second.get()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::write::Cause;

    const NOW: Duration = Duration::ZERO;

    fn cause(status: Option<u16>, code: &str) -> Cause {
        Cause { http_status: status, code: code.into(), ..Cause::default() }
    }

    #[test]
    fn what_an_answer_says_of_the_servers_load() {
        use PutError::{Lost, Mangled, Refused, Unknown};
        for (answer, ended) in [
            (Ok(()), Ended::Well),
            (Err(Lost(cause(Some(412), "PreconditionFailed"))), Ended::Well),
            (Err(Refused(Refusal::Throttled, cause(Some(503), "SlowDown"))), Ended::Throttled),
            (Err(Refused(Refusal::Throttled, cause(Some(429), "TooManyRequests"))), Ended::Throttled),
            (Err(Refused(Refusal::Throttled, cause(Some(400), "RequestLimitExceeded"))), Ended::Throttled),
            // Not known to be applied or not, but certainly busy.
            (Err(Unknown(cause(Some(503), "ServiceUnavailable"))), Ended::Throttled),
            (Err(Unknown(cause(None, "Timeout"))), Ended::TimedOut),
            (Err(Unknown(cause(None, "Connection"))), Ended::TimedOut),
            (Err(Refused(Refusal::Throttled, cause(None, "Timeout"))), Ended::TimedOut),
            (Err(Unknown(cause(Some(400), "RequestTimeout"))), Ended::TimedOut),
            (Err(Unknown(cause(Some(408), ""))), Ended::TimedOut),
            (Err(Unknown(cause(Some(500), "InternalError"))), Ended::Otherwise),
            (Err(Refused(Refusal::Conflict, cause(Some(409), "ConditionalRequestConflict"))), Ended::Otherwise),
            (Err(Refused(Refusal::SourceChanged, cause(None, "SourceChanged"))), Ended::Otherwise),
            (Err(Refused(Refusal::Stop, cause(Some(400), "ExpiredToken"))), Ended::Otherwise),
            (Err(Mangled(cause(Some(200), "ChecksumMismatch"))), Ended::Otherwise),
        ] {
            assert_eq!(Ended::of(&answer), ended, "{answer:?}");
        }
    }

    #[test]
    fn the_limit_falls_by_half_and_grows_by_one() {
        let mut pace = Pace::new(8);
        for (how, times, limit) in [
            (Ended::Well, 100, 8),
            (Ended::Otherwise, 9, 8),
            (Ended::Throttled, 1, 4),
            (Ended::Well, 3, 4),
            (Ended::Well, 1, 5),
            (Ended::Well, 4, 5),
            (Ended::TimedOut, 1, 2),
            // What was counted before the fall is forgotten.
            (Ended::Well, 1, 2),
            (Ended::Otherwise, 5, 2),
            (Ended::Well, 1, 3),
            (Ended::Throttled, 1, 1),
            (Ended::Throttled, 5, 1),
            (Ended::Well, 1, 2),
            (Ended::Well, 2 + 3 + 4 + 5 + 6 + 7, 8),
            (Ended::Well, 100, 8),
        ] {
            for _ in 0..times {
                let ticket = pace.start();
                pace.end(ticket, how, NOW);
            }
            assert_eq!(pace.limit(), limit, "after {times} x {how:?}");
        }
    }

    #[test]
    fn what_was_under_way_at_a_fall_neither_halves_again_nor_counts_as_growth() {
        let mut pace = Pace::new(16);
        let tickets: Vec<Ticket> = (0..16).map(|_| pace.start()).collect();
        assert_eq!(pace.end(tickets[0], Ended::Throttled, NOW), Change::Fallen { by: 8, tell: true });
        for ticket in &tickets[1..8] {
            assert_eq!(pace.end(*ticket, Ended::Throttled, NOW), Change::None);
        }
        for ticket in &tickets[8..] {
            assert_eq!(pace.end(*ticket, Ended::Well, NOW), Change::None);
        }
        assert_eq!(pace.limit(), 8);
        let next = pace.start();
        assert_eq!(pace.end(next, Ended::TimedOut, NOW), Change::Fallen { by: 4, tell: false });
    }

    #[test]
    fn a_fall_is_told_when_the_last_one_told_is_some_time_ago() {
        let mut pace = Pace::new(64);
        let told: Vec<bool> = [0, 1, 9, 10, 19, 20]
            .into_iter()
            .map(|second| {
                let ticket = pace.start();
                let change = pace.end(ticket, Ended::Throttled, Duration::from_secs(second));
                matches!(change, Change::Fallen { tell: true, .. })
            })
            .collect();
        // The last fall is told: from 2 to 1.
        assert_eq!(told, [true, false, false, true, false, true]);
        let ticket = pace.start();
        assert_eq!(
            pace.end(ticket, Ended::Throttled, Duration::from_secs(99)),
            Change::None,
            "there is no less than one"
        );
    }

    proptest! {
        #[test]
        fn the_limit_stays_in_its_bounds_and_each_request_halves_it_once(
            most in 1u32..50,
            turns in prop::collection::vec((0u8..4, any::<prop::sample::Index>()), 0..400),
        ) {
            let mut pace = Pace::new(most);
            let mut under_way: Vec<(Ticket, u32)> = Vec::new();
            let mut falls = 0;
            for (what, which) in turns {
                if under_way.len() < pace.limit() as usize {
                    let ticket = pace.start();
                    under_way.push((ticket, falls));
                    continue;
                }
                let (ticket, falls_before) = under_way.swap_remove(which.index(under_way.len()));
                let how = [Ended::Well, Ended::Throttled, Ended::TimedOut, Ended::Otherwise][usize::from(what)];
                let before = pace.limit();
                match pace.end(ticket, how, NOW) {
                    Change::None => prop_assert_eq!(pace.limit(), before),
                    Change::Grown => prop_assert_eq!(pace.limit(), before + 1),
                    Change::Fallen { by, .. } => {
                        prop_assert_eq!(pace.limit(), before - by);
                        prop_assert_eq!(pace.limit(), before / 2);
                        prop_assert_eq!(falls, falls_before, "it was sent before the last fall");
                        falls += 1;
                    }
                }
                prop_assert!((1..=most).contains(&pace.limit()));
            }
        }

        #[test]
        fn a_calm_server_gets_the_most_back(most in 1u32..200, falls in 0u32..10) {
            let mut pace = Pace::new(most);
            for _ in 0..falls {
                let ticket = pace.start();
                pace.end(ticket, Ended::Throttled, NOW);
            }
            for _ in 0..most * most {
                let ticket = pace.start();
                pace.end(ticket, Ended::Well, NOW);
            }
            prop_assert_eq!(pace.limit(), most);
        }

        #[test]
        fn no_window_lets_more_through_than_rate_and_burst(
            rate in 1u64..5_000_000,
            burst in 1u64..1_000_000,
            asks in prop::collection::vec((0u64..2_000_000_000, 0u64..1_000_000), 1..60),
        ) {
            let mut bucket = Bucket::new(NonZeroU64::new(rate).unwrap(), burst);
            let mut now = Duration::ZERO;
            let mut left: Vec<(u128, u64)> = Vec::new();
            for (pause, units) in asks {
                now += Duration::from_nanos(pause);
                let units = units.min(burst);
                left.push(((now + bucket.take(now, units)).as_nanos(), units));
            }
            prop_assert!(left.is_sorted_by_key(|(at, _)| *at), "who takes later leaves later");
            for from in 0..left.len() {
                let mut sum = 0u128;
                for (at, units) in &left[from..] {
                    sum += u128::from(*units);
                    let window = at - left[from].0;
                    let allowed = u128::from(rate) * window / 1_000_000_000 + u128::from(burst) + 1;
                    prop_assert!(sum <= allowed, "{sum} in {window} ns, {allowed} allowed");
                }
            }
        }

        #[test]
        fn a_bucket_that_is_always_asked_gives_its_rate(rate in 1u64..1_000_000, units in 1u64..1000) {
            let mut bucket = Bucket::new(NonZeroU64::new(rate).unwrap(), units);
            let waits: Vec<Duration> = (0..100).map(|_| bucket.take(Duration::ZERO, units)).collect();
            prop_assert_eq!(waits[0], Duration::ZERO);
            let ideal = Duration::from_nanos(units * 99 * 1_000_000_000 / rate);
            prop_assert!(waits[99] >= ideal && waits[99] <= ideal + Duration::from_nanos(200), "{:?} {ideal:?}", waits[99]);
        }
    }

    #[test]
    fn what_is_larger_than_the_burst_leaves_all_the_same() {
        let mut bucket = Bucket::new(NonZeroU64::new(10).unwrap(), 5);
        assert_eq!(bucket.take(Duration::ZERO, 25), Duration::from_secs(2));
        assert_eq!(bucket.take(Duration::from_secs(2), 5), Duration::from_millis(500));
        // A long silence fills no more than the burst.
        let late = Duration::from_secs(1000);
        assert_eq!([bucket.take(late, 5), bucket.take(late, 5)], [Duration::ZERO, Duration::from_millis(500)]);
    }
}
