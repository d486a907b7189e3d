//! `show`: a plan for its reviewer.
//!
//! Nothing is printed before the plan was read to its footer and its digest found right. Most formats then print what that
//! one pass gathered. CSV, JSON and `--all` have every step: they go through the same open file again, and each pass
//! checks it all anew. A file that somebody changes meanwhile ends the command with 65, after what was right until then.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek as _};
use std::path::Path;

use crate::model::exit::Exit;
use crate::model::step::{Footer, Step, digest_text};
use crate::plan::file::{self, Plan, Reader};
use crate::plan::review::{Detail, Review, Reviewed};
use crate::plan::{csv, html, json, markdown, text};

use super::args::{Show, ShowFormat};
use super::out::Out;
use super::{Ended, Failure, diff};

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

type Lines<'a> = BufReader<Box<dyn Read + 'a>>;

/// A plan file that is open: the same file each time, whatever its name leads to by then.
pub(super) struct Opened {
    name: String,
    file: File,
    is_compressed: bool,
}

impl Opened {
    pub fn new(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let mut file = File::open(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                let text = format!("{name}: does not exist; make a plan with `noclobber plan MANIFEST -o FILE`");
                Failure::new(Exit::BadInput, text)
            }
            _ => could_not(&name, &error),
        })?;
        let is_compressed = is_compressed(path);
        let mut magic = [0; 4];
        if is_compressed && !file.read_exact(&mut magic).is_ok_and(|()| magic == ZSTD_MAGIC) {
            let text =
                format!("{name}: its name ends in .zst, but it is not compressed with zstd: give it its right name");
            return Err(Failure::new(Exit::BadInput, text));
        }
        Ok(Self { name, file, is_compressed })
    }

    fn lines(&mut self) -> Result<Lines<'_>, Failure> {
        let failed = |error: std::io::Error| could_not(&self.name, &error);
        self.file.rewind().map_err(failed)?;
        let file = &self.file;
        let reader: Box<dyn Read> =
            if self.is_compressed { Box::new(zstd::Decoder::new(file).map_err(failed)?) } else { Box::new(file) };
        Ok(BufReader::with_capacity(1 << 20, reader))
    }

    /// Begins at the header.
    pub fn begin(&mut self) -> Result<Reader<Lines<'_>>, Failure> {
        let name = self.name.clone();
        Reader::new(self.lines()?, &name).map_err(|error| Failure::new(Exit::BadInput, error))
    }

    /// Goes through the plan once more. What was printed meanwhile came from the plan of this footer, or this fails.
    pub fn again(
        &mut self,
        footer: &Footer,
        each: &mut dyn FnMut(&Step) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if walk(&mut self.begin()?, each)? == *footer {
            return Ok(());
        }
        let text = format!("{}: was changed while it was shown; what was printed is no plan", self.name);
        Err(Failure::new(Exit::BadInput, text))
    }

    /// Refuses any plan but the one of this digest.
    fn must_be(&self, footer: &Footer, expect: Option<&str>) -> Result<(), Failure> {
        let digest = digest_text(&footer.digest);
        match expect {
            // With or without its prefix, as people copy it.
            Some(expected)
                if !digest.eq_ignore_ascii_case(expected.trim())
                    && !digest.trim_start_matches("sha256:").eq_ignore_ascii_case(expected.trim()) =>
            {
                let name = &self.name;
                let text =
                    format!("{name}: its digest is {digest}, not {expected}: this is not the plan that was approved");
                Err(Failure::new(Exit::Refused, text))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Where the steps of a plan are, for whoever goes through them again.
pub(super) enum Source {
    File(Opened),
    Held(Vec<Step>),
}

impl Source {
    /// Goes through the plan of this footer once more.
    pub fn again(
        &mut self,
        footer: &Footer,
        each: &mut dyn FnMut(&Step) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        match self {
            Self::File(opened) => opened.again(footer, each),
            Self::Held(steps) => steps.iter().try_for_each(each),
        }
    }
}

/// Prints what was reviewed, as text.
pub(super) fn tell(reviewed: &Reviewed, source: &mut Source, out: Out) -> Result<(), Failure> {
    let to = std::cell::RefCell::new(out.stream());
    let mut again = |action, each: &mut dyn FnMut(&Step) -> Result<(), Failure>| {
        source.again(&reviewed.footer, &mut |step| if step.action == action { each(step) } else { Ok(()) })
    };
    text::tell(reviewed, &out.paint(), &mut again, &mut |part| to.borrow_mut().say(part))?;
    to.into_inner().end()
}

fn could_not(name: &str, error: &std::io::Error) -> Failure {
    Failure::new(Exit::CouldNotRun, format!("{name}: {error}"))
}

/// Reads a plan file into memory: a private copy, that nobody can change between the check and the work. `expect`
/// refuses any other plan.
pub(super) fn read(path: &Path, expect: Option<&str>) -> Result<Plan, Failure> {
    let mut opened = Opened::new(path)?;
    let name = opened.name.clone();
    let plan = file::read(opened.lines()?, &name).map_err(|error| Failure::new(Exit::BadInput, error))?;
    opened.must_be(&plan.footer, expect)?;
    Ok(plan)
}

/// Goes on to the footer. Until this has returned, the steps are words.
pub(super) fn walk(
    reader: &mut Reader<Lines<'_>>,
    each: &mut dyn FnMut(&Step) -> Result<(), Failure>,
) -> Result<Footer, Failure> {
    let bad = |error: file::PlanError| Failure::new(Exit::BadInput, error);
    while let Some(step) = reader.step().map_err(bad)? {
        each(&step)?;
    }
    reader.footer().copied().ok_or_else(|| Failure::new(Exit::BadInput, "the plan has no footer"))
}

/// Reads a plan file into what a reviewer is shown of it.
pub(super) fn review(opened: &mut Opened, detail: Detail, expect: Option<&str>) -> Result<Reviewed, Failure> {
    let mut reader = opened.begin()?;
    let mut review = Review::new(detail);
    let footer = walk(&mut reader, &mut |step| {
        review.add(step);
        Ok(())
    })?;
    let header = reader.into_header();
    opened.must_be(&footer, expect)?;
    Ok(review.finish(header, footer))
}

/// What changed since the plan that was approved.
fn changes(args: &Show, approved: &Path, out: Out) -> Ended {
    let out = match args.format {
        ShowFormat::Text => out,
        ShowFormat::Json => out.as_json(),
        ShowFormat::Csv | ShowFormat::Markdown | ShowFormat::Html => {
            return Err(Failure::new(Exit::Usage, "--diff is told as text or json: leave the --format out"));
        }
    };
    let approved = diff::Approved::read(approved)?;
    let mut opened = Opened::new(&args.plan)?;
    let reviewed = review(&mut opened, Detail::Fold(0), args.expect.as_deref())?;
    let changed = approved.against(&reviewed, &mut Source::File(opened))?;
    diff::tell(&changed, out)?;
    Ok(Exit::Done)
}

pub(super) fn show(args: &Show, out: Out) -> Ended {
    if let Some(approved) = &args.diff {
        return changes(args, approved, out);
    }
    let format = if out.json { ShowFormat::Json } else { args.format };
    let mut opened = Opened::new(&args.plan)?;
    let detail = match format {
        ShowFormat::Text => detail(args.all),
        ShowFormat::Markdown => Detail::Fold(markdown::FOLD_FROM),
        ShowFormat::Html => Detail::Fold(html::ROWS_MAX),
        // Only their headers and footers are wanted: their steps are read again.
        ShowFormat::Json | ShowFormat::Csv => Detail::Fold(0),
    };
    let reviewed = review(&mut opened, detail, args.expect.as_deref())?;
    let mut source = Source::File(opened);
    let mut to = out.stream();
    let unsaid = |error: serde_json::Error| Failure::new(Exit::CouldNotRun, error);
    match format {
        ShowFormat::Text => tell(&reviewed, &mut source, out)?,
        ShowFormat::Markdown => to.say(&markdown::render(&reviewed))?,
        ShowFormat::Html => to.say(&html::render(&reviewed).map_err(unsaid)?)?,
        ShowFormat::Json => {
            to.say(&json::head(&reviewed.header, &reviewed.footer).map_err(unsaid)?)?;
            source.again(&reviewed.footer, &mut |step| to.say(&json::step(step).map_err(unsaid)?))?;
            to.say(json::FOOT)?;
        }
        ShowFormat::Csv => {
            to.say(&csv::head())?;
            source.again(&reviewed.footer, &mut |step| to.say(&csv::row(&reviewed.header, step)))?;
        }
    }
    to.end()?;
    Ok(Exit::Done)
}
