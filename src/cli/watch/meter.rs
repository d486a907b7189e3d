//! Counts what events say, for those who show it as text. The clock is given to it.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::model::event::Phase;
use crate::model::text;

/// Time since some fixed moment.
pub(super) type Clock = Box<dyn Fn() -> Duration + Send + Sync>;

/// A clock that starts now.
pub(super) fn since_now() -> Clock {
    let start = Instant::now();
    Box::new(move || start.elapsed())
}

/// One phase under way.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    pub phase: Phase,
    pub files: u64,
    pub bytes: u64,
    files_total: u64,
    bytes_total: u64,
    began: Duration,
    told: Duration,
}

impl Meter {
    pub fn begin(phase: Phase, files_total: u64, bytes_total: u64, now: Duration) -> Self {
        Self { phase, files: 0, bytes: 0, files_total, bytes_total, began: now, told: now }
    }

    pub fn more(&mut self, files: u64, bytes: u64) {
        self.files_total += files;
        self.bytes_total += bytes;
    }

    pub fn advance(&mut self, files: u64, bytes: i64) {
        self.files += files;
        self.bytes = self.bytes.saturating_add_signed(bytes);
    }

    /// Whether `every` has passed since this last said yes.
    pub fn is_due(&mut self, now: Duration, every: Duration) -> bool {
        let due = now.saturating_sub(self.told) >= every;
        if due {
            self.told = now;
        }
        due
    }

    /// `uploading: 120 of 1,204 files, 1.2 GiB of 4.2 GiB, 85.0 MiB/s, 36 s left`
    pub fn progress(&self, now: Duration) -> String {
        let seconds = now.saturating_sub(self.began).as_secs_f64();
        let (done, total) =
            if self.bytes_total > 0 { (self.bytes, self.bytes_total) } else { (self.files, self.files_total) };
        let mut line = self.counts();
        if self.bytes_total > 0 && seconds > 0.0 {
            let _ = write!(line, ", {}/s", text::bytes(whole(self.bytes as f64 / seconds)));
        }
        if done > 0 && done < total {
            let left = seconds * (total - done) as f64 / done as f64;
            let _ = write!(line, ", {} left", span(whole(left)));
        }
        line
    }

    /// `uploading: 1,204 of 1,204 files, 4.2 GiB of 4.2 GiB, in 50 s`
    pub fn end(&self, now: Duration) -> String {
        format!("{}, in {}", self.counts(), span(now.saturating_sub(self.began).as_secs()))
    }

    fn counts(&self) -> String {
        let Self { phase, files, bytes, files_total, bytes_total, began: _, told: _ } = self;
        let mut line = format!("{}: {} of {} files", phase.name(), text::count(*files), text::count(*files_total));
        if *bytes_total > 0 {
            let _ = write!(line, ", {} of {}", text::bytes(*bytes), text::bytes(*bytes_total));
        }
        line
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Saturates, which is what an estimate needs.
fn whole(number: f64) -> u64 {
    number.round() as u64
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_tells_rate_and_what_is_left() {
        let at = Duration::from_secs;
        let mut meter = Meter::begin(Phase::Uploading, 1204, 4 << 30, at(100));
        assert_eq!(meter.progress(at(100)), "uploading: 0 of 1,204 files, 0 B of 4.0 GiB");
        meter.advance(120, 1 << 30);
        assert_eq!(
            meter.progress(at(110)),
            "uploading: 120 of 1,204 files, 1.0 GiB of 4.0 GiB, 102.4 MiB/s, 30 s left"
        );
        // An attempt that is repeated takes its bytes back, and never more than there were.
        meter.advance(0, -(1 << 29));
        assert_eq!(meter.bytes, 1 << 29);
        meter.advance(0, i64::MIN);
        assert_eq!(meter.end(at(250)), "uploading: 120 of 1,204 files, 0 B of 4.0 GiB, in 2 min 30 s");
    }

    #[test]
    fn a_phase_without_bytes_counts_files() {
        let mut meter = Meter::begin(Phase::Looking, 40, 0, Duration::ZERO);
        meter.advance(10, 0);
        assert_eq!(meter.progress(Duration::from_hours(1)), "looking: 10 of 40 files, 3 h 0 min left");
        meter.advance(30, 0);
        assert_eq!(meter.progress(Duration::from_hours(1)), "looking: 40 of 40 files");
        assert_eq!(meter.end(Duration::from_hours(2)), "looking: 40 of 40 files, in 2 h 0 min");
    }
}
