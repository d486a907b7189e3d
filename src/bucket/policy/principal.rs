//! Whom a statement is about.

use super::arn;
use super::evaluate::{Caller, Truth};
use super::json::Json;
use super::read::Effect;

/// One principal that a statement names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    Everyone,
    /// Twelve digits, or the root of an account, which in a policy means the same.
    Account(String),
    Arn(String),
    Service(String),
    /// An account by its canonical user id, which does not tell the account's number.
    Canonical(String),
    /// A federated one, or what is not understood.
    Other(String),
}

/// Reads a `Principal`.
pub(super) fn named(value: &Json, found: &mut Vec<Named>, doubts: &mut Vec<String>) {
    match value {
        Json::Text(text) if text == "*" => found.push(Named::Everyone),
        Json::Object(kinds) => {
            for (kind, names) in kinds {
                for name in names.items() {
                    match name.text() {
                        Some(name) => found.push(one(kind, name, doubts)),
                        None => doubts.push("its Principal is not text".to_owned()),
                    }
                }
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::List(_) => {
            doubts.push("its Principal is not understood".to_owned());
        }
    }
}

fn one(kind: &str, name: &str, doubts: &mut Vec<String>) -> Named {
    let named = match kind {
        // In a policy of a resource, `"*"` and `{"AWS": "*"}` mean the same. (IAM User Guide, "Principal".)
        "AWS" if name == "*" => Named::Everyone,
        "AWS" if is_account(name) => Named::Account(name.to_owned()),
        "AWS" => match arn::parts(name) {
            Some([_, _, _, _, account, "root"]) if is_account(account) => Named::Account(account.to_owned()),
            Some(_) => Named::Arn(name.to_owned()),
            // The id of a user or role: that of one which was deleted, mostly.
            None => Named::Other(name.to_owned()),
        },
        "Service" => Named::Service(name.to_owned()),
        "CanonicalUser" => Named::Canonical(name.to_owned()),
        "Federated" => Named::Other(name.to_owned()),
        _ => {
            doubts.push(format!("its Principal is of an unknown kind, {kind:?}"));
            Named::Other(name.to_owned())
        }
    };
    if matches!(&named, Named::Arn(name) | Named::Other(name) | Named::Service(name) if name.contains(['*', '?', '$']))
    {
        doubts.push(format!("its Principal {name:?} is a pattern, which a Principal cannot be"));
    }
    named
}

pub(super) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl Named {
    /// Whether it means this caller.
    pub fn means(&self, caller: &Caller, effect: Effect) -> Truth {
        match (self, caller) {
            (Self::Everyone, _) => Truth::Yes,
            (Self::Account(account), Caller::Arn { arn, .. }) => match arn::parts(arn) {
                Some(parts) if parts[4] != account.as_str() => Truth::No,
                // To allow an account is to let its own policies allow it on; to deny one is to deny all in it.
                Some(parts) if effect == Effect::Deny || parts[5] == "root" => Truth::Yes,
                Some(_) => Truth::Varies,
                None => Truth::Unclear,
            },
            (Self::Arn(named), Caller::Arn { arn, session }) => {
                let is_session = named.split(':').nth(2) == Some("sts");
                if named == arn || session.as_ref() == Some(named) {
                    Truth::Yes
                } else if is_session && session.is_none() {
                    Truth::Varies
                } else {
                    Truth::No
                }
            }
            (Self::Service(named), Caller::Service(service)) => {
                if named == service {
                    Truth::Yes
                } else {
                    Truth::No
                }
            }
            (Self::Canonical(_) | Self::Other(_), Caller::Arn { .. }) => Truth::Unclear,
            // Whoever is named is not anybody.
            (Self::Account(_) | Self::Arn(_) | Self::Canonical(_) | Self::Other(_), Caller::Service(_))
            | (Self::Service(_), Caller::Arn { .. })
            | (
                Self::Account(_) | Self::Arn(_) | Self::Service(_) | Self::Canonical(_) | Self::Other(_),
                Caller::Anybody | Caller::Anonymous,
            ) => Truth::No,
        }
    }
}
