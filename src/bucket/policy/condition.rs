//! Conditions of a statement, and which of them can never hold together.

use super::arn;
use super::evaluate::{Held, Truth};
use super::json::Json;
use super::pattern::Pattern;

/// One operator on one key: `"StringLike": {"aws:PrincipalArn": [..]}`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    /// As it is spelled.
    pub operator: String,
    /// As it is spelled; compared without regard to case.
    pub key: String,
    /// `None` where the operator is not understood.
    test: Option<Test>,
    variables: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Test {
    compare: Compare,
    negated: bool,
    if_exists: bool,
    values: Vec<Pattern>,
    /// Of a key that tells who asks: which of the values mean more than somebody could have had in mind.
    broad: Vec<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    Null,
    Bool,
    Text,
    TextAnyCase,
    Like,
    Arn,
}

/// Keys that tell who asks. A policy's exceptions for operators are made with them.
pub(super) const IDENTITY_KEYS: [&str; 2] = ["aws:principalarn", "aws:userid"];

/// Reads a `Condition`.
pub(super) fn read(value: &Json, variables: bool, found: &mut Vec<Condition>, doubts: &mut Vec<String>) {
    let Json::Object(operators) = value else {
        doubts.push("its Condition is not an object".to_owned());
        return;
    };
    for (operator, keys) in operators {
        let Json::Object(keys) = keys else {
            doubts.push(format!("its condition {operator} is not an object"));
            continue;
        };
        if keys.is_empty() {
            doubts.push(format!("its condition {operator} is on no key"));
        }
        for (key, values) in keys {
            let texts: Option<Vec<String>> = values.items().iter().map(as_text).collect();
            let test = texts.and_then(|texts| test(operator, &texts, variables));
            let mut condition = Condition { operator: operator.clone(), key: key.clone(), test, variables };
            condition.find_broad();
            found.push(condition);
        }
    }
}

fn as_text(json: &Json) -> Option<String> {
    match json {
        Json::Text(text) => Some(text.clone()),
        Json::Bool(truth) => Some(truth.to_string()),
        // A fraction may have been written in another way than it would be told here.
        Json::Number(number) if !number.is_f64() => Some(number.to_string()),
        Json::Number(_) | Json::Null | Json::List(_) | Json::Object(_) => None,
    }
}

/// Operators for numbers, dates, addresses and keys of several values are not understood.
fn test(operator: &str, values: &[String], variables: bool) -> Option<Test> {
    // Whether none of no values holds, or all of them, is not documented.
    if values.is_empty() {
        return None;
    }
    let (base, if_exists) = match operator.strip_suffix("IfExists") {
        Some(base) => (base, true),
        None => (operator, false),
    };
    let (compare, negated) = match base {
        "Null" if !if_exists => (Compare::Null, false),
        "Bool" => (Compare::Bool, false),
        "StringEquals" => (Compare::Text, false),
        "StringNotEquals" => (Compare::Text, true),
        "StringEqualsIgnoreCase" => (Compare::TextAnyCase, false),
        "StringNotEqualsIgnoreCase" => (Compare::TextAnyCase, true),
        "StringLike" => (Compare::Like, false),
        "StringNotLike" => (Compare::Like, true),
        // IAM documents ArnEquals and ArnLike to behave alike, wildcards too.
        "ArnEquals" | "ArnLike" => (Compare::Arn, false),
        "ArnNotEquals" | "ArnNotLike" => (Compare::Arn, true),
        _ => return None,
    };
    let is_truth = |value: &String| value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false");
    if matches!(compare, Compare::Null | Compare::Bool) && !values.iter().all(is_truth) {
        return None;
    }
    let pattern = |value: &String| match compare {
        Compare::Like | Compare::Arn => Pattern::glob(value, variables),
        Compare::Null | Compare::Bool | Compare::Text | Compare::TextAnyCase => Pattern::literal(value, variables),
    };
    Some(Test { compare, negated, if_exists, values: values.iter().map(pattern).collect(), broad: Vec::new() })
}

impl Condition {
    pub fn is_on(&self, key: &str) -> bool {
        self.key.eq_ignore_ascii_case(key)
    }

    pub fn understood(&self) -> bool {
        self.test.as_ref().is_some_and(|test| test.values.iter().all(Pattern::understood))
    }

    /// Whether it holds of what a request holds under its key. Several values are alternatives; under a negated operator
    /// none of them may match. (AWS, IAM User Guide, "Conditions with multiple context keys or values".)
    pub fn holds(&self, held: &Held) -> Truth {
        let Some(test) = &self.test else { return Truth::Unclear };
        if test.compare == Compare::Null {
            return match held {
                Held::Absent => test.any(|value| Truth::of(is_true(value))),
                Held::Is(_) | Held::Present => test.any(|value| Truth::of(!is_true(value))),
                Held::Anything | Held::Stranger => test.either_way(),
            };
        }
        let matched = match held {
            // A key that is not there matches nothing, and so satisfies what must not match.
            Held::Absent if test.if_exists => return Truth::Yes,
            Held::Absent => Truth::No,
            Held::Is(value) => {
                test.any(|wanted| test.matches(wanted, value, self.variables).map_or(Truth::Unclear, Truth::of))
            }
            Held::Present => test.any(|value| {
                if !value.understood() {
                    Truth::Unclear
                } else if test.compare == Compare::Like && value.is_universal() {
                    Truth::Yes
                } else {
                    Truth::Varies
                }
            }),
            Held::Anything => test.any(|value| if value.understood() { Truth::Varies } else { Truth::Unclear }),
            Held::Stranger => test.values.iter().zip(&test.broad).fold(Truth::No, |matched, (value, broad)| {
                matched.or(match (value.understood(), broad) {
                    (false, _) => Truth::Unclear,
                    (true, true) => Truth::Varies,
                    (true, false) => Truth::No,
                })
            }),
        };
        // Strangers may be anonymous, and then have no such key.
        let matched = if *held == Held::Stranger && test.if_exists { matched.or(Truth::Varies) } else { matched };
        if test.negated { matched.not() } else { matched }
    }

    /// Done once: enforcement asks of every statement many times.
    fn find_broad(&mut self) {
        let is_identity = self.is_of_identity();
        if let Some(test) = self.test.as_mut().filter(|_| is_identity) {
            let may_be = matches!(test.compare, Compare::Like | Compare::Arn);
            test.broad = test.values.iter().map(|value| may_be && arn::is_broad(value)).collect();
        }
    }

    /// Whether it is on who asks, and a value of it means more than somebody could have had in mind.
    pub fn is_too_broad(&self) -> bool {
        self.understood() && self.test.as_ref().is_some_and(|test| test.broad.contains(&true))
    }

    pub fn is_of_identity(&self) -> bool {
        IDENTITY_KEYS.iter().any(|key| self.is_on(key))
    }

    /// The principals that this leaves out, where it is a condition that does.
    pub fn exceptions(&self) -> impl Iterator<Item = &str> {
        let values = self.test.as_ref().filter(|test| self.is_of_identity() && test.negated).map(|test| &test.values);
        values.into_iter().flatten().map(|value| value.text.as_str())
    }

    /// For a person: `StringLike aws:PrincipalArn [a, b]`.
    pub fn told(&self) -> String {
        let values: Vec<&str> = self.test.iter().flat_map(|test| &test.values).map(|value| &*value.text).collect();
        match &values[..] {
            [] => format!("{} {}", self.operator, self.key),
            [one] => format!("{} {} {one:?}", self.operator, self.key),
            several => format!("{} {} {several:?}", self.operator, self.key),
        }
    }

    /// Every value that the key can have where this holds, `None` for no value at all; or nothing where they are no list.
    fn only_values(&self) -> Option<Vec<Option<String>>> {
        let test = self.test.as_ref().filter(|test| !test.negated && !test.if_exists)?;
        match test.compare {
            Compare::Null => test.values.iter().all(is_true).then(|| vec![None]),
            Compare::Bool | Compare::Text => test.values.iter().map(|value| Some(Some(value.only()?))).collect(),
            Compare::TextAnyCase | Compare::Like | Compare::Arn => None,
        }
    }
}

impl Test {
    fn any(&self, of: impl Fn(&Pattern) -> Truth) -> Truth {
        self.values.iter().map(of).fold(Truth::No, Truth::or)
    }

    fn either_way(&self) -> Truth {
        let both = self.values.iter().any(is_true) && !self.values.iter().all(is_true);
        if both { Truth::Yes } else { Truth::Varies }
    }

    fn matches(&self, value: &Pattern, text: &str, variables: bool) -> Option<bool> {
        match self.compare {
            Compare::Null => None,
            Compare::Bool => Some(value.text.eq_ignore_ascii_case(text)),
            Compare::Text | Compare::Like => value.matches(text),
            Compare::TextAnyCase => Some(value.only()?.to_lowercase() == text.to_lowercase()),
            Compare::Arn => arn::like(value, text, variables),
        }
    }
}

fn is_true(value: &Pattern) -> bool {
    value.text.eq_ignore_ascii_case("true")
}

/// Two or more conditions on one key that no value of it satisfies, told; whatever the request.
///
/// Found where one of them leaves the key a list of values: each is tried on the others.
pub(super) fn never(conditions: &[Condition]) -> Option<String> {
    conditions.iter().find_map(|narrow| {
        let values = narrow.only_values()?;
        let fails = |value: &Option<String>, other: &&Condition| {
            let held = value.as_ref().map_or(Held::Absent, |text| Held::Is(text.clone()));
            other.is_on(&narrow.key) && other.holds(&held) == Truth::No
        };
        let refuted: Option<Vec<&Condition>> =
            values.iter().map(|value| conditions.iter().find(|other| fails(value, other))).collect();
        let other = refuted?.into_iter().next()?;
        Some(format!("{} and {} never hold together", narrow.told(), other.told()))
    })
}
