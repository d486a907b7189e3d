//! A YAML document as a tree that still knows its lines. Bounded: neither nesting nor aliases can blow it up.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use serde_yaml::Value;

/// A manifest needs five levels.
const DEEPEST: usize = 32;
/// Values that aliases may add. Lists are the way to more entries.
const MOST_ALIASED: usize = 1_000_000;

/// A value and the line it begins on.
#[derive(Debug, Clone)]
pub struct Node {
    /// Counted from 1.
    pub line: u32,
    pub data: Data,
}

#[derive(Debug, Clone)]
pub enum Data {
    Null,
    Bool(bool),
    /// An integer that fits.
    Count(u64),
    /// Any other number: negative, broken or too large. Kept as written.
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// In the order written, repeated names and all.
    Map(Vec<(Name, Node)>),
}

/// A mapping's key, as written: no number or bool is made of it.
#[derive(Debug, Clone)]
pub struct Name {
    pub line: u32,
    pub text: String,
}

/// What keeps a text from being a tree. Parsing cannot go on after one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub line: u32,
    pub message: String,
}

impl Node {
    /// The tree of the only document in `text`; an empty one is `Null`.
    pub fn parse(text: &str) -> Result<Self, Broken> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Builder::default().run(text).map_err(|broken| hinted(text, broken))
    }

    /// The first value under a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        match &self.data {
            Data::Map(fields) => fields.iter().find(|(n, _)| n.text == name).map(|(_, node)| node),
            _ => None,
        }
    }

    /// What this is, in words for a person.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.data {
            Data::Null => "nothing",
            Data::Bool(_) => "true or false",
            Data::Count(_) | Data::Number(_) => "a number",
            Data::Text(_) => "text",
            Data::List(_) => "a list",
            Data::Map(_) => "a mapping",
        }
    }

    /// The same for serde. Of repeated names the first wins.
    #[must_use]
    pub fn value(&self) -> Value {
        match &self.data {
            Data::Null => Value::Null,
            Data::Bool(yes) => Value::Bool(*yes),
            Data::Count(count) => Value::Number((*count).into()),
            Data::Number(text) | Data::Text(text) => Value::String(text.clone()),
            Data::List(nodes) => Value::Sequence(nodes.iter().map(Self::value).collect()),
            Data::Map(fields) => {
                let mut map = serde_yaml::Mapping::with_capacity(fields.len());
                for (name, node) in fields {
                    map.entry(Value::String(name.text.clone())).or_insert_with(|| node.value());
                }
                Value::Mapping(map)
            }
        }
    }

    fn size(&self) -> usize {
        1 + match &self.data {
            Data::List(nodes) => nodes.iter().map(Self::size).sum(),
            Data::Map(fields) => fields.iter().map(|(_, node)| 1 + node.size()).sum(),
            _ => 0,
        }
    }
}

/// A collection that is still open.
#[derive(Debug)]
struct Open {
    anchor: usize,
    node: Node,
    /// The name that waits for its value, in a mapping.
    name: Option<Name>,
}

#[derive(Debug, Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    /// By anchor id, with the number of values an alias to it adds.
    anchors: HashMap<usize, (Node, usize)>,
    aliased: usize,
}

impl Builder {
    fn run(mut self, text: &str) -> Result<Node, Broken> {
        let mut documents = 0;
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| syntax(&error))?;
            let line = u32::try_from(span.start.line()).unwrap_or(u32::MAX);
            match event {
                Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
                // Not left to the iterator: some errors leave it without an end.
                Event::StreamEnd => break,
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        return broken(line, "a second document begins here (---); a manifest is one document");
                    }
                }
                Event::Alias(id) => self.alias(line, id)?,
                Event::Scalar(text, style, anchor, tag) => {
                    let as_text = style != ScalarStyle::Plain || is_text_tag(line, tag.as_deref())?;
                    self.scalar(line, &text, as_text, anchor)?;
                }
                Event::SequenceStart(anchor, tag) => {
                    self.begin(line, Data::List(Vec::new()), anchor, tag.as_deref())?;
                }
                Event::MappingStart(anchor, tag) => self.begin(line, Data::Map(Vec::new()), anchor, tag.as_deref())?,
                Event::SequenceEnd | Event::MappingEnd => {
                    if let Some(done) = self.open.pop() {
                        self.place(done.node, done.anchor)?;
                    }
                }
            }
        }
        Ok(self.root.unwrap_or(Node { line: 1, data: Data::Null }))
    }

    fn begin(&mut self, line: u32, data: Data, anchor: usize, tag: Option<&Tag>) -> Result<(), Broken> {
        if let Some(tag) = tag {
            return broken(line, &format!("the YAML tag {tag} means nothing in a manifest"));
        }
        if self.open.len() >= DEEPEST {
            return broken(line, &format!("nested more than {DEEPEST} levels deep"));
        }
        if self.wants_name() {
            return broken(line, "a field's name must be text, not a list or a mapping");
        }
        self.open.push(Open { anchor, node: Node { line, data }, name: None });
        Ok(())
    }

    fn scalar(&mut self, line: u32, text: &str, as_text: bool, anchor: usize) -> Result<(), Broken> {
        if self.wants_name() {
            if let Some(open) = self.open.last_mut() {
                open.name = Some(Name { line, text: text.to_owned() });
            }
            return Ok(());
        }
        let data = if as_text { Data::Text(text.to_owned()) } else { plain(text) };
        self.place(Node { line, data }, anchor)
    }

    fn alias(&mut self, line: u32, id: usize) -> Result<(), Broken> {
        if self.wants_name() {
            return broken(line, "a field's name must be written out, not an alias");
        }
        let Some((node, size)) = self.anchors.get(&id) else {
            return broken(line, "this alias stands for something that contains it");
        };
        self.aliased += size;
        if self.aliased > MOST_ALIASED {
            return broken(line, &format!("aliases add up to more than {MOST_ALIASED} values; use a list file"));
        }
        let node = Node { line, data: node.data.clone() };
        self.place(node, 0)
    }

    fn wants_name(&self) -> bool {
        self.open.last().is_some_and(|open| matches!(open.node.data, Data::Map(_)) && open.name.is_none())
    }

    fn place(&mut self, node: Node, anchor: usize) -> Result<(), Broken> {
        if anchor > 0 {
            let size = node.size();
            self.aliased += size;
            if self.aliased > MOST_ALIASED {
                return broken(
                    node.line,
                    &format!("anchors add up to more than {MOST_ALIASED} values; use a list file"),
                );
            }
            self.anchors.insert(anchor, (node.clone(), size));
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(open) => match &mut open.node.data {
                Data::Map(fields) => {
                    if let Some(name) = open.name.take() {
                        fields.push((name, node));
                    }
                }
                Data::List(nodes) => nodes.push(node),
                Data::Null | Data::Bool(_) | Data::Count(_) | Data::Number(_) | Data::Text(_) => {}
            },
        }
        Ok(())
    }
}

fn broken<T>(line: u32, message: &str) -> Result<T, Broken> {
    Err(Broken { line, message: message.to_owned() })
}

fn is_text_tag(line: u32, tag: Option<&Tag>) -> Result<bool, Broken> {
    match tag {
        None => Ok(false),
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Ok(true),
        Some(tag) if tag.is_yaml_core_schema() => {
            broken(line, &format!("the YAML tag !!{} means nothing in a manifest", tag.suffix))
        }
        Some(tag) => broken(line, &format!("the YAML tag {tag} means nothing in a manifest")),
    }
}

/// A plain scalar by YAML 1.2's core schema (10.3.2), so that `no` and `on` stay text.
fn plain(text: &str) -> Data {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Data::Null,
        "true" | "True" | "TRUE" => return Data::Bool(true),
        "false" | "False" | "FALSE" => return Data::Bool(false),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Data::Text(text.to_owned());
    }
    let digits = text.strip_prefix('+').unwrap_or(text);
    // A leading zero is octal to YAML 1.1 and decimal to 1.2: never a count.
    let is_count = digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if is_count && let Ok(count) = digits.parse() {
        return Data::Count(count);
    }
    let is_number = digits.trim_start_matches('-').parse::<f64>().is_ok()
        || matches!(text, ".inf" | ".Inf" | ".INF" | "-.inf" | "+.inf" | ".nan" | ".NaN" | ".NAN")
        || radix(text, "0x", 16)
        || radix(text, "0o", 8);
    if is_number { Data::Number(text.to_owned()) } else { Data::Text(text.to_owned()) }
}

fn radix(text: &str, prefix: &str, radix: u32) -> bool {
    text.strip_prefix(prefix).is_some_and(|digits| !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix)))
}

fn syntax(error: &saphyr_parser::ScanError) -> Broken {
    let line = u32::try_from(error.marker().line().max(1)).unwrap_or(u32::MAX);
    Broken { line, message: format!("this is not YAML: {}", error.info()) }
}

/// Adds the usual cause, where the line shows it.
fn hinted(text: &str, broken: Broken) -> Broken {
    let Broken { line, mut message } = broken;
    let written = text.lines().nth(line as usize - 1).unwrap_or("");
    let indent = &written[..written.len() - written.trim_start().len()];
    if indent.contains('\t') {
        message.push_str("; the line is indented with a tab: use spaces");
    } else if [": {{", "- {{", ", {{", "[{{"].iter().any(|mark| written.contains(mark)) {
        message.push_str("; a template must be in quotes: \"{{ date }}/...\"");
    }
    Broken { line, message }
}
