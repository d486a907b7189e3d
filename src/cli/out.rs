//! What goes to standard output and standard error: results to the one, everything else to the other; colour only on a
//! terminal, and never where NO_COLOR is set.

use std::io::Write as _;
use std::sync::Arc;

use anstream::{AutoStream, ColorChoice};
use owo_colors::OwoColorize as _;
use serde_json::json;

use crate::bucket::check::Level;
use crate::model::event::Watch;
use crate::plan::text::Tone;

use super::Failure;
use super::watch::{Style, watch};
use crate::model::exit::Exit;

/// How this process speaks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Out {
    pub json: bool,
    pub quiet: bool,
    colour: bool,
    colour_errors: bool,
}

impl Out {
    pub fn new(json: bool, quiet: bool) -> Self {
        let colour = |choice| !matches!(choice, ColorChoice::Never);
        Self {
            json,
            quiet,
            colour: colour(AutoStream::choice(&std::io::stdout())),
            colour_errors: colour(AutoStream::choice(&std::io::stderr())),
        }
    }

    /// The same, for a program.
    pub fn as_json(self) -> Self {
        Self { json: true, ..self }
    }

    // `self` is the licence to print.
    #[allow(clippy::unused_self)]
    /// Prints a result. A reader that has gone away (`| head`) is no failure; any other is.
    pub fn result(self, text: &str) -> Result<(), Failure> {
        let mut to = std::io::stdout().lock();
        let end = if text.ends_with('\n') { "" } else { "\n" };
        match write!(to, "{text}{end}").and_then(|()| to.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(Failure::new(Exit::CouldNotRun, format!("standard output: {error}"))),
        }
    }

    // `self` is the licence to print.
    #[allow(clippy::unused_self)]
    /// Prints a long result part by part.
    pub fn stream(self) -> Stream {
        Stream { to: Some(std::io::BufWriter::with_capacity(1 << 16, std::io::stdout())) }
    }

    /// Prints one JSON event.
    pub fn event(self, event: &serde_json::Value) -> Result<(), Failure> {
        self.result(&event.to_string())
    }

    /// Tells something that a person should know, on standard error.
    pub fn note(self, text: &str) {
        if !self.quiet {
            self.stderr(text);
        }
    }

    pub fn warning(self, text: &str) {
        let word = if self.colour_errors { "warning:".yellow().bold().to_string() } else { "warning:".to_owned() };
        self.stderr(&format!("{word} {text}"));
    }

    pub fn error(self, text: &str) {
        if self.json {
            // Somebody who reads events reads the end there too.
            let _ = self.event(&json!({ "event": "error", "message": text }));
        }
        let word = if self.colour_errors { "error:".red().bold().to_string() } else { "error:".to_owned() };
        self.stderr(&format!("{word} {text}"));
    }

    // Where even standard error is gone there is nobody left to tell.
    #[allow(clippy::unused_self)]
    fn stderr(self, text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// Colours a stretch of a plan.
    pub fn paint(self) -> impl Fn(Tone, &str) -> String {
        move |tone, text| {
            if !self.colour {
                return text.to_owned();
            }
            match tone {
                Tone::Create => text.green().to_string(),
                Tone::Replace => text.yellow().bold().to_string(),
                Tone::Quiet => text.dimmed().to_string(),
                Tone::Refuse => text.red().bold().to_string(),
                Tone::Strong => text.bold().to_string(),
            }
        }
    }

    /// Colours the level of a finding.
    pub fn paint_level(self) -> impl Fn(Level, &str) -> String {
        move |level, text| match (self.colour, level) {
            (false, _) => text.to_owned(),
            (true, Level::Problem) => text.red().bold().to_string(),
            (true, Level::NotAllowed | Level::CannotTell) => text.magenta().bold().to_string(),
            (true, Level::Warning) => text.yellow().bold().to_string(),
            (true, Level::Ok) => text.green().to_string(),
        }
    }

    /// Whoever watches the work: bars on a terminal, a line now and then elsewhere.
    pub fn watch(self) -> Arc<dyn Watch> {
        watch(Style::choose(self.json, self.quiet))
    }
}

/// A result that comes in parts.
pub(crate) struct Stream {
    /// `None` once the reader has gone away, which is no failure.
    to: Option<std::io::BufWriter<std::io::Stdout>>,
}

impl Stream {
    pub fn say(&mut self, part: &str) -> Result<(), Failure> {
        self.with(|to| to.write_all(part.as_bytes()))
    }

    /// Prints what is still held back.
    pub fn end(&mut self) -> Result<(), Failure> {
        self.with(std::io::Write::flush)
    }

    fn with(
        &mut self,
        write: impl FnOnce(&mut std::io::BufWriter<std::io::Stdout>) -> std::io::Result<()>,
    ) -> Result<(), Failure> {
        match self.to.as_mut().map_or(Ok(()), write) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                // What is buffered cannot be written any more; without this, dropping it would try.
                if let Some(gone) = self.to.take() {
                    let _ = gone.into_parts();
                }
                Ok(())
            }
            Err(error) => Err(Failure::new(Exit::CouldNotRun, format!("standard output: {error}"))),
        }
    }
}
