//! Templates of keys, prefixes, metadata and tags: minijinja, strict. The date is given, never asked of a clock.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use jiff::civil::Date;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Object;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};

use super::shape::{shown, suggestion};

/// What one match of a glob gives to its key's template.
const OF_MATCH: [&str; 5] = ["path", "dir", "name", "stem", "ext"];
/// Instructions that one rendering may take: far more than a key needs, far less than a loop could ask for.
const FUEL: u64 = 50_000;

/// Renders templates with one run's parameters.
#[derive(Debug)]
pub struct Engine {
    env: Environment<'static>,
    fixed: Arc<BTreeMap<String, Value>>,
    vars: Vec<String>,
    env_names: Vec<String>,
}

/// A template that was compiled, or a text that is none.
#[derive(Debug)]
pub struct Template<'a> {
    text: &'a str,
    compiled: Option<minijinja::Template<'a, 'a>>,
    /// Where it only names things, as most keys do: rendered by putting them together, at a tenth of the cost.
    parts: Option<Vec<Part<'a>>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    Fixed(String),
    /// One of [`OF_MATCH`].
    OfMatch(usize),
}

/// What a template may speak of for one source.
#[derive(Debug, Clone)]
pub struct Scope(Arc<Names>);

#[derive(Debug)]
struct Names {
    fixed: Arc<BTreeMap<String, Value>>,
    /// Of the match, if there is one.
    path: Option<String>,
}

impl Names {
    fn of_match(&self, which: usize) -> Option<&str> {
        let path = self.path.as_deref()?;
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        // As file managers see it: .profile has no extension.
        let (stem, ext) = match name.rsplit_once('.') {
            Some((stem, ext)) if !stem.is_empty() => (stem, ext),
            _ => (name, ""),
        };
        [path, dir, name, stem, ext].get(which).copied()
    }
}

/// Asked name by name: a map of them all would be made for each of a million matches.
impl Object for Names {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        let which = OF_MATCH.iter().position(|known| *known == name);
        match which.and_then(|which| self.of_match(which)) {
            Some(text) => Some(Value::from(text)),
            None => self.fixed.get(name).cloned(),
        }
    }
}

impl Engine {
    #[must_use]
    pub fn new(date: Date, vars: &BTreeMap<String, String>, env: &BTreeMap<String, String>) -> Self {
        let fixed = BTreeMap::from([
            ("date".to_owned(), Value::from(date.to_string())),
            ("var".to_owned(), Value::from(vars.clone())),
            ("env".to_owned(), Value::from(env.clone())),
        ]);
        let names = |map: &BTreeMap<String, String>| map.keys().cloned().collect();
        Self { env: environment(), fixed: Arc::new(fixed), vars: names(vars), env_names: names(env) }
    }

    /// The error says what is wrong with the syntax.
    pub fn compile<'a>(&'a self, text: &'a str) -> Result<Template<'a>, String> {
        if is_plain(text) {
            return Ok(Template { text, compiled: None, parts: None });
        }
        match self.env.template_from_str(text) {
            Ok(compiled) => Ok(Template { text, compiled: Some(compiled), parts: self.parts(text) }),
            Err(error) => Err(bad_syntax(text, &error)),
        }
    }

    /// The parts of a template that only names what is there. Anything else, white-space marks too, is the engine's.
    fn parts<'a>(&self, text: &'a str) -> Option<Vec<Part<'a>>> {
        if text.contains("{%") || text.contains("{#") {
            return None;
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}")?;
            let name = name.trim_matches(' ');
            parts.push(Part::Text(before));
            parts.push(match OF_MATCH.iter().position(|known| *known == name) {
                Some(which) => Part::OfMatch(which),
                None => Part::Fixed(self.fixed(name)?),
            });
            rest = after;
        }
        parts.push(Part::Text(rest));
        Some(parts)
    }

    /// The value of `date`, `var.NAME` or `env.NAME`, if it is there.
    fn fixed(&self, name: &str) -> Option<String> {
        let value = match name.split_once('.') {
            None => self.fixed.get(name).filter(|_| name == "date")?.clone(),
            Some((top, name)) => {
                let is_name = |c: char| c == '_' || c.is_ascii_alphanumeric();
                let is_plain = name.chars().all(is_name) && !name.starts_with(|c: char| c.is_ascii_digit());
                self.fixed.get(top).filter(|_| is_plain)?.get_attr(name).ok()?
            }
        };
        value.as_str().map(ToOwned::to_owned)
    }

    /// `date`, `var` and `env`.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope(Arc::new(Names { fixed: Arc::clone(&self.fixed), path: None }))
    }

    /// For a match of a glob, `path` and its parts too. The path is relative to the glob's fixed part.
    #[must_use]
    pub fn scope_of(&self, path: &str) -> Scope {
        Scope(Arc::new(Names { fixed: Arc::clone(&self.fixed), path: Some(path.to_owned()) }))
    }

    /// The text that comes of it. The error names what is undefined, and what there is.
    pub fn render(&self, template: &Template<'_>, scope: &Scope) -> Result<String, String> {
        let Some(compiled) = &template.compiled else { return Ok(template.text.to_owned()) };
        if let Some(text) = template.parts.as_deref().and_then(|parts| put_together(parts, scope)) {
            return Ok(text);
        }
        let names = Value::from_dyn_object(Arc::clone(&scope.0));
        compiled.render(&names).map_err(|error| self.explain(template, compiled, scope, &error))
    }

    fn explain(
        &self,
        template: &Template<'_>,
        compiled: &minijinja::Template<'_, '_>,
        scope: &Scope,
        error: &Error,
    ) -> String {
        if error.kind() == ErrorKind::OutOfFuel {
            return format!("the template {} takes too long", shown(template.text));
        }
        let mut unknown: Vec<String> = compiled
            .undeclared_variables(true)
            .into_iter()
            .filter(|name| !self.knows(scope, name) && self.env.globals().all(|(global, _)| global != name))
            .collect();
        unknown.sort();
        let Some(first) = unknown.first().filter(|_| error.kind() == ErrorKind::UndefinedError) else {
            return format!("the template {} cannot be rendered: {}", shown(template.text), said(error));
        };
        let why = self.why_undefined(scope, first);
        format!("{first} is not defined in the template {}{why}", shown(template.text))
    }

    fn knows(&self, scope: &Scope, name: &str) -> bool {
        match name.split_once('.') {
            Some(("var", name)) => self.vars.iter().any(|known| known == name),
            Some(("env", name)) => self.env_names.iter().any(|known| known == name),
            Some((top, _)) => self.knows(scope, top),
            None => self.fixed.contains_key(name) || (scope.0.path.is_some() && OF_MATCH.contains(&name)),
        }
    }

    fn why_undefined(&self, scope: &Scope, name: &str) -> String {
        if let Some(var) = name.strip_prefix("var.") {
            let meant = suggestion(var, self.vars.iter().map(String::as_str));
            let there = if self.vars.is_empty() { "none is given".to_owned() } else { self.vars.join(", ") };
            return format!("; give it with --var {var}=VALUE (given: {there}){meant}");
        }
        if let Some(variable) = name.strip_prefix("env.") {
            let meant = suggestion(variable, self.env_names.iter().map(String::as_str));
            return format!("; the environment has no {variable}{meant}");
        }
        if OF_MATCH.contains(&name) {
            return format!("; {} are there only for the matches of a glob", OF_MATCH.join(", "));
        }
        let mut there = vec!["date", "var.NAME", "env.NAME"];
        if scope.0.path.is_some() {
            there.extend(OF_MATCH);
        }
        let meant = suggestion(name, there.iter().copied());
        format!("; there are {}{meant}", there.join(", "))
    }
}

/// `None` where a part is not there: the engine knows how to say so.
fn put_together(parts: &[Part<'_>], scope: &Scope) -> Option<String> {
    let mut text = String::with_capacity(64);
    for part in parts {
        text.push_str(match part {
            Part::Text(text) => text,
            Part::Fixed(value) => value,
            Part::OfMatch(which) => scope.0.of_match(*which)?,
        });
    }
    Some(text)
}

/// Whether a text is taken as it stands.
#[must_use]
pub fn is_plain(text: &str) -> bool {
    !["{{", "{%", "{#"].iter().any(|mark| text.contains(mark))
}

/// Made once: its filters alone cost more than most templates.
static FOR_SYNTAX: LazyLock<Environment<'static>> = LazyLock::new(environment);

/// What is wrong with a template before anything is rendered.
#[must_use]
pub fn syntax(text: &str) -> Option<String> {
    if is_plain(text) {
        return None;
    }
    FOR_SYNTAX.template_from_str(text).err().map(|error| bad_syntax(text, &error))
}

fn environment() -> Environment<'static> {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    // Else the newline of a block scalar would vanish from a template, and stand in a plain text.
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        env.set_syntax(syntax);
    }
    env.set_fuel(Some(FUEL));
    env.add_filter("datefmt", datefmt);
    env
}

/// Formats a date, `date` itself or any text such as 2026-01-31, by strftime.
#[expect(clippy::needless_pass_by_value, reason = "minijinja's filters take values")]
fn datefmt(date: String, format: String) -> Result<String, Error> {
    let invalid = |why: String| Error::new(ErrorKind::InvalidOperation, why);
    let date: Date = date.parse().map_err(|_| invalid(format!("datefmt: {} is not a date", shown(&date))))?;
    jiff::fmt::strtime::format(&format, date).map_err(|error| invalid(format!("datefmt: {error}")))
}

fn bad_syntax(text: &str, error: &Error) -> String {
    format!("the template {} is not valid: {}", shown(text), said(error))
}

/// minijinja's words without its own idea of a file and a line.
fn said(error: &Error) -> String {
    error.detail().map_or_else(|| error.kind().to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine() -> Engine {
        let one = |n: &str, v: &str| BTreeMap::from([(n.to_owned(), v.to_owned())]);
        Engine::new(Date::constant(2026, 1, 31), &one("REGION", "emea"), &one("HOME", "/root"))
    }

    fn render(text: &str, path: Option<&str>) -> Result<String, String> {
        let engine = engine();
        let scope = path.map_or_else(|| engine.scope(), |path| engine.scope_of(path));
        engine.compile(text).and_then(|template| engine.render(&template, &scope))
    }

    #[test]
    fn a_template_renders_what_the_run_was_given() {
        for (text, path, rendered) in [
            ("plain <&> \"text\"", None, "plain <&> \"text\""),
            ("{{ date }}/a", None, "2026-01-31/a"),
            ("{{ date | datefmt('%Y/%m/%d') }}", None, "2026/01/31"),
            ("{{ '2025-02-03' | datefmt('%j') }}", None, "034"),
            ("{{ var.REGION }}{{ env.HOME }}", None, "emea/root"),
            ("{{ var.X | default('x') }}", None, "x"),
            (
                "{{ path }}|{{ dir }}|{{ name }}|{{ stem }}|{{ ext }}",
                Some("a/b.tar.gz"),
                "a/b.tar.gz|a|b.tar.gz|b.tar|gz",
            ),
            ("{{ dir }}|{{ stem }}|{{ ext }}", Some(".profile"), "|.profile|"),
            ("<{{ name }}>", Some("a&b.html"), "<a&b.html>"),
            ("{{ date }}\n", None, "2026-01-31\n"),
        ] {
            assert_eq!(render(text, path).as_deref(), Ok(rendered), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_put_together_is_what_the_engine_renders(
            pieces in proptest::collection::vec(
                proptest::sample::select(&[
                    "a", "/", "\n", "\r\n", " ", "{", "}", "}}", "-", "%}", "{{ path }}", "{{dir}}", "{{  name  }}",
                    "{{ stem }}", "{{ ext}}", "{{ date }}", "{{ var.REGION }}", "{{ env.HOME }}", "{{- name -}}", "{{ 'x' }}",
                    "{{ date | datefmt('%Y') }}", "{{ var.NOPE }}", "{{ var }}", "{{ nope }}", "{{\tname\n}}", "{{ name.x }}",
                    "{# c #}", "{% raw %}{{ x }}{% endraw %}", "{{ path", "ü",
                ][..]),
                0..7,
            ),
            path in proptest::option::of("[a-c./ü]{0,9}"),
        ) {
            let text = pieces.concat();
            let engine = engine();
            let scope = path.as_ref().map_or_else(|| engine.scope(), |path| engine.scope_of(path));
            if let Ok(template) = engine.compile(&text) {
                let slow = Template { text: template.text, compiled: template.compiled.clone(), parts: None };
                proptest::prop_assert_eq!(engine.render(&template, &scope), engine.render(&slow, &scope));
            }
        }
    }

    #[test]
    fn a_template_that_only_names_things_is_put_together() {
        let engine = engine();
        for (text, quick) in
            [("{{ date }}/{{ path }}", true), ("{{ var.REGION }}", true), ("{{ path | upper }}", false)]
        {
            assert_eq!(engine.compile(text).unwrap().parts.is_some(), quick, "{text}");
        }
    }

    #[test]
    fn an_undefined_name_is_named_with_what_there_is() {
        for (text, path, said) in [
            (
                "{{ dat }}",
                None,
                "dat is not defined in the template \"{{ dat }}\"; there are date, var.NAME, env.NAME; did you mean date?",
            ),
            (
                "{{ var.REGIO }}",
                None,
                "var.REGIO is not defined in the template \"{{ var.REGIO }}\"; give it with --var REGIO=VALUE (given: REGION); did you mean REGION?",
            ),
            (
                "{{ env.NOPE }}",
                None,
                "env.NOPE is not defined in the template \"{{ env.NOPE }}\"; the environment has no NOPE",
            ),
            (
                "{{ name }}",
                None,
                "name is not defined in the template \"{{ name }}\"; path, dir, name, stem, ext are there only for the matches of a glob",
            ),
            (
                "{{ x.y | upper }}",
                Some("a"),
                "x.y is not defined in the template \"{{ x.y | upper }}\"; there are date, var.NAME, env.NAME, path, dir, name, stem, ext",
            ),
            (
                "{% if nope %}a{% endif %}",
                None,
                "nope is not defined in the template \"{% if nope %}a{% endif %}\"; there are date, var.NAME, env.NAME",
            ),
        ] {
            assert_eq!(render(text, path), Err(said.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_template_that_cannot_be_is_refused_and_does_not_panic_or_hang() {
        for text in [
            "{{ date",
            "{{ date }",
            "{{ }}",
            "{% if %}",
            "{{ date | nofilter }}",
            "{{ date | datefmt }}",
            "{{ date | datefmt('%') }}",
            "{{ 'x' | datefmt('%Y') }}",
            "{% include 'x' %}",
            "{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}",
        ] {
            assert!(render(text, Some("a")).is_err(), "{text}");
        }
    }
}
