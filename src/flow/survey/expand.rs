//! From one manifest's items to entries: sources found, keys and properties rendered and judged.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use crate::local::find::{self, Base, Found, Outside};
use crate::manifest::key;
use crate::manifest::list::{self, Row};
use crate::manifest::template::{Engine, Scope, Template};
use crate::manifest::wanted::Resolver;
use crate::manifest::{From, Item, Manifest};
use crate::model::entry::{Compare, Entry, Flaw, Key, Place, Rule, Terms};
use crate::model::text::{count, escape};

/// Flaws told of one item. A wrong template over a million matches is one mistake.
const MOST_FLAWS: usize = 50;

/// Keys outside `allow_keys` that are named one by one.
const MOST_STRAYS: usize = 10;
/// Rows of a list whose files are looked for together.
const ROWS_AT_ONCE: usize = 4096;

/// Works through one manifest.
pub struct Expand<'a> {
    engine: &'a Engine,
    manifest: &'a Manifest,
    /// What the plan calls this manifest's targets.
    names: &'a HashMap<String, Arc<str>>,
    /// Rendered, by target; a target whose prefix is flawed is not here.
    prefixes: HashMap<String, String>,
    base: Arc<Base>,
    /// From the plan's base to this manifest's.
    below: String,
    plan_base: &'a Path,
    /// As a person wrote it, for the names of lists.
    folder: Option<&'a Path>,
    resolver: Resolver,
    /// What entries without a stage get.
    stage: Option<Arc<str>>,
    terms: HashMap<TermsId, Arc<Terms>>,
    /// Keys that match none of `allow_keys`: how many, and the first of them.
    strays: (u64, Vec<String>),
    /// Of the item at hand.
    seen: HashSet<(Place, String)>,
    more: usize,
    pub flaws: Vec<Flaw>,
    pub warnings: Vec<String>,
}

/// Equal terms by what they are made of: shared texts by their addresses, which stay theirs while the terms are kept.
type TermsId = (usize, Rule, Compare, Option<usize>, usize);

/// What an entry has besides its source and its key.
struct Rest {
    place: Place,
    rule: Rule,
    stage: Option<Arc<str>>,
    target: Arc<str>,
}

impl<'a> Expand<'a> {
    pub fn new(
        engine: &'a Engine,
        manifest: &'a Manifest,
        names: &'a HashMap<String, Arc<str>>,
        base: &Path,
        plan_base: &'a Path,
        folder: Option<&'a Path>,
        stage: Option<Arc<str>>,
    ) -> Result<Self, Flaw> {
        let file = Place { file: Arc::clone(&manifest.file), line: 0 };
        let outside = if manifest.allow_outside_base { Outside::Allowed } else { Outside::Refused };
        let base = Base::new(base, outside).map_err(|error| Flaw { place: file, message: error.to_string() })?;
        let below = base.path().strip_prefix(plan_base).unwrap_or(Path::new("")).to_string_lossy().into_owned();
        Ok(Self {
            engine,
            manifest,
            names,
            prefixes: HashMap::new(),
            base: Arc::new(base),
            below,
            plan_base,
            folder,
            resolver: Resolver::default(),
            stage,
            terms: HashMap::new(),
            strays: (0, Vec::new()),
            seen: HashSet::new(),
            more: 0,
            flaws: Vec::new(),
            warnings: manifest.warnings.clone(),
        })
    }

    /// Adds every entry, in the order written.
    pub fn all(&mut self, entries: &mut Vec<Entry>) {
        for target in &self.manifest.targets {
            match self.prefix(&target.spec.prefix) {
                Ok(prefix) => {
                    self.prefixes.insert(target.spec.name.clone(), prefix);
                }
                Err(why) => self.flaw(target.prefix_line, format!("prefix: {why}")),
            }
        }
        for item in &self.manifest.items {
            self.seen.clear();
            match &item.from {
                From::Source { source, source_line, key, key_line } => match self.engine.compile(key) {
                    Ok(key) => self.source(item, source, *source_line, &key, *key_line, entries),
                    Err(why) => self.flaw(*key_line, format!("key: {why}")),
                },
                From::List { path, line } => self.list(item, path, *line, entries),
            }
            if self.more > 0 {
                let message = format!("and {} more flaws of this entry", std::mem::take(&mut self.more));
                let place = self.at(item.line);
                self.flaws.push(Flaw { place, message });
            }
        }
    }

    fn prefix(&self, text: &str) -> Result<String, String> {
        let prefix = self.engine.compile(text).and_then(|text| self.engine.render(&text, &self.engine.scope()))?;
        // With some key after it: a prefix alone may end in a slash.
        match key::flaw(&format!("{prefix}k"), self.manifest.allow_unusual_keys) {
            Some(why) => Err(why),
            None => Ok(prefix),
        }
    }

    fn at(&self, line: u32) -> Place {
        Place { file: Arc::clone(&self.manifest.file), line }
    }

    fn flaw(&mut self, line: u32, message: String) {
        self.note(Flaw { place: self.at(line), message });
    }

    fn note(&mut self, flaw: Flaw) {
        if self.seen.len() >= MOST_FLAWS {
            self.more += 1;
        } else if self.seen.insert((flaw.place.clone(), flaw.message.clone())) {
            self.flaws.push(flaw);
        }
    }

    fn source(
        &mut self,
        item: &Item,
        source: &str,
        source_line: u32,
        key: &Template<'_>,
        key_line: u32,
        entries: &mut Vec<Entry>,
    ) {
        let is_glob = find::is_glob(source);
        let found = if is_glob {
            self.base.glob(source).map(|matches| {
                let place = self.at(source_line);
                self.warnings.extend(matches.warnings.into_iter().map(|warning| format!("{place}: {warning}")));
                for error in matches.unreadable {
                    self.flaw(source_line, error.to_string());
                }
                matches.found
            })
        } else {
            self.base.literal(source).map(|found| vec![found])
        };
        let found = match found {
            Ok(found) if found.is_empty() => {
                return self.absent(item, source_line, &format!("{source} matches no file"));
            }
            Ok(found) => found,
            Err(error @ find::Error::Missing { .. }) => return self.absent(item, source_line, &error.to_string()),
            Err(error) => return self.flaw(source_line, error.to_string()),
        };
        for found in found {
            let scope = if is_glob { self.engine.scope_of(&found.path) } else { self.engine.scope() };
            match self.engine.render(key, &scope) {
                Ok(key) => {
                    let rest = Rest {
                        place: self.at(item.line),
                        rule: item.rule,
                        stage: item.stage.clone(),
                        target: Arc::clone(&item.target),
                    };
                    let at = self.at(key_line);
                    entries.extend(self.entry(item, found, &key, &at, rest, &scope));
                }
                Err(why) => self.flaw(key_line, format!("key: {why}")),
            }
        }
    }

    /// Nothing is there: fine for an optional item, a flaw for any other.
    fn absent(&mut self, item: &Item, line: u32, what: &str) {
        if item.optional {
            self.warnings.push(format!("{}: {what}; it is optional", self.at(line)));
        } else {
            self.flaw(line, format!("{what}; if that is fine, say optional: true"));
        }
    }

    fn list(&mut self, item: &Item, path: &str, line: u32, entries: &mut Vec<Entry>) {
        let name = self.folder.map_or_else(|| PathBuf::from(path), |folder| folder.join(path));
        let path = self.base.path().join(path);
        let kind = match std::fs::metadata(&path) {
            Ok(metadata) => metadata.file_type(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return self.absent(item, line, &format!("the list {} does not exist", name.display()));
            }
            Err(error) => return self.flaw(line, format!("the list {} cannot be read: {error}", name.display())),
        };
        if !kind.is_file() {
            return self.flaw(line, format!("the list {} is not a file", name.display()));
        }
        let file = match std::fs::File::open(&path) {
            Ok(file) => file,
            Err(error) => return self.flaw(line, format!("the list {} cannot be read: {error}", name.display())),
        };
        let file_name: Arc<str> = name.display().to_string().into();
        let scope = self.engine.scope();
        let mut rows = list::rows(&file_name, file);
        let base = Arc::clone(&self.base);
        let mut is_empty = true;
        let mut looked_for: Vec<(Row, Result<Found, find::Error>)> = Vec::new();
        loop {
            let mut batch = Vec::with_capacity(ROWS_AT_ONCE);
            let mut is_over = looked_for.is_empty();
            for row in rows.by_ref().take(ROWS_AT_ONCE) {
                (is_over, is_empty) = (false, false);
                match row {
                    Ok(row) => batch.push(row),
                    Err(flaws) => flaws.into_iter().for_each(|flaw| self.note(flaw)),
                }
            }
            // While one batch is looked for on disk, the one before becomes entries.
            let (found, ()) = rayon::join(
                || batch.into_par_iter().map(|row| (base.literal(&row.source), row)).collect::<Vec<_>>(),
                || {
                    for (row, found) in looked_for.drain(..) {
                        entries.extend(self.row(item, &file_name, row, found, &scope));
                    }
                },
            );
            if is_over {
                break;
            }
            looked_for = found.into_iter().map(|(found, row)| (row, found)).collect();
        }
        if is_empty {
            // As a glob that matches nothing: a dump that came out empty must not pass for a batch that is done.
            self.absent(item, line, &format!("the list {} names no file", name.display()));
        }
    }

    fn row(
        &mut self,
        item: &Item,
        file: &Arc<str>,
        row: Row,
        found: Result<Found, find::Error>,
        scope: &Scope,
    ) -> Option<Entry> {
        let Row { line, source: _, key, rule, stage, target } = row;
        let place = Place { file: Arc::clone(file), line };
        let stage = self.manifest.choices.stage_of(item, stage.as_deref());
        let target = self.manifest.choices.target_of(item, target.as_deref());
        let found = match found {
            Err(error @ find::Error::Missing { .. }) if item.optional => {
                self.warnings.push(format!("{place}: {error}; it is optional"));
                return None;
            }
            found => found.map_err(|error| error.to_string()),
        };
        match (found, stage, target) {
            (Ok(found), Ok(stage), Ok(target)) => {
                let rest = Rest { place: place.clone(), rule: rule.unwrap_or(item.rule), stage, target };
                self.entry(item, found, &key, &place, rest, scope)
            }
            (found, stage, target) => {
                for message in [found.err(), stage.err(), target.err()].into_iter().flatten() {
                    self.note(Flaw { place: place.clone(), message });
                }
                None
            }
        }
    }

    fn entry(&mut self, item: &Item, found: Found, key: &str, at: &Place, rest: Rest, scope: &Scope) -> Option<Entry> {
        let Found { source, path: _, real, flaw } = found;
        let Rest { place, rule, stage, target } = rest;
        let prefix = self.prefixes.get(&*target)?;
        let full = format!("{prefix}{key}");
        // A source that is flawed gives its key flaws of its own, which are not the writer's.
        if flaw.is_none() {
            let wrong = if key.is_empty() {
                Some("the key is empty".to_owned())
            } else {
                key::flaw(&full, self.manifest.allow_unusual_keys)
            };
            if let Some(message) = wrong {
                self.note(Flaw { place: at.clone(), message });
                return None;
            }
            if !self.manifest.allowed.allows(&full) {
                self.strays.0 += 1;
                if self.strays.1.len() < MOST_STRAYS {
                    self.strays.1.push(format!("{at}: {}", escape(&full)));
                }
            }
        }
        let properties = match self.resolver.resolve(&item.properties, self.engine, scope, &source) {
            Ok(properties) => properties,
            Err(wrong) => {
                for (line, message) in wrong {
                    self.flaw(line, message);
                }
                return None;
            }
        };
        let real = real.map(|real| real.strip_prefix(self.plan_base).unwrap_or(&real).to_string_lossy().into());
        let terms = self.terms(Terms {
            target: self.names.get(&*target).map_or(target, Arc::clone),
            rule,
            compare: item.compare,
            stage: stage.or_else(|| self.stage.clone()),
            properties,
        });
        let source = self.below_plan_base(&source).into();
        Some(Entry { place, source, real, key: Key::new(full), terms, flaw: flaw.map(Into::into) })
    }

    fn terms(&mut self, terms: Terms) -> Arc<Terms> {
        let Terms { target, rule, compare, stage, properties } = &terms;
        let stage = stage.as_ref().map(|stage| stage.as_ptr() as usize);
        let id = (target.as_ptr() as usize, *rule, *compare, stage, Arc::as_ptr(properties) as usize);
        Arc::clone(self.terms.entry(id).or_insert_with(|| Arc::new(terms)))
    }

    /// What keeps the whole plan from being applied.
    pub fn refusal(&self) -> Option<Flaw> {
        let (strays, first) = &self.strays;
        if *strays == 0 {
            return None;
        }
        let more = strays - first.len() as u64;
        let more = if more > 0 { format!("; and {} more", count(more)) } else { String::new() };
        let message = format!(
            "{} {} outside allow_keys ({}): {}{more}",
            count(*strays),
            if *strays == 1 { "key is" } else { "keys are" },
            self.manifest.allowed.written().join(", "),
            first.join("; "),
        );
        Some(Flaw { place: self.at(0), message })
    }

    /// The source relative to the plan's base. The manifest's folder has no links in it, so leading `..` fold.
    fn below_plan_base(&self, source: &str) -> String {
        if source.starts_with('/') || self.below.is_empty() {
            return source.to_owned();
        }
        let (mut below, mut source) = (self.below.as_str(), source);
        while let Some(rest) = source.strip_prefix("../") {
            let Some((above, _)) = below.rsplit_once('/') else {
                return if below.is_empty() { source.to_owned() } else { rest.to_owned() };
            };
            (below, source) = (above, rest);
        }
        format!("{below}/{source}")
    }
}
