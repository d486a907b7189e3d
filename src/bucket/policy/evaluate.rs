//! What a policy answers to one request, and what it can be shown to answer to all requests of a kind.

use super::arn;
use super::condition::{self, Condition, IDENTITY_KEYS};
use super::pattern::Pattern;
use super::read::{Effect, Patterns, Policy, Statement};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A user, or a role by its own ARN (which is what `aws:PrincipalArn` holds), with the session's ARN where one is known.
    Arn { arn: String, session: Option<String> },
    /// A service of AWS, such as `logging.s3.amazonaws.com`.
    Service(String),
    /// Nobody in particular: an unsigned request.
    Anonymous,
    /// Every principal that no part of the policy names: not in a `Principal`, not by a condition on who asks.
    Anybody,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// An ARN.
    One(String),
    /// Every ARN that begins so: all keys under a prefix.
    Every(String),
}

/// What a request holds under a condition key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    Absent,
    Is(String),
    /// Some value or other.
    Present,
    /// Anything or nothing, as the request may be.
    Anything,
    /// Of a key that tells who asks: none that the policy names, or nothing.
    Stranger,
}

/// The condition keys of a request. A key that was not set may hold anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Context {
    keys: Vec<(String, Held)>,
}

impl Context {
    /// The same, with one key more, or with another value of it.
    #[must_use]
    pub fn with(mut self, key: &str, held: Held) -> Self {
        self.keys.retain(|(known, _)| !known.eq_ignore_ascii_case(key));
        self.keys.push((key.to_owned(), held));
        self
    }

    #[must_use]
    pub fn get(&self, key: &str) -> &Held {
        let found = self.keys.iter().find(|(known, _)| known.eq_ignore_ascii_case(key));
        found.map_or(&Held::Anything, |(_, held)| held)
    }
}

/// One request, or all of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub caller: Caller,
    /// Such as `s3:PutObject`.
    pub action: String,
    pub resource: Resource,
    pub context: Context,
}

/// What a policy says to a request. Of a request that stands for many, it is what it says to each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Allowed by this statement, and denied by none.
    Allowed { by: String },
    /// Denied by this statement: no other policy can allow it.
    Denied { by: String },
    /// No statement speaks of it: other policies decide.
    NotMentioned,
    /// Something is not understood, or depends on what the request does not say.
    CannotTell { why: Vec<String> },
}

/// Asks a policy.
#[must_use]
pub fn evaluate(policy: &Policy, request: &Request) -> Answer {
    let mut why = Vec::new();
    for effect in [Effect::Deny, Effect::Allow] {
        let mut by = None;
        for statement in policy.statements.iter().filter(|statement| statement.effect == effect) {
            let judged = judge(statement, request);
            match judged.truth() {
                Truth::Yes => {
                    by.get_or_insert(&statement.name);
                }
                Truth::No => {}
                Truth::Varies | Truth::Unclear => why.push(format!("{}: {}", statement.name, judged.why().join("; "))),
            }
        }
        match (by, effect) {
            (Some(by), Effect::Deny) => return Answer::Denied { by: by.clone() },
            // A Deny that may hold.
            (_, Effect::Deny) if !why.is_empty() => return Answer::CannotTell { why },
            (Some(by), Effect::Allow) => return Answer::Allowed { by: by.clone() },
            (None, Effect::Deny | Effect::Allow) => {}
        }
    }
    if why.is_empty() { Answer::NotMentioned } else { Answer::CannotTell { why } }
}

/// Whether something is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truth {
    Yes,
    No,
    /// So for some of the requests that are meant, and not so for others.
    Varies,
    /// Not understood.
    Unclear,
}

impl Truth {
    pub fn of(truth: bool) -> Self {
        if truth { Self::Yes } else { Self::No }
    }

    /// What varies is surely not so for some: that outweighs what is not understood.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Varies, _) | (_, Self::Varies) => Self::Varies,
            (Self::Unclear, _) | (_, Self::Unclear) => Self::Unclear,
            (Self::Yes, Self::Yes) => Self::Yes,
        }
    }

    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::Unclear, _) | (_, Self::Unclear) => Self::Unclear,
            (Self::Varies, _) | (_, Self::Varies) => Self::Varies,
            (Self::No, Self::No) => Self::No,
        }
    }

    pub fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Varies | Self::Unclear => self,
        }
    }
}

/// Whether a statement is about a request, part by part.
#[derive(Debug)]
pub(super) struct Judged<'a> {
    pub statement: &'a Statement,
    pub caller: Truth,
    pub action: Truth,
    pub resource: Truth,
    pub condition: Truth,
    /// The conditions that do not surely hold.
    pub open: Vec<(&'a Condition, Truth)>,
    /// Two conditions that never hold together.
    pub never: Option<String>,
}

pub(super) fn judge<'a>(statement: &'a Statement, request: &Request) -> Judged<'a> {
    let never = condition::never(&statement.conditions);
    let mut condition = if never.is_some() { Truth::No } else { Truth::Yes };
    let mut open = Vec::new();
    for one in &statement.conditions {
        let held = one.holds(&held(request, &one.key));
        condition = condition.and(held);
        if held != Truth::Yes {
            open.push((one, held));
        }
    }
    let named = statement.principals.iter().map(|named| named.means(&request.caller, statement.effect));
    Judged {
        statement,
        caller: named.fold(Truth::No, Truth::or),
        action: action(&statement.actions, &request.action),
        resource: resource(&statement.resources, &request.resource),
        condition,
        open,
        never,
    }
}

impl Judged<'_> {
    pub fn truth(&self) -> Truth {
        let doubt = if self.statement.doubts.is_empty() { Truth::Yes } else { Truth::Unclear };
        let sure = self.action.and(self.resource).and(self.condition);
        // Of a statement whose principals are not understood, whom it means is not known.
        let caller = if doubt == Truth::Unclear { self.caller.or(doubt) } else { self.caller };
        sure.and(caller).and(doubt)
    }

    /// What is in the way of a plain yes, in words.
    pub fn why(&self) -> Vec<String> {
        let mut why = self.statement.doubts.clone();
        for (truth, varies, unclear) in [
            (self.caller, "it means some principals and not others", "whom it means is not clear"),
            (self.resource, "it covers a part of the keys", "whether it covers the keys is not clear"),
            (self.action, "", "which actions it means is not clear"),
        ] {
            match truth {
                Truth::Varies => why.push(varies.to_owned()),
                Truth::Unclear if self.statement.doubts.is_empty() => why.push(unclear.to_owned()),
                Truth::Unclear | Truth::Yes | Truth::No => {}
            }
        }
        why.extend(self.open.iter().map(|(condition, _)| {
            let told = condition.told();
            if condition.is_too_broad() {
                format!("it asks for {told}, which means more than named principals")
            } else if condition.understood() {
                format!("it asks for {told}")
            } else {
                format!("{told} is not understood here")
            }
        }));
        why
    }
}

fn held(request: &Request, key: &str) -> Held {
    let is = |known: &str| key.eq_ignore_ascii_case(known);
    match request.context.get(key) {
        stated @ (Held::Absent | Held::Is(_) | Held::Present) => return stated.clone(),
        // Of another key it says nothing.
        Held::Stranger if IDENTITY_KEYS.iter().any(|known| is(known)) => return Held::Stranger,
        Held::Stranger | Held::Anything => {}
    }
    match &request.caller {
        Caller::Arn { arn, .. } if is("aws:PrincipalArn") => Held::Is(arn.clone()),
        Caller::Arn { arn, .. } if is("aws:PrincipalAccount") => {
            arn::parts(arn).map_or(Held::Anything, |parts| Held::Is(parts[4].to_owned()))
        }
        Caller::Anonymous if IDENTITY_KEYS.iter().any(|known| is(known)) && !is("aws:userid") => Held::Absent,
        Caller::Service(_) if is("aws:PrincipalArn") => Held::Absent,
        Caller::Anybody if IDENTITY_KEYS.iter().any(|known| is(known)) => Held::Stranger,
        Caller::Arn { .. } | Caller::Service(_) | Caller::Anonymous | Caller::Anybody => Held::Anything,
    }
}

fn action(patterns: &Patterns, action: &str) -> Truth {
    let action = action.to_ascii_lowercase();
    // Actions are compared without regard to case, and know no variables.
    let judged = patterns.listed.iter().map(|pattern| {
        let lower = Pattern::glob(&pattern.text.to_ascii_lowercase(), false);
        lower.matches(&action).map_or(Truth::Unclear, Truth::of)
    });
    let listed = judged.fold(Truth::No, Truth::or);
    patterns.truth(listed)
}

fn resource(patterns: &Patterns, resource: &Resource) -> Truth {
    let judged = patterns.listed.iter().map(|pattern| {
        arn::covers(pattern, |pattern| match resource {
            Resource::One(arn) => pattern.matches(arn).map(Truth::of),
            Resource::Every(prefix) => pattern.begins(prefix).map(Truth::from),
        })
    });
    patterns.truth(judged.fold(Truth::No, Truth::or))
}

impl Patterns {
    fn truth(&self, listed: Truth) -> Truth {
        match (self.unclear, self.inverted) {
            (true, _) => Truth::Unclear,
            (false, true) => listed.not(),
            (false, false) => listed,
        }
    }
}
