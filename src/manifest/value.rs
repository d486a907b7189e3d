//! What a target's values and the manifest's own may be. Each judge says what is wrong, or nothing.

use super::shape::shown;

/// Lets any text pass that fits on a line.
#[must_use]
pub fn line(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("is empty".to_owned());
    }
    text.chars().any(char::is_control).then(|| format!("{} has a control character", shown(text)))
}

/// A path to a source or a list file.
#[must_use]
pub fn path(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("is empty".to_owned());
    }
    text.contains('\0').then(|| format!("{} has a NUL character, which no path can hold", shown(text)))
}

/// A key or a prefix: the template's syntax; the rest is known once it is rendered.
#[must_use]
pub fn template(text: &str) -> Option<String> {
    super::template::syntax(text)
}

/// The name of a target or of a stage, as it will stand in plans and reports.
#[must_use]
pub fn word(text: &str) -> Option<String> {
    let fits = !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    (!fits).then(|| format!("{} must be 1 to 64 letters, digits, -, _ or .", shown(text)))
}

/// A bucket's name (S3 user guide, "General purpose bucket naming rules") or an access point's ARN.
#[must_use]
pub fn bucket(text: &str) -> Option<String> {
    if text.starts_with("arn:") {
        return arn(text);
    }
    if text.starts_with("s3://") {
        return Some(format!("{} is a URL; write the bucket's name alone, and the rest as prefix", shown(text)));
    }
    for (suffix, what) in [
        ("--x-s3", "a directory bucket, whose ETags and conditions differ"),
        ("--op-s3", "an Outposts access point, whose conditions differ"),
        ("--ol-s3", "an Object Lambda access point, which changes what passes"),
        (".mrap", "a multi-Region access point, which takes no conditional writes to one bucket"),
        ("--table-s3", "a table bucket, which holds no plain objects"),
    ] {
        if text.ends_with(suffix) {
            return Some(format!("{} names {what}; it is not supported", shown(text)));
        }
    }
    let is_ip = text.split('.').count() == 4 && text.split('.').all(|part| part.parse::<u8>().is_ok());
    let ends = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let why = if !(3..=63).contains(&text.len()) {
        "must have 3 to 63 characters"
    } else if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-')) {
        "may have only lower-case letters, digits, . and -"
    } else if !ends(text.as_bytes().first()) || !ends(text.as_bytes().last()) {
        "must begin and end with a letter or a digit"
    } else if text.contains("..") {
        "must not have two dots in a row"
    } else if is_ip {
        "must not look like an IP address"
    } else if ["xn--", "sthree-", "amzn-s3-demo-"].iter().any(|prefix| text.starts_with(prefix)) {
        "begins as only Amazon's own names do"
    } else {
        return None;
    };
    Some(format!("{} {why}", shown(text)))
}

fn arn(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let &[_, partition, service, region, account, resource] = parts.as_slice() else {
        return Some(format!("{} is not an ARN", shown(text)));
    };
    let refused = match service {
        "s3-outposts" => "names an Outposts access point, whose conditions differ; it is not supported",
        "s3-object-lambda" => "names an Object Lambda access point, which changes what passes; it is not supported",
        "s3express" => "names a directory bucket, whose ETags and conditions differ; it is not supported",
        "s3" => "",
        _ => "is not an ARN of S3",
    };
    if !refused.is_empty() {
        return Some(format!("{} {refused}", shown(text)));
    }
    if region.is_empty() && account.is_empty() {
        let bucket = resource.split('/').next().unwrap_or(resource);
        return Some(format!("{} is a bucket's ARN; write the name alone: {}", shown(text), shown(bucket)));
    }
    let name = resource.strip_prefix("accesspoint/").or_else(|| resource.strip_prefix("accesspoint:"));
    if resource.split('.').next_back() == Some("mrap") || region.is_empty() {
        return Some(format!(
            "{} names a multi-Region access point, which takes no conditional writes to one bucket; it is not supported",
            shown(text)
        ));
    }
    let fits = partition.starts_with("aws")
        && owner(account).is_none()
        && name.is_some_and(|name| !name.is_empty() && !name.contains(['/', ':']));
    (!fits).then(|| {
        format!("{} is not an access point's ARN: arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME is its form", shown(text))
    })
}

/// An AWS account id.
#[must_use]
pub fn owner(text: &str) -> Option<String> {
    let fits = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    (!fits).then(|| format!("{} is not an account id of 12 digits", shown(text)))
}

#[must_use]
pub fn region(text: &str) -> Option<String> {
    let fits = !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    (!fits).then(|| format!("{} is not a region such as eu-west-1", shown(text)))
}

#[must_use]
pub fn role(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let fits = matches!(parts.as_slice(), ["arn", partition, "iam", "", account, role]
        if partition.starts_with("aws") && owner(account).is_none() && role.len() > 5 && role.starts_with("role/"));
    let fits = fits && line(text).is_none() && !text.contains(' ');
    (!fits).then(|| format!("{} is not a role's ARN: arn:aws:iam::ACCOUNT:role/NAME is its form", shown(text)))
}

/// A server's address: scheme, host and port, and nothing else.
#[must_use]
pub fn endpoint(text: &str) -> Option<String> {
    let shown = shown(text);
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else {
        return Some(format!("{shown} must begin with https:// or http://"));
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    if authority.contains('@') {
        // Not shown: it may hold a secret.
        return Some("must not hold a user or a password; credentials come from the AWS configuration".to_owned());
    }
    let tail = &rest[authority.len()..];
    if !tail.is_empty() && tail != "/" {
        return Some(format!("{shown} must end after host and port; a prefix goes into prefix"));
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => match v6.split_once(']') {
            Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => ("v6", port.strip_prefix(':')),
            _ => return Some(format!("{shown} has no valid IPv6 address in its brackets")),
        },
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let is_host = !host.is_empty()
        && host.split('.').all(|label| !label.is_empty())
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    if !is_host {
        return Some(format!("{shown} has no valid host"));
    }
    if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
        return Some(format!("{shown} has no valid port"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_a_name_or_an_access_point() {
        for yes in [
            "abc",
            "finance-reports",
            "a.b.c",
            "1bucket",
            "ap-name-metadata-s3alias",
            "arn:aws:s3:eu-west-1:111122223333:accesspoint/nightly",
            "arn:aws-cn:s3:cn-north-1:111122223333:accesspoint/nightly",
        ] {
            assert_eq!(bucket(yes), None);
        }
        for (no, why) in [
            ("ab", "3 to 63"),
            ("Finance", "lower-case"),
            ("a_b_c", "lower-case"),
            ("-abc", "begin and end"),
            ("abc.", "begin and end"),
            ("a..b", "two dots"),
            ("192.168.0.1", "IP address"),
            ("xn--abc", "Amazon's own"),
            ("s3://abc/def", "a URL"),
            ("logs--use1-az4--x-s3", "directory bucket"),
            ("mfzwi23gnjvgw.mrap", "multi-Region"),
            ("arn:aws:s3:::abc/x", "write the name alone: abc"),
            ("arn:aws:s3::111122223333:accesspoint/mfzwi23gnjvgw.mrap", "multi-Region"),
            ("arn:aws:s3-outposts:eu-west-1:111122223333:outpost/op-1/accesspoint/x", "Outposts"),
            ("arn:aws:s3express:eu-west-1:111122223333:bucket/x", "directory bucket"),
            ("arn:aws:s3:eu-west-1:111122223333:accesspoint/", "is its form"),
            ("arn:aws:sns:eu-west-1:111122223333:x", "not an ARN of S3"),
            ("arn:aws", "not an ARN"),
        ] {
            assert!(bucket(no).is_some_and(|said| said.contains(why)), "{no}: {:?}", bucket(no));
        }
    }

    #[test]
    fn an_endpoint_is_scheme_host_and_port() {
        for yes in [
            "https://s3.example.com",
            "http://127.0.0.1:9000",
            "http://localhost:9000/",
            "http://[::1]:9000",
            "https://minio_1.local",
        ] {
            assert_eq!(endpoint(yes), None, "{yes}");
        }
        for (no, why) in [
            ("s3.example.com", "must begin"),
            ("ftp://x", "must begin"),
            ("https://", "host"),
            ("https://a..b", "host"),
            ("https://a b", "host"),
            ("https://x/bucket", "after host and port"),
            ("https://x?y=z", "after host and port"),
            ("https://x:0", "port"),
            ("https://x:port", "port"),
            ("https://[::g]", "IPv6"),
        ] {
            assert!(endpoint(no).is_some_and(|said| said.contains(why)), "{no}: {:?}", endpoint(no));
        }
        let said = endpoint("https://key:hunter2@x").unwrap();
        assert!(said.contains("password") && !said.contains("hunter2"), "{said}");
    }

    #[test]
    fn a_role_is_a_role() {
        assert_eq!(role("arn:aws:iam::111122223333:role/path/uploader"), None);
        for no in
            ["uploader", "arn:aws:iam::1:role/x", "arn:aws:iam::111122223333:user/x", "arn:aws:iam::111122223333:role/"]
        {
            assert!(role(no).is_some(), "{no}");
        }
    }
}
