//! Rollback plans made by hand: what is undone, and what is brought back, is the test's to say.

// Each test binary takes its own part.
#![allow(dead_code, clippy::unwrap_used)]

use std::sync::Arc;

use noclobber::model::entry::{Key, Place, Rule};
use noclobber::model::head::{Carried, Head, Seen};
use noclobber::model::step::{Action, Counts, Earlier, Header, PLAN_FORMAT, Reason, Step};
use noclobber::model::target::Target;
use noclobber::plan::file::{self, Plan, Writer};

fn step(key: &str, action: Action, head: Option<&Head>) -> Step {
    Step {
        n: 0,
        place: Place { file: "report.csv".into(), line: 0 },
        source: String::new(),
        real: None,
        target: "default".into(),
        key: Key::new(key),
        rule: Rule::Always,
        stage: None,
        action,
        reason: Reason::Undo,
        proof: None,
        note: None,
        properties: Arc::default(),
        local: None,
        head: head.map(Seen::of),
        earlier: None,
        guard: None,
    }
}

/// Brings `earlier` back over what is there now. `earlier` tells its tags.
pub fn restore(key: &str, now: Option<&Head>, earlier: &Head, carried: Carried) -> Step {
    Step {
        properties: Arc::new(earlier.properties.clone()),
        earlier: Some(Box::new(Earlier { seen: Seen::of(earlier), carried })),
        ..step(key, Action::Restore, now)
    }
}

pub fn delete(key: &str, now: &Head) -> Step {
    step(key, Action::Delete, Some(now))
}

/// The plan of these steps, and its file.
pub fn plan(target: &Target, mut steps: Vec<Step>) -> (Plan, Vec<u8>) {
    let header = Header {
        noclobber_plan: PLAN_FORMAT,
        tool: "t".into(),
        made_at: "2026-01-01T00:00:00Z".into(),
        base: "/".into(),
        parameters: std::collections::BTreeMap::new(),
        manifests: Vec::new(),
        targets: vec![target.clone()],
        stages: Vec::new(),
        undoes: Some("an-earlier-run".into()),
        refusals: Vec::new(),
        warnings: Vec::new(),
    };
    let (mut counts, mut lines) = (Counts::default(), Vec::new());
    for (n, step) in (1..).zip(&mut steps) {
        step.n = n;
        step.place.line = u32::try_from(n).unwrap() + 1;
        counts.add(step);
        file::line(step, &mut lines);
    }
    let mut writer = Writer::new(Vec::new(), &header).unwrap();
    writer.lines(&lines).unwrap();
    let (bytes, _) = writer.finish(counts).unwrap();
    let read = file::read(&bytes[..], "p").unwrap();
    assert_eq!(read.steps, steps, "a rollback's plan survives its file");
    (read, bytes)
}
