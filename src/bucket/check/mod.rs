//! Findings about a bucket: whether what is replaced can be got back, and who else may write. Decides nothing and changes
//! nothing; a fix is a command to review. What was not seen is never called fine.

mod access;
mod command;
pub mod json;
mod lifecycle;
pub mod markdown;
mod policy;
pub mod probe;
pub mod require;
mod safety;
pub mod text;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Serialize, Serializer};

use crate::model::bucket::{Aspect, Configuration, Told};
use crate::model::exit::Exit;
use crate::model::target::Target;
use crate::model::text::{escape, quoted};

/// How grave a finding is, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    Problem,
    /// The role may not see it.
    NotAllowed,
    /// The server did not say, or what it said proves nothing.
    CannotTell,
    Warning,
    Ok,
}

impl Level {
    pub const ALL: [Self; 5] = [Self::Problem, Self::NotAllowed, Self::CannotTell, Self::Warning, Self::Ok];

    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::NotAllowed => "not allowed to look",
            Self::CannotTell => "cannot tell",
            Self::Warning => "warning",
            Self::Ok => "ok",
        }
    }

    /// For programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::NotAllowed => "not-allowed",
            Self::CannotTell => "cannot-tell",
            Self::Warning => "warning",
            Self::Ok => "ok",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Level {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.word())
    }
}

/// One thing that was looked at. Its texts are escaped: nothing in them acts on a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable, for programs.
    pub name: &'static str,
    pub level: Level,
    /// What was found.
    pub found: String,
    /// Why it matters.
    pub why: String,
    pub fix: Option<Fix>,
}

/// What to do about a finding, to be reviewed first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Fix {
    pub say: String,
    /// For a POSIX shell, a line each.
    pub commands: Vec<String>,
    /// A file that the commands read.
    pub document: Option<Document>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Document {
    pub file: &'static str,
    /// JSON, in ASCII.
    pub text: String,
}

impl Finding {
    #[must_use]
    pub fn new(name: &'static str, level: Level, found: impl Into<String>, why: impl Into<String>) -> Self {
        Self { name, level, found: found.into(), why: why.into(), fix: None }
    }

    /// The same with something to do about it.
    #[must_use]
    pub fn say(mut self, say: impl Into<String>) -> Self {
        self.fix = Some(Fix { say: say.into(), ..Fix::default() });
        self
    }

    /// The same with a command.
    #[must_use]
    pub fn run(mut self, command: String) -> Self {
        self.fix.get_or_insert_default().commands.push(command);
        self
    }
}

/// What is asked about.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    pub target: &'a Target,
    /// What the keys that are meant begin with.
    pub prefix: &'a str,
    /// For how long what was replaced must be there to be got back.
    pub recovery_days: u64,
}

impl Question<'_> {
    /// Bucket and prefix, as a word of a command line. A hidden character is shown, and the word then is another.
    fn place(&self) -> String {
        escape(&quoted(&format!("s3://{}/{}", self.target.bucket, self.prefix))).into_owned()
    }
}

/// All findings about one bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub bucket: String,
    pub prefix: String,
    pub endpoint: String,
    pub recovery_days: u64,
    findings: Vec<Finding>,
}

impl Report {
    /// Judges what was told of a bucket: one finding a name, whatever was told.
    #[must_use]
    pub fn new(question: &Question<'_>, told: &Configuration) -> Self {
        let mut findings = safety::findings(question, told);
        findings.extend(lifecycle::findings(question, told));
        findings.extend(access::findings(question, told));
        let mut report = Self {
            bucket: question.target.bucket.clone(),
            prefix: question.prefix.to_owned(),
            endpoint: question.target.endpoint.clone(),
            recovery_days: question.recovery_days,
            findings: Vec::new(),
        };
        for finding in findings {
            report.add(finding);
        }
        report
    }

    /// Adds what was found out elsewhere.
    pub fn add(&mut self, finding: Finding) {
        // The gravest first, and else in the order in which they were found.
        let at = self.findings.partition_point(|before| before.level <= finding.level);
        self.findings.insert(at, finding);
    }

    /// The gravest first.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    #[must_use]
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// Done only where there is no problem and everything was seen: warnings pass, ignorance does not.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let is_fine = |level| match level {
            Level::Ok | Level::Warning => true,
            Level::Problem | Level::NotAllowed | Level::CannotTell => false,
        };
        if self.findings.iter().all(|finding| is_fine(finding.level)) { Exit::Done } else { Exit::Incomplete }
    }

    /// `2 problems, 1 not allowed to look, ...`: all levels, in order.
    #[must_use]
    pub fn counts(&self) -> String {
        let told = Level::ALL.map(|level| match (self.count(level), level) {
            (1, _) | (_, Level::NotAllowed | Level::CannotTell | Level::Ok) => {
                format!("{} {level}", self.count(level))
            }
            (n, Level::Problem | Level::Warning) => format!("{n} {level}s"),
        });
        told.join(", ")
    }
}

/// The finding where an aspect was not told; `None` where it was.
fn unseen<T>(name: &'static str, why: &str, aspect: Aspect, told: &Told<T>, target: &Target) -> Option<Finding> {
    let (request, permission) = (aspect.request(), aspect.permission());
    let finding = |level, found: String| Finding::new(name, level, found, why);
    match told {
        Told::Is(_) | Told::NotSet => None,
        Told::NotAsked => Some(finding(Level::CannotTell, "it was not asked for".to_owned())),
        Told::NotAllowed => {
            let found = format!("{request} was refused (403): the role may lack {permission}");
            let mut say = format!("allow this role {permission} on the bucket");
            if target.owner.is_some() {
                say.push_str(", and see that it is the expected account's");
            }
            Some(finding(Level::NotAllowed, found).say(say))
        }
        Told::NotSupported if target.is_aws() => Some(finding(
            Level::CannotTell,
            format!("{request} was refused as such (405 or 501): AWS does so to identities of another account"),
        )),
        Told::NotSupported => {
            Some(finding(Level::CannotTell, format!("this server does not do {request} (405 or 501)")))
        }
        Told::Failed(why) => {
            let why = escape(why);
            Some(finding(Level::CannotTell, format!("{request} gave no answer that can be read: {why}")))
        }
    }
}
