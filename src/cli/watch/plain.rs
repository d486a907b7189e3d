//! Progress as lines of a log: one every few seconds and at each phase's end.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::meter::{Clock, Meter};
use super::{Problems, note, warning};
use crate::model::event::{Event, Watch};

const EVERY: Duration = Duration::from_secs(5);

/// Whether progress is told beside problems and warnings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Shown,
    Hidden,
}

pub(super) struct Plain<W> {
    progress: Progress,
    clock: Clock,
    problems: Problems,
    inner: Mutex<Inner<W>>,
}

struct Inner<W> {
    to: W,
    meters: Vec<Meter>,
}

impl<W: Write + Send> Plain<W> {
    pub fn new(to: W, progress: Progress, clock: Clock) -> Self {
        let inner = Mutex::new(Inner { to, meters: Vec::new() });
        Self { progress, clock, problems: Problems::default(), inner }
    }
}

impl<W: Write + Send> Watch for Plain<W> {
    fn tell(&self, event: Event<'_>) {
        let now = (self.clock)();
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { to, meters } = &mut *inner;
        let meter = |meters: &mut Vec<Meter>, phase| meters.iter().position(|meter| meter.phase == phase);
        let line = match event {
            // Nothing to do is not worth a line.
            Event::Begin { files: 0, .. } => None,
            Event::Begin { phase, files, bytes } => {
                meters.retain(|meter| meter.phase != phase);
                meters.push(Meter::begin(phase, files, bytes, now));
                None
            }
            Event::More { phase, files, bytes } => {
                if let Some(at) = meter(meters, phase) {
                    meters[at].more(files, bytes);
                }
                None
            }
            Event::Advance { phase, files, bytes } => meter(meters, phase).and_then(|at| {
                let meter = &mut meters[at];
                meter.advance(files, bytes);
                (meter.is_due(now, EVERY) && self.progress == Progress::Shown).then(|| meter.progress(now))
            }),
            Event::End { phase } => meter(meters, phase).and_then(|at| {
                let meter = meters.remove(at);
                (self.progress == Progress::Shown).then(|| meter.end(now))
            }),
            Event::Row(row) => self.problems.line(row),
            Event::Note(text) => (self.progress == Progress::Shown).then(|| note(text)),
            Event::Warning(text) => Some(warning(text)),
        };
        if let Some(line) = line {
            // Whoever closed stderr does not want to know.
            let _ = writeln!(to, "{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::model::event::Phase;
    use crate::model::row::Outcome;
    use crate::report::samples;

    fn told(progress: Progress) -> String {
        let seconds = Arc::new(AtomicU64::new(0));
        let clock = {
            let seconds = Arc::clone(&seconds);
            Box::new(move || Duration::from_secs(seconds.load(Ordering::Relaxed)))
        };
        let mut text = Vec::new();
        let plain = Plain::new(&mut text, progress, clock);
        plain.tell(Event::Begin { phase: Phase::Hashing, files: 4, bytes: 4096 });
        for second in [1, 4, 5, 6, 11] {
            seconds.store(second, Ordering::Relaxed);
            plain.tell(Event::Advance { phase: Phase::Hashing, files: 0, bytes: 512 });
        }
        plain.tell(Event::Warning("clock skew"));
        plain.tell(Event::Note("slowed\rdown"));
        plain.tell(Event::Row(&samples::row(1, Outcome::Created)));
        plain.tell(Event::Row(&samples::row(2, Outcome::Unknown)));
        plain.tell(Event::Advance { phase: Phase::Uploading, files: 1, bytes: 1 });
        plain.tell(Event::End { phase: Phase::Hashing });
        plain.tell(Event::End { phase: Phase::Hashing });
        drop(plain);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_log_has_a_line_every_five_seconds_and_one_at_the_end() {
        assert_eq!(
            told(Progress::Shown),
            "hashing: 0 of 4 files, 1.5 KiB of 4.0 KiB, 307 B/s, 8 s left\n\
             hashing: 0 of 4 files, 2.5 KiB of 4.0 KiB, 233 B/s, 7 s left\n\
             warning: clock skew\n\
             note: slowed\\rdown\n\
             unknown: nightly.yaml:2: s3://finance/reports/2.csv: \n\
             hashing: 0 of 4 files, 2.5 KiB of 4.0 KiB, in 11 s\n"
        );
    }

    #[test]
    fn quiet_keeps_problems_and_warnings() {
        assert_eq!(
            told(Progress::Hidden),
            "warning: clock skew\nunknown: nightly.yaml:2: s3://finance/reports/2.csv: \n"
        );
    }
}
