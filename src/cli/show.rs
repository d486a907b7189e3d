//! `show`: a plan for its reviewer.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek as _};
use std::path::Path;

use serde_json::json;

use crate::model::exit::Exit;
use crate::model::step::digest_text;
use crate::plan::file::{self, Plan};
use crate::plan::text::{Detail, render};

use super::args::{Show, ShowFormat};
use super::out::Out;
use super::{Ended, Failure};

/// Groups of harmless steps longer than this are folded.
const FOLD_FROM: usize = 50;

/// How every zstd frame begins (RFC 8878).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

pub(super) fn detail(all: bool) -> Detail {
    if all { Detail::All } else { Detail::Fold(FOLD_FROM) }
}

/// Whether a plan or report of this name is compressed.
pub(super) fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "zst")
}

/// Reads a plan file into memory: a private copy, that nobody can change between the check and the work. `expect`
/// refuses any other plan.
pub(super) fn read(path: &Path, expect: Option<&str>) -> Result<Plan, Failure> {
    let name = path.display().to_string();
    let could_not = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => {
            let text = format!("{name}: does not exist; make a plan with `noclobber plan MANIFEST -o FILE`");
            Failure::new(Exit::BadInput, text)
        }
        _ => Failure::new(Exit::CouldNotRun, format!("{name}: {error}")),
    };
    let mut file = File::open(path).map_err(could_not)?;
    let mut magic = [0; 4];
    if is_compressed(path) && !file.read_exact(&mut magic).is_ok_and(|()| magic == ZSTD_MAGIC) {
        let text = format!("{name}: its name ends in .zst, but it is not compressed with zstd: give it its right name");
        return Err(Failure::new(Exit::BadInput, text));
    }
    file.rewind().map_err(could_not)?;
    let reader: Box<dyn Read> =
        if is_compressed(path) { Box::new(zstd::Decoder::new(file).map_err(could_not)?) } else { Box::new(file) };
    let plan = file::read(BufReader::with_capacity(1 << 20, reader), &name)
        .map_err(|error| Failure::new(Exit::BadInput, error))?;
    let digest = digest_text(&plan.footer.digest);
    match expect {
        // With or without its prefix, as people copy it.
        Some(expected)
            if !digest.eq_ignore_ascii_case(expected.trim())
                && !digest.trim_start_matches("sha256:").eq_ignore_ascii_case(expected.trim()) =>
        {
            Err(Failure::new(
                Exit::Refused,
                format!("{name}: its digest is {digest}, not {expected}: this is not the plan that was approved"),
            ))
        }
        Some(_) | None => Ok(plan),
    }
}

pub(super) fn show(args: &Show, out: Out) -> Ended {
    let plan = read(&args.plan, args.expect.as_deref())?;
    if args.format == ShowFormat::Json || out.json {
        let Plan { header, steps, footer } = &plan;
        let document = json!({
            "header": header,
            "steps": steps,
            "counts": footer.counts,
            "digest": digest_text(&footer.digest),
        });
        out.event(&document)?;
    } else {
        out.result(&render(&plan, detail(args.all), &out.paint()))?;
    }
    Ok(Exit::Done)
}
