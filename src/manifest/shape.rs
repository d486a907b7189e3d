//! What a part of a manifest may look like, and every way in which a tree does not.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::tree::{Data, Name, Node};
use crate::model::entry::{Flaw, Place};

/// Says what is wrong with a text, if anything.
pub type Judge = fn(&str) -> Option<String>;

/// What a value may look like.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Text that the judge lets pass.
    Text(Judge),
    Bool,
    Count,
    /// Bytes: a number, or text with a unit.
    Size,
    OneOf(&'static [&'static str]),
    /// The manifest's version.
    Version,
    /// `AES256`, or a mapping with `kms`.
    Sse,
    /// A list, whose nodes are looked at elsewhere.
    Entries,
    List(&'static Shape),
    /// A mapping with names of the writer's choice.
    Named(Judge, &'static Shape),
    Fields(&'static [Field]),
    /// The shape, or null, which takes a default away.
    Removable(&'static Shape),
}

/// A field of a mapping.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub name: &'static str,
    pub shape: Shape,
    pub required: bool,
}

impl Field {
    #[must_use]
    pub const fn new(name: &'static str, shape: Shape) -> Self {
        Self { name, shape, required: false }
    }

    #[must_use]
    pub const fn required(name: &'static str, shape: Shape) -> Self {
        Self { name, shape, required: true }
    }
}

/// Collects what is wrong with one file.
#[derive(Debug)]
pub struct Flaws {
    file: Arc<str>,
    pub found: Vec<Flaw>,
}

impl Flaws {
    #[must_use]
    pub fn of(file: Arc<str>) -> Self {
        Self { file, found: Vec::new() }
    }

    pub fn add(&mut self, line: u32, message: impl Into<String>) {
        self.found.push(Flaw { place: Place { file: Arc::clone(&self.file), line }, message: message.into() });
    }

    /// Notes every way in which `node` is not of this shape; `name` is what to call it. True if there is none.
    pub fn check(&mut self, name: &str, node: &Node, shape: Shape) -> bool {
        let before = self.found.len();
        match (shape, &node.data) {
            (Shape::Removable(shape), data) => {
                if !matches!(data, Data::Null) {
                    self.check(name, node, *shape);
                }
            }
            (Shape::Text(judge), Data::Text(text)) => {
                if let Some(why) = judge(text) {
                    self.add(node.line, format!("{name}: {why}"));
                }
            }
            (Shape::Text(judge), Data::Count(_) | Data::Number(_)) => {
                let written = written(node);
                let octal =
                    if written.len() > 1 && written.starts_with('0') { "; YAML may take it for octal" } else { "" };
                self.add(node.line, format!("{name} must be text: write \"{written}\" in quotes{octal}"));
                if let Some(why) = judge(&written) {
                    self.add(node.line, format!("{name}: {why}"));
                }
            }
            (Shape::Bool, Data::Bool(_))
            | (Shape::Count | Shape::Size, Data::Count(_))
            | (Shape::Version, Data::Count(1))
            | (Shape::Entries, Data::List(_)) => {}
            (Shape::Size, Data::Text(text)) => {
                if let Err(why) = super::size::parse(text) {
                    self.add(node.line, format!("{name}: {why}"));
                }
            }
            (Shape::Count | Shape::Size, Data::Number(text)) => {
                self.add(node.line, format!("{name} must be a whole number, not {text}"));
            }
            (Shape::OneOf(words), Data::Text(text)) => {
                if !words.contains(&text.as_str()) {
                    let meant = suggestion(text, words.iter().copied());
                    self.add(node.line, format!("{name}: {} is not one of {}{meant}", shown(text), words.join(", ")));
                }
            }
            (Shape::Version, Data::Count(other)) => {
                self.add(node.line, format!("version {other} is not known; this noclobber reads version 1"));
            }
            (Shape::Sse, Data::Text(text)) => {
                if text != "AES256" {
                    let shown = shown(text);
                    self.add(node.line, format!("{name}: {shown} is neither AES256 nor {{ kms: KEY }}"));
                }
            }
            (Shape::Sse, Data::Map(fields)) => self.fields(name, node.line, fields, super::fields::SSE),
            (Shape::List(shape), Data::List(nodes)) => {
                for node in nodes {
                    self.check(name, node, *shape);
                }
            }
            (Shape::Named(judge, shape), Data::Map(fields)) => {
                self.repeats(name, fields);
                for (field, node) in fields {
                    if let Some(why) = merge_key(&field.text).or_else(|| judge(&field.text)) {
                        self.add(field.line, format!("{name}: {why}"));
                    } else {
                        self.check(&format!("{name}.{}", field.text), node, *shape);
                    }
                }
            }
            (Shape::Fields(known), Data::Map(fields)) => self.fields(name, node.line, fields, known),
            (wanted, _) => {
                self.add(node.line, format!("{name} must be {}, not {}", asked(wanted), node.kind()));
            }
        }
        self.found.len() == before
    }

    fn fields(&mut self, of: &str, line: u32, fields: &[(Name, Node)], known: &[Field]) {
        self.repeats(of, fields);
        for (name, node) in fields {
            match known.iter().find(|field| field.name == name.text) {
                Some(field) => {
                    self.check(&within(of, field.name), node, field.shape);
                }
                None => self.unknown(of, name, known),
            }
        }
        for field in known.iter().filter(|field| field.required) {
            if !fields.iter().any(|(name, _)| name.text == field.name) {
                self.add(line, format!("{} is missing", within(of, field.name)));
            }
        }
    }

    fn unknown(&mut self, of: &str, name: &Name, known: &[Field]) {
        if let Some(why) = merge_key(&name.text) {
            return self.add(name.line, why);
        }
        let meant = suggestion(&name.text, known.iter().map(|field| field.name));
        let of = if of.is_empty() { String::new() } else { format!(" in {of}") };
        self.add(name.line, format!("unknown field {}{of}{meant}", shown(&name.text)));
    }

    /// Notes every name that comes up again. serde_yaml would keep the last and say nothing.
    fn repeats(&mut self, of: &str, fields: &[(Name, Node)]) {
        let mut first = HashMap::with_capacity(fields.len());
        for (name, _) in fields {
            match first.entry(name.text.as_str()) {
                Entry::Vacant(entry) => {
                    entry.insert(name.line);
                }
                Entry::Occupied(entry) => {
                    let what = within(of, &shown(&name.text));
                    self.add(name.line, format!("{what} is given twice; the first is on line {}", entry.get()));
                }
            }
        }
    }
}

fn within(of: &str, name: &str) -> String {
    if of.is_empty() { name.to_owned() } else { format!("{of}.{name}") }
}

fn merge_key(name: &str) -> Option<String> {
    (name == "<<").then(|| "merge keys (<<) are not supported: put what entries share under defaults".to_owned())
}

/// What a shape wants, in words for a person.
fn asked(shape: Shape) -> String {
    match shape {
        Shape::Text(_) => "text".to_owned(),
        Shape::Bool => "true or false".to_owned(),
        Shape::Count => "a whole number".to_owned(),
        Shape::Size => "a size such as 500GiB".to_owned(),
        Shape::OneOf(words) => format!("one of {}", words.join(", ")),
        Shape::Version => "the number 1".to_owned(),
        Shape::Sse => "AES256 or { kms: KEY }".to_owned(),
        Shape::List(_) | Shape::Entries => "a list".to_owned(),
        Shape::Named(..) | Shape::Fields(_) => "a mapping".to_owned(),
        Shape::Removable(shape) => asked(*shape),
    }
}

fn written(node: &Node) -> String {
    match &node.data {
        Data::Count(count) => count.to_string(),
        Data::Number(text) | Data::Text(text) => text.clone(),
        Data::Null | Data::Bool(_) | Data::List(_) | Data::Map(_) => String::new(),
    }
}

/// A text on one line, cut where it is long.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    // escape_debug escapes quotes too, which nobody wants to see.
    shown = shown.replace("\\'", "'").replace("\\\"", "\"");
    if text.chars().nth(80).is_some() {
        shown.push_str("...");
    }
    if shown.is_empty() || shown.contains(' ') { format!("\"{shown}\"") } else { shown }
}

/// `; did you mean x?`, where one of the words is near enough.
#[must_use]
pub fn suggestion<'a>(text: &str, words: impl Iterator<Item = &'a str>) -> String {
    if text.len() > 64 {
        return String::new();
    }
    let plain = text.to_lowercase().replace('-', "_");
    let near = words
        .map(|word| (distance(&plain, &word.to_lowercase().replace('-', "_")), word))
        .filter(|(distance, word)| *distance <= 1.max(word.len() / 3) && *distance < word.len().min(plain.len()))
        .min();
    near.map_or_else(String::new, |(_, word)| format!("; did you mean {word}?"))
}

/// Edit distance in characters, two neighbours swapped counting as one edit (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        rows[i][0] = i;
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut cheapest = change.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                cheapest = cheapest.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = cheapest;
        }
    }
    rows[a.len()][b.len()]
}
