//! Object properties from defaults and entry to what is sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fields::{Managed, Properties as Written, Setting, Sse as WrittenSse};
use super::property::{metadata_total, metadata_value, tag_value, tags_total};
use super::shape::Flaws;
use super::template::{Engine, Scope};
use super::tree::Node;
use crate::model::entry::{Properties, Sse};

/// Properties with the defaults in, templates not yet rendered and the type not yet detected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The content type may be `auto`. Templated values are here too, unrendered.
    properties: Properties,
    templates: Vec<Templated>,
}

/// Where a value that is a template stands.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Templated {
    of: Of,
    name: String,
    line: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Metadata,
    Tags,
}

impl Of {
    fn name(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Tags => "tags",
        }
    }

    fn map(self, properties: &mut Properties) -> &mut BTreeMap<String, String> {
        match self {
            Self::Metadata => &mut properties.metadata,
            Self::Tags => &mut properties.tags,
        }
    }
}

impl Wanted {
    /// What every entry has where nothing is said.
    #[must_use]
    pub fn plain() -> Self {
        let properties = Properties { content_type: Some("auto".to_owned()), ..Properties::default() };
        Self { properties, templates: Vec::new() }
    }

    /// What is written at `node`, over `self`. Notes where S3's totals are passed.
    #[must_use]
    pub fn with(&self, written: Written, node: &Node, flaws: &mut Flaws) -> Self {
        let Written {
            content_type,
            cache_control,
            content_encoding,
            content_disposition,
            content_language,
            storage_class,
            acl,
            sse,
            metadata,
            tags,
        } = written;
        let under = self.properties.clone();
        let mut result = Self {
            properties: Properties {
                content_type: content_type.over(under.content_type),
                cache_control: cache_control.over(under.cache_control),
                content_encoding: content_encoding.over(under.content_encoding),
                content_disposition: content_disposition.over(under.content_disposition),
                content_language: content_language.over(under.content_language),
                storage_class: storage_class.over(under.storage_class),
                acl: acl.over(under.acl),
                sse: match sse {
                    Setting::Unsaid => under.sse,
                    Setting::Removed => None,
                    Setting::Said(WrittenSse::Managed(Managed::Aes256)) => Some(Sse::Aes256),
                    Setting::Said(WrittenSse::Kms { kms }) => Some(Sse::Kms(kms)),
                },
                metadata: under.metadata,
                tags: under.tags,
            },
            templates: self.templates.clone(),
        };
        result.merge(Of::Metadata, metadata, node);
        result.merge(Of::Tags, tags, node);
        for (of, why) in [
            (Of::Metadata, metadata_total(&result.properties.metadata).filter(|_| result.templates.is_empty())),
            (Of::Tags, tags_total(&result.properties.tags)),
        ] {
            if let Some(why) = why {
                flaws.add(node.get(of.name()).map_or(node.line, |node| node.line), why);
            }
        }
        result
    }

    fn merge(&mut self, of: Of, said: Setting<BTreeMap<String, Option<String>>>, node: &Node) {
        match said {
            Setting::Unsaid => {}
            Setting::Removed => {
                of.map(&mut self.properties).clear();
                self.templates.retain(|templated| templated.of != of);
            }
            Setting::Said(values) => {
                let node = node.get(of.name());
                for (name, value) in values {
                    self.templates.retain(|templated| templated.of != of || templated.name != name);
                    let Some(value) = value else {
                        of.map(&mut self.properties).remove(&name);
                        continue;
                    };
                    if !super::template::is_plain(&value) {
                        let line = node.and_then(|node| node.get(&name)).map_or(0, |node| node.line);
                        self.templates.push(Templated { of, name: name.clone(), line });
                    }
                    of.map(&mut self.properties).insert(name, value);
                }
            }
        }
    }

    /// What will be sent for one source. The errors have lines of the manifest.
    pub fn resolve(&self, engine: &Engine, scope: &Scope, source: &str) -> Result<Properties, Vec<(u32, String)>> {
        let mut properties = self.properties.clone();
        let mut wrong = Vec::new();
        for Templated { of, name, line } in &self.templates {
            let map = of.map(&mut properties);
            let Some(text) = map.get(name) else { continue };
            let judge = match of {
                Of::Metadata => metadata_value,
                Of::Tags => tag_value,
            };
            match engine.compile(text).and_then(|template| engine.render(&template, scope)) {
                Ok(value) => {
                    if let Some(why) = judge(&value) {
                        wrong.push((*line, format!("{}.{name}: {why}", of.name())));
                    }
                    map.insert(name.clone(), value);
                }
                Err(why) => wrong.push((*line, format!("{}.{name}: {why}", of.name()))),
            }
        }
        if let Some(first) = self.templates.first()
            && let Some(why) = metadata_total(&properties.metadata)
        {
            wrong.push((first.line, why));
        }
        if properties.content_type.as_deref() == Some("auto") {
            properties.content_type = Some(media_type(source).to_owned());
        }
        if wrong.is_empty() { Ok(properties) } else { Err(wrong) }
    }

    /// Whether two sources may resolve differently but for their type.
    #[must_use]
    pub fn has_templates(&self) -> bool {
        !self.templates.is_empty()
    }
}

/// Resolves properties and lets equal ones share memory: a million entries seldom have more than a handful.
#[derive(Debug, Default)]
pub struct Resolver {
    by_type: std::collections::HashMap<(usize, &'static str), Arc<Properties>>,
    last: Option<Arc<Properties>>,
    /// The answer before, where nothing but the extension made it: neighbours are alike.
    before: Option<(usize, String, Arc<Properties>)>,
}

impl Resolver {
    /// As [`Wanted::resolve`]. `wanted` must live as long as this does: it is told apart by its address.
    pub fn resolve(
        &mut self,
        wanted: &Arc<Wanted>,
        engine: &Engine,
        scope: &Scope,
        source: &str,
    ) -> Result<Arc<Properties>, Vec<(u32, String)>> {
        let extension = std::path::Path::new(source).extension().and_then(|text| text.to_str()).unwrap_or("");
        let id = Arc::as_ptr(wanted) as usize;
        if let Some((of, then, known)) = &self.before
            && *of == id
            && then == extension
        {
            return Ok(Arc::clone(known));
        }
        let by = (id, media_type(source));
        if !wanted.has_templates()
            && let Some(known) = self.by_type.get(&by)
        {
            self.before = Some((id, extension.to_owned(), Arc::clone(known)));
            return Ok(Arc::clone(known));
        }
        let resolved = wanted.resolve(engine, scope, source)?;
        let shared = match &self.last {
            Some(last) if **last == resolved => Arc::clone(last),
            _ => Arc::new(resolved),
        };
        self.last = Some(Arc::clone(&shared));
        if !wanted.has_templates() {
            self.by_type.insert(by, Arc::clone(&shared));
        }
        Ok(shared)
    }
}

/// The media type by extension. No charset: what a file is encoded in, its name does not tell.
#[must_use]
pub fn media_type(source: &str) -> &'static str {
    let name = source.rsplit('/').next().unwrap_or(source);
    mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream")
}
