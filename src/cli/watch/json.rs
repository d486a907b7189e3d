//! Events for programs: one JSON object a line. Progress comes at most once a second a phase, with running totals.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::meter::{Clock, Meter};
use crate::model::event::{Event, Watch};
use crate::model::row::Row;

const EVERY: Duration = Duration::from_secs(1);

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Line<'a> {
    /// Totals of what is to come.
    Begin {
        phase: &'static str,
        files: u64,
        bytes: u64,
    },
    /// Done so far.
    Progress {
        phase: &'static str,
        files: u64,
        bytes: u64,
    },
    /// Done in all.
    End {
        phase: &'static str,
        files: u64,
        bytes: u64,
    },
    Row {
        row: &'a Row,
    },
    Note {
        message: &'a str,
    },
    Warning {
        message: &'a str,
    },
}

pub(super) struct Json<W> {
    clock: Clock,
    inner: Mutex<Inner<W>>,
}

struct Inner<W> {
    to: W,
    meters: Vec<Meter>,
}

impl<W: Write + Send> Json<W> {
    pub fn new(to: W, clock: Clock) -> Self {
        Self { clock, inner: Mutex::new(Inner { to, meters: Vec::new() }) }
    }
}

impl<W: Write + Send> Watch for Json<W> {
    fn tell(&self, event: Event<'_>) {
        let now = (self.clock)();
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { to, meters } = &mut *inner;
        let line = match event {
            Event::Begin { phase, files, bytes } => {
                meters.retain(|meter| meter.phase != phase);
                meters.push(Meter::begin(phase, files, bytes, now));
                Line::Begin { phase: phase.name(), files, bytes }
            }
            Event::More { phase, files, bytes } => {
                let Some(meter) = meters.iter_mut().find(|meter| meter.phase == phase) else { return };
                meter.more(files, bytes);
                return;
            }
            Event::Advance { phase, files, bytes } => {
                let Some(meter) = meters.iter_mut().find(|meter| meter.phase == phase) else { return };
                meter.advance(files, bytes);
                if !meter.is_due(now, EVERY) {
                    return;
                }
                Line::Progress { phase: phase.name(), files: meter.files, bytes: meter.bytes }
            }
            Event::End { phase } => {
                let Some(at) = meters.iter().position(|meter| meter.phase == phase) else { return };
                let meter = meters.remove(at);
                Line::End { phase: phase.name(), files: meter.files, bytes: meter.bytes }
            }
            Event::Row(row) => Line::Row { row },
            Event::Note(message) => Line::Note { message },
            Event::Warning(message) => Line::Warning { message },
        };
        let Ok(mut text) = serde_json::to_vec(&line) else { return };
        text.push(b'\n');
        // A reader that went away must not stop a run that is writing to a bucket.
        let _ = to.write_all(&text).and_then(|()| to.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::Phase;
    use crate::model::row::Outcome;
    use crate::report::samples;

    #[test]
    fn every_event_is_one_json_line_and_progress_is_rationed() {
        let mut text = Vec::new();
        let ticks = Mutex::new([0, 100, 900, 1000, 1500, 1600, 1700].map(Duration::from_millis).into_iter());
        let clock = Box::new(move || ticks.lock().unwrap().next().unwrap_or_default());
        let json = Json::new(&mut text, clock);
        json.tell(Event::Begin { phase: Phase::Uploading, files: 2, bytes: 10 });
        for _ in 0..4 {
            json.tell(Event::Advance { phase: Phase::Uploading, files: 0, bytes: 2 });
        }
        json.tell(Event::Warning("a\nb\u{202e}"));
        json.tell(Event::End { phase: Phase::Uploading });
        json.tell(Event::Row(&samples::row(1, Outcome::Lost)));
        json.tell(Event::Note("slowed down"));
        drop(json);
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[..4],
            [
                r#"{"event":"begin","phase":"uploading","files":2,"bytes":10}"#,
                r#"{"event":"progress","phase":"uploading","files":0,"bytes":6}"#,
                "{\"event\":\"warning\",\"message\":\"a\\nb\u{202e}\"}",
                r#"{"event":"end","phase":"uploading","files":0,"bytes":8}"#,
            ]
        );
        let row: serde_json::Value = serde_json::from_str(lines[4]).unwrap();
        assert_eq!((&row["event"], &row["row"]["outcome"]), (&"row".into(), &"lost".into()));
        assert_eq!(lines[5..], [r#"{"event":"note","message":"slowed down"}"#]);
    }
}
