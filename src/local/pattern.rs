//! Globs, segment by segment, so that a walk enters only folders in which something can match.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use globset::{GlobBuilder, GlobMatcher};

use super::find::tidy;

/// Alternatives that braces may come to.
const MOST_ALTERNATIVES: usize = 1000;

/// Why a text is not a glob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("{0} is not a glob: {1}")]
    Invalid(String, String),
    #[error("{0}: ** must stand alone between slashes")]
    LooseStars(String),
    #[error("{0}: .. cannot follow a wildcard")]
    Parent(String),
    #[error("{0}: the braces come to more than {MOST_ALTERNATIVES} alternatives")]
    TooMany(String),
}

/// A glob, braces expanded.
#[derive(Debug)]
pub struct Pattern {
    /// The leading segments without wildcards: `out/parts` of `out/parts/**/*.csv`.
    pub fixed: String,
    alternatives: Vec<Vec<Segment>>,
}

#[derive(Debug)]
enum Segment {
    /// `**`
    Any,
    Literal(Vec<u8>),
    /// A glob that may or may not match names that begin with a dot.
    Glob {
        glob: GlobMatcher,
        dot: bool,
    },
}

/// How far the alternatives have come on the way down to a folder: (alternative, segment).
pub type States = Vec<(usize, usize)>;

/// What a name is to a pattern.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// As a file, it matches.
    pub is_match: bool,
    /// As a folder, this is how to go on in it; empty if nothing in it can match.
    pub inside: States,
}

impl Pattern {
    pub fn parse(glob: &str) -> Result<Self, PatternError> {
        let fixed: Vec<&str> =
            glob.split('/').take_while(|segment| !segment.contains(['*', '?', '[', '{', '\\'])).collect();
        let rest: Vec<&str> = glob.split('/').skip(fixed.len()).collect();
        let root = if glob.starts_with('/') { "/" } else { "" };
        let mut alternatives = Vec::new();
        for alternative in expand(glob, &rest.join("/"))? {
            let segments = tidy(&alternative);
            let segments = segments.split('/').filter(|segment| !segment.is_empty());
            alternatives.push(segments.map(|segment| Segment::parse(glob, segment)).collect::<Result<Vec<_>, _>>()?);
        }
        Ok(Self { fixed: tidy(&format!("{root}{}", fixed.join("/"))), alternatives })
    }

    /// Where a walk begins, in the folder of the fixed part.
    #[must_use]
    pub fn start(&self) -> States {
        let mut states = States::new();
        for alternative in 0..self.alternatives.len() {
            self.enter(&mut states, alternative, 0);
        }
        states
    }

    /// What a name in a folder is, `states` being how far the pattern had come there.
    #[must_use]
    pub fn step(&self, states: &States, name: &OsStr) -> Step {
        let mut step = Step::default();
        let hidden = name.as_bytes().starts_with(b".");
        for &(alternative, at) in states {
            let segments = &self.alternatives[alternative];
            let Some(segment) = segments.get(at) else { continue };
            let (matches, next) = match segment {
                // ** stays where it is; that it may also stand for nothing, `enter` has seen to.
                Segment::Any => (!hidden, at),
                Segment::Literal(text) => (text == name.as_bytes(), at + 1),
                Segment::Glob { glob, dot } => ((*dot || !hidden) && glob.is_match(name), at + 1),
            };
            if matches {
                step.is_match |= at + 1 == segments.len();
                self.enter(&mut step.inside, alternative, next);
            }
        }
        step
    }

    fn enter(&self, states: &mut States, alternative: usize, mut at: usize) {
        let segments = &self.alternatives[alternative];
        while at < segments.len() && !states.contains(&(alternative, at)) {
            states.push((alternative, at));
            match segments[at] {
                Segment::Any => at += 1,
                Segment::Literal(_) | Segment::Glob { .. } => break,
            }
        }
    }
}

impl Segment {
    fn parse(glob: &str, segment: &str) -> Result<Self, PatternError> {
        if segment == "**" {
            return Ok(Self::Any);
        }
        if segment == ".." {
            return Err(PatternError::Parent(glob.to_owned()));
        }
        if segment.contains("**") {
            return Err(PatternError::LooseStars(glob.to_owned()));
        }
        if !segment.contains(['*', '?', '[', '\\']) {
            return Ok(Self::Literal(segment.as_bytes().to_vec()));
        }
        let matcher = GlobBuilder::new(segment).literal_separator(true).backslash_escape(true).build();
        let matcher = matcher.map_err(|error| PatternError::Invalid(glob.to_owned(), error.kind().to_string()))?;
        let dot = segment.starts_with('.') || segment.starts_with("\\.");
        Ok(Self::Glob { glob: matcher.compile_matcher(), dot })
    }
}

/// Every text that the braces stand for. Braces in `[]` or after a backslash are literal.
fn expand(glob: &str, text: &str) -> Result<Vec<String>, PatternError> {
    let mut waiting = vec![text.to_owned()];
    let mut done = Vec::new();
    while let Some(text) = waiting.pop() {
        if waiting.len() + done.len() >= MOST_ALTERNATIVES {
            return Err(PatternError::TooMany(glob.to_owned()));
        }
        match braces(&text) {
            Braces::None => done.push(text),
            Braces::Open => {
                return Err(PatternError::Invalid(glob.to_owned(), "a brace is not closed".to_owned()));
            }
            Braces::At { open, commas, close } => {
                let mut from = open + 1;
                let mut parts = Vec::new();
                for end in commas.into_iter().chain([close]) {
                    parts.push(format!("{}{}{}", &text[..open], &text[from..end], &text[close + 1..]));
                    from = end + 1;
                }
                waiting.extend(parts.into_iter().rev());
            }
        }
    }
    Ok(done)
}

enum Braces {
    None,
    Open,
    /// The first pair, with the commas between that are its own.
    At {
        open: usize,
        commas: Vec<usize>,
        close: usize,
    },
}

fn braces(text: &str) -> Braces {
    let mut open = None;
    let mut commas = Vec::new();
    let mut depth = 0u32;
    let mut chars = text.char_indices().peekable();
    while let Some((i, c)) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '[' => skip_class(text, i, &mut chars),
            '{' => {
                open.get_or_insert(i);
                depth += 1;
            }
            ',' if depth == 1 => commas.push(i),
            '}' if depth > 0 => {
                depth -= 1;
                if let (0, Some(open)) = (depth, open) {
                    return Braces::At { open, commas, close: i };
                }
            }
            _ => {}
        }
    }
    if open.is_some() { Braces::Open } else { Braces::None }
}

/// Passes over `[...]`, where there is a `]`; a first `]` or `!]` belongs to the class.
fn skip_class(text: &str, open: usize, chars: &mut std::iter::Peekable<std::str::CharIndices<'_>>) {
    let body = &text[open + 1..];
    let negated = usize::from(body.starts_with(['!', '^']));
    let first = negated + usize::from(body[negated..].starts_with(']'));
    if let Some(end) = body[first..].find(']') {
        let end = open + 1 + first + end;
        while chars.next_if(|(i, _)| *i <= end).is_some() {}
    }
}
