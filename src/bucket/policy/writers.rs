//! Whom a policy lets write under a prefix.

use super::condition::Condition;
use super::enforce::bucket_arn;
use super::evaluate::{Caller, Resource, Truth, judge};
use super::kind::Kind;
use super::principal::Named;
use super::read::{Effect, Policy};

/// To be said beside every list of writers.
pub const IDENTITIES_UNSEEN: &str = "users and roles of the bucket's own account may be allowed more by policies of \
                                     their own, which cannot be seen in the bucket's";

/// Who is allowed something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// Anybody at all, without credentials even.
    Public,
    /// Whomever of this account its own policies let.
    Account(String),
    /// A user or role.
    Arn(String),
    /// A service of AWS.
    Service(String),
    /// As the policy spells it: a canonical user id, a federated provider, what is not understood.
    Other(String),
}

/// Somebody whom one statement lets write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer {
    pub who: Who,
    /// The statement that allows it.
    pub statement: String,
    /// What it may do to at least some of the keys, where no Deny surely takes it back from all but operators. Never empty.
    pub may: Vec<Kind>,
    /// On what conditions, as the policy spells them; and what is not understood of the statement.
    pub conditions: Vec<String>,
}

/// Lists the writers that a policy names, in its order. See [`IDENTITIES_UNSEEN`].
#[must_use]
pub fn writers(policy: &Policy, bucket: &str, prefix: &str) -> Vec<Writer> {
    let bucket = bucket_arn(policy, bucket);
    let mut found = Vec::new();
    for statement in policy.statements.iter().filter(|statement| statement.effect == Effect::Allow) {
        let named = if statement.principals.is_empty() {
            // Whomever it means, it means somebody.
            vec![Named::Other("whom the statement means is not understood".to_owned())]
        } else {
            statement.principals.clone()
        };
        for named in named {
            let may: Vec<Kind> = Kind::ALL
                .into_iter()
                .filter(|kind| {
                    let keys = Resource::Every(format!("{bucket}/{prefix}"));
                    let request = kind.request(caller(&named), &bucket, keys);
                    let allowed = judge(statement, &request);
                    let denied = policy.statements.iter().any(|statement| {
                        statement.effect == Effect::Deny && judge(statement, &request).truth() == Truth::Yes
                    });
                    let about = allowed.action.and(allowed.resource).and(allowed.condition) != Truth::No;
                    about && !denied
                })
                .collect();
            if may.is_empty() {
                continue;
            }
            let conditions = statement.conditions.iter().map(Condition::told);
            found.push(Writer {
                who: who(named),
                statement: statement.name.clone(),
                may,
                conditions: conditions.chain(statement.doubts.iter().cloned()).collect(),
            });
        }
    }
    found
}

fn caller(named: &Named) -> Caller {
    match named {
        Named::Account(account) => Caller::Arn { arn: format!("arn:aws:iam::{account}:root"), session: None },
        Named::Arn(arn) => Caller::Arn { arn: arn.clone(), session: None },
        Named::Service(service) => Caller::Service(service.clone()),
        // Denied to anybody is denied to them, unless an exception is made for them.
        Named::Everyone | Named::Canonical(_) | Named::Other(_) => Caller::Anybody,
    }
}

fn who(named: Named) -> Who {
    match named {
        Named::Everyone => Who::Public,
        Named::Account(account) => Who::Account(account),
        Named::Arn(arn) => Who::Arn(arn),
        Named::Service(service) => Who::Service(service),
        Named::Canonical(name) | Named::Other(name) => Who::Other(name),
    }
}
