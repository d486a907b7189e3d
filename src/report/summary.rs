//! A run on one page for programs: what was to be done, what became of it, and where to read on.
//!
//! The fields are public and documented in the README: none goes away or changes its meaning without a new number.

use std::borrow::Cow;

use serde::Serialize;

use super::facts::why;
use super::tally;
use crate::model::exit::Exit;
use crate::model::row::{Outcome, Row, Tally};
use crate::model::step::{Counts, Footer, Header, ManifestRef, digest_text};
use crate::model::target::Target;

/// The summary's format number, its first field.
pub const FORMAT: u32 = 1;
/// How every summary begins.
pub const MARK: &str = "{\n  \"noclobber_summary\": ";
/// So many problems are told; the report has them all.
pub const PROBLEMS_MAX: usize = 100;

/// What is known of a run when it ends. Whatever it did not come to is `None` or empty.
#[derive(Debug, Clone, Copy)]
pub struct Ran<'a> {
    /// Name and version of this program.
    pub tool: &'a str,
    pub plan: Option<(&'a Header, &'a Footer)>,
    /// The finished report: where it is, and its rows.
    pub report: Option<(&'a str, &'a [Row])>,
    /// What was done, where no report could be finished.
    pub done: Option<Tally>,
    /// The stage of each step, in the plan's order.
    pub stages: &'a [Option<&'a str>],
    pub started_at: Option<&'a str>,
    pub finished_at: &'a str,
    pub took_ms: Option<u64>,
    pub exit: Exit,
    pub why: Option<&'a str>,
}

#[derive(Serialize)]
struct Document<'a> {
    noclobber_summary: u32,
    tool: &'a str,
    run_id: Option<&'a str>,
    plan_digest: Option<String>,
    manifests: &'a [ManifestRef],
    targets: Vec<Place<'a>>,
    started_at: Option<&'a str>,
    finished_at: &'a str,
    seconds: Option<f64>,
    exit: u8,
    why: Option<&'a str>,
    planned: Option<Counts>,
    tally: Option<Tally>,
    bytes: u64,
    stages: Vec<Stage<'a>>,
    problems: Vec<Problem<'a>>,
    problems_left_out: u64,
    report: Option<&'a str>,
}

/// Where a target is; how it is reached concerns nobody who reads this.
#[derive(Serialize)]
struct Place<'a> {
    name: &'a str,
    endpoint: &'a str,
    region: &'a str,
    bucket: &'a str,
    owner: Option<&'a str>,
}

#[derive(Serialize)]
struct Stage<'a> {
    name: &'a str,
    rows: u64,
    /// How many of them ended well.
    done: u64,
}

#[derive(Serialize)]
struct Problem<'a> {
    entry: u64,
    place: &'a str,
    bucket: &'a str,
    key: &'a str,
    outcome: Outcome,
    message: Cow<'a, str>,
}

/// Renders a summary.
pub fn render(ran: &Ran<'_>) -> Result<String, serde_json::Error> {
    let Ran { tool, plan, report, done, stages: of_steps, started_at, finished_at, took_ms, exit, why } = *ran;
    let rows = report.map_or(&[][..], |(_, rows)| rows);
    let of_report = report.map(|(_, rows)| tally(rows)).or(done);
    let all = rows.iter().filter(|row| !row.outcome.is_success());
    let problems: Vec<_> = all.clone().take(PROBLEMS_MAX).map(problem).collect();
    let summary = Document {
        noclobber_summary: FORMAT,
        tool,
        run_id: rows.first().map(|row| row.run_id.as_str()),
        plan_digest: plan.map(|(_, footer)| digest_text(&footer.digest)),
        manifests: plan.map_or(&[][..], |(header, _)| &header.manifests),
        targets: plan.map(|(header, _)| header.targets.iter().map(place).collect()).unwrap_or_default(),
        started_at,
        finished_at,
        seconds: took_ms.map(|ms| ms as f64 / 1000.0),
        exit: exit.code(),
        why,
        planned: plan.map(|(_, footer)| footer.counts),
        tally: of_report,
        bytes: of_report.map_or(0, |tally| tally.bytes),
        stages: plan.map(|(header, _)| stages(&header.stages, of_steps, rows)).unwrap_or_default(),
        problems_left_out: (all.count() - problems.len()) as u64,
        problems,
        report: report.map(|(path, _)| path),
    };
    let mut text = serde_json::to_string_pretty(&summary)?;
    text.push('\n');
    Ok(text)
}

fn place(target: &Target) -> Place<'_> {
    let Target { name, endpoint, region, bucket, owner, .. } = target;
    Place { name, endpoint, region, bucket, owner: owner.as_deref() }
}

fn problem(row: &Row) -> Problem<'_> {
    let Row { entry, place, bucket, key, outcome, .. } = row;
    Problem { entry: *entry, place, bucket, key, outcome: *outcome, message: why(row) }
}

/// A step without a stage belongs to the first.
fn stages<'a>(names: &'a [String], of_steps: &[Option<&str>], rows: &[Row]) -> Vec<Stage<'a>> {
    let mut stages: Vec<_> = names.iter().map(|name| Stage { name, rows: 0, done: 0 }).collect();
    for (stage, row) in of_steps.iter().zip(rows) {
        let at = stage.map_or(Some(0), |stage| names.iter().position(|name| name == stage));
        if let Some(stage) = at.and_then(|at| stages.get_mut(at)) {
            stage.rows += 1;
            stage.done += u64::from(row.outcome.is_success());
        }
    }
    stages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::digest::Sha256;
    use crate::model::step::PLAN_FORMAT;
    use crate::model::target::{Addressing, ConditionalWrites};
    use crate::report::samples;

    fn plan() -> (Header, Footer) {
        let target = Target {
            name: "default".into(),
            bucket: "finance".into(),
            endpoint: "https://s3.eu-west-1.amazonaws.com".into(),
            region: "eu-west-1".into(),
            addressing: Addressing::Virtual,
            owner: Some("111122223333".into()),
            profile: Some("nobody's business".into()),
            role_arn: None,
            request_payer: false,
            trust_metadata: true,
            conditional_writes: ConditionalWrites::Required,
        };
        let manifest =
            ManifestRef { path: "nightly.yaml".into(), sha256: Sha256([9; 32]), name: Some("nightly".into()) };
        let header = Header {
            noclobber_plan: PLAN_FORMAT,
            tool: "noclobber 0.0.0".into(),
            made_at: "2026-01-02T03:04:05Z".into(),
            base: "/data".into(),
            parameters: [].into(),
            manifests: vec![manifest],
            targets: vec![target],
            stages: vec!["data".into(), "index".into()],
            undoes: None,
            refusals: Vec::new(),
            warnings: Vec::new(),
        };
        let counts = Counts { create: 2, replace: 1, bytes: 4608, ..Counts::default() };
        (header, Footer { counts, digest: Sha256([0xab; 32]) })
    }

    fn ran(plan: &(Header, Footer)) -> Ran<'_> {
        Ran {
            tool: "noclobber 0.1.0",
            plan: Some((&plan.0, &plan.1)),
            done: None,
            report: None,
            stages: &[],
            started_at: Some("2026-07-01T02:00:00.000Z"),
            finished_at: "2026-07-01T02:00:04.750Z",
            took_ms: Some(4_750),
            exit: Exit::Incomplete,
            why: Some("incomplete: 1 of 3 entries not done; the report says why"),
        }
    }

    #[test]
    fn the_whole_summary_of_a_run() {
        let plan = plan();
        let lost = Row { message: "somebody else wrote first".into(), ..samples::row(2, Outcome::Lost) };
        let rows = [samples::row(1, Outcome::Created), lost, samples::row(3, Outcome::NotAttempted)];
        let stages = [None, Some("data"), Some("index")];
        let report = Some(("runs/report.csv", &rows[..]));
        let text = render(&Ran { report, stages: &stages, ..ran(&plan) }).unwrap();
        assert!(text.starts_with(MARK));
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_run_that_came_to_nothing_has_every_field_all_the_same() {
        let plan = plan();
        let fields = |ran: &Ran<'_>| {
            let text = render(ran).unwrap();
            serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).unwrap()
        };
        let whole = fields(&Ran { report: Some(("r.csv", &[samples::row(1, Outcome::Created)])), ..ran(&plan) });
        let nothing = fields(&Ran { plan: None, started_at: None, took_ms: None, why: None, ..ran(&plan) });
        assert_eq!(whole.keys().collect::<Vec<_>>(), nothing.keys().collect::<Vec<_>>());
        for field in ["run_id", "plan_digest", "planned", "tally", "report", "started_at", "seconds", "why"] {
            assert!(nothing[field].is_null(), "{field}");
        }
        assert!(!whole["run_id"].is_null());
    }

    #[test]
    fn of_many_problems_the_first_are_told_and_the_rest_counted() {
        let plan = plan();
        let rows: Vec<_> = (1..=250).map(|n| samples::row(n, Outcome::Failed)).collect();
        let text = render(&Ran { report: Some(("r.csv", &rows)), ..ran(&plan) }).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((json["problems"].as_array().unwrap().len(), &json["problems_left_out"]), (100, &150.into()));
        assert_eq!(json["problems"][99]["entry"], 100);
    }
}
