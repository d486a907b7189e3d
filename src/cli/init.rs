//! `init`: a commented manifest to start from.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};

use crate::manifest;
use crate::model::exit::Exit;

use super::args::Init;
use super::out::Out;
use super::{Ended, Failure};

pub(super) fn init(args: &Init, out: Out) -> Ended {
    let name = args.file.display();
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&args.file)
        .and_then(|mut file| file.write_all(manifest::EXAMPLE.as_bytes()));
    match written {
        Ok(()) => {
            if out.json {
                out.event(&serde_json::json!({ "event": "init", "file": args.file }))?;
            } else {
                out.result(&format!("{name}: written. Edit it, then: noclobber check {name}"))?;
            }
            Ok(Exit::Done)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(Failure::new(Exit::Usage, format!("{name} is there already and is left alone; name another file")))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(Failure::new(Exit::Usage, format!("{name}: its folder does not exist; make it first")))
        }
        Err(error) => Err(Failure::new(Exit::CouldNotRun, format!("{name}: {error}"))),
    }
}
