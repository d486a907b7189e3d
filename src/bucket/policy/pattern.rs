//! Texts with `*` and `?`, as IAM matches them, and what can be said of all texts that begin alike.

use super::evaluate::Truth;

/// A pattern, or why it is none that can be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    pub text: String,
    /// `None` where the text holds a policy variable, whose value only the request's moment knows.
    tokens: Option<Vec<Token>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    /// `*`: any characters, none too, slashes and colons too.
    Any,
    /// `?`: exactly one.
    One,
    Char(char),
}

impl Pattern {
    /// With wildcards. Where the policy's version knows variables, `${*}`, `${?}` and `${$}` are the characters
    /// themselves. (AWS, IAM User Guide, "IAM policy elements: Variables and tags".)
    pub fn glob(text: &str, variables: bool) -> Self {
        Self { text: text.to_owned(), tokens: tokens(text, variables, true) }
    }

    /// Without wildcards.
    pub fn literal(text: &str, variables: bool) -> Self {
        Self { text: text.to_owned(), tokens: tokens(text, variables, false) }
    }

    /// The one text that this matches, where it is one.
    pub fn only(&self) -> Option<String> {
        self.tokens.as_ref()?.iter().map(|token| if let Token::Char(c) = token { Some(*c) } else { None }).collect()
    }

    /// What every text that matches begins with: all before the first wildcard. Empty where that cannot be judged.
    pub fn start(&self) -> String {
        let spelled = |token: &Token| if let Token::Char(c) = token { Some(*c) } else { None };
        self.tokens.iter().flatten().map_while(spelled).collect()
    }

    pub fn understood(&self) -> bool {
        self.tokens.is_some()
    }

    /// Whether every text matches.
    pub fn is_universal(&self) -> bool {
        matches!(self.begins(""), Some(Begins::Covered))
    }

    /// `None` where it cannot be judged.
    pub fn matches(&self, text: &str) -> Option<bool> {
        let tokens = self.tokens.as_ref()?;
        Some(walk(tokens, text).contains(&tokens.len()))
    }

    /// What is matched of all the texts that begin with `prefix`. `None` where it cannot be judged.
    pub fn begins(&self, prefix: &str) -> Option<Begins> {
        let tokens = self.tokens.as_ref()?;
        let places = walk(tokens, prefix);
        // A place with nothing but stars behind it takes whatever follows. Several places that only together would take
        // everything are not looked for: that makes a hole of what might be none, never the other way round.
        let covered = |place: &usize| *place < tokens.len() && tokens[*place..].iter().all(|t| *t == Token::Any);
        Some(match places.iter().any(covered) {
            true => Begins::Covered,
            false if places.is_empty() => Begins::Missed,
            false => Begins::Touched,
        })
    }
}

/// How much of the texts that begin alike a pattern matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begins {
    /// All of them.
    Covered,
    /// Some, and perhaps all.
    Touched,
    /// None.
    Missed,
}

impl From<Begins> for Truth {
    fn from(begins: Begins) -> Self {
        match begins {
            Begins::Covered => Self::Yes,
            Begins::Touched => Self::Varies,
            Begins::Missed => Self::No,
        }
    }
}

fn tokens(text: &str, variables: bool, wildcards: bool) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if variables && rest.starts_with("${") {
            let escaped = ["${*}", "${?}", "${$}"].into_iter().find(|escaped| rest.starts_with(escaped))?;
            tokens.push(Token::Char(escaped.chars().nth(2)?));
            rest = &rest[escaped.len()..];
            continue;
        }
        tokens.push(match c {
            '*' if wildcards => Token::Any,
            '?' if wildcards => Token::One,
            c => Token::Char(c),
        });
        rest = &rest[c.len_utf8()..];
    }
    Some(tokens)
}

/// The places in the pattern where one can stand after the text, in order. Time is bounded by both lengths' product.
fn walk(tokens: &[Token], text: &str) -> Vec<usize> {
    let mut here = vec![false; tokens.len() + 1];
    here[0] = true;
    skip_stars(tokens, &mut here);
    let mut next = here.clone();
    for c in text.chars() {
        next.fill(false);
        for (place, token) in tokens.iter().enumerate().filter(|(place, _)| here[*place]) {
            match token {
                Token::Any => next[place] = true,
                Token::One => next[place + 1] = true,
                Token::Char(wanted) => next[place + 1] |= *wanted == c,
            }
        }
        std::mem::swap(&mut here, &mut next);
        skip_stars(tokens, &mut here);
    }
    (0..=tokens.len()).filter(|place| here[*place]).collect()
}

fn skip_stars(tokens: &[Token], here: &mut [bool]) {
    for place in 0..tokens.len() {
        if here[place] && tokens[place] == Token::Any {
            here[place + 1] = true;
        }
    }
}

/// Writes a text so that a pattern means it and nothing else.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' | '?' => escaped.extend(['$', '{', c, '}']),
            '$' if chars.peek() == Some(&'{') => escaped.push_str("${$}"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a wildcard means, and nothing clever.
    fn oracle(pattern: &[char], text: &[char]) -> bool {
        match (pattern.first(), text.first()) {
            (None, None) => true,
            (Some('*'), _) => oracle(&pattern[1..], text) || (!text.is_empty() && oracle(pattern, &text[1..])),
            (Some('?'), Some(_)) => oracle(&pattern[1..], &text[1..]),
            (Some(p), Some(t)) => p == t && oracle(&pattern[1..], &text[1..]),
            (None, Some(_)) | (Some(_), None) => false,
        }
    }

    fn holds(pattern: &str, text: &str) -> bool {
        oracle(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>())
    }

    proptest! {
        #[test]
        fn a_glob_matches_what_the_plainest_matcher_matches(pattern in "[ab*?/:]{0,7}", text in "[ab/:]{0,7}") {
            prop_assert_eq!(Pattern::glob(&pattern, true).matches(&text), Some(holds(&pattern, &text)));
        }

        #[test]
        fn what_is_said_of_a_prefix_is_true_of_each_text_under_it(
            pattern in "[ab*?]{0,6}", prefix in "[ab]{0,4}", rests in prop::collection::vec("[abc]{0,4}", 1..20),
        ) {
            let begins = Pattern::glob(&pattern, true).begins(&prefix).unwrap();
            for rest in rests {
                let matched = holds(&pattern, &format!("{prefix}{rest}"));
                prop_assert!(begins != Begins::Covered || matched, "{} {}{}", pattern, prefix, rest);
                prop_assert!(begins != Begins::Missed || !matched, "{} {}{}", pattern, prefix, rest);
            }
        }

        #[test]
        fn an_escaped_text_is_matched_by_itself_alone(text in "[a*?${}]{0,8}", other in "[a*?${}]{0,8}") {
            let pattern = Pattern::glob(&escape(&text), true);
            prop_assert_eq!(pattern.matches(&text), Some(true));
            prop_assert_eq!(pattern.matches(&other), Some(text == other));
            prop_assert_eq!(pattern.only(), Some(text));
        }
    }

    #[test]
    fn a_variable_is_not_judged_and_in_the_old_version_it_is_text() {
        assert_eq!(Pattern::glob("a/${aws:username}/*", true).matches("a/b/c"), None);
        assert_eq!(Pattern::glob("a/${aws:username}/*", false).matches("a/${aws:username}/c"), Some(true));
        assert_eq!(Pattern::literal("a*", true).matches("ab"), Some(false));
    }
}
