//! Reads Rust source as far as the rules of the house need: its words without comments and strings, its paths spelled
//! out, and which of them ship. It is no compiler: names that a `use .. as` hides stay hidden.

/// A word or a sign, where it stands, and whether it is compiled for tests alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub line: usize,
    pub in_test: bool,
    /// How many inline modules enclose it: each takes one `super`.
    pub inline_mods: usize,
}

/// A path with every group spelled out: `use std::{fs, io::{self, Read}}` is three of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    pub segments: Vec<String>,
    pub line: usize,
    pub inline_mods: usize,
}

/// The tokens of a file. Strings and character literals become one `""` each, comments nothing.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut found = words(text);
    mark_tests(&mut found);
    mark_inline_mods(&mut found);
    found
}

/// Modules that are declared `#[cfg(test)] mod name;`: whole files of tests.
pub fn test_mods(tokens: &[Token]) -> Vec<String> {
    tokens
        .windows(3)
        .filter(|w| w[0].in_test && w[0].text == "mod" && w[2].text == ";")
        .map(|w| w[1].text.clone())
        .collect()
}

/// Every path outside tests, also those of one segment.
pub fn paths(tokens: &[Token]) -> Vec<Path> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let inside = at > 0 && tokens[at - 1].text == "::" || token.in_test || !is_word(&token.text);
        if !inside {
            let mut spelled = Vec::new();
            spell(tokens, at, &mut Vec::new(), &mut spelled);
            found.extend(spelled.into_iter().map(|(segments, line)| Path {
                segments,
                line,
                inline_mods: token.inline_mods,
            }));
        }
    }
    found
}

/// Spells out the path that begins at `at`; returns where it ends.
fn spell(tokens: &[Token], at: usize, before: &mut Vec<String>, found: &mut Vec<(Vec<String>, usize)>) -> usize {
    let text = |i: usize| tokens.get(i).map_or("", |t| t.text.as_str());
    let line = tokens.get(at).map_or(0, |t| t.line);
    let depth = before.len();
    let mut at = at;
    loop {
        if text(at) == "{" {
            at += 1;
            while at < tokens.len() && text(at) != "}" {
                let end = spell(tokens, at, before, found);
                // `a as b` and commas: on to the next item.
                at = end.max(at + 1);
                while at < tokens.len() && text(at) != "," && text(at) != "}" {
                    at += 1;
                }
                if text(at) == "," {
                    at += 1;
                }
            }
            at += 1;
            break;
        }
        if !is_word(text(at)) && text(at) != "*" {
            found.push((before.clone(), line));
            break;
        }
        before.push(text(at).to_owned());
        at += 1;
        if text(at) != "::" {
            found.push((before.clone(), line));
            break;
        }
        at += 1;
    }
    before.truncate(depth);
    at
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn words(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let next = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let (mut at, mut line) = (0, 1);
    let mut found = Vec::new();
    while at < chars.len() {
        let start = at;
        let c = chars[at];
        let mut word = String::new();
        if c == '/' && next(at + 1) == '/' {
            while at < chars.len() && chars[at] != '\n' {
                at += 1;
            }
        } else if c == '/' && next(at + 1) == '*' {
            at = end_of_comment(&chars, at);
        } else if let Some(end) = end_of_raw_string(&chars, at) {
            at = end;
            word.push_str("\"\"");
        } else if c == '"' || (matches!(c, 'b' | 'c') && next(at + 1) == '"') {
            at += if c == '"' { 1 } else { 2 };
            while at < chars.len() && chars[at] != '"' {
                at += if chars[at] == '\\' { 2 } else { 1 };
            }
            at += 1;
            word.push_str("\"\"");
        } else if c == '\'' && (next(at + 1) == '\\' || next(at + 2) == '\'') {
            // A character; a lifetime has no closing quote.
            at += if next(at + 1) == '\\' { 3 } else { 2 };
            while at < chars.len() && chars[at] != '\'' {
                at += 1;
            }
            at += 1;
            word.push_str("\"\"");
        } else if c.is_alphanumeric() || c == '_' {
            while at < chars.len() && (chars[at].is_alphanumeric() || chars[at] == '_') {
                word.push(chars[at]);
                at += 1;
            }
        } else if c == ':' && next(at + 1) == ':' {
            word.push_str("::");
            at += 2;
        } else {
            if !c.is_whitespace() {
                word.push(c);
            }
            at += 1;
        }
        if !word.is_empty() {
            found.push(Token { text: word, line, in_test: false, inline_mods: 0 });
        }
        line += chars[start..at.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    found
}

/// Block comments nest.
fn end_of_comment(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                at += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    break;
                }
            }
            _ => at += 1,
        }
    }
    at
}

fn end_of_raw_string(chars: &[char], start: usize) -> Option<usize> {
    let mut at = start;
    if matches!(chars.get(at), Some('b' | 'c')) {
        at += 1;
    }
    if chars.get(at) != Some(&'r') {
        return None;
    }
    at += 1;
    let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
    at += hashes;
    if chars.get(at) != Some(&'"') {
        return None;
    }
    at += 1;
    while at < chars.len() {
        if chars[at] == '"' && chars[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes {
            return Some(at + 1 + hashes);
        }
        at += 1;
    }
    Some(at)
}

/// Marks each item that stands under `#[cfg(test)]` or `#[test]`, and everything under `#![cfg(test)]`.
fn mark_tests(tokens: &mut [Token]) {
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].text != "#" {
            at += 1;
            continue;
        }
        let inner = tokens.get(at + 1).is_some_and(|t| t.text == "!");
        let open = at + 1 + usize::from(inner);
        let close = end_of_group(tokens, open);
        let words: Vec<&str> = tokens[open.min(close)..close].iter().map(|t| t.text.as_str()).collect();
        let cfg = words.get(1) == Some(&"cfg") && words.contains(&"test") && !words.contains(&"not");
        let test = words.len() == 3 && words[1] == "test" || words.ends_with(&["::", "test", "]"]);
        if !(cfg || test) {
            at = close.max(at + 1);
            continue;
        }
        let end = if inner { tokens.len() } else { end_of_item(tokens, close) };
        for token in &mut tokens[at..end] {
            token.in_test = true;
        }
        at = end;
    }
}

/// Where the bracket that opens at `at` has closed.
fn end_of_group(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0_i32;
    while at < tokens.len() {
        depth += step(&tokens[at].text);
        at += 1;
        if depth <= 0 {
            break;
        }
    }
    at
}

/// Where the item that begins at `at`, more attributes first, ends: after its `;` or its body.
fn end_of_item(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0_i32;
    while at < tokens.len() {
        let text = tokens[at].text.as_str();
        depth += step(text);
        // A closing bracket of what is around: the attribute was on a field or an arm.
        if depth < 0 {
            break;
        }
        at += 1;
        if depth == 0 && (text == ";" || text == "}") {
            break;
        }
    }
    at
}

fn step(text: &str) -> i32 {
    match text {
        "(" | "[" | "{" => 1,
        ")" | "]" | "}" => -1,
        _ => 0,
    }
}

fn mark_inline_mods(tokens: &mut [Token]) {
    let mut braces = Vec::new();
    for at in 0..tokens.len() {
        let is_mod = at >= 2 && tokens[at - 2].text == "mod";
        match tokens[at].text.as_str() {
            "{" => braces.push(is_mod),
            "}" => {
                braces.pop();
            }
            _ => {}
        }
        tokens[at].inline_mods = braces.iter().filter(|is_mod| **is_mod).count();
    }
}
