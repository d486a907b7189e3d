//! What a manifest requires of its target's bucket, held against what is planned there. What was not seen counts as not
//! met.

use super::lifecycle::{counted, noncurrent_days, told as told_rule};
use super::policy::{Forces, forces};
use super::safety::enable_versioning;
use super::{Finding, Question, unseen};
use crate::model::bucket::{Aspect, Configuration, Rule, Status, Told};
use crate::model::step::{Action, Step};
use crate::model::target::{Require, Target};
use crate::model::text::{count, name};

/// What one target asks of the bucket that it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub target: String,
    pub prefix: String,
    pub require: Require,
}

/// What one target must keep to, and what its steps do so far. A bucket is one bucket by any name: what another target
/// asks of it holds too.
#[derive(Debug, Clone)]
pub struct Demand {
    target: Target,
    /// The target's own prefix, for what is said of the bucket.
    prefix: String,
    versioning: Option<Asker>,
    recovery: Option<(u64, Asker)>,
    told: Configuration,
    replaces: u64,
    soon: Vec<Soon>,
    guarded: Vec<Guarded>,
}

/// The name of the target that asks.
type Asker = String;

/// A prefix under which the policy must force conditions, and what is written there.
#[derive(Debug, Clone)]
struct Guarded {
    prefix: String,
    asker: Asker,
    writes: u64,
}

/// A rule that deletes old versions too soon, and what it would hit.
#[derive(Debug, Clone)]
struct Soon {
    rule: Rule,
    days: u64,
    hits: u64,
    first: String,
}

/// What must be known of a bucket to hold a requirement against it.
#[must_use]
pub fn aspects(require: &Require) -> Vec<Aspect> {
    let Require { versioning, recovery_days, policy } = *require;
    let mut wanted = Vec::new();
    if versioning || recovery_days.is_some() {
        wanted.push(Aspect::Versioning);
    }
    if recovery_days.is_some() {
        wanted.push(Aspect::Lifecycle);
    }
    if policy.is_some() {
        wanted.push(Aspect::Policy);
    }
    wanted
}

/// Those of the [`aspects`] that nobody has seen yet: another role may see more of the same bucket.
#[must_use]
pub fn open(require: &Require, told: &Configuration) -> Vec<Aspect> {
    let is_open = |aspect: &Aspect| match aspect {
        Aspect::Versioning => !told.versioning.is_seen(),
        Aspect::Lifecycle => !told.lifecycle.is_seen(),
        Aspect::Policy => !told.policy.is_seen(),
        _ => true,
    };
    aspects(require).into_iter().filter(is_open).collect()
}

/// Takes in what one more look told of what was open.
pub fn learn(told: &mut Configuration, more: Configuration) {
    let Configuration { versioning, lifecycle, policy, .. } = more;
    if versioning != Told::NotAsked {
        told.versioning = versioning;
    }
    if lifecycle != Told::NotAsked {
        told.lifecycle = lifecycle;
    }
    if policy != Told::NotAsked {
        told.policy = policy;
    }
}

impl Demand {
    /// Of a target whose keys begin with `prefix`; `asked` is what every target that leads to its bucket asks, and `told`
    /// has the [`aspects`] of all of them at least.
    #[must_use]
    pub fn new(target: Target, prefix: String, asked: &[Asked], told: Configuration) -> Self {
        // Its own are told as its own, whoever else asks the same.
        let own_first = || {
            let is_own = |asked: &&Asked| asked.target == target.name;
            asked.iter().filter(is_own).chain(asked.iter().filter(move |asked| !is_own(asked)))
        };
        let versioning = own_first().find(|asked| asked.require.versioning).map(|asked| asked.target.clone());
        let mut recovery: Option<(u64, Asker)> = None;
        let mut guarded: Vec<Guarded> = Vec::new();
        for Asked { target: asker, prefix, require } in own_first() {
            if let Some(days) = require.recovery_days
                && recovery.as_ref().is_none_or(|(most, _)| days > *most)
            {
                recovery = Some((days, asker.clone()));
            }
            if require.policy.is_some() && guarded.iter().all(|guarded| guarded.prefix != *prefix) {
                guarded.push(Guarded { prefix: prefix.clone(), asker: asker.clone(), writes: 0 });
            }
        }
        let mut soon = Vec::new();
        if let (Some((wanted, _)), Told::Is(lifecycle)) = (&recovery, &told.lifecycle) {
            for rule in lifecycle.rules.iter().filter(|rule| rule.is_enabled()) {
                if let Some(days) = noncurrent_days(rule).filter(|days| days < wanted) {
                    soon.push(Soon { rule: rule.clone(), days, hits: 0, first: String::new() });
                }
            }
        }
        Self { target, prefix, versioning, recovery, told, replaces: 0, soon, guarded }
    }

    /// Takes in a step; those of other targets are passed over.
    pub fn add(&mut self, step: &Step) {
        if *step.target != *self.target.name || !step.action.writes() {
            return;
        }
        for guarded in &mut self.guarded {
            if guarded.asker == self.target.name || step.key.as_str().starts_with(&guarded.prefix) {
                guarded.writes += 1;
            }
        }
        match step.action {
            Action::Replace => self.replaces += 1,
            // What a rollback does is no manifest's.
            Action::Create
            | Action::Restore
            | Action::Delete
            | Action::Unchanged
            | Action::Keep
            | Action::Refuse
            | Action::Error => return,
        }
        let size = step.head.as_ref().and_then(|head| i64::try_from(head.size).ok());
        for soon in &mut self.soon {
            let (above, below) = soon.rule.sizes();
            // What tags the old object has is not known: it may be meant.
            let is_meant = step.key.as_str().starts_with(soon.rule.prefix())
                && above.is_none_or(|above| size.is_none_or(|size| size > above))
                && below.is_none_or(|below| size.is_none_or(|size| size < below));
            if is_meant {
                if soon.hits == 0 {
                    step.key.as_str().clone_into(&mut soon.first);
                }
                soon.hits += 1;
            }
        }
    }

    /// Every requirement that is not met, a sentence each, with what to do. None where nothing is planned that it is about.
    #[must_use]
    pub fn refusals(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.replaces > 0 {
            found.extend(self.versioning());
            found.extend(self.recovery());
        }
        found.extend(self.guarded.iter().filter(|guarded| guarded.writes > 0).filter_map(|it| self.policy(it)));
        found
    }

    fn refusal(&self, planned: u64, what: &str, why: &str, field: &str, asker: &str) -> String {
        let (target, bucket) = (&self.target.name, name(&self.target.bucket));
        let s = if planned == 1 { "" } else { "s" };
        let of = if asker == target { String::new() } else { format!(" of target {asker}") };
        format!(
            "target {target}: {} {what}{s} planned, but bucket {bucket} {why} (require.{field}{of})",
            count(planned)
        )
    }

    fn versioning(&self) -> Option<String> {
        let (field, asker) = match (&self.versioning, &self.recovery) {
            (Some(asker), _) => ("versioning", asker),
            (None, Some((_, asker))) => ("recovery_days", asker),
            (None, None) => return None,
        };
        let lost = "could not give back what they replace";
        let aspect = Aspect::Versioning;
        if let Some(unseen) = unseen("", "", aspect, &self.told.versioning, &self.target) {
            let why = format!("may be one that {lost}: {}", unseen.found);
            return Some(advised(self.refusal(self.replaces, "replace", &why, field, asker), &unseen));
        }
        let is = match &self.told.versioning {
            Told::Is(versioning) if versioning.status == Status::Enabled => return None,
            Told::Is(_) => "versioning is suspended",
            _ => "versioning was never enabled",
        };
        let refusal = self.refusal(self.replaces, "replace", &format!("{lost}: {is}"), field, asker);
        Some(format!("{refusal}. Enable it: {}", enable_versioning(&self.question(&self.prefix))))
    }

    fn recovery(&self) -> Vec<String> {
        let Some((days, asker)) = &self.recovery else { return Vec::new() };
        let days = *days;
        let lifecycle = &self.told.lifecycle;
        if let Some(unseen) = unseen("", "", Aspect::Lifecycle, lifecycle, &self.target) {
            let why = format!("may delete old versions before {days} days: {}", unseen.found);
            return vec![advised(self.refusal(self.replaces, "replace", &why, "recovery_days", asker), &unseen)];
        }
        let told = |soon: &Soon| {
            let Soon { rule, days: after, hits, first } = soon;
            let rule = told_rule(rule);
            let why = format!(
                "may delete what they replace after {}, sooner than {}: {rule}; the first key is {}",
                counted(*after),
                counted(days),
                name(first)
            );
            let refusal = self.refusal(*hits, "replace", &why, "recovery_days", asker);
            let place = self.question(&self.prefix).place();
            format!("{refusal}. `noclobber bucket check {place} --recovery-days {days}` prints rules that keep them")
        };
        self.soon.iter().filter(|soon| soon.hits > 0).map(told).collect()
    }

    fn policy(&self, guarded: &Guarded) -> Option<String> {
        let Guarded { prefix, asker, writes } = guarded;
        let told = &self.told.policy;
        let why = match forces(told, &self.target.bucket, prefix) {
            Some(Forces::Surely { .. }) if self.target.is_aws() => return None,
            Some(Forces::Surely { .. }) => "it would at AWS; whether this server obeys it is not known".to_owned(),
            Some(Forces::No) if *told == Told::NotSet => "there is none".to_owned(),
            Some(Forces::No) => "it does not ask for conditions".to_owned(),
            Some(Forces::Holes(holes)) => holes.join("; "),
            Some(Forces::Pretends(why)) => why,
            Some(Forces::CannotTell(why)) => why.join("; "),
            None => unseen("", "", Aspect::Policy, told, &self.target).map(|unseen| unseen.found).unwrap_or_default(),
        };
        let why = format!("has no policy that surely forces conditional writes: {why}");
        let refusal = self.refusal(*writes, "write", &why, "policy", asker);
        Some(format!("{refusal}. `noclobber bucket policy {}` prints one", self.question(prefix).place()))
    }

    fn question<'a>(&'a self, prefix: &'a str) -> Question<'a> {
        let recovery_days = self.recovery.as_ref().map_or(0, |(days, _)| *days);
        Question { target: &self.target, prefix, recovery_days }
    }
}

/// A refusal with what to do, where something is known.
fn advised(refusal: String, unseen: &Finding) -> String {
    match &unseen.fix {
        Some(fix) => format!("{refusal}: {}", fix.say),
        None => refusal,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::bucket::policy::{Partition, Wanted, draw};
    use crate::model::bucket::{Filter, Lifecycle, NoncurrentExpiration, Tag, Versioning};
    use crate::model::digest::ETag;
    use crate::model::entry::{Key, Place, Rule as Overwrite};
    use crate::model::head::{Encryption, Seen};
    use crate::model::step::Reason;
    use crate::model::target::{Addressing, ConditionalWrites, PolicyRequired};

    fn step(key: &str, size: u64, action: Action) -> Step {
        Step {
            n: 1,
            place: Place { file: "m.yaml".into(), line: 3 },
            source: key.into(),
            real: None,
            target: "main".into(),
            key: Key::new(key),
            rule: Overwrite::Always,
            stage: None,
            action,
            reason: Reason::Differs,
            proof: None,
            note: None,
            properties: Arc::default(),
            local: None,
            head: Some(Seen {
                etag: ETag::new("aa"),
                version: None,
                size,
                checksum: None,
                last_modified: None,
                encryption: Encryption::None,
            }),
            earlier: None,
            guard: None,
        }
    }

    fn buries(days: i32, filter: Filter) -> Rule {
        Rule {
            id: Some("old".into()),
            status: "Enabled".into(),
            filter: Some(filter),
            noncurrent_version_expiration: Some(NoncurrentExpiration {
                noncurrent_days: Some(days),
                newer_noncurrent_versions: Some(3),
            }),
            ..Rule::default()
        }
    }

    fn lifecycle(rules: impl IntoIterator<Item = Rule>) -> Told<Lifecycle> {
        Told::Is(Lifecycle { rules: rules.into_iter().collect(), transition_minimum: None })
    }

    fn versioned() -> Configuration {
        let versioning = Told::Is(Versioning { status: Status::Enabled, mfa_delete: false });
        Configuration { versioning, lifecycle: Told::NotSet, policy: Told::NotSet, ..Configuration::default() }
    }

    fn refused(require: Require, told: Configuration, steps: &[Step]) -> Vec<String> {
        refused_at("https://s3.eu-west-1.amazonaws.com", require, told, steps)
    }

    fn refused_at(endpoint: &str, require: Require, told: Configuration, steps: &[Step]) -> Vec<String> {
        let own = Asked { target: "main".into(), prefix: "r/".into(), require };
        judged(endpoint, &[own], told, steps)
    }

    fn judged(endpoint: &str, asked: &[Asked], told: Configuration, steps: &[Step]) -> Vec<String> {
        let target = Target {
            name: "main".into(),
            bucket: "finance".into(),
            endpoint: endpoint.into(),
            region: "eu-west-1".into(),
            addressing: Addressing::Virtual,
            owner: None,
            profile: None,
            role_arn: None,
            request_payer: false,
            trust_metadata: true,
            conditional_writes: ConditionalWrites::Required,
        };
        let mut demand = Demand::new(target, "r/".into(), asked, told);
        for step in steps {
            demand.add(step);
        }
        demand.refusals()
    }

    const DAYS: Require = Require { versioning: false, recovery_days: Some(30), policy: None };
    const VERSIONING: Require = Require { versioning: true, recovery_days: None, policy: None };
    const POLICY: Require = Require { versioning: false, recovery_days: None, policy: Some(PolicyRequired::Enforced) };

    #[test]
    fn only_what_a_requirement_needs_is_asked_for() {
        assert_eq!(aspects(&Require::default()), []);
        assert_eq!(aspects(&VERSIONING), [Aspect::Versioning]);
        assert_eq!(aspects(&DAYS), [Aspect::Versioning, Aspect::Lifecycle]);
        assert_eq!(aspects(&POLICY), [Aspect::Policy]);
    }

    #[test]
    fn replaces_need_a_bucket_that_keeps_what_they_replace() {
        let replace = || [step("r/a", 1, Action::Replace)];
        let table: [(Require, Configuration, &str); 10] = [
            (DAYS, versioned(), ""),
            (VERSIONING, Configuration { lifecycle: Told::NotAllowed, ..versioned() }, ""),
            (
                VERSIONING,
                Configuration { versioning: Told::NotSet, ..versioned() },
                "versioning was never enabled (require.versioning). Enable it: aws s3api put-bucket-versioning ",
            ),
            (
                DAYS,
                Configuration { versioning: Told::NotSet, ..versioned() },
                "versioning was never enabled (require.recovery_days)",
            ),
            (
                VERSIONING,
                Configuration {
                    versioning: Told::Is(Versioning { status: Status::Suspended, mfa_delete: false }),
                    ..versioned()
                },
                "versioning is suspended",
            ),
            (
                VERSIONING,
                Configuration { versioning: Told::NotAllowed, ..versioned() },
                "the role may lack s3:GetBucketVersioning (require.versioning)",
            ),
            (
                VERSIONING,
                Configuration { versioning: Told::NotSupported, ..versioned() },
                "may be one that could not give back",
            ),
            (VERSIONING, Configuration { versioning: Told::NotAsked, ..versioned() }, "it was not asked for"),
            (
                DAYS,
                Configuration { lifecycle: Told::NotAllowed, ..versioned() },
                "the role may lack s3:GetLifecycleConfiguration",
            ),
            (
                DAYS,
                Configuration { lifecycle: Told::Failed("broke off".into()), ..versioned() },
                "broke off (require.recovery_days)",
            ),
        ];
        for (require, told, says) in table {
            let refusals = refused(require, told.clone(), &replace());
            let expected = usize::from(!says.is_empty());
            assert!(refusals.len() == expected && refusals.iter().all(|it| it.contains(says)), "{says}: {refusals:#?}");
            for other in [Action::Create, Action::Unchanged, Action::Keep, Action::Refuse, Action::Error] {
                assert_eq!(
                    refused(require, told.clone(), &[step("r/a", 1, other)]),
                    Vec::<String>::new(),
                    "{says} {other}"
                );
            }
            let elsewhere = Step { target: "other".into(), ..step("r/a", 1, Action::Replace) };
            assert_eq!(refused(require, told, &[elsewhere]), Vec::<String>::new(), "{says}");
        }
    }

    #[test]
    fn a_rule_that_deletes_too_soon_refuses_the_replaces_that_it_means() {
        let under = |prefix: &str| Filter { prefix: Some(prefix.into()), ..Filter::default() };
        let tag = Some(Tag { key: "k".into(), value: "v".into() });
        let above = |bytes| Filter { object_size_greater_than: Some(bytes), ..Filter::default() };
        let below = |bytes| Filter { object_size_less_than: Some(bytes), ..Filter::default() };
        let off = Rule { status: "Disabled".into(), ..buries(1, Filter::default()) };
        let table = [
            (buries(29, Filter::default()), 3),
            (buries(30, Filter::default()), 0),
            (buries(1, under("r/tmp/")), 1),
            (buries(1, under("s/")), 0),
            // Which of them are tagged so is not known.
            (buries(1, Filter { tag, ..Filter::default() }), 3),
            (buries(1, above(10)), 1),
            (buries(1, above(100)), 0),
            (buries(1, below(10)), 1),
            (off, 0),
        ];
        let steps = [
            step("r/a", 10, Action::Replace),
            step("r/b", 100, Action::Replace),
            step("r/tmp/c", 9, Action::Replace),
            step("r/tmp/d", 9, Action::Create),
        ];
        for (rule, hits) in table {
            let refusals = refused(DAYS, Configuration { lifecycle: lifecycle([rule.clone()]), ..versioned() }, &steps);
            assert_eq!(refusals.len(), usize::from(hits > 0), "{rule:?}: {refusals:#?}");
            let says = format!("target main: {hits} replace");
            assert!(refusals.iter().all(|refusal| refusal.starts_with(&says)), "{rule:?}: {refusals:#?}");
        }
        let told = Configuration { lifecycle: lifecycle([buries(1, under("r/tmp/"))]), ..versioned() };
        assert_eq!(
            refused(DAYS, told, &steps),
            [
                "target main: 1 replace planned, but bucket finance may delete what they replace after 1 day, sooner than \
              30 days: rule old (objects under r/tmp/); the first key is r/tmp/c (require.recovery_days). \
              `noclobber bucket check s3://finance/r/ --recovery-days 30` prints rules that keep them"
            ]
        );
    }

    #[test]
    fn a_policy_that_does_not_surely_force_conditions_refuses_every_write() {
        for (policy, says) in [
            (Told::NotSet, "there is none (require.policy). `noclobber bucket policy s3://finance/r/` prints one"),
            (Told::NotAllowed, "the role may lack s3:GetBucketPolicy"),
            (Told::NotSupported, "405 or 501"),
            (Told::Is("[]".into()), "it is no policy"),
        ] {
            let told = Configuration { policy, ..versioned() };
            for action in [Action::Create, Action::Replace] {
                let refusals = refused(POLICY, told.clone(), &[step("r/a", 1, action)]);
                assert!(refusals.len() == 1 && refusals[0].contains(says), "{says}: {refusals:#?}");
            }
            assert_eq!(refused(POLICY, told, &[step("r/a", 1, Action::Unchanged)]), Vec::<String>::new());
        }
    }

    #[test]
    fn a_policy_that_forces_conditions_lets_writes_pass_at_aws_and_nowhere_else() {
        let wanted = Wanted {
            bucket: "finance".into(),
            prefix: "r/".into(),
            partition: Partition::Aws,
            allow_replace: true,
            operators: Vec::new(),
        };
        let of = |wanted: &Wanted| Configuration { policy: Told::Is(draw(wanted).unwrap().compact()), ..versioned() };
        let steps = [step("r/a", 1, Action::Replace)];
        assert_eq!(refused(POLICY, of(&wanted), &steps), Vec::<String>::new());
        let elsewhere = refused_at("https://minio.example.com", POLICY, of(&wanted), &steps);
        assert!(elsewhere.len() == 1 && elsewhere[0].contains("it would at AWS"), "{elsewhere:#?}");
        let part = refused(POLICY, of(&Wanted { prefix: "r/a".into(), ..wanted }), &steps);
        assert!(part.len() == 1 && part[0].contains("gets through"), "{part:#?}");
    }

    #[test]
    fn what_another_target_asks_of_the_same_bucket_holds_and_is_told_as_its_own() {
        let of = |target: &str, prefix: &str, require| Asked { target: target.into(), prefix: prefix.into(), require };
        let never = Configuration { versioning: Told::NotSet, ..versioned() };
        let aws = "https://s3.eu-west-1.amazonaws.com";
        let replace = [step("r/a", 1, Action::Replace)];
        let told = judged(aws, &[of("other", "s/", VERSIONING)], never.clone(), &replace);
        assert!(told.len() == 1 && told[0].contains("(require.versioning of target other). Enable"), "{told:#?}");
        let told = judged(aws, &[of("other", "s/", VERSIONING), of("main", "r/", VERSIONING)], never, &replace);
        assert!(told.len() == 1 && told[0].contains("(require.versioning). Enable"), "{told:#?}");

        let short = Require { recovery_days: Some(7), ..DAYS };
        let soon = Configuration { lifecycle: lifecycle([buries(8, Filter::default())]), ..versioned() };
        assert_eq!(judged(aws, &[of("main", "r/", short)], soon.clone(), &replace), Vec::<String>::new());
        let told = judged(aws, &[of("main", "r/", short), of("other", "s/", DAYS)], soon, &replace);
        assert!(told.len() == 1 && told[0].contains("(require.recovery_days of target other)"), "{told:#?}");

        // A policy is asked for under a prefix: what others write there counts, and what they write beside it does not.
        let create = [step("r/a", 1, Action::Create), step("r/in/b", 1, Action::Create)];
        for (prefix, writes) in [("", 2), ("r/", 2), ("r/in/", 1), ("s/", 0)] {
            let told = judged(aws, &[of("other", prefix, POLICY)], versioned(), &create);
            assert_eq!(told.len(), usize::from(writes > 0), "{prefix}: {told:#?}");
            let says = format!("target main: {writes} write");
            let place = format!("policy s3://finance/{prefix}`");
            assert!(told.iter().all(|told| told.starts_with(&says) && told.contains(&place)), "{prefix}: {told:#?}");
        }
    }

    #[test]
    fn what_one_role_has_seen_is_not_asked_again_and_what_it_may_not_see_is() {
        let mut told = Configuration::default();
        assert_eq!(open(&DAYS, &told), aspects(&DAYS));
        let first = Configuration { versioning: Told::NotSet, lifecycle: Told::NotAllowed, ..Configuration::default() };
        learn(&mut told, first);
        assert_eq!(open(&DAYS, &told), [Aspect::Lifecycle]);
        learn(&mut told, Configuration { lifecycle: Told::NotSet, ..Configuration::default() });
        assert_eq!((&told.versioning, open(&DAYS, &told)), (&Told::NotSet, Vec::new()));
    }
}
