//! `--diff`: what changed since the plan that was approved.

use std::path::Path;

use serde_json::json;

use crate::model::exit::Exit;
use crate::model::step::Footer;
use crate::plan::changes::{Before, Changed};
use crate::plan::review::Reviewed;

use super::Failure;
use super::out::Out;
use super::show::{Opened, Source, walk};

/// The plan that was approved, read and found whole. Of its steps only fingerprints are held; the file stays open.
pub(super) struct Approved {
    opened: Opened,
    before: Before,
    footer: Footer,
}

impl Approved {
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let mut opened = Opened::new(path)?;
        let mut reader = opened.begin()?;
        let mut before = Before::new(reader.header().clone());
        let footer = walk(&mut reader, &mut |step| {
            before.add(step);
            Ok(())
        })?;
        drop(reader);
        Ok(Self { opened, before, footer })
    }

    /// What changed since.
    pub fn against(self, now: &Reviewed, steps: &mut Source) -> Result<Changed, Failure> {
        let Self { mut opened, before, footer } = self;
        let mut changes = before.against(now.header.clone());
        steps.again(&now.footer, &mut |step| {
            changes.add(step);
            Ok(())
        })?;
        opened.again(&footer, &mut |step| {
            changes.recall(step);
            Ok(())
        })?;
        Ok(changes.finish(&footer, &now.footer))
    }
}

/// Tells what changed, as text or as an event.
pub(super) fn tell(changed: &Changed, out: Out) -> Result<(), Failure> {
    if !out.json {
        return out.result(&changed.text(&out.paint()));
    }
    let unsaid = |error: serde_json::Error| Failure::new(Exit::CouldNotRun, error);
    let mut event = serde_json::to_value(changed).map_err(unsaid)?;
    if let Some(event) = event.as_object_mut() {
        event.insert("event".to_owned(), json!("changes"));
    }
    out.event(&event)
}
