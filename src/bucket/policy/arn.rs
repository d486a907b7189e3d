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

/// Whether a pattern of principals means more than somebody could have had in mind: every role or every user of an account,
/// or anybody at all. Tried on principals of a name that nobody gives: what means them means no name.
pub(super) fn is_broad(pattern: &Pattern) -> bool {
    let own = pattern.text.split(|c: char| !c.is_ascii_digit()).find(|digits| is_account(digits));
    for account in [Some("999999999999"), own].into_iter().flatten() {
        let user_ids = ["AROAZZ9QZZ9Q", "AIDAZZ9QZZ9Q", account].map(|id| format!("{id}:zz9q"));
        let arns = ["aws", "aws-cn", "aws-us-gov"].into_iter().flat_map(|partition| {
            ["iam:{}:role/", "iam:{}:role/zz9q/", "iam:{}:user/", "iam:{}:user/zz9q/", "sts:{}:assumed-role/zz9q/"]
                .map(|kind| format!("arn:{partition}:{}zz9q", kind.replace("{}", &format!(":{account}"))))
        });
        for principal in arns.chain(user_ids) {
            // As text it means at least as much as part by part; what cannot be judged may be broad.
            if pattern.matches(&principal) != Some(false) {
                return true;
            }
        }
    }
    false
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
            ("arn:aws:iam::111122223333:role/release-*", false),
            ("arn:aws:iam::*:role/ops/*", false),
            ("arn:aws:iam::111122223333:root", false),
            ("AROAEXAMPLE:*", false),
            ("arn:aws:iam::111122223333:role/*", true),
            ("arn:aws:iam::111122223333:user/?*", true),
            ("arn:aws:iam::111122223333:*", true),
            ("arn:aws:iam::*", true),
            ("arn:aws:sts::111122223333:assumed-role/*", true),
            ("arn:aws-cn:*:*:*:*", true),
            ("${aws:PrincipalArn}", true),
            ("AROA*", true),
            ("*", true),
        ] {
            assert_eq!(is_broad(&Pattern::glob(pattern, true)), broad, "{pattern}");
        }
    }
}
