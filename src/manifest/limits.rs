//! The blast radius: what a manifest's entries may do at most, and by how much a plan goes past it.

use serde::Deserialize;

/// The most that one manifest's entries may do. What is not given is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Limits {
    pub replaces: Option<u64>,
    pub creates: Option<u64>,
    /// Bytes to upload: a number, or text such as 500GiB.
    #[serde(default, deserialize_with = "super::size::optional")]
    #[schemars(with = "Option<super::size::Size>")]
    pub bytes: Option<u64>,
}

/// What the steps of one manifest would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Planned {
    pub creates: u64,
    pub replaces: u64,
    pub bytes: u64,
}

/// Every limit that the plan is past, a sentence each, naming the manifest.
#[must_use]
pub fn exceeded(manifest: &str, limits: &Limits, planned: &Planned) -> Vec<String> {
    let Limits { replaces, creates, bytes } = *limits;
    let mut found = Vec::new();
    for (what, planned, limit) in [("creates", planned.creates, creates), ("replaces", planned.replaces, replaces)] {
        if let Some(limit) = limit
            && planned > limit
        {
            let over = planned - limit;
            found.push(format!("{manifest}: {planned} {what} planned, {over} more than the limit of {limit}"));
        }
    }
    if let Some(limit) = bytes
        && planned.bytes > limit
    {
        let [planned, over, limit] = [planned.bytes, planned.bytes - limit, limit].map(super::size::display);
        found.push(format!("{manifest}: {planned} to upload, {over} more than the limit of {limit}"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_exceeded_only_past_it() {
        let limits = Limits { replaces: Some(0), creates: Some(5), bytes: Some(1 << 20) };
        let at = Planned { creates: 5, replaces: 0, bytes: 1 << 20 };
        assert_eq!(exceeded("a.yaml", &limits, &at), Vec::<String>::new());
        let past = Planned { creates: 8, replaces: 1, bytes: 3 << 20 };
        assert_eq!(
            exceeded("a.yaml", &limits, &past),
            [
                "a.yaml: 8 creates planned, 3 more than the limit of 5",
                "a.yaml: 1 replaces planned, 1 more than the limit of 0",
                "a.yaml: 3 MiB to upload, 2 MiB more than the limit of 1 MiB",
            ]
        );
        assert_eq!(exceeded("a.yaml", &Limits::default(), &past), Vec::<String>::new());
    }
}
