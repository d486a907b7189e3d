//! `check`: every flaw of the manifests, with file and line. Asks no bucket.

use std::fmt::Write as _;

use serde_json::json;

use crate::flow::survey::gather::{Gathered, Request, gather};
use crate::manifest::claims::claims;
use crate::model::entry::Flaw;
use crate::model::exit::Exit;
use crate::model::target::{Addressing, Target, TargetSpec};
use crate::model::text::{count, escape};

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

/// A target as far as its manifest tells where it is. Two that are written alike are one; what the AWS configuration
/// makes of others is seen by `plan`.
fn as_written(spec: &TargetSpec) -> Target {
    let TargetSpec { name, bucket, region, profile, endpoint, .. } = spec;
    Target {
        name: name.clone(),
        bucket: bucket.clone(),
        endpoint: format!("{endpoint:?} {region:?} {profile:?}"),
        region: String::new(),
        addressing: Addressing::Path,
        owner: None,
        profile: None,
        role_arn: None,
        request_payer: false,
        trust_metadata: spec.trust_metadata,
        conditional_writes: spec.conditional_writes,
    }
}

pub(super) fn check(args: Check, out: Out) -> Ended {
    let Gathered { entries, targets, refusals, warnings, .. } =
        gather(&request(args.inputs)).map_err(|flaws| flawed(&flaws))?;
    let written: Vec<Target> = targets.iter().map(as_written).collect();
    let (alike, collisions) = match claims(&entries, &written) {
        Ok(alike) => (alike, Vec::new()),
        Err(collisions) => (Vec::new(), collisions),
    };
    let warnings: Vec<String> = warnings.into_iter().chain(alike).collect();
    for warning in &warnings {
        out.warning(&escape(warning));
    }
    // Flaws of single entries would become `error` steps of a plan.
    let of_entries = entries
        .iter()
        .filter_map(|entry| Some(Flaw { place: entry.place.clone(), message: entry.flaw.as_deref()?.to_owned() }));
    let mut flaws: Vec<Flaw> = of_entries.chain(collisions).collect();
    flaws.sort();
    if !flaws.is_empty() {
        return Err(flawed(&flaws));
    }
    if !refusals.is_empty() {
        let refusals: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        return Err(Failure::new(Exit::Refused, refusals.join("\n")));
    }
    if out.json {
        out.event(
            &json!({ "event": "check", "entries": entries.len(), "targets": targets.len(), "warnings": warnings }),
        )?;
    } else {
        let of = |n: usize, one, many| format!("{} {}", count(n as u64), if n == 1 { one } else { many });
        let (entries, targets) = (of(entries.len(), "entry", "entries"), of(targets.len(), "target", "targets"));
        out.result(&format!("Sound: {entries} for {targets}"))?;
    }
    Ok(Exit::Done)
}
