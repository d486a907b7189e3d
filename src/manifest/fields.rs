//! The manifest's fields, twice: the shapes that a tree is checked against, and the structs that serde fills and the
//! JSON Schema is made of. A test holds them together.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::limits::Limits;
use super::property::{
    ACLS, STORAGE_CLASSES, content_type, header, kms, metadata_name, metadata_text, tag_name, tag_text,
};
use super::shape::{Field, Shape};
use super::value;
use crate::model::entry::{Compare, Rule};
use crate::model::target::{Addressing, ConditionalWrites, Require};

const RULES: Shape = Shape::OneOf(&["never", "keep", "if-changed", "always"]);
const COMPARES: Shape = Shape::OneOf(&["content", "content+properties"]);

/// All of a manifest. The fields of a target stand here too, for the one target named `default`.
pub const MANIFEST: &[Field] = &[
    Field::required("version", Shape::Version),
    Field::new("name", Shape::Text(value::line)),
    Field::new("targets", Shape::Named(value::word, &Shape::Fields(TARGET))),
    Field::new("bucket", Shape::Text(value::bucket)),
    Field::new("bucket_owner", Shape::Text(value::owner)),
    Field::new("region", Shape::Text(value::region)),
    Field::new("profile", Shape::Text(value::line)),
    Field::new("endpoint", Shape::Text(value::endpoint)),
    Field::new("addressing", ADDRESSING),
    Field::new("prefix", Shape::Text(value::template)),
    Field::new("role_arn", Shape::Text(value::role)),
    Field::new("request_payer", Shape::Bool),
    Field::new("trust_metadata", Shape::Bool),
    Field::new("conditional_writes", CONDITIONAL_WRITES),
    Field::new("require", Shape::Fields(REQUIRE)),
    Field::new("overwrite", RULES),
    Field::new("compare", COMPARES),
    Field::new("stages", Shape::List(&Shape::Text(value::word))),
    Field::new("limits", Shape::Fields(LIMITS)),
    Field::new("allow_keys", Shape::List(&Shape::Text(super::key::glob_flaw))),
    Field::new("allow_unusual_keys", Shape::Bool),
    Field::new("allow_outside_base", Shape::Bool),
    Field::new("defaults", Shape::Fields(PROPERTIES)),
    // Checked one by one, so that one bad entry does not hide what is wrong with the others.
    Field::required("entries", Shape::Entries),
];

const ADDRESSING: Shape = Shape::OneOf(&["virtual", "path"]);
const CONDITIONAL_WRITES: Shape = Shape::OneOf(&["required", "check-first"]);

pub const TARGET: &[Field] = &[
    Field::required("bucket", Shape::Text(value::bucket)),
    Field::new("bucket_owner", Shape::Text(value::owner)),
    Field::new("region", Shape::Text(value::region)),
    Field::new("profile", Shape::Text(value::line)),
    Field::new("endpoint", Shape::Text(value::endpoint)),
    Field::new("addressing", ADDRESSING),
    Field::new("prefix", Shape::Text(value::template)),
    Field::new("role_arn", Shape::Text(value::role)),
    Field::new("request_payer", Shape::Bool),
    Field::new("trust_metadata", Shape::Bool),
    Field::new("conditional_writes", CONDITIONAL_WRITES),
    Field::new("require", Shape::Fields(REQUIRE)),
];

pub const LIMITS: &[Field] =
    &[Field::new("replaces", Shape::Count), Field::new("creates", Shape::Count), Field::new("bytes", Shape::Size)];

pub const REQUIRE: &[Field] = &[
    Field::new("versioning", Shape::Bool),
    Field::new("recovery_days", Shape::Count),
    Field::new("policy", Shape::OneOf(&["enforced"])),
];

pub const SSE: &[Field] = &[Field::required("kms", Shape::Text(kms))];

const METADATA: Shape = Shape::Named(metadata_name, &Shape::Removable(&Shape::Text(metadata_text)));
const TAGS: Shape = Shape::Named(tag_name, &Shape::Removable(&Shape::Text(tag_text)));

macro_rules! with_properties {
    ($($field:expr,)*) => {
        &[
            $($field,)*
            Field::new("content_type", Shape::Removable(&Shape::Text(content_type))),
            Field::new("cache_control", Shape::Removable(&Shape::Text(header))),
            Field::new("content_encoding", Shape::Removable(&Shape::Text(header))),
            Field::new("content_disposition", Shape::Removable(&Shape::Text(header))),
            Field::new("content_language", Shape::Removable(&Shape::Text(header))),
            Field::new("storage_class", Shape::Removable(&Shape::OneOf(STORAGE_CLASSES))),
            Field::new("acl", Shape::Removable(&Shape::OneOf(ACLS))),
            Field::new("sse", Shape::Removable(&Shape::Sse)),
            Field::new("metadata", Shape::Removable(&METADATA)),
            Field::new("tags", Shape::Removable(&TAGS)),
        ]
    };
}

pub const PROPERTIES: &[Field] = with_properties![];

pub const ENTRY: &[Field] = with_properties![
    Field::new("source", Shape::Text(value::path)),
    Field::new("list", Shape::Text(value::path)),
    Field::new("key", Shape::Text(value::template)),
    Field::new("overwrite", RULES),
    Field::new("compare", COMPARES),
    Field::new("stage", Shape::Text(value::word)),
    Field::new("target", Shape::Text(value::word)),
    Field::new("optional", Shape::Bool),
];

/// What goes where, and what may be overwritten on the way.
#[expect(dead_code, reason = "read off the tree, with lines; the schema needs them here")]
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[schemars(title = "noclobber manifest", deny_unknown_fields)]
pub struct Manifest {
    /// The format of this file.
    #[schemars(range(min = 1, max = 1))]
    pub version: u64,
    /// A name for people; it stands in the plan.
    pub name: Option<String>,
    /// Buckets by name, where entries go to several. Instead of `bucket` and what belongs to it.
    #[schemars(with = "Option<BTreeMap<String, TargetFields>>")]
    #[serde(default)]
    pub targets: serde_yaml::Mapping,
    #[serde(flatten)]
    #[schemars(with = "DefaultTarget")]
    pub target: DefaultTarget,
    /// What entries may do to an object that is already there, unless they say otherwise.
    #[serde(default)]
    pub overwrite: Rule,
    /// What "the same" is asked of: the content alone, or its properties too.
    #[serde(default)]
    pub compare: Compare,
    /// Names in order; a stage starts only when all before it succeeded.
    pub stages: Option<Vec<String>>,
    /// The blast radius: a plan past it is refused.
    #[serde(default)]
    pub limits: Limits,
    /// Globs; every key, prefix included, must match one of them.
    #[serde(default)]
    pub allow_keys: Vec<String>,
    /// Lets keys pass that many tools stumble over: `//`, `..`, a leading or trailing `/`, backslashes, control characters.
    #[serde(default)]
    pub allow_unusual_keys: bool,
    /// Lets sources lie outside the manifest's folder.
    #[serde(default)]
    pub allow_outside_base: bool,
    /// Object properties of every entry, unless it says otherwise.
    #[serde(default)]
    pub defaults: Properties,
    /// What to upload.
    #[serde(default)]
    #[schemars(required)]
    pub entries: Vec<Entry>,
}

/// The fields of the one target named `default`.
#[derive(Debug, Clone, Default, Deserialize, schemars::JsonSchema)]
pub struct DefaultTarget {
    /// The bucket's name, or an access point's ARN.
    pub bucket: Option<String>,
    #[serde(flatten)]
    pub rest: Reach,
}

/// A bucket, and how it is reached.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TargetFields {
    /// The bucket's name, or an access point's ARN.
    pub bucket: String,
    #[serde(flatten)]
    pub rest: Reach,
}

/// How a bucket is reached.
#[derive(Debug, Clone, Default, Deserialize, schemars::JsonSchema)]
pub struct Reach {
    /// The account id that must own the bucket, in quotes; sent with every request.
    #[schemars(regex(pattern = r"^[0-9]{12}$"))]
    pub bucket_owner: Option<String>,
    pub region: Option<String>,
    /// Named profile of the AWS configuration.
    pub profile: Option<String>,
    /// Address of an S3-compatible server: http(s)://host:port.
    pub endpoint: Option<String>,
    pub addressing: Option<Addressing>,
    /// Put before every key. A template of `date`, `var` and `env`.
    #[serde(default)]
    pub prefix: String,
    /// Role to assume.
    pub role_arn: Option<String>,
    /// Agrees to pay for requests to a requester-pays bucket.
    #[serde(default)]
    pub request_payer: bool,
    /// Whether noclobber's own metadata on an object may prove that it is unchanged (true unless said otherwise).
    pub trust_metadata: Option<bool>,
    /// `check-first` accepts a server without conditional writes: a HEAD before each write, which is not atomic.
    #[serde(default)]
    pub conditional_writes: ConditionalWrites,
    /// What the bucket must be: a plan that would write without it is refused.
    #[serde(default)]
    pub require: Require,
}

/// One file, the matches of one glob, or the rows of one list.
#[expect(dead_code, reason = "read off the tree, with lines; the schema needs them here")]
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Entry {
    /// A file or a glob, relative to the manifest's folder.
    pub source: Option<String>,
    /// A CSV file with a header: source,key and if needed overwrite,stage,target. Instead of `source` and `key`.
    pub list: Option<String>,
    /// The key after the prefix. A template of `date`, `var`, `env`, and for a glob `path`, `dir`, `name`, `stem`, `ext`.
    pub key: Option<String>,
    pub overwrite: Option<Rule>,
    pub compare: Option<Compare>,
    /// One of the manifest's `stages`; the first unless given.
    pub stage: Option<String>,
    /// One of the manifest's `targets`; the only one unless given.
    pub target: Option<String>,
    /// Whether it is fine that there is no such file or no match.
    #[serde(default)]
    pub optional: bool,
    #[serde(flatten)]
    pub properties: Properties,
}

/// What an object carries besides its bytes. `null` takes a default away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
pub struct Properties {
    /// A media type, or `auto`: by the file's extension.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub content_type: Setting<String>,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub cache_control: Setting<String>,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub content_encoding: Setting<String>,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub content_disposition: Setting<String>,
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub content_language: Setting<String>,
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("enum" = STORAGE_CLASSES))]
    pub storage_class: Setting<String>,
    /// A canned ACL.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("enum" = ACLS))]
    pub acl: Setting<String>,
    /// Server-side encryption.
    #[serde(default)]
    #[schemars(with = "Option<Sse>")]
    pub sse: Setting<Sse>,
    /// User metadata, names without `x-amz-meta-`. Values are templates. Added to the defaults', name by name.
    #[serde(default)]
    #[schemars(with = "Option<BTreeMap<String, Option<String>>>")]
    pub metadata: Setting<BTreeMap<String, Option<String>>>,
    /// Object tags. Values are templates. Added to the defaults', name by name.
    #[serde(default)]
    #[schemars(with = "Option<BTreeMap<String, Option<String>>>")]
    pub tags: Setting<BTreeMap<String, Option<String>>>,
}

/// What a field says: nothing, `null`, or something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Setting<T> {
    #[default]
    Unsaid,
    Removed,
    Said(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Setting<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(from)?.map_or(Self::Removed, Self::Said))
    }
}

impl<T> Setting<T> {
    /// This where it says something, else what it stands over.
    pub fn over(self, default: Option<T>) -> Option<T> {
        match self {
            Self::Unsaid => default,
            Self::Removed => None,
            Self::Said(value) => Some(value),
        }
    }
}

/// Server-side encryption: `AES256`, or a mapping with a key of KMS.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
pub enum Sse {
    Managed(Managed),
    Kms {
        /// Id, alias or ARN.
        kms: String,
    },
}

/// The encryption whose keys S3 keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
pub enum Managed {
    #[serde(rename = "AES256")]
    Aes256,
}

/// The JSON Schema of a manifest, for editors.
#[must_use]
pub fn schema() -> String {
    let schema = schemars::schema_for!(Manifest);
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}
