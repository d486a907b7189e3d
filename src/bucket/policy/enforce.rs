//! Whether a policy forces conditional writes, on every key under a prefix, on everybody but operators that it names.
//!
//! Only what one Deny alone can be shown to deny, of all the requests of a kind, counts as denied. Two that would do so
//! together are not added up: that can make a hole of what is none, and never hides one.

use super::condition::Condition;
use super::evaluate::{Caller, Judged, Request, Resource, Truth, judge};
use super::kind::Kind;
use super::read::{Effect, Policy};

/// What a policy does about writes without a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enforcement {
    /// PutObject, CompleteMultipartUpload and CopyObject without a condition are denied to everybody but the operators,
    /// on every key under the prefix.
    Enforced {
        /// Whether creates with `If-None-Match` get through (as far as this policy decides). Where they do not, nobody can
        /// write anything.
        creates_allowed: bool,
        /// Whether replaces with `If-Match` get through.
        replace_allowed: bool,
        /// Whether files can go up in parts: CreateMultipartUpload and UploadPart carry no condition, and a policy that
        /// does not leave them out denies them.
        multipart_allowed: bool,
        /// Whether [`Kind::DELETING`] are denied to all but the operators.
        deletes_closed: bool,
        /// Which of [`Kind::DELETING`] and [`Kind::AROUND`] are not denied to all but the operators.
        open: Vec<Kind>,
        /// The principals that a Deny leaves out, as its condition spells them: `arn:aws:iam::111122223333:role/ops-*`.
        operators: Vec<String>,
    },
    /// It denies some writes without a condition and lets others through.
    Holes(Vec<Hole>),
    /// It looks as if it denied writes, and the statement denies none.
    Pretends { statement: String, why: String },
    /// It denies no writes under this prefix for want of a condition.
    None,
    /// Something that is not understood may deny them, or may not. Sentences.
    CannotTell(Vec<String>),
}

/// A write without a condition that gets through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    pub kind: Kind,
    /// Which write, and why no statement denies it.
    pub sentence: String,
}

/// Judges a policy. `bucket` is the bucket's name; the prefix may be empty.
#[must_use]
pub fn enforcement(policy: &Policy, bucket: &str, prefix: &str) -> Enforcement {
    let asked = Asked { policy, bucket_arn: bucket_arn(policy, bucket), prefix };
    let mut operators = Vec::new();
    let (mut holes, mut doubts) = (Vec::new(), Vec::new());
    for kind in Kind::UNCONDITIONAL {
        match asked.denied(kind) {
            Denied::Surely { but } => operators.extend(but),
            Denied::Perhaps(why) => doubts.push(format!("{}: {}", kind.told(), why.join("; "))),
            Denied::No(why) => {
                let reason = if why.is_empty() { "no statement denies it".to_owned() } else { why.join("; ") };
                holes.push(Hole { kind, sentence: format!("{} gets through: {reason}", kind.told()) });
            }
        }
    }
    let pretender = asked.pretender();
    if !doubts.is_empty() {
        doubts.extend(holes.into_iter().map(|hole| hole.sentence));
        doubts.extend(pretender.map(|(statement, why)| format!("{statement} denies nothing: {why}")));
        return Enforcement::CannotTell(doubts);
    }
    if holes.is_empty() {
        return asked.enforced(operators);
    }
    match pretender {
        _ if asked.denies_some() => Enforcement::Holes(holes),
        Some((statement, why)) => Enforcement::Pretends { statement, why },
        None => Enforcement::None,
    }
}

/// The bucket's ARN, in the partition that the policy's own resources name: S3 takes no other.
pub(super) fn bucket_arn(policy: &Policy, bucket: &str) -> String {
    let partition = policy.statements.iter().find_map(|statement| statement.partition()).unwrap_or("aws");
    format!("arn:{partition}:s3:::{bucket}")
}

struct Asked<'a> {
    policy: &'a Policy,
    bucket_arn: String,
    prefix: &'a str,
}

/// Whether all requests of a kind are denied, but those of operators.
enum Denied {
    Surely {
        but: Vec<String>,
    },
    /// By something that is not understood.
    Perhaps(Vec<String>),
    /// Not all of them; why each statement that speaks of them does not.
    No(Vec<String>),
}

impl Asked<'_> {
    fn request(&self, kind: Kind) -> Request {
        let keys = Resource::Every(format!("{}/{}", self.bucket_arn, self.prefix));
        kind.request(Caller::Anybody, &self.bucket_arn, keys)
    }

    fn judged(&self, kind: Kind) -> Vec<Judged<'_>> {
        let request = self.request(kind);
        let denies = self.policy.statements.iter().filter(|statement| statement.effect == Effect::Deny);
        denies.map(|statement| judge(statement, &request)).collect()
    }

    fn denied(&self, kind: Kind) -> Denied {
        let judged = self.judged(kind);
        let sure = judged.iter().filter(|judged| judged.truth() == Truth::Yes);
        let exceptions = sure.map(|judged| {
            judged.statement.conditions.iter().flat_map(Condition::exceptions).map(str::to_owned).collect::<Vec<_>>()
        });
        // Of several that deny, whoever is left out of one may be denied by another: the fewest exceptions count.
        if let Some(but) = exceptions.min_by_key(Vec::len) {
            return Denied::Surely { but };
        }
        let unclear: Vec<String> =
            judged.iter().filter(|judged| judged.truth() == Truth::Unclear).map(Judged::reason).collect();
        if !unclear.is_empty() {
            return Denied::Perhaps(unclear);
        }
        Denied::No(judged.iter().filter(|judged| judged.speaks()).map(Judged::reason).collect())
    }

    fn surely_denied(&self, kind: Kind) -> Option<Vec<String>> {
        match self.denied(kind) {
            Denied::Surely { but } => Some(but),
            Denied::Perhaps(_) | Denied::No(_) => None,
        }
    }

    fn enforced(&self, mut operators: Vec<String>) -> Enforcement {
        let allowed = |kinds: &[Kind]| kinds.iter().any(|kind| self.surely_denied(*kind).is_none());
        let mut open = Vec::new();
        for kind in Kind::DELETING.into_iter().chain(Kind::AROUND) {
            match self.surely_denied(kind) {
                Some(but) => operators.extend(but),
                None => open.push(kind),
            }
        }
        operators.sort_unstable();
        operators.dedup();
        Enforcement::Enforced {
            creates_allowed: allowed(&[Kind::PutIfAbsent]),
            replace_allowed: allowed(&[Kind::PutIfUnchanged, Kind::CompleteIfUnchanged, Kind::CopyIfUnchanged]),
            multipart_allowed: [Kind::CreateUpload, Kind::UploadPart].iter().all(|kind| allowed(&[*kind]))
                && allowed(&[Kind::CompleteIfAbsent]),
            deletes_closed: !Kind::DELETING.iter().any(|kind| open.contains(kind)),
            open,
            operators,
        }
    }

    /// Whether any statement denies some of the writes without a condition for that, or to some of those who write.
    fn denies_some(&self) -> bool {
        Kind::UNCONDITIONAL.iter().flat_map(|kind| self.judged(*kind)).any(|judged| judged.aims())
    }

    /// A Deny of writes under the prefix that can never hold, and why.
    fn pretender(&self) -> Option<(String, String)> {
        let writes = Kind::ALL.into_iter().filter(|kind| kind.action() == "s3:PutObject");
        let by_kind: Vec<Vec<Judged>> = writes.map(|kind| self.judged(kind)).collect();
        let first = by_kind.first()?;
        (0..first.len()).find_map(|n| {
            let is_void = first[n].about() && by_kind.iter().all(|judged| judged[n].is_void());
            is_void.then(|| (first[n].statement.name.clone(), void(&first[n])))
        })
    }
}

/// Why no write satisfies a statement's conditions.
fn void(judged: &Judged) -> String {
    if let Some(never) = &judged.never {
        return never.clone();
    }
    let on = |key: &str| judged.statement.conditions.iter().find(|condition| condition.is_on(key));
    if let (Some(source), Some(directive)) = (on("s3:x-amz-copy-source"), on("s3:x-amz-metadata-directive")) {
        return format!(
            "{} leaves out copies, and {} holds of copies alone, which are the only requests with that header; no write \
             is both",
            source.told(),
            directive.told()
        );
    }
    let told: Vec<String> = judged.statement.conditions.iter().map(Condition::told).collect();
    format!("no request that writes satisfies {}", told.join(" and "))
}

impl Judged<'_> {
    /// Whether it is about such requests at all, whoever makes them and whatever it asks of them.
    fn about(&self) -> bool {
        self.action != Truth::No && self.resource != Truth::No
    }

    /// Whether its conditions fail, whoever asks.
    fn is_void(&self) -> bool {
        self.never.is_some() || self.open.iter().any(|(one, truth)| *truth == Truth::No && !one.is_of_identity())
    }

    /// Whether it denies such requests because they lack a condition, or whatever they hold. A statement that asks for
    /// other things (transport, encryption) says nothing of how writes are guarded.
    fn aims(&self) -> bool {
        let on = |keys: &[&str]| keys.iter().any(|key| self.statement.conditions.iter().any(|one| one.is_on(key)));
        let of_others = |one: &&Condition| !one.is_of_identity() && !one.is_on("s3:ObjectCreationOperation");
        let plain = !self.statement.conditions.iter().any(|one| of_others(&one));
        self.about() && !self.is_void() && (plain || on(&["s3:if-none-match", "s3:if-match"]))
    }

    /// Whether a person would think of it as denying such requests.
    fn speaks(&self) -> bool {
        self.about() && self.truth() != Truth::Yes
    }

    fn reason(&self) -> String {
        let mut why = self.why();
        if self.caller == Truth::No && self.statement.doubts.is_empty() {
            why.insert(0, "it means named principals only".to_owned());
        }
        if let Some(never) = &self.never {
            why = vec![never.clone()];
        }
        if self.condition == Truth::No && self.never.is_none() {
            let refuted = self
                .open
                .iter()
                .filter(|(_, truth)| *truth == Truth::No)
                .map(|(one, _)| one.told())
                .collect::<Vec<_>>();
            why = vec![format!("such a request does not satisfy {}", refuted.join(" and "))];
        }
        format!("{}: {}", self.statement.name, why.join("; "))
    }
}
