//! One bar a phase on a terminal; whatever else is to be said stands above them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::meter::{Clock, Meter, since_now};
use super::{Problems, note, warning};
use crate::model::event::{Event, Phase, Watch};
use crate::model::text;

pub(super) struct Bars {
    multi: MultiProgress,
    clock: Clock,
    problems: Problems,
    phases: Mutex<Vec<Shown>>,
}

struct Shown {
    meter: Meter,
    bar: ProgressBar,
    /// What the bar's text reads.
    files: Arc<AtomicU64>,
    files_total: Arc<AtomicU64>,
    by: Unit,
}

/// What moves a bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Bytes,
    Files,
}

impl Bars {
    /// `None` where stderr cannot draw: indicatif would then swallow the warnings with the bars.
    pub fn on_stderr() -> Option<Self> {
        let bars = Self::new(ProgressDrawTarget::stderr());
        (!bars.multi.is_hidden()).then_some(bars)
    }

    fn new(target: ProgressDrawTarget) -> Self {
        Self {
            multi: MultiProgress::with_draw_target(target),
            clock: since_now(),
            problems: Problems::default(),
            phases: Mutex::new(Vec::new()),
        }
    }

    fn begin(&self, phase: Phase, files_total: u64, bytes_total: u64) -> Shown {
        let files = Arc::new(AtomicU64::new(0));
        let total_shown = Arc::new(AtomicU64::new(files_total));
        let by = if bytes_total > 0 { Unit::Bytes } else { Unit::Files };
        let total = match by {
            Unit::Bytes => bytes_total,
            Unit::Files => files_total,
        };
        let bar =
            self.multi.add(ProgressBar::new(total).with_style(style(by, Arc::clone(&files), Arc::clone(&total_shown))));
        bar.set_prefix(phase.name());
        // The rate and the time left go on when nothing moves: a stall must show.
        bar.enable_steady_tick(Duration::from_millis(250));
        let meter = Meter::begin(phase, files_total, bytes_total, (self.clock)());
        Shown { meter, bar, files, files_total: total_shown, by }
    }

    fn say(&self, line: &str) {
        let _ = self.multi.println(line);
    }
}

fn style(by: Unit, files: Arc<AtomicU64>, files_total: Arc<AtomicU64>) -> ProgressStyle {
    let template = match by {
        Unit::Bytes => {
            "{prefix:>9} [{bar:24}] {files} files, {binary_bytes}/{binary_total_bytes}, {binary_bytes_per_sec}, {eta} left"
        }
        Unit::Files => "{prefix:>9} [{bar:24}] {files} files, {eta} left",
    };
    // A template that is wrong is found by the tests; a bar that looks plain is no reason to stop.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
        .with_key("files", move |_: &ProgressState, to: &mut dyn std::fmt::Write| {
            let [done, total] = [&files, &files_total].map(|count| text::count(count.load(Ordering::Relaxed)));
            let _ = write!(to, "{done}/{total}");
        })
}

impl Watch for Bars {
    fn tell(&self, event: Event<'_>) {
        let mut phases = self.phases.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Begin { phase, files, bytes } => phases.push(self.begin(phase, files, bytes)),
            Event::More { phase, files, bytes } => {
                let Some(Shown { meter, bar, files_total, by, .. }) =
                    phases.iter_mut().rfind(|bar| bar.meter.phase == phase)
                else {
                    return;
                };
                meter.more(files, bytes);
                files_total.fetch_add(files, Ordering::Relaxed);
                bar.inc_length(match by {
                    Unit::Bytes => bytes,
                    Unit::Files => files,
                });
            }
            Event::Advance { phase, files, bytes } => {
                let Some(Shown { meter, bar, files: done, by, .. }) =
                    phases.iter_mut().rfind(|bar| bar.meter.phase == phase)
                else {
                    return;
                };
                meter.advance(files, bytes);
                done.store(meter.files, Ordering::Relaxed);
                bar.set_position(match by {
                    Unit::Bytes => meter.bytes,
                    Unit::Files => meter.files,
                });
            }
            Event::End { phase } => {
                let Some(at) = phases.iter().rposition(|bar| bar.meter.phase == phase) else { return };
                let Shown { meter, bar, .. } = phases.remove(at);
                bar.finish_and_clear();
                self.multi.remove(&bar);
                self.say(&meter.end((self.clock)()));
            }
            Event::Row(row) => {
                if let Some(line) = self.problems.line(row) {
                    self.say(&line);
                }
            }
            Event::Note(text) => self.say(&note(text)),
            Event::Warning(text) => self.say(&warning(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::model::row::{Outcome, Row};
    use crate::report::samples;

    /// Keeps what is written to it; the cursor's moves are left out.
    #[derive(Debug, Clone, Default)]
    struct Screen(Arc<Mutex<String>>);

    impl indicatif::TermLike for Screen {
        fn width(&self) -> u16 {
            200
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(&format!("{text}\n"))
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn bars_show_progress_and_let_warnings_stand_above_them() {
        let screen = Screen::default();
        let bars = Bars::new(ProgressDrawTarget::term_like(Box::new(screen.clone())));
        bars.tell(Event::Begin { phase: Phase::Looking, files: 2000, bytes: 0 });
        bars.tell(Event::Begin { phase: Phase::Hashing, files: 5, bytes: 0x1000 });
        bars.tell(Event::More { phase: Phase::Hashing, files: 2, bytes: 4096 });
        bars.tell(Event::Advance { phase: Phase::Looking, files: 1500, bytes: 0 });
        bars.tell(Event::Advance { phase: Phase::Hashing, files: 3, bytes: 3072 });
        bars.tell(Event::Advance { phase: Phase::Hashing, files: 0, bytes: -1024 });
        // Bars are drawn so many times a second; these are drawn now.
        bars.phases.lock().unwrap().iter().for_each(|bar| bar.bar.force_draw());
        bars.tell(Event::Warning("\u{1b}[31mclock\nskew"));
        bars.tell(Event::Note("slowed\ndown"));
        let row = Row { key: "k\r\n".into(), message: "why".into(), ..samples::row(1, Outcome::Failed) };
        bars.tell(Event::Row(&row));
        bars.tell(Event::End { phase: Phase::Looking });
        bars.tell(Event::End { phase: Phase::Hashing });
        let text = screen.0.lock().unwrap().clone();
        for part in [
            "looking [==================>     ] 1,500/2,000 files, ",
            "hashing [======>                 ] 3/7 files, 2.00 KiB/8.00 KiB, ",
            "warning: \\u{1b}[31mclock\\nskew",
            "note: slowed\\ndown",
            "failed: nightly.yaml:1: s3://finance/k\\r\\n: why",
            "looking: 1,500 of 2,000 files, in ",
            "hashing: 3 of 7 files, 2.0 KiB of 8.0 KiB, in ",
        ] {
            assert!(text.contains(part), "{part:?} is not in:\n{text}");
        }
        assert!(!text.contains("\u{1b}[31m"));
    }
}
