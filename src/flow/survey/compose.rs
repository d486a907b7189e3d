//! From what was gathered and surveyed to a plan, signed off with its digest.

use std::io;

use crate::manifest::limits::{Planned, exceeded};
use crate::model::step::{Counts, Header, PLAN_FORMAT};
use crate::model::target::Target;
use crate::plan::file::{Plan, Writer};

use super::Survey;
use super::gather::Gathered;

/// Composes the plan and its bytes. `made_at` is the one thing in which two plans of the same world differ.
pub fn compose(
    gathered: Gathered,
    targets: Vec<Target>,
    survey: Survey,
    mut warnings: Vec<String>,
    tool: &str,
    made_at: String,
) -> io::Result<(Plan, Vec<u8>)> {
    let mut refusals = Vec::new();
    for policy in &gathered.policies {
        let mut counts = Counts::default();
        for step in survey.steps.get(policy.entries.clone()).unwrap_or_default() {
            counts.add(step);
        }
        let planned = Planned { creates: counts.create, replaces: counts.replace, bytes: counts.bytes };
        refusals.extend(exceeded(&policy.manifest, &policy.limits, &planned));
    }
    let base = gathered.base.to_str().ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, "the folder of the sources has a name that is not UTF-8")
    })?;
    warnings.splice(0..0, gathered.warnings);
    warnings.extend(survey.warnings);
    let header = Header {
        noclobber_plan: PLAN_FORMAT,
        tool: tool.to_owned(),
        made_at,
        base: base.to_owned(),
        parameters: gathered.parameters,
        manifests: gathered.manifests,
        targets,
        stages: gathered.stages,
        refusals,
        warnings,
    };
    let mut writer = Writer::new(Vec::new(), &header)?;
    for step in &survey.steps {
        writer.step(step)?;
    }
    let (bytes, footer) = writer.finish()?;
    Ok((Plan { header, steps: survey.steps, footer }, bytes))
}
