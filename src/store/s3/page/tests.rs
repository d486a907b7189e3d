//! Listings as servers write them, and as they should not.

use std::fmt::Write as _;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::types::EncodingType;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use proptest::prelude::*;

use super::*;

/// `key size etag time`, a line an object, and the next page's token.
fn told(xml: &str) -> Result<Vec<String>, String> {
    let page = read(xml.as_bytes(), None)?;
    let mut lines: Vec<String> = page.objects.iter().map(line).collect();
    lines.extend(page.next.map(|next| format!("next {next}")));
    Ok(lines)
}

fn line(listed: &Listed) -> String {
    let time = listed.last_modified.map_or_else(|| "-".to_owned(), |time| time.to_string());
    format!("{} {} {} {time}", listed.key, listed.size, listed.etag)
}

fn listing(inside: &str) -> String {
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult>{inside}</ListBucketResult>")
}

fn contents(key: &str) -> String {
    format!("<Contents><Key>{key}</Key><ETag>&quot;e&quot;</ETag><Size>1</Size></Contents>")
}

#[test]
fn a_page_of_s3s_own_is_read_in_the_servers_order() {
    let xml = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bkt</Name><Prefix>p/</Prefix>
<NextContinuationToken>1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=</NextContinuationToken><KeyCount>2</KeyCount>
<MaxKeys>2</MaxKeys><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>
<Contents><Key>p/b</Key><LastModified>2009-10-12T17:50:30.999Z</LastModified>
<ETag>"fba9dede5f27731c9771645a39863328"</ETag><ChecksumAlgorithm>SHA256</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>
<Size>434234</Size><Owner><ID>75aa</ID><DisplayName>x</DisplayName></Owner><StorageClass>STANDARD</StorageClass></Contents>
<Contents><StorageClass>GLACIER</StorageClass><RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress></RestoreStatus>
<Size>0</Size><ETag>&quot;fba9dede5f27731c9771645a39863328-2&quot;</ETag><Key>p/a</Key></Contents>
<CommonPrefixes><Prefix>p/c/</Prefix></CommonPrefixes></ListBucketResult>
"#;
    assert_eq!(
        told(xml).unwrap(),
        [
            "p/b 434234 fba9dede5f27731c9771645a39863328 2009-10-12T17:50:30Z",
            "p/a 0 fba9dede5f27731c9771645a39863328-2 -",
            "next 1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=",
        ]
    );
    for empty in ["<ListBucketResult/>", &listing(""), &listing("<Contents2/><KeyCount>0</KeyCount>")] {
        assert_eq!(told(empty), Ok(vec![]), "{empty}");
    }
}

#[test]
fn a_key_is_decoded_where_the_server_says_that_it_is_encoded_and_only_there() {
    let keys = |inside: &str| {
        let page = read(listing(inside).as_bytes(), None).unwrap();
        page.objects.iter().map(|listed| listed.key.to_string()).collect::<Vec<_>>()
    };
    let odd = contents("a+b%2Bc%20d%C3%BC%0A%01%zz%2");
    assert_eq!(keys(&format!("<EncodingType>url</EncodingType>{odd}")), ["a b+c dü\n\u{1}%zz%2"]);
    assert_eq!(keys(&format!("{odd}<EncodingType>url</EncodingType>")), ["a b+c dü\n\u{1}%zz%2"], "said afterwards");
    assert_eq!(keys(&odd), ["a+b%2Bc%20d%C3%BC%0A%01%zz%2"]);
    // Decoded it is not UTF-8: then it was not encoded.
    assert_eq!(keys(&format!("<EncodingType>url</EncodingType>{}", contents("%FF"))), ["%FF"]);
}

#[test]
fn a_text_is_whole_whatever_it_is_made_of() {
    for (written, key) in [
        ("a&amp;b&lt;&gt;&quot;&apos;", "a&b<>\"'"),
        ("&#65;&#x42;&#x1F980;&#xA;", "AB\u{1f980}\n"),
        ("<![CDATA[<Key>&amp;]]>", "<Key>&amp;"),
        ("a<!-- b -->c<![CDATA[d]]>&amp;e", "acd&e"),
        (" a b ", " a b "),
        ("größe/\u{1f980}", "größe/\u{1f980}"),
        ("", ""),
    ] {
        let page = read(listing(&contents(written)).as_bytes(), None).unwrap();
        assert_eq!(page.objects[0].key.as_str(), key, "{written}");
    }
}

#[test]
fn only_contents_directly_in_the_listing_are_objects() {
    let within = contents("hidden");
    let shown = "<Contents><Key>a</Key><Odd><Key>b</Key><Size>9</Size></Odd><ETag>e</ETag><Size>1</Size></Contents>";
    for xml in [
        listing(&format!("<New>{within}</New>{shown}<Contents2>{within}</Contents2>")),
        listing(&format!("<!-- {within} -->{shown}<CommonPrefixes>{within}</CommonPrefixes>")),
        listing(&format!("{shown}<![CDATA[{within}]]>")),
    ] {
        assert_eq!(told(&xml), Ok(vec!["a 1 e -".to_owned()]), "{xml}");
    }
}

#[test]
fn a_prefix_of_a_name_does_not_hide_an_object() {
    let xml = "\u{feff}<s3:ListBucketResult xmlns:s3=\"http://s3.amazonaws.com/doc/2006-03-01/\"><s3:IsTruncated> false </s3:IsTruncated>\
               <s3:Contents a='>'><s3:Key>a</s3:Key><s3:ETag >e</s3:ETag><s3:Size>\n1 </s3:Size></s3:Contents></s3:ListBucketResult>";
    assert_eq!(told(xml), Ok(vec!["a 1 e -".to_owned()]));
}

#[test]
fn a_document_that_breaks_off_anywhere_is_no_page() {
    let xml =
        listing(&format!("<IsTruncated>false</IsTruncated>{}<Name>n</Name>{}", contents("a"), contents("b&amp;c")));
    for cut in 0..xml.len() {
        assert!(read(&xml.as_bytes()[..cut], None).is_err(), "{}", &xml[..cut]);
    }
    assert!(read(xml.as_bytes(), None).is_ok());
}

#[test]
fn what_is_not_a_listing_is_not_an_empty_one() {
    for (xml, why) in [
        ("", "breaks off"),
        ("<Error><Code>SlowDown</Code></Error>", "not a listing but a Error"),
        ("<html/>", "not a listing but a html"),
        ("{}", "not a listing"),
        ("<ListBucketResult></Contents></ListBucketResult>", "not XML"),
        ("<ListBucketResult/><ListBucketResult/>", "goes on after its end"),
        ("<ListBucketResult/>more", "goes on after its end"),
    ] {
        let told = read(xml.as_bytes(), None).unwrap_err();
        assert!(told.contains(why), "{xml}: {told}");
    }
    for (inside, why) in [
        ("<Contents/>", "no key"),
        ("<Contents><Key>a</Key><Size>1</Size></Contents>", "no ETag"),
        ("<Contents><ETag>e</ETag><Size>1</Size></Contents>", "no key"),
        ("<Contents><Key>a</Key><ETag>e</ETag></Contents>", "no size"),
        ("<Contents><Key>a</Key><ETag>e</ETag><Size/></Contents>", "the size \"\""),
        ("<Contents><Key>a</Key><ETag>e</ETag><Size>-1</Size></Contents>", "the size \"-1\""),
        ("<Contents><Key>a</Key><ETag>e</ETag><Size>1</Size><LastModified>now</LastModified></Contents>", "the time"),
        ("<Contents><Key>a<b/></Key></Contents>", "elements in it"),
        ("<Contents><Key>&nbsp;</Key></Contents>", "unknown entity"),
        ("<Contents><Key>a</Contents></Key>", "not XML"),
        ("<IsTruncated>TRUE</IsTruncated>", "IsTruncated is"),
        ("<IsTruncated/>", "IsTruncated is"),
    ] {
        let told = read(listing(inside).as_bytes(), None).unwrap_err();
        assert!(told.contains(why), "{inside}: {told}");
    }
    assert!(read(&[&listing("")[..], "\u{fe}"].concat().into_bytes(), None).is_err());
    assert!(read(b"<ListBucketResult>\xff</ListBucketResult>", None).is_err());
}

#[test]
fn a_listing_that_goes_on_without_saying_where_is_no_page() {
    let page = |next: &str| listing(&format!("<IsTruncated>true</IsTruncated>{next}{}", contents("a")));
    assert!(read(page("").as_bytes(), None).is_err());
    assert!(read(page("<NextContinuationToken/>").as_bytes(), None).is_err());
    let token = page("<NextContinuationToken>t</NextContinuationToken>");
    assert_eq!(read(token.as_bytes(), None).unwrap().next.as_deref(), Some("t"));
    assert!(read(token.as_bytes(), Some("t")).is_err());
    let last = "<NextContinuationToken>t</NextContinuationToken><IsTruncated>false</IsTruncated>";
    assert_eq!(read(listing(last).as_bytes(), None).unwrap().next, None);
}

/// Answers every request with the same status and body.
#[derive(Debug, Clone)]
struct Canned(u16, Bytes);

impl HttpConnector for Canned {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let status = self.0.try_into().unwrap();
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(self.1.clone()))))
    }
}

fn client(status: u16, body: &str) -> Client {
    let connector = SharedHttpConnector::new(Canned(status, Bytes::copy_from_slice(body.as_bytes())));
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("a", "s", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .http_client(http_client_fn(move |_, _| connector.clone()));
    Client::from_conf(config.build())
}

/// The same answer as the SDK's own types tell it.
async fn by_the_sdk(client: &Client) -> Option<Page> {
    let output = client.list_objects_v2().bucket("b").send().await.ok()?;
    let encoded = output.encoding_type() == Some(&EncodingType::Url);
    let objects = output.contents().iter().map(|object| {
        Some(Listed {
            key: Key::new(translate::key(object.key()?, encoded)),
            size: u64::try_from(object.size()?).ok()?,
            etag: ETag::new(object.e_tag()?),
            last_modified: translate::time(object.last_modified()).map(|text| text.parse().unwrap()),
        })
    });
    Some(Page { objects: objects.collect::<Option<_>>()?, next: output.next_continuation_token().map(str::to_owned) })
}

async fn by_us(client: &Client) -> Result<Page, Option<String>> {
    let reading = Reading::new(None);
    let sent = client.list_objects_v2().bucket("b").customize().interceptor(reading.clone()).send().await;
    match sent {
        Ok(_) => reading.take().map_err(Some),
        Err(error) => Err(aws_sdk_s3::error::ProvideErrorMetadata::code(&error).map(str::to_owned)),
    }
}

#[tokio::test]
async fn an_error_goes_to_the_sdk_as_it_came() {
    let slow = "<Error><Code>SlowDown</Code><Message>Please.</Message></Error>";
    for status in [200, 400, 503] {
        assert_eq!(by_us(&client(status, slow)).await, Err(Some("SlowDown".to_owned())), "{status}");
    }
    for body in ["", "nothing", "<ListBucketResult>", "<html/>"] {
        assert!(by_us(&client(200, body)).await.is_err(), "{body}");
    }
    // The SDK would take these for listings; so they need our own no.
    assert_eq!(
        by_us(&client(200, "<ListBucketResult><Contents/></ListBucketResult>")).await,
        Err(Some("a listed object has no key or no ETag".to_owned()))
    );
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            char if char.is_ascii_graphic() => out.push(char),
            char => {
                let _ = write!(out, "&#x{:x};", u32::from(char));
            }
        }
    }
    out
}

/// Characters that XML can hold.
fn text() -> impl Strategy<Value = String> {
    "[ -~äß日🦀%+&<>\"']{1,20}"
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn we_and_the_sdk_read_the_same_listing(
        objects in proptest::collection::vec((text(), 0..=u64::MAX / 2, "[0-9a-f]{32}(-[1-9])?", 0i64..4_000_000_000, any::<bool>()), 0..8),
        next in proptest::option::of("[a-zA-Z0-9/=+]{1,30}"),
        is_encoded in any::<bool>(),
    ) {
        let mut inside = String::new();
        for (key, size, etag, at, quoted) in &objects {
            let key = if is_encoded { key.replace('%', "%25").replace('+', "%2B").replace(' ', "+") } else { key.clone() };
            let at = jiff::Timestamp::from_second(*at).unwrap().strftime("%Y-%m-%dT%H:%M:%S.789Z");
            let quote = if *quoted { "&quot;" } else { "\"" };
            let key = escaped(&key);
            write!(
                inside,
                "<Contents><Key>{key}</Key><LastModified>{at}</LastModified><ETag>{quote}{etag}{quote}</ETag>\
                 <Size>{size}</Size><Owner><ID>i</ID></Owner><StorageClass>STANDARD</StorageClass></Contents>"
            ).unwrap();
        }
        if is_encoded {
            inside.push_str("<EncodingType>url</EncodingType>");
        }
        if let Some(next) = &next {
            write!(inside, "<NextContinuationToken>{next}</NextContinuationToken>").unwrap();
        }
        write!(inside, "<IsTruncated>{}</IsTruncated>", next.is_some()).unwrap();
        let client = client(200, &listing(&inside));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (theirs, ours) = runtime.block_on(async { (by_the_sdk(&client).await, by_us(&client).await) });
        prop_assert_eq!(theirs.as_ref(), ours.as_ref().ok());
        let keys: Vec<&str> = objects.iter().map(|object| object.0.as_str()).collect();
        let read = ours.unwrap();
        prop_assert_eq!(read.objects.iter().map(|listed| listed.key.as_str()).collect::<Vec<_>>(), keys);
    }
}
