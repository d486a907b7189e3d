//! Where requests go and how they are signed, found out once and not for each request.
//!
//! The SDK walks its rules of endpoints twice a request, once for the place and once for the kind of signature. A store
//! has one bucket, one region and one way of addressing it: both answers are always the same.

use std::sync::OnceLock;

use aws_sdk_s3::config::ConfigBag;
use aws_sdk_s3::config::RuntimeComponents;
use aws_sdk_s3::config::auth::{Params as AuthParams, ResolveAuthScheme};
use aws_sdk_s3::config::endpoint::{DefaultResolver, Endpoint, EndpointFuture, Params, ResolveEndpoint};
use aws_smithy_runtime_api::client::auth::{AuthSchemeId, AuthSchemeOption, AuthSchemeOptionsFuture};

/// The SDK's own rules, asked once.
#[derive(Debug)]
pub(super) struct Place {
    bucket: String,
    rules: DefaultResolver,
    found: OnceLock<Endpoint>,
}

impl Place {
    pub(super) fn of(bucket: &str) -> Self {
        Self { bucket: bucket.to_owned(), rules: DefaultResolver::new(), found: OnceLock::new() }
    }

    /// Whether a request goes where all others go: of what may differ between two requests of one client, the rules look
    /// at these alone, and never at the key.
    fn is_usual(&self, params: &Params) -> bool {
        params.bucket() == Some(&self.bucket)
            && params.copy_source().is_none()
            && ![
                params.use_s3_express_control_endpoint(),
                params.use_object_lambda_endpoint(),
                params.disable_access_points(),
            ]
            .contains(&Some(true))
    }
}

impl ResolveEndpoint for Place {
    fn resolve_endpoint<'a>(&'a self, params: &'a Params) -> EndpointFuture<'a> {
        if !self.is_usual(params) {
            return self.rules.resolve_endpoint(params);
        }
        match self.found.get() {
            Some(found) => EndpointFuture::ready(Ok(found.clone())),
            None => EndpointFuture::new(async move {
                let found = self.rules.resolve_endpoint(params).await?;
                Ok(self.found.get_or_init(|| found).clone())
            }),
        }
    }
}

/// SigV4, always: the buckets that want another signature (directory buckets, multi-Region access points) are refused.
#[derive(Debug)]
pub(super) struct SigV4;

impl ResolveAuthScheme for SigV4 {
    fn resolve_auth_scheme<'a>(
        &'a self,
        _: &'a AuthParams,
        _: &'a ConfigBag,
        _: &'a RuntimeComponents,
    ) -> AuthSchemeOptionsFuture<'a> {
        AuthSchemeOptionsFuture::ready(Ok(vec![AuthSchemeOption::from(AuthSchemeId::new("sigv4"))]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(bucket: &str, key: &str) -> Params {
        let params = Params::builder().region("eu-west-1").bucket(bucket).key(key);
        params.build().unwrap()
    }

    async fn url(resolver: &impl ResolveEndpoint, params: &Params) -> String {
        resolver.resolve_endpoint(params).await.unwrap().url().to_owned()
    }

    #[tokio::test]
    async fn every_key_of_a_bucket_is_where_the_sdks_rules_put_it() {
        for bucket in ["reports", "dotted.name", "arn:aws:s3:eu-west-1:111122223333:accesspoint/point"] {
            let place = Place::of(bucket);
            for key in ["a", "b/c", "?x=1#y", ""] {
                let params = params(bucket, key);
                assert_eq!(url(&place, &params).await, url(&DefaultResolver::new(), &params).await, "{bucket} {key}");
            }
        }
    }

    #[tokio::test]
    async fn another_bucket_is_never_sent_to_this_ones_place() {
        let place = Place::of("reports");
        url(&place, &params("reports", "a")).await;
        assert_eq!(url(&place, &params("other", "a")).await, "https://other.s3.eu-west-1.amazonaws.com");
    }
}
