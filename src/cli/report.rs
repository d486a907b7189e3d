//! `report`: a report, rendered for a ticket, a browser, a program or a spreadsheet.

use std::fs::File;
use std::io::{BufReader, ErrorKind};
use std::path::Path;

use crate::model::entry::{Flaw, Place};
use crate::model::exit::Exit;
use crate::model::row::Row;
use crate::model::text::count;
use crate::report::{Level, Report, State, csv, html, json, markdown, spreadsheet};

use super::args::{self, ReportFormat, ReportLevel};
use super::check::flawed;
use super::out::Out;
use super::plan::umask;
use super::{Ended, Failure, place};

pub(super) fn report(args: &args::Report, out: Out) -> Ended {
    let format = match args.format {
        // As a program asks for it.
        ReportFormat::Markdown if out.json => ReportFormat::Json,
        format => format,
    };
    if args.spreadsheet_safe && format != ReportFormat::Csv {
        return Err(Failure::new(Exit::Usage, "--spreadsheet-safe is for --format csv"));
    }
    let level = match args.level {
        ReportLevel::All => Level::All,
        ReportLevel::Problems => Level::Problems,
    };
    if let Some(path) = &args.output {
        may_write(path, &args.file)?;
    }
    let report = read(&args.file)?;
    tell_later_attempt(&args.file, out);
    match &args.output {
        None => {
            let mut to = out.stream();
            render(&report, format, level, args.spreadsheet_safe, &mut |part| to.say(part))?;
            to.end()?;
        }
        Some(path) => {
            let mut text = String::new();
            render(&report, format, level, args.spreadsheet_safe, &mut |part| {
                text.push_str(part);
                Ok(())
            })?;
            let mode = 0o666 & !umask();
            place::put(path, &text, mode)
                .map_err(|error| Failure::new(Exit::CouldNotRun, format!("{}: {error}", path.display())))?;
        }
    }
    // The other formats say these things themselves.
    if format == ReportFormat::Csv {
        if report.state == State::Unfinished {
            out.note("The run is not finished: entries may have no row yet.");
        }
        let left_out = report.left_out(level);
        if left_out > 0 {
            let (left_out, all) = (count(left_out), count(report.rows.len() as u64));
            out.note(&format!("Left out: {left_out} of {all} rows, which ended as planned."));
        }
    }
    Ok(Exit::Done)
}

pub(super) fn read(path: &Path) -> Result<Report, Failure> {
    let name = path.display().to_string();
    let file = open(path)?;
    // A report that is still being written may end in the middle of a row.
    let is_partial = path.extension().is_some_and(|extension| extension == "partial");
    let state = if is_partial { State::Unfinished } else { State::Finished };
    Report::read(&name, BufReader::new(file), state).map_err(|flaws| flawed(&flaws))
}

/// Opens a report. One that is not there is told as every other flaw of a report is.
pub(super) fn open(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => flawed(&[absent(&path.display().to_string())]),
        _ => Failure::new(Exit::CouldNotRun, format!("{}: {error}", path.display())),
    })
}

/// That a report is not there.
pub(super) fn absent(name: &str) -> Flaw {
    Flaw { place: Place { file: name.into(), line: 0 }, message: "does not exist".to_owned() }
}

fn render(
    report: &Report,
    format: ReportFormat,
    level: Level,
    is_spreadsheet_safe: bool,
    say: &mut dyn FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let unsaid = |error: serde_json::Error| Failure::new(Exit::CouldNotRun, error);
    match format {
        ReportFormat::Markdown => say(&markdown::render(report, level)),
        ReportFormat::Html => say(&html::render(report, level).map_err(unsaid)?),
        ReportFormat::Json => say(&json::render(report, level).map_err(unsaid)?),
        ReportFormat::Csv => {
            let (header, line): (String, fn(&Row) -> String) = if is_spreadsheet_safe {
                (spreadsheet::header(), spreadsheet::line)
            } else {
                (csv::header(), csv::line)
            };
            say(&header)?;
            report.told(level).try_for_each(|row| say(&line(row)))
        }
    }
}

/// Whether a rendering may be written there. A report is evidence: none is ever replaced, this one least of all.
fn may_write(path: &Path, report: &Path) -> Result<(), Failure> {
    let real = |path: &Path| path.canonicalize().ok();
    if real(path).is_some_and(|path| Some(path) == real(report)) {
        return Err(Failure::new(Exit::Usage, format!("{} is the report itself: it is left alone", path.display())));
    }
    place::may_replace(path, "page that `noclobber report` wrote", |start| {
        let start = String::from_utf8_lossy(start);
        start.starts_with(markdown::MARK)
            || start.starts_with(json::MARK)
            || start.starts_with(&spreadsheet::header())
            || start.contains(&format!("<title>{}", html::TITLE))
    })
}

/// A finished report beside which another attempt has begun: what that did is not in it yet.
fn tell_later_attempt(path: &Path, out: Out) {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    if partial.exists() {
        let partial = partial.display();
        out.warning(&format!(
            "a later attempt at this plan is under way, or did not finish: its rows are in {partial} and not here. The same \
             apply again puts them together"
        ));
    }
}
