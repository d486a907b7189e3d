//! What editors, shells and `man` want to know.

use clap::CommandFactory as _;

use crate::manifest;
use crate::model::exit::Exit;

use super::args::{Cli, Completions, Man, Schema, SchemaOf};
use super::out::Out;
use super::{Ended, Failure};

pub(super) fn schema(args: &Schema, out: Out) -> Ended {
    match args.of {
        SchemaOf::Manifest => out.result(&manifest::schema())?,
    }
    Ok(Exit::Done)
}

pub(super) fn completions(args: &Completions, out: Out) -> Ended {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "noclobber", &mut script);
    out.result(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

pub(super) fn man(_: &Man, out: Out) -> Ended {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(|error| Failure::new(Exit::CouldNotRun, error))?;
    out.result(&String::from_utf8_lossy(&page))?;
    Ok(Exit::Done)
}
