//! Globs, the same for sources and for keys: `*` and `?` stay within a segment, `**` crosses them, `[..]` is a class,
//! `{a,b}` are alternatives, a backslash takes a character's meaning away. Characters are counted, not bytes.

/// Alternatives that braces may come to.
const MOST_ALTERNATIVES: usize = 1000;

/// Why a text is not a glob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    #[error("{0} is not a glob: {1}")]
    Invalid(String, &'static str),
    #[error("{0}: ** must stand alone between slashes")]
    LooseStars(String),
    #[error("{0}: .. cannot follow a wildcard")]
    Parent(String),
    #[error("{0}: the braces come to more than {MOST_ALTERNATIVES} alternatives")]
    TooMany(String),
}

/// A glob, braces expanded, segment by segment: a walk can see which folders are worth entering.
#[derive(Debug, Clone)]
pub struct Glob {
    /// Of a source, the leading segments without wildcards: `out/parts` of `out/parts/**/*.csv`.
    pub fixed: String,
    alternatives: Vec<Vec<Segment>>,
}

#[derive(Debug, Clone)]
enum Segment {
    /// `**`
    Any,
    Literal(String),
    Wild(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Char(char),
    One,
    Many,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

/// How far the alternatives have come on the way down to a folder: (alternative, segment).
pub type States = Vec<(usize, usize)>;

/// What a name is to a glob.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// As a file, it matches.
    pub is_match: bool,
    /// As a folder, this is how to go on in it; empty if nothing in it can match.
    pub inside: States,
}

/// Must a name that begins with a dot be met by a dot?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dots {
    Named,
    Free,
}

impl Glob {
    /// A glob over paths, with its fixed part.
    pub fn of_sources(glob: &str) -> Result<Self, GlobError> {
        let is_fixed = |segment: &&str| !segment.contains(['*', '?', '[', '{', '\\']);
        let fixed: Vec<&str> = glob.split('/').take_while(is_fixed).collect();
        let rest: Vec<&str> = glob.split('/').skip(fixed.len()).collect();
        let root = if glob.starts_with('/') { "/" } else { "" };
        let mut alternatives = Vec::new();
        for alternative in expand(glob, &rest.join("/"))? {
            let segments = alternative.split('/').filter(|segment| !segment.is_empty() && *segment != ".");
            let segments = segments.map(|segment| match segment {
                ".." => Err(GlobError::Parent(glob.to_owned())),
                segment => Segment::parse(glob, segment),
            });
            alternatives.push(segments.collect::<Result<Vec<_>, _>>()?);
        }
        Ok(Self { fixed: tidy(&format!("{root}{}", fixed.join("/"))), alternatives })
    }

    /// A glob over keys, to which no segment is special.
    pub fn of_keys(glob: &str) -> Result<Self, GlobError> {
        let alternatives = expand(glob, glob)?;
        let parse = |text: &String| text.split('/').map(|segment| Segment::parse(glob, segment)).collect();
        let alternatives = alternatives.iter().map(parse).collect::<Result<Vec<Vec<_>>, _>>()?;
        Ok(Self { fixed: String::new(), alternatives })
    }

    /// Whether a whole key matches. Dots are free.
    #[must_use]
    pub fn is_match(&self, key: &str) -> bool {
        let mut step = Step { is_match: false, inside: self.start() };
        for segment in key.split('/') {
            step = self.step(&step.inside, segment, Dots::Free);
        }
        step.is_match
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

    /// What a name in a folder is, `states` being how far the glob had come there.
    #[must_use]
    pub fn step(&self, states: &States, name: &str, dots: Dots) -> Step {
        let mut step = Step::default();
        let hidden = dots == Dots::Named && name.starts_with('.');
        for &(alternative, at) in states {
            let segments = &self.alternatives[alternative];
            let Some(segment) = segments.get(at) else { continue };
            if segment.meets(name, hidden) {
                step.is_match |= at + 1 == segments.len();
                // ** stays where it is; that it may also stand for nothing, `enter` has seen to.
                let next = if matches!(segment, Segment::Any) { at } else { at + 1 };
                self.enter(&mut step.inside, alternative, next);
            }
        }
        step
    }

    /// Whether a name in a folder matches as a file: [`Step::is_match`], without asking how it would go on.
    #[must_use]
    pub fn takes(&self, states: &States, name: &str, dots: Dots) -> bool {
        let hidden = dots == Dots::Named && name.starts_with('.');
        states.iter().any(|&(alternative, at)| match &self.alternatives[alternative][at..] {
            [segment] => segment.meets(name, hidden),
            [] | [_, ..] => false,
        })
    }

    fn enter(&self, states: &mut States, alternative: usize, mut at: usize) {
        let segments = &self.alternatives[alternative];
        while at < segments.len() && !states.contains(&(alternative, at)) {
            states.push((alternative, at));
            match segments[at] {
                Segment::Any => at += 1,
                Segment::Literal(_) | Segment::Wild(_) => break,
            }
        }
    }
}

impl Segment {
    fn meets(&self, name: &str, hidden: bool) -> bool {
        match self {
            Self::Any => !hidden,
            Self::Literal(text) => text == name,
            Self::Wild(tokens) => {
                let names_dot = tokens.first() == Some(&Token::Char('.'));
                (names_dot || !hidden) && fits(tokens, name)
            }
        }
    }

    fn parse(glob: &str, segment: &str) -> Result<Self, GlobError> {
        if segment == "**" {
            return Ok(Self::Any);
        }
        if !segment.contains(['*', '?', '[', '\\']) {
            return Ok(Self::Literal(segment.to_owned()));
        }
        let invalid = |why| GlobError::Invalid(glob.to_owned(), why);
        let mut tokens = Vec::new();
        let mut rest = segment.chars();
        while let Some(c) = rest.next() {
            tokens.push(match c {
                '?' => Token::One,
                '*' if tokens.last() == Some(&Token::Many) => return Err(GlobError::LooseStars(glob.to_owned())),
                '*' => Token::Many,
                '\\' => Token::Char(rest.next().ok_or_else(|| invalid("a backslash stands at the end of a segment"))?),
                '[' => class(&mut rest).map_err(invalid)?,
                c => Token::Char(c),
            });
        }
        Ok(Self::Wild(tokens))
    }
}

/// What stands between `[` and `]`. A first `]` is one of the characters, and so is a `-` at either end.
fn class(rest: &mut std::str::Chars<'_>) -> Result<Token, &'static str> {
    let body = rest.as_str();
    let negated = body.starts_with(['!', '^']);
    let body = &body[usize::from(negated)..];
    let first = body.chars().next().map_or(0, char::len_utf8);
    let end = body.get(first..).and_then(|tail| tail.find(']')).map(|end| end + first).ok_or("a [ is not closed")?;
    let mut ranges = Vec::new();
    let mut chars = body[..end].chars().peekable();
    while let Some(low) = chars.next() {
        let mut ahead = chars.clone();
        let high = match (ahead.next(), ahead.next()) {
            (Some('-'), Some(high)) => {
                chars = ahead;
                high
            }
            _ => low,
        };
        if high < low {
            return Err("a range in [] runs backwards");
        }
        ranges.push((low, high));
    }
    *rest = body[end + 1..].chars();
    Ok(Token::Class { negated, ranges })
}

/// Goes back to the last star only: what an earlier one could take, the last can too.
fn fits(tokens: &[Token], name: &str) -> bool {
    let mut at = 0;
    let mut rest = name.chars();
    let mut star: Option<(usize, std::str::Chars<'_>)> = None;
    loop {
        if tokens.get(at) == Some(&Token::Many) {
            at += 1;
            star = Some((at, rest.clone()));
            continue;
        }
        match (tokens.get(at), rest.next()) {
            (None, None) => return true,
            (Some(token), Some(c)) if takes(token, c) => {
                at += 1;
                continue;
            }
            // Nothing is left that a star could take.
            (Some(_), None) => return false,
            (_, Some(_)) => {}
        }
        let Some((after, from)) = &mut star else { return false };
        if from.next().is_none() {
            return false;
        }
        at = *after;
        rest = from.clone();
    }
}

fn takes(token: &Token, c: char) -> bool {
    match token {
        Token::Char(wanted) => *wanted == c,
        Token::One | Token::Many => true,
        Token::Class { negated, ranges } => ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated,
    }
}

/// A path without `.`, empty segments and a trailing slash. `..` stays: what it leads to depends on links.
#[must_use]
pub fn tidy(path: &str) -> String {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty() && *segment != ".").collect();
    let root = if path.starts_with('/') { "/" } else { "" };
    format!("{root}{}", segments.join("/"))
}

/// Every text that the braces stand for. Braces in `[]` or after a backslash are literal.
fn expand(glob: &str, text: &str) -> Result<Vec<String>, GlobError> {
    let mut waiting = vec![text.to_owned()];
    let mut done = Vec::new();
    while let Some(text) = waiting.pop() {
        if waiting.len() + done.len() >= MOST_ALTERNATIVES {
            return Err(GlobError::TooMany(glob.to_owned()));
        }
        match braces(&text) {
            Braces::None => done.push(text),
            Braces::Open => {
                return Err(GlobError::Invalid(glob.to_owned(), "a { is not closed"));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_takes_whole_keys_and_no_others() {
        for (glob, key, yes) in [
            ("reports/*", "reports/a.csv", true),
            ("reports/*", "reports/2026/a.csv", false),
            ("reports/**", "reports/2026/a.csv", true),
            ("reports/**", "reports", false),
            ("reports/**", "other/reports/a", false),
            ("**", "a/b/c", true),
            ("**/a.csv", "x/y/a.csv", true),
            ("**/a.csv", "a.csv", true),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z", true),
            ("a/**/z", "a/b/zz", false),
            ("r?/a", "r1/a", true),
            ("r?/a", "r\u{e9}/a", true),
            ("r?a", "r/a", false),
            ("r[0-9]/a", "r7/a", true),
            ("r[!0-9]/a", "r7/a", false),
            ("r[!0-9]/a", "r\u{e9}/a", true),
            ("r[]-]a", "r]a", true),
            ("r[]-]a", "r-a", true),
            ("{a,b/c}/x", "b/c/x", true),
            ("{a,b/c}/x", "b/x", false),
            ("a{,b}", "a", true),
            ("*", ".hidden", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("*aab", "aaab", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("a\\{b", "a{b", true),
            ("A*", "ab", false),
            ("a//*", "a//b", true),
            ("a/*", "a//b", false),
            ("", "a", false),
        ] {
            let parsed = Glob::of_keys(glob).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(parsed.is_match(key), yes, "{glob} {key}");
        }
    }

    #[test]
    fn what_is_no_glob_is_refused() {
        let many = "{a,b}".repeat(11);
        for glob in ["a**", "**a/b", "***", "[a", "[]", "[z-a]", "{a", "{a,{b}", "a\\", "[a/b]", &many] {
            assert!(Glob::of_keys(glob).is_err(), "{glob}");
            assert!(Glob::of_sources(glob).is_err(), "{glob}");
        }
        assert!(Glob::of_sources("*/../x").is_err());
    }

    #[test]
    fn many_stars_do_not_try_every_way_to_share_a_name() {
        let glob = Glob::of_keys(&"*a".repeat(50)).unwrap();
        assert!(!glob.is_match(&format!("{}b", "a".repeat(1000))));
    }
}
