//! From a target to a client: the ambient AWS configuration is read once, when a plan is made, and what it says is frozen.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    AppName, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use aws_smithy_http_client::{ConnectorBuilder, proxy::ProxyConfig, tls};
use aws_types::service_config::ServiceConfigKey;

use super::place::{Place, SigV4};
use super::translate::chain;
use crate::model::target::{Addressing, Target, TargetSpec};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// One try of a request that only looks.
const LOOK_LIMIT: Duration = Duration::from_mins(1);
const LOOK_TRIES: u32 = 4;
/// Shorter than any server keeps an idle connection: a write must not meet one that is being closed, or its end is unknown.
const IDLE_LIMIT: Duration = Duration::from_secs(4);
/// What a server other than AWS is told when nobody names a region; most do not care.
const REGION_ELSEWHERE: &str = "us-east-1";

/// Where the credentials come from.
#[derive(Clone, PartialEq, Eq)]
pub enum Keys {
    /// The target's profile, or the default chain: environment, shared files, SSO, container, instance.
    Ambient,
    /// Given in so many words: the sandbox's, or a test server's.
    Static { access_key: String, secret_key: String },
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ambient => f.write_str("Ambient"),
            Self::Static { access_key, .. } => write!(f, "Static({access_key})"),
        }
    }
}

/// Why a target could not be made out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    #[error(
        "target {target}: no region is known. Give `region:` in the manifest, set AWS_REGION, or put `region` into the AWS \
         profile"
    )]
    NoRegion { target: String },
    #[error("target {target}: {region:?} is not a region: {message}")]
    BadRegion { target: String, region: String, message: String },
    #[error("target {target}: the endpoint {endpoint:?} {flaw}; it must look like https://host or http://host:port")]
    BadEndpoint { target: String, endpoint: String, flaw: &'static str },
}

/// Why no client could be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    #[error(
        "no credentials for bucket {bucket}: {message}. Set AWS_PROFILE, name a `profile:`, or log in (aws sso login)"
    )]
    NoCredentials { bucket: String, message: String },
    #[error("bucket {bucket} is planned for the sandbox; apply with --sandbox")]
    Sandbox { bucket: String },
    #[error("the region {region:?} cannot be used: {message}")]
    BadRegion { region: String, message: String },
    #[error("the endpoint {endpoint:?} {flaw}; it must look like https://host or http://host:port")]
    BadEndpoint { endpoint: String, flaw: &'static str },
    #[error("the access key for bucket {bucket} has a character that no request can carry: set it anew")]
    BadKey { bucket: String },
}

/// Freezes where a target is: fills in region, endpoint and addressing from the ambient AWS configuration.
///
/// Region: the manifest, AWS_REGION, the profile. Endpoint: the manifest, AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, the
/// profile's `endpoint_url`, or else AWS's own for the region. The instance metadata service is not asked for a region:
/// a plan must not depend on the host that makes it.
pub async fn resolve(spec: &TargetSpec) -> Result<Target, ResolveError> {
    let named = region(spec).await;
    if let Some(region) = &named {
        let bad = |message: &str| ResolveError::BadRegion {
            target: spec.name.clone(),
            region: region.clone(),
            message: message.into(),
        };
        signed(region).map_err(bad)?;
    }
    let mut loader = aws_config::defaults(behavior())
        .no_credentials()
        .region(Region::new(named.clone().unwrap_or_else(|| REGION_ELSEWHERE.to_owned())));
    if let Some(profile) = &spec.profile {
        loader = loader.profile_name(profile);
    }
    let ambient = loader.load().await;
    let given = spec.endpoint.clone().or_else(|| {
        let key = ServiceConfigKey::builder()
            .service_id("S3")
            .env("AWS_ENDPOINT_URL")
            .profile("endpoint_url")
            .build()
            .ok()?;
        ambient
            .service_config()
            .and_then(|config| config.load_config(key))
            .or_else(|| ambient.endpoint_url().map(ToOwned::to_owned))
    });
    let (endpoint, region) = match (given, named) {
        (Some(endpoint), region) => {
            let endpoint = checked(&endpoint).map_err(|flaw| ResolveError::BadEndpoint {
                target: spec.name.clone(),
                endpoint: endpoint.clone(),
                flaw,
            })?;
            let region = region.unwrap_or_else(|| REGION_ELSEWHERE.to_owned());
            (endpoint, region)
        }
        (None, Some(region)) => {
            let endpoint =
                aws_endpoint(&region, ambient.use_fips(), ambient.use_dual_stack()).await.map_err(|message| {
                    ResolveError::BadRegion { target: spec.name.clone(), region: region.clone(), message }
                })?;
            (endpoint, region)
        }
        (None, None) => return Err(ResolveError::NoRegion { target: spec.name.clone() }),
    };
    let addressing = spec.addressing.unwrap_or_else(|| addressing_of(&endpoint));
    Ok(Target {
        name: spec.name.clone(),
        bucket: spec.bucket.clone(),
        endpoint,
        region,
        addressing,
        owner: spec.bucket_owner.clone(),
        profile: spec.profile.clone(),
        role_arn: spec.role_arn.clone(),
        request_payer: spec.request_payer,
        trust_metadata: spec.trust_metadata,
        conditional_writes: spec.conditional_writes,
    })
}

async fn region(spec: &TargetSpec) -> Option<String> {
    if let Some(region) = &spec.region {
        return Some(region.clone());
    }
    let mut profile = ProfileFileRegionProvider::builder();
    if let Some(name) = &spec.profile {
        profile = profile.profile_name(name);
    }
    let chain = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new()).or_else(profile.build());
    chain.region().await.map(|region| region.to_string())
}

/// Two clients over one connection pool.
pub(super) struct Clients {
    /// Sends every request once: a repeated write could meet its own 412.
    pub(super) writing: Client,
    /// Repeats requests that only look.
    pub(super) looking: Client,
}

/// Builds the clients from the target alone; of the ambient configuration only the credentials count.
pub(super) async fn clients(target: &Target, keys: Keys) -> Result<Clients, ConnectError> {
    if target.is_sandbox() {
        return Err(ConnectError::Sandbox { bucket: target.bucket.clone() });
    }
    let bad_region = |message| ConnectError::BadRegion { region: target.region.clone(), message };
    signed(&target.region).map_err(|message| bad_region(message.to_owned()))?;
    checked(&target.endpoint).map_err(|flaw| ConnectError::BadEndpoint { endpoint: target.endpoint.clone(), flaw })?;
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_LIMIT);
    let mut config = aws_sdk_s3::Config::builder()
        .behavior_version(behavior())
        .region(Region::new(target.region.clone()))
        .credentials_provider(credentials(target, keys).await?)
        .http_client(http_client(&target.endpoint))
        .force_path_style(target.addressing == Addressing::Path)
        .endpoint_resolver(Place::of(&target.bucket))
        .auth_scheme_resolver(SigV4)
        // Every write supplies its own SHA-256; nothing is to be added to it.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        // Our own watch over the body is better informed; and a Complete may be silent for minutes.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .disable_s3_express_session_auth(true)
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts.clone().build());
    if let Ok(name) = AppName::new("noclobber") {
        config = config.app_name(name);
    }
    // With AWS's own endpoint the SDK puts the bucket into the host by its own rules (access points, dots in names).
    let own = target.is_aws() && aws_endpoint(&target.region, None, None).await.map_err(bad_region)? == target.endpoint;
    if !own {
        config = config.endpoint_url(&target.endpoint);
    }
    let looking = config
        .clone()
        .retry_config(RetryConfig::standard().with_max_attempts(LOOK_TRIES))
        .timeout_config(timeouts.operation_attempt_timeout(LOOK_LIMIT).build());
    Ok(Clients { writing: Client::from_conf(config.build()), looking: Client::from_conf(looking.build()) })
}

async fn credentials(target: &Target, keys: Keys) -> Result<SharedCredentialsProvider, ConnectError> {
    let missing = |message: String| {
        let message = match &target.profile {
            Some(profile) => format!("profile {profile}: {message}"),
            None => message,
        };
        ConnectError::NoCredentials { bucket: target.bucket.clone(), message }
    };
    match keys {
        Keys::Static { access_key, secret_key } => {
            Ok(SharedCredentialsProvider::new(Credentials::new(access_key, secret_key, None, None, "given")))
        }
        Keys::Ambient => {
            let mut loader = aws_config::defaults(behavior()).region(Region::new(target.region.clone()));
            if let Some(profile) = &target.profile {
                // Not by the default chain: there, keys in the environment win over a profile that was named.
                let config = ProviderConfig::without_region().with_region(Some(Region::new(target.region.clone())));
                let named = ProfileFileCredentialsProvider::builder().profile_name(profile).configure(&config).build();
                loader = loader.profile_name(profile).credentials_provider(named);
            }
            let ambient = loader.load().await;
            let base = ambient.credentials_provider().ok_or_else(|| missing("none are configured".into()))?;
            let provider = match &target.role_arn {
                None => base,
                Some(role) => SharedCredentialsProvider::new(
                    AssumeRoleProvider::builder(role)
                        .configure(&ambient)
                        .session_name("noclobber")
                        .build_from_provider(base)
                        .await,
                ),
            };
            // Asked once up front: one clear error instead of one for each object.
            let found = provider.provide_credentials().await.map_err(|error| missing(chain(&error)))?;
            // It goes into a header, like the region.
            if !found.access_key_id().bytes().all(|b| b.is_ascii_graphic()) {
                return Err(ConnectError::BadKey { bucket: target.bucket.clone() });
            }
            Ok(provider)
        }
    }
}

fn http_client(endpoint: &str) -> SharedHttpClient {
    let loopback = is_loopback(endpoint);
    // A proxy may want TLS even where the endpoint does not; reading the system's roots takes ten milliseconds.
    let plain = loopback && endpoint.starts_with("http:");
    let proxy = if loopback { ProxyConfig::disabled() } else { ProxyConfig::from_env() };
    aws_smithy_http_client::Builder::new().pool_idle_timeout(IDLE_LIMIT).build_with_connector_fn(
        move |settings, components| {
            let mut connector = ConnectorBuilder::default();
            connector.set_connector_settings(settings.cloned());
            connector.set_proxy_config(Some(proxy.clone()));
            if let Some(components) = components {
                connector.set_sleep_impl(components.sleep_impl());
            }
            if plain {
                connector.build_http()
            } else {
                let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc);
                connector.tls_provider(provider).build()
            }
        },
    )
}

/// Defaults of the SDK as of a day; newer ones are taken up by hand.
fn behavior() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

/// AWS's endpoint of a region, by the SDK's own rules.
async fn aws_endpoint(region: &str, fips: Option<bool>, dual_stack: Option<bool>) -> Result<String, String> {
    let params = Params::builder()
        .region(region)
        .use_fips(fips.unwrap_or(false))
        .use_dual_stack(dual_stack.unwrap_or(false))
        .build()
        .map_err(|error| error.to_string())?;
    let endpoint = DefaultResolver::new().resolve_endpoint(&params).await.map_err(|error| error.to_string())?;
    Ok(endpoint.url().trim_end_matches('/').to_owned())
}

/// A region goes into a header with each signature, and the SDK panics over what none can hold. Other servers' regions have
/// names of their own.
fn signed(region: &str) -> Result<(), &'static str> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if region.is_empty() {
        return Err("it is empty");
    }
    if region.bytes().all(fits) { Ok(()) } else { Err("it may have only letters, digits, -, _ and .") }
}

/// A URL with a host and nothing that could hide where it leads.
fn checked(endpoint: &str) -> Result<String, &'static str> {
    let uri: http::Uri = endpoint.parse().map_err(|_| "is not a URL")?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("has neither http:// nor https://");
    }
    let authority = uri.authority().ok_or("has no host")?;
    if authority.as_str().contains('@') {
        return Err("has a user name in it");
    }
    if authority.host().is_empty() {
        return Err("has no host");
    }
    if uri.query().is_some() {
        return Err("has a query");
    }
    Ok(endpoint.trim_end_matches('/').to_owned())
}

fn host(endpoint: &str) -> Option<String> {
    let uri: http::Uri = endpoint.parse().ok()?;
    Some(uri.host()?.trim_matches(['[', ']']).to_ascii_lowercase())
}

/// A bucket cannot be put before `localhost` or an IP address: those are addressed by path.
fn addressing_of(endpoint: &str) -> Addressing {
    match host(endpoint) {
        Some(host) if host == "localhost" || host.parse::<IpAddr>().is_ok() => Addressing::Path,
        _ => Addressing::Virtual,
    }
}

fn is_loopback(endpoint: &str) -> bool {
    host(endpoint).is_some_and(|host| host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::target::{ConditionalWrites, Require};

    #[tokio::test]
    async fn awss_endpoint_follows_the_region() {
        for (region, url) in [
            ("eu-west-1", "https://s3.eu-west-1.amazonaws.com"),
            ("us-east-1", "https://s3.us-east-1.amazonaws.com"),
            ("cn-north-1", "https://s3.cn-north-1.amazonaws.com.cn"),
        ] {
            assert_eq!(aws_endpoint(region, None, None).await.as_deref(), Ok(url));
        }
        assert!(aws_endpoint("not a region!", None, None).await.is_err());
    }

    #[test]
    fn an_endpoint_cannot_hide_where_it_leads() {
        for no in ["", "host", "ftp://h", "https://", "https://a@b", "http://h/?x=1", "sandbox"] {
            assert!(checked(no).is_err(), "{no}");
        }
        assert_eq!(checked("http://127.0.0.1:9000/").as_deref(), Ok("http://127.0.0.1:9000"));
    }

    #[tokio::test]
    async fn what_no_header_can_carry_is_an_error_and_never_a_panic() {
        let keys = || Keys::Static { access_key: "a".into(), secret_key: "s".into() };
        let good = Target {
            name: "default".into(),
            bucket: "finance".into(),
            endpoint: "http://127.0.0.1:1".into(),
            region: "eu-west-1".into(),
            addressing: Addressing::Path,
            owner: None,
            profile: None,
            role_arn: None,
            request_payer: false,
            trust_metadata: true,
            conditional_writes: ConditionalWrites::Required,
        };
        for yes in ["eu-west-1", "Garage", "my_lab.2"] {
            assert!(clients(&Target { region: yes.into(), ..good.clone() }, keys()).await.is_ok(), "{yes}");
        }
        for no in ["", "x y", "x\ny", "\u{fc}", "a/b"] {
            let ended = clients(&Target { region: no.into(), ..good.clone() }, keys()).await.err();
            assert!(matches!(ended, Some(ConnectError::BadRegion { .. })), "{no:?}: {ended:?}");
        }
        let spec = TargetSpec {
            name: "default".into(),
            bucket: "finance".into(),
            bucket_owner: None,
            region: Some("x y".into()),
            profile: None,
            endpoint: Some("http://127.0.0.1:1".into()),
            addressing: None,
            prefix: String::new(),
            role_arn: None,
            request_payer: false,
            trust_metadata: true,
            conditional_writes: ConditionalWrites::Required,
            require: Require::default(),
        };
        assert!(matches!(resolve(&spec).await, Err(ResolveError::BadRegion { .. })));
        for no in ["http://a b", "http://h\n", "ftp://h", "", "http://\u{fc}"] {
            let ended = clients(&Target { endpoint: no.into(), ..good.clone() }, keys()).await.err();
            assert!(matches!(ended, Some(ConnectError::BadEndpoint { .. })), "{no:?}: {ended:?}");
        }
    }

    #[test]
    fn hosts_without_room_for_a_bucket_are_addressed_by_path() {
        for path in ["http://localhost:9000", "http://127.0.0.1", "http://[::1]:9000", "https://10.0.0.7"] {
            assert_eq!(addressing_of(path), Addressing::Path, "{path}");
        }
        for host in ["https://s3.eu-west-1.amazonaws.com", "https://minio.example.org:9000"] {
            assert_eq!(addressing_of(host), Addressing::Virtual, "{host}");
        }
    }

    #[tokio::test]
    async fn the_sdk_puts_no_limit_of_its_own_on_a_write_and_does_not_repeat_it() {
        let target = Target {
            name: "default".into(),
            bucket: "b".into(),
            endpoint: "http://127.0.0.1:1".into(),
            region: "eu-west-1".into(),
            addressing: Addressing::Path,
            owner: None,
            profile: None,
            role_arn: None,
            request_payer: false,
            trust_metadata: true,
            conditional_writes: ConditionalWrites::Required,
        };
        let keys = Keys::Static { access_key: "AK".into(), secret_key: "SK".into() };
        let Clients { writing, looking } = clients(&target, keys).await.unwrap();
        let limits = |client: &Client| {
            let config = client.config();
            let times = config.timeout_config().unwrap().clone();
            assert_eq!(times.connect_timeout(), Some(CONNECT_LIMIT));
            assert_eq!((times.operation_timeout(), times.read_timeout()), (None, None));
            assert!(!config.stalled_stream_protection().unwrap().is_enabled());
            (times.operation_attempt_timeout(), config.retry_config().unwrap().max_attempts())
        };
        assert_eq!(limits(&writing), (None, 1));
        assert_eq!(limits(&looking), (Some(LOOK_LIMIT), LOOK_TRIES));
    }

    #[test]
    fn keys_do_not_show_their_secret() {
        let keys = Keys::Static { access_key: "AKID".into(), secret_key: "hush".into() };
        assert_eq!(format!("{keys:?}"), "Static(AKID)");
    }
}
