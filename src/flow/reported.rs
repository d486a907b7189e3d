//! Where a report's rows say that they went. A report is a file that anybody may have edited: what it says is judged like a
//! manifest before anything is asked.

use crate::manifest::value;
use crate::model::target::{Addressing, ConditionalWrites, Require, SANDBOX, TargetSpec};
use crate::undo::rows::Went;

/// How a report's targets are reached, so far as its rows do not tell.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    pub profile: Option<String>,
    pub role_arn: Option<String>,
    pub addressing: Option<Addressing>,
}

/// The target of a report's rows, to be resolved like a manifest's. An error says what of them no target can have.
pub fn spec(went: &Went<'_>, terms: &Terms) -> Result<TargetSpec, String> {
    let Went { target, endpoint, region, owner, bucket } = *went;
    let is_sandbox = endpoint == SANDBOX;
    let own = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let owner = own(owner);
    let checks = [
        ("bucket", value::bucket(bucket)),
        ("region", value::region(region)),
        ("endpoint", if is_sandbox { None } else { value::endpoint(endpoint) }),
        ("owner", owner.as_deref().and_then(value::owner)),
    ];
    if let Some((what, flaw)) = checks.into_iter().find_map(|(what, flaw)| Some((what, flaw?))) {
        return Err(format!("the {what} of target {target:?} {flaw}"));
    }
    let Terms { profile, role_arn, addressing } = terms.clone();
    Ok(TargetSpec {
        name: target.to_owned(),
        bucket: bucket.to_owned(),
        bucket_owner: owner,
        region: own(region),
        profile,
        endpoint: (!is_sandbox).then(|| endpoint.to_owned()),
        addressing,
        prefix: String::new(),
        role_arn,
        request_payer: false,
        trust_metadata: true,
        // What a server does with each kind of request is found out, and stands in the steps.
        conditional_writes: ConditionalWrites::Required,
        require: Require::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_leads_only_where_a_target_can_lead() {
        let went = Went {
            target: "default",
            endpoint: "https://s3.eu-west-1.amazonaws.com",
            region: "eu-west-1",
            owner: "111122223333",
            bucket: "reports",
        };
        let terms = Terms { profile: Some("back".into()), ..Terms::default() };
        let good = spec(&went, &terms).unwrap();
        assert_eq!((good.endpoint.as_deref(), good.bucket_owner.as_deref()), (Some(went.endpoint), Some(went.owner)));
        assert_eq!(good.profile.as_deref(), Some("back"));
        assert_eq!(spec(&Went { endpoint: SANDBOX, owner: "", ..went.clone() }, &terms).unwrap().endpoint, None);
        for (wrong, what) in [
            (Went { bucket: "../x", ..went.clone() }, "the bucket of"),
            (Went { region: "x y\n", ..went.clone() }, "the region of"),
            (Went { region: "\u{fc}", ..went.clone() }, "the region of"),
            (Went { bucket: "Up/there", ..went.clone() }, "the bucket of"),
            (Went { endpoint: "ftp://host", ..went.clone() }, "the endpoint of"),
            (Went { region: "no where", ..went.clone() }, "the region of"),
            (Went { owner: "me", ..went }, "the owner of"),
        ] {
            let flaw = spec(&wrong, &terms).unwrap_err();
            assert!(flaw.starts_with(what), "{flaw}");
        }
    }
}
