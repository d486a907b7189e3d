//! From a manifest's text to what it asks for, or to everything that is wrong with it.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_yaml::Value;

use super::fields::{self, ENTRY, MANIFEST, TARGET};
use super::key::Allowed;
use super::limits::Limits;
use super::shape::{Flaws, Shape, shown, suggestion};
use super::tree::{Data, Node};
use super::wanted::Wanted;
use crate::model::entry::{Compare, Flaw, Rule};
use crate::model::target::TargetSpec;

/// What a manifest asks for, before templates are rendered and sources looked for.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// As places name it.
    pub file: Arc<str>,
    pub name: Option<String>,
    pub targets: Vec<Target>,
    pub choices: Choices,
    pub stages_line: u32,
    pub limits: Limits,
    pub allowed: Allowed,
    pub allow_unusual_keys: bool,
    pub allow_outside_base: bool,
    /// In the order written.
    pub items: Vec<Item>,
    pub warnings: Vec<String>,
}

/// The names that entries and rows may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choices {
    targets: Vec<Arc<str>>,
    /// Otherwise a name that is not known may have been meant well.
    targets_are_sound: bool,
    stages: Vec<Arc<str>>,
    stages_are_sound: bool,
}

/// A target as written; the prefix may still be a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub spec: TargetSpec,
    pub prefix_line: u32,
}

/// One of `entries`: a file, a glob or a list. Yields one entry, many, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub line: u32,
    pub from: From,
    pub rule: Rule,
    pub compare: Compare,
    pub stage: Option<Arc<str>>,
    /// Name of one of the manifest's targets.
    pub target: Arc<str>,
    pub optional: bool,
    pub properties: Arc<Wanted>,
}

/// Where an item's sources and keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// A file or a glob, and the key's template.
    Source { source: String, source_line: u32, key: String, key_line: u32 },
    /// A CSV file.
    List { path: String, line: u32 },
}

/// Reads a manifest. `file` is what places call it. The flaws are all that there are, by line.
pub fn read(file: &str, text: &str) -> Result<Manifest, Vec<Flaw>> {
    match sound(file, text) {
        (Some(manifest), flaws) if flaws.is_empty() => Ok(manifest),
        (_, flaws) => Err(flaws),
    }
}

/// Reads what is sound of a manifest, so that what is wrong with its files can be told in the same run as what is wrong
/// with its text. Nothing may be done with it while there are flaws.
#[must_use]
pub fn sound(file: &str, text: &str) -> (Option<Manifest>, Vec<Flaw>) {
    let mut flaws = Flaws::of(file.into());
    let manifest = match Node::parse(text) {
        Ok(root) => Reader { file: file.into(), flaws: &mut flaws }.manifest(&root),
        Err(broken) => {
            flaws.add(broken.line, broken.message);
            None
        }
    };
    let mut found = flaws.found;
    found.sort();
    found.dedup();
    (manifest, found)
}

struct Reader<'a> {
    file: Arc<str>,
    flaws: &'a mut Flaws,
}

impl Reader<'_> {
    fn manifest(mut self, root: &Node) -> Option<Manifest> {
        match &root.data {
            Data::Map(_) => {}
            Data::Null => {
                self.flaws.add(1, "is empty; `noclobber init` writes a manifest to begin with");
                return None;
            }
            _ => {
                let kind = root.kind();
                self.flaws.add(
                    root.line,
                    format!("a manifest must be a mapping with version, bucket and entries, not {kind}"),
                );
                return None;
            }
        }
        // Another version's fields mean other things.
        if let Some(version @ Node { data: Data::Count(2..), .. }) = root.get("version") {
            self.flaws.check("version", version, Shape::Version);
            return None;
        }
        self.flaws.check("", root, Shape::Fields(MANIFEST));
        let written: fields::Manifest = self.decode(root.line, self.sound_fields(root))?;
        let targets = self.targets(root, &written);
        let stages_line = root.get("stages").map_or(root.line, |node| node.line);
        let stages = self.stages(root, written.stages.unwrap_or_default());
        let defaults = match root.get("defaults") {
            Some(node) => Wanted::plain().with(written.defaults, node, self.flaws),
            None => Wanted::plain(),
        };
        let entries = match root.get("entries").map(|node| &node.data) {
            Some(Data::List(nodes)) => nodes.as_slice(),
            _ => &[],
        };
        let choices = Choices {
            targets_are_sound: !targets.is_empty() && self.is_sound(root, "targets"),
            targets: targets.iter().map(|target| Arc::from(target.spec.name.as_str())).collect(),
            stages_are_sound: self.is_sound(root, "stages"),
            stages,
        };
        let shared =
            Shared { rule: written.overwrite, compare: written.compare, choices, defaults: Arc::new(defaults) };
        let items: Vec<Item> = entries.iter().filter_map(|node| self.item(node, &shared)).collect();
        let warnings = self.warnings(root, &shared.choices, &items, entries);
        Some(Manifest {
            file: self.file,
            name: written.name,
            targets,
            choices: shared.choices,
            stages_line,
            limits: written.limits,
            allowed: Allowed::new(written.allow_keys),
            allow_unusual_keys: written.allow_unusual_keys,
            allow_outside_base: written.allow_outside_base,
            items,
            warnings,
        })
    }

    /// The root without the fields that have flaws, and without the entries.
    fn sound_fields(&self, root: &Node) -> Value {
        let mut map = serde_yaml::Mapping::new();
        for field in MANIFEST.iter().filter(|field| field.name != "entries" && self.is_sound(root, field.name)) {
            if let Some(node) = root.get(field.name) {
                map.insert(Value::String(field.name.to_owned()), node.value());
            }
        }
        map.entry(Value::String("version".to_owned())).or_insert(Value::Number(1.into()));
        Value::Mapping(map)
    }

    fn is_sound(&self, root: &Node, name: &str) -> bool {
        let field = MANIFEST.iter().find(|field| field.name == name);
        match (field, root.get(name)) {
            (Some(field), Some(node)) => Flaws::of(Arc::clone(&self.file)).check(name, node, field.shape),
            _ => true,
        }
    }

    fn decode<T: DeserializeOwned>(&mut self, line: u32, value: Value) -> Option<T> {
        // The shapes were checked, so this fails only where they and the structs disagree.
        serde_yaml::from_value(value).map_err(|error| self.flaws.add(line, error.to_string())).ok()
    }

    fn targets(&mut self, root: &Node, written: &fields::Manifest) -> Vec<Target> {
        let line_of = |name: &str| root.get(name).map_or(root.line, |node| node.line);
        let Some(targets) = root.get("targets") else {
            let Some(bucket) = &written.target.bucket else {
                if root.get("bucket").is_none() {
                    self.flaws.add(root.line, "bucket is missing (or targets, for several)");
                }
                return Vec::new();
            };
            let spec = spec("default", bucket.clone(), written.target.rest.clone());
            return vec![Target { spec, prefix_line: line_of("prefix") }];
        };
        for field in TARGET.iter().filter(|field| root.get(field.name).is_some()) {
            let name = field.name;
            self.flaws.add(line_of(name), format!("{name} belongs to each of the targets, since there are some"));
        }
        let Data::Map(named) = &targets.data else { return Vec::new() };
        if named.is_empty() {
            self.flaws.add(targets.line, "targets is empty");
        }
        let mut found: Vec<Target> = Vec::new();
        for (name, node) in named {
            let is_sound = Flaws::of(Arc::clone(&self.file)).check("", node, Shape::Fields(TARGET));
            if !is_sound || found.iter().any(|target| target.spec.name == name.text) {
                continue;
            }
            if let Some(fields::TargetFields { bucket, rest }) = self.decode(node.line, node.value()) {
                let prefix_line = node.get("prefix").map_or(node.line, |node| node.line);
                found.push(Target { spec: spec(&name.text, bucket, rest), prefix_line });
            }
        }
        found
    }

    fn stages(&mut self, root: &Node, names: Vec<String>) -> Vec<Arc<str>> {
        let lines: Vec<u32> = match root.get("stages").map(|node| &node.data) {
            Some(Data::List(nodes)) => nodes.iter().map(|node| node.line).collect(),
            _ => Vec::new(),
        };
        let mut stages: Vec<Arc<str>> = Vec::new();
        for (name, line) in names.into_iter().zip(lines) {
            if stages.iter().any(|stage| **stage == *name) {
                self.flaws.add(line, format!("stage {name} is named twice"));
            } else {
                stages.push(name.into());
            }
        }
        stages
    }

    fn item(&mut self, node: &Node, shared: &Shared) -> Option<Item> {
        let before = self.flaws.found.len();
        if !matches!(node.data, Data::Map(_)) {
            let kind = node.kind();
            self.flaws.add(node.line, format!("an entry must be a mapping with source and key, not {kind}"));
            return None;
        }
        self.flaws.check("", node, Shape::Fields(ENTRY));
        let is_sound = self.flaws.found.len() == before;
        let source = self.source(node);
        let line_of = |name: &str| node.get(name).map_or(node.line, |node| node.line);
        let stage = self.stage(node, &shared.choices);
        let target = self.target(node, &shared.choices);
        if !is_sound {
            return None;
        }
        let written: fields::Entry = self.decode(node.line, node.value())?;
        let properties = if written.properties == fields::Properties::default() {
            Arc::clone(&shared.defaults)
        } else {
            Arc::new(shared.defaults.with(written.properties, node, self.flaws))
        };
        let from = match source? {
            Kind::Source => From::Source {
                source: written.source?,
                source_line: line_of("source"),
                key: written.key?,
                key_line: line_of("key"),
            },
            Kind::List => From::List { path: written.list?, line: line_of("list") },
        };
        Some(Item {
            line: node.line,
            from,
            rule: written.overwrite.unwrap_or(shared.rule),
            compare: written.compare.unwrap_or(shared.compare),
            stage: stage.ok()?,
            target: target?,
            optional: written.optional,
            properties,
        })
    }

    fn source(&mut self, node: &Node) -> Option<Kind> {
        let line_of = |name: &str| node.get(name).map_or(node.line, |node| node.line);
        match (node.get("source").is_some(), node.get("list").is_some(), node.get("key").is_some()) {
            (true, false, true) => return Some(Kind::Source),
            (false, true, false) => return Some(Kind::List),
            (true, false, false) => self.flaws.add(node.line, "key is missing"),
            (false, true, true) => {
                self.flaws.add(line_of("key"), "key belongs to source; a list's keys are in its own column");
            }
            (true, true, _) => self.flaws.add(line_of("list"), "an entry has either source or list, not both"),
            // What a merge key brings is not looked at; that it is refused says enough.
            (false, false, _) if node.get("<<").is_some() => {}
            (false, false, _) => self.flaws.add(node.line, "source is missing (or list)"),
        }
        None
    }

    /// `Err` where it is flawed, which was noted.
    fn stage(&mut self, node: &Node, choices: &Choices) -> Result<Option<Arc<str>>, ()> {
        let Some(Node { line, data: Data::Text(name) }) = node.get("stage") else {
            return Ok(choices.stages.first().cloned());
        };
        choices.stage(name).map_err(|why| self.flaws.add(*line, why))
    }

    /// `None` where it is flawed.
    fn target(&mut self, node: &Node, choices: &Choices) -> Option<Arc<str>> {
        let (line, named) = match node.get("target") {
            Some(Node { line, data: Data::Text(name) }) => (*line, Some(name.as_str())),
            _ => (node.line, None),
        };
        // A list's rows may each name theirs.
        if named.is_none() && node.get("list").is_some() && choices.targets.len() > 1 {
            return Some("".into());
        }
        choices.target(named).map_err(|why| self.flaws.add(line, why)).ok()
    }

    fn warnings(&self, root: &Node, choices: &Choices, items: &[Item], entries: &[Node]) -> Vec<String> {
        let mut warnings = Vec::new();
        if entries.is_empty() {
            let line = root.get("entries").map_or(root.line, |node| node.line);
            warnings.push(format!("{}:{line}: there are no entries", self.file));
        }
        let has_lists = items.iter().any(|item| matches!(item.from, From::List { .. }));
        if let Some(targets) = root.get("targets")
            && !has_lists
        {
            for name in choices.targets.iter().filter(|name| items.iter().all(|item| item.target != **name)) {
                let line = targets.get(name).map_or(targets.line, |node| node.line);
                warnings.push(format!("{}:{line}: no entry goes to target {name}", self.file));
            }
        }
        warnings
    }
}

enum Kind {
    Source,
    List,
}

/// What the entries share.
struct Shared {
    rule: Rule,
    compare: Compare,
    choices: Choices,
    defaults: Arc<Wanted>,
}

impl Choices {
    /// In the order in which they run.
    #[must_use]
    pub fn stages(&self) -> &[Arc<str>] {
        &self.stages
    }

    /// The target that a list's row means: its own, else the item's.
    pub fn target_of(&self, item: &Item, named: Option<&str>) -> Result<Arc<str>, String> {
        match named {
            None if !item.target.is_empty() => Ok(Arc::clone(&item.target)),
            named => self.target(named),
        }
    }

    /// The stage that a list's row means: its own, else the item's.
    pub fn stage_of(&self, item: &Item, named: Option<&str>) -> Result<Option<Arc<str>>, String> {
        named.map_or_else(|| Ok(item.stage.clone()), |name| self.stage(name))
    }

    fn target(&self, written: Option<&str>) -> Result<Arc<str>, String> {
        let known = match (written, self.targets.as_slice()) {
            (None, [only]) => Some(only),
            (None, _) => None,
            (Some(name), all) => all.iter().find(|known| ***known == *name),
        };
        match (known, written) {
            (Some(known), _) => Ok(Arc::clone(known)),
            (None, _) if !self.targets_are_sound => Ok("".into()),
            (None, None) => Err(format!("target is missing: one of {}", self.targets.join(", "))),
            (None, Some(name)) => {
                let meant = suggestion(name, self.targets.iter().map(|name| &**name));
                Err(format!("target {} is not one of {}{meant}", shown(name), self.targets.join(", ")))
            }
        }
    }

    fn stage(&self, name: &str) -> Result<Option<Arc<str>>, String> {
        if let Some(stage) = self.stages.iter().find(|stage| ***stage == *name) {
            return Ok(Some(Arc::clone(stage)));
        }
        if !self.stages_are_sound {
            return Ok(None);
        }
        if self.stages.is_empty() {
            return Err(format!("stage {} is not known: the manifest has no stages", shown(name)));
        }
        let meant = suggestion(name, self.stages.iter().map(|stage| &**stage));
        Err(format!("stage {} is not one of {}{meant}", shown(name), self.stages.join(", ")))
    }
}

fn spec(name: &str, bucket: String, reach: fields::Reach) -> TargetSpec {
    let fields::Reach {
        bucket_owner,
        region,
        profile,
        endpoint,
        addressing,
        prefix,
        role_arn,
        request_payer,
        trust_metadata,
        conditional_writes,
        require,
    } = reach;
    TargetSpec {
        name: name.to_owned(),
        bucket,
        bucket_owner,
        region,
        profile,
        endpoint,
        addressing,
        prefix,
        role_arn,
        request_payer,
        trust_metadata: trust_metadata.unwrap_or(true),
        conditional_writes,
        require,
    }
}
