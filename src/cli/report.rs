//! `report`: a report, rendered for a ticket.

use std::fs::File;
use std::io::ErrorKind;

use crate::model::exit::Exit;
use crate::report::csv::{self, Tail};
use crate::report::{json, markdown};

use super::args::{Report, ReportFormat};
use super::check::flawed;
use super::out::Out;
use super::{Ended, Failure};

pub(super) fn report(args: &Report, out: Out) -> Ended {
    let name = args.report.display().to_string();
    let file = File::open(&args.report).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::new(Exit::BadInput, format!("{name}: does not exist")),
        _ => Failure::new(Exit::CouldNotRun, format!("{name}: {error}")),
    })?;
    // A report that is still being written may end in the middle of a row.
    let tail = if args.report.extension().is_some_and(|extension| extension == "partial") {
        Tail::MayBeTorn
    } else {
        Tail::Whole
    };
    let rows = csv::read(&name, std::io::BufReader::new(file), tail).map_err(|flaws| flawed(&flaws))?;
    let page = match args.format {
        ReportFormat::Markdown if !out.json => markdown::render(&rows),
        ReportFormat::Json | ReportFormat::Markdown => {
            json::render(&rows).map_err(|error| Failure::new(Exit::CouldNotRun, error))?
        }
    };
    out.result(&page)?;
    Ok(Exit::Done)
}
