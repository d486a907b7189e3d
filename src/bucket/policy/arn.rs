//! ARNs and patterns of them.

use super::evaluate::Truth;
use super::pattern::Pattern;
use super::principal::is_account;

/// What an ARN has: `arn:partition:service:region:account:resource`. The last holds further colons.
const PARTS: usize = 6;

/// Splits an ARN, or a pattern of ARNs, at its colons. Variables hold colons of their own: such a pattern is not split.
pub(super) fn parts(text: &str) -> Option<[&str; PARTS]> {
    let mut found = text.splitn(PARTS, ':');
    let parts = [found.next()?, found.next()?, found.next()?, found.next()?, found.next()?, found.next()?];
    (parts[0] == "arn").then_some(parts)
}

/// Whether an ARN is like a pattern: each of the six parts apart, so that no star reaches over a colon into the next.
/// `None` where that cannot be judged. (AWS, IAM User Guide, "Amazon Resource Name (ARN) condition operators".)
pub(super) fn like(pattern: &Pattern, arn: &str, variables: bool) -> Option<bool> {
    if !pattern.understood() {
        return None;
    }
    // A lone star is no ARN; whether it is one to IAM is not documented.
    let (Some(wanted), Some(has)) = (parts(&pattern.text), parts(arn)) else {
        return if pattern.matches(arn) == Some(true) { None } else { Some(false) };
    };
    wanted.iter().zip(has).map(|(wanted, has)| Pattern::glob(wanted, variables).matches(has)).fold(Some(true), and)
}

/// How many characters of a name a pattern must spell before its first wildcard, to be of some principals that somebody had
/// in mind.
pub(super) const LITERALS_MIN: usize = 3;

/// Whether a pattern of principals means more than somebody could have had in mind: those of any account, or nearly every
/// role or user of one.
///
/// What has no wildcard names one. An ARN with wildcards must spell its account, `role/` or the like, and how the name
/// begins; an id (`AROAEXAMPLE:session`) must be spelled whole: the session's name is chosen by whoever makes one.
pub(super) fn is_broad(pattern: &Pattern) -> bool {
    if !pattern.understood() {
        return true;
    }
    if pattern.only().is_some() {
        return false;
    }
    match parts(&pattern.text) {
        Some([_, _, _, _, account, name]) => {
            !is_account(account) || is_broad_name(name) || OF_AWS.iter().any(|own| means_all_of(name, own))
        }
        None => match pattern.start().split_once(':') {
            Some((id, session)) if is_account(id) => session.chars().count() < LITERALS_MIN,
            Some((id, _)) => id.is_empty() || id == "arn",
            None => true,
        },
    }
}

/// Paths that AWS itself puts roles under, those of everybody who signs in by single sign-on among them. A pattern that
/// spells no more than these spells no name.
const OF_AWS: [&str; 4] = [
    "role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_",
    "role/aws-reserved/sso.amazonaws.com/zz9q/AWSReservedSSO_",
    "role/aws-service-role/",
    "role/service-role/",
];

fn is_broad_name(name: &str) -> bool {
    let start = Pattern::glob(name, true).start();
    let spelled = start.split_once('/').map_or(0, |(_, name)| name.chars().count());
    spelled < LITERALS_MIN
}

/// Tried with a name that nobody gives: what means it means no name.
fn means_all_of(name: &str, path: &str) -> bool {
    Pattern::glob(name, true).matches(&format!("{path}zz9q")) != Some(false)
}

/// Whether a statement's resource is meant by a pattern, which IAM matches as one text. A star that stands before the
/// resource's own part might reach over a colon or not: that is not judged.
pub(super) fn covers(pattern: &Pattern, judged: impl Fn(&Pattern) -> Option<Truth>) -> Truth {
    let Some(truth) = judged(pattern) else { return Truth::Unclear };
    let reaches = match parts(&pattern.text) {
        Some(parts) => parts[..PARTS - 1].iter().any(|part| part.contains(['*', '?'])),
        None => pattern.text != "*",
    };
    if reaches && truth != Truth::No { Truth::Unclear } else { truth }
}

fn and(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        (None, _) | (_, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_like(pattern: &str, arn: &str) -> Option<bool> {
        like(&Pattern::glob(pattern, true), arn, true)
    }

    #[test]
    fn a_star_stays_in_its_part_of_the_arn() {
        let role = "arn:aws:iam::111122223333:role/ops/release";
        for (pattern, expected) in [
            (role, Some(true)),
            ("arn:aws:iam::111122223333:role/*", Some(true)),
            ("arn:*:iam::*:role/ops/?elease", Some(true)),
            ("arn:aws:iam::111122223333:*", Some(true)),
            ("arn:aws:iam::444455556666:role/*", Some(false)),
            ("arn:aws:iam::111122223333:role/release", Some(false)),
            ("arn:aws:sts:*:*:*", Some(false)),
            ("arn:aws:*:role/*", None),
            ("arn:aws:iam::${aws:PrincipalAccount}:role/*", None),
            ("*", None),
        ] {
            assert_eq!(is_like(pattern, role), expected, "{pattern}");
        }
    }

    #[test]
    fn an_exception_that_names_nobody_is_broad() {
        for (pattern, broad) in [
            ("arn:aws:iam::111122223333:role/release", false),
            ("arn:aws:iam::111122223333:role/a", false),
            ("arn:aws:iam::111122223333:role/release-*", false),
            ("arn:aws:iam::111122223333:role/rel*", false),
            ("arn:aws:iam::111122223333:role/ops/*", false),
            ("arn:*:iam::111122223333:role/ops-*", false),
            ("arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_*", false),
            ("arn:aws:iam::111122223333:root", false),
            ("AROAEXAMPLE:*", false),
            ("111122223333:bob*", false),
            ("arn:aws:iam::*:role/ops", true),
            ("arn:aws:iam::*:role/ops/*", true),
            ("arn:aws:iam::11112222333?:role/ops", true),
            ("arn:aws:iam::111122223333:role/*", true),
            ("arn:aws:iam::111122223333:role/*e*", true),
            ("arn:aws:iam::111122223333:role/?????", true),
            ("arn:aws:iam::111122223333:role/*-*", true),
            ("arn:aws:iam::111122223333:role/re*", true),
            ("arn:aws:iam::111122223333:role/re?ease", true),
            ("arn:aws:iam::111122223333:*/release", true),
            ("arn:aws:iam::111122223333:r*", true),
            ("arn:aws:iam::111122223333:role/aws-reserved/*", true),
            ("arn:aws:iam::111122223333:role/aws*", true),
            ("arn:aws:iam::111122223333:role/service-role/*", true),
            ("arn:aws:iam::111122223333:user/?*", true),
            ("arn:aws:iam::111122223333:*", true),
            ("arn:aws:iam::111122223333*", true),
            ("arn:aws:iam::*", true),
            ("arn:*", true),
            ("arn:aws:sts::111122223333:assumed-role/*", true),
            ("arn:aws-cn:*:*:*:*", true),
            ("${aws:PrincipalArn}", true),
            ("AROA*", true),
            ("AROA?????????????????:*", true),
            ("*:release", true),
            ("111122223333:*", true),
            ("*", true),
        ] {
            assert_eq!(is_broad(&Pattern::glob(pattern, true)), broad, "{pattern}");
        }
    }
}
