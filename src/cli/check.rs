//! `check`: every flaw of the manifests, with file and line. Asks no bucket.

use std::fmt::Write as _;

use serde_json::json;

use crate::flow::survey::gather::{Gathered, Request, gather};
use crate::model::entry::Flaw;
use crate::model::exit::Exit;
use crate::model::text::count;

use super::args::{Check, Inputs};
use super::out::Out;
use super::{Ended, Failure};

/// What the command line says of manifests, with today's date and the environment filled in.
pub(super) fn request(inputs: Inputs) -> Request {
    let Inputs { manifests, base, date, vars } = inputs;
    Request {
        manifests,
        base,
        date: date.unwrap_or_else(|| jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date()),
        vars: vars.into_iter().collect(),
        // A variable that is not UTF-8 cannot be part of a key: a template that names it is told that it is not there.
        env: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
    }
}

/// All flaws, a line each.
pub(super) fn flawed(flaws: &[Flaw]) -> Failure {
    let mut text =
        if flaws.len() == 1 { String::from("1 flaw:") } else { format!("{} flaws:", count(flaws.len() as u64)) };
    for flaw in flaws {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n  {flaw}");
    }
    Failure::new(Exit::BadInput, text)
}

pub(super) fn check(args: Check, out: Out) -> Ended {
    let Gathered { entries, targets, warnings, .. } = gather(&request(args.inputs)).map_err(|flaws| flawed(&flaws))?;
    for warning in &warnings {
        out.warning(warning);
    }
    // Flaws of single entries would become `error` steps of a plan.
    let flaws: Vec<Flaw> = entries
        .iter()
        .filter_map(|entry| Some(Flaw { place: entry.place.clone(), message: entry.flaw.clone()? }))
        .collect();
    if !flaws.is_empty() {
        return Err(flawed(&flaws));
    }
    if out.json {
        out.event(
            &json!({ "event": "check", "entries": entries.len(), "targets": targets.len(), "warnings": warnings }),
        )?;
    } else {
        let (entries, targets) = (count(entries.len() as u64), count(targets.len() as u64));
        out.result(&format!("Sound: {entries} entries for {targets} target(s)"))?;
    }
    Ok(Exit::Done)
}
