//! From JSON to statements. Whatever is not understood stays in its statement, as a doubt about it.

use super::arn;
use super::condition::{self, Condition};
use super::json::{self, Json};
use super::pattern::Pattern;
use super::principal::{Named, named};

/// Why a text is no policy. What S3 itself would refuse is not always refused here: it is then a doubt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Line and column stand in the text.
    #[error("it is no JSON that can be relied on: {0}")]
    Json(String),
    #[error("it is no policy: {0}")]
    Shape(String),
    #[error("it is no policy: {statement} {flaw}")]
    Statement { statement: String, flaw: String },
}

/// A bucket policy, as far as it is understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub(super) statements: Vec<Statement>,
    pub(super) document: Json,
    /// The first number that would not be printed as it was written.
    pub(super) rewritten: Option<String>,
}

/// What a statement is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Allow,
    Deny,
}

/// One statement of a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// `statement "NoDeletes"`, or `statement 2` where it has no Sid (counted from 1).
    pub name: String,
    pub sid: Option<String>,
    pub effect: Effect,
    pub(super) principals: Vec<Named>,
    pub(super) actions: Patterns,
    pub(super) resources: Patterns,
    pub(super) conditions: Vec<Condition>,
    /// What of it is not understood, in words.
    pub(super) doubts: Vec<String>,
    /// Whether its version knows policy variables.
    pub(super) variables: bool,
}

/// `Action` or `NotAction`, `Resource` or `NotResource`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Patterns {
    pub listed: Vec<Pattern>,
    /// All but those that are listed.
    pub inverted: bool,
    /// Some of it is not understood.
    pub unclear: bool,
}

impl Policy {
    /// Reads a policy document. A document without statements is a policy that says nothing.
    pub fn read(json: &str) -> Result<Self, PolicyError> {
        let document = serde_json::from_str(json).map_err(|error| PolicyError::Json(error.to_string()))?;
        Ok(Self { rewritten: json::rewritten(json).map(str::to_owned), ..Self::of(document)? })
    }

    pub(super) fn of(document: Json) -> Result<Self, PolicyError> {
        let Json::Object(fields) = &document else {
            return Err(PolicyError::Shape("the whole is not an object".to_owned()));
        };
        if let Some((name, _)) = fields.iter().find(|(name, _)| !matches!(&**name, "Version" | "Id" | "Statement")) {
            return Err(PolicyError::Shape(format!(
                "it has a field {name:?}; policies have Version, Id and Statement"
            )));
        }
        // Without a version, the old one: it takes variables for text.
        let variables = match document.get("Version").map(Json::text) {
            None | Some(Some("2008-10-17")) => false,
            Some(Some("2012-10-17")) => true,
            Some(_) => return Err(PolicyError::Shape("its Version is neither 2012-10-17 nor 2008-10-17".to_owned())),
        };
        let statements = document.get("Statement").map_or(&[][..], Json::items);
        let statements: Result<Vec<_>, _> =
            statements.iter().enumerate().map(|(n, json)| statement(n, json, variables)).collect();
        let statements = statements?;
        for (n, statement) in statements.iter().enumerate() {
            if statement.sid.is_some() && statements[..n].iter().any(|other| other.sid == statement.sid) {
                return Err(PolicyError::Shape(format!("there are two of {}", statement.name)));
            }
        }
        Ok(Self { statements, document, rewritten: None })
    }

    /// A policy that says nothing: what a bucket without one has.
    #[must_use]
    pub fn empty() -> Self {
        let document = Json::object([("Version", Json::of("2012-10-17")), ("Statement", Json::List(Vec::new()))]);
        Self { statements: Vec::new(), document, rewritten: None }
    }

    #[must_use]
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// The document as text for people, without a line end.
    #[must_use]
    pub fn pretty(&self) -> String {
        format!("{:#}", self.document)
    }

    /// The document in the fewest bytes.
    #[must_use]
    pub fn compact(&self) -> String {
        self.document.to_string()
    }

    /// The document as it was read.
    #[must_use]
    pub fn document(&self) -> &Json {
        &self.document
    }
}

fn statement(n: usize, json: &Json, variables: bool) -> Result<Statement, PolicyError> {
    let number = format!("statement {}", n + 1);
    let Json::Object(fields) = json else {
        return Err(PolicyError::Statement { statement: number, flaw: "is not an object".to_owned() });
    };
    let sid = json.get("Sid").and_then(Json::text).filter(|sid| !sid.is_empty()).map(str::to_owned);
    let name = sid.as_ref().map_or(number, |sid| format!("statement {sid:?}"));
    let effect = match json.get("Effect").and_then(Json::text) {
        Some("Allow") => Effect::Allow,
        Some("Deny") => Effect::Deny,
        Some(_) | None => {
            let flaw = "has an Effect that is neither Allow nor Deny".to_owned();
            return Err(PolicyError::Statement { statement: name, flaw });
        }
    };
    let mut read = Statement {
        name,
        sid,
        effect,
        principals: Vec::new(),
        actions: Patterns::default(),
        resources: Patterns::default(),
        conditions: Vec::new(),
        doubts: Vec::new(),
        variables,
    };
    for (field, value) in fields {
        match field.as_str() {
            "Sid" if value.text().is_some() => {}
            "Effect" => {}
            "Principal" => named(value, &mut read.principals, &mut read.doubts),
            "Action" | "NotAction" => read.actions = patterns(field, value, false, &mut read.doubts),
            "Resource" | "NotResource" => read.resources = patterns(field, value, variables, &mut read.doubts),
            "Condition" => condition::read(value, variables, &mut read.conditions, &mut read.doubts),
            other => read.doubts.push(format!("{other} is not understood here")),
        }
    }
    for (one, other, patterns) in
        [("Action", "NotAction", &mut read.actions), ("Resource", "NotResource", &mut read.resources)]
    {
        let flaw = match (json.get(one).is_some(), json.get(other).is_some()) {
            (true, true) => format!("it has both {one} and {other}"),
            (false, false) => format!("it has no {one}"),
            (true, false) | (false, true) => continue,
        };
        patterns.unclear = true;
        read.doubts.push(flaw);
    }
    if json.get("Principal").is_none() && json.get("NotPrincipal").is_none() {
        read.doubts.push("it has no Principal".to_owned());
    }
    Ok(read)
}

fn patterns(field: &str, value: &Json, variables: bool, doubts: &mut Vec<String>) -> Patterns {
    let mut found = Patterns { listed: Vec::new(), inverted: field.starts_with("Not"), unclear: false };
    // A Not of nothing would mean everything; what it means to S3 is not documented.
    if value.items().is_empty() {
        doubts.push(format!("{field} lists nothing"));
        found.unclear = true;
    }
    for item in value.items() {
        let Some(text) = item.text() else {
            doubts.push(format!("{field} is not text"));
            found.unclear = true;
            continue;
        };
        found.listed.push(Pattern::glob(text, variables));
    }
    found
}

impl Statement {
    /// The partition that its resources name, where they do.
    pub(super) fn partition(&self) -> Option<&str> {
        self.resources.listed.iter().find_map(|pattern| {
            arn::parts(&pattern.text).map(|parts| parts[1]).filter(|partition| !partition.contains(['*', '?']))
        })
    }
}
