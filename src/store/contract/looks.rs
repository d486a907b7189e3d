//! The behaviours of looking: what was written comes back as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::{Case, Held, object};
use crate::model::digest::ETag;
use crate::model::entry::{Key, Properties, Sse};
use crate::model::head::Remote;
use crate::model::write::{Expect, LookError, Object};
use crate::store::Store;

impl<S: Store + Clone> Case<'_, S> {
    pub(super) async fn properties_come_back(&self) -> Held {
        let mut wanted = Properties {
            content_type: Some("text/csv; charset=utf-8".into()),
            cache_control: Some("max-age=3600".into()),
            content_encoding: Some("gzip".into()),
            content_disposition: Some("attachment; filename=\"a b.csv\"".into()),
            content_language: Some("de-CH".into()),
            storage_class: Some("STANDARD_IA".into()),
            acl: None,
            sse: Some(Sse::Aes256),
            metadata: BTreeMap::from([("team".into(), "finance".into()), ("note".into(), "a b, c".into())]),
            tags: BTreeMap::new(),
        };
        for lost in self.quirks.loses_properties {
            match *lost {
                "storage_class" => wanted.storage_class = None,
                "sse" => wanted.sse = None,
                other => return Err(format!("no such property: {other}")),
            }
        }
        let object = Object { properties: Arc::new(wanted.clone()), ..object(&self.key("k"), b"x", "run-1") };
        self.put(&object, b"x", &Expect::Absent).await.map_err(|error| format!("{error:?}"))?;
        let mut told = self.present("k").await?.properties;
        if wanted.storage_class.is_none() {
            told.storage_class = None;
        }
        if wanted.sse.is_none() {
            told.sse = None;
        }
        ensure!(told == wanted, "sent {wanted:?}, got {told:?}");
        Ok(())
    }

    pub(super) async fn tags_come_back(&self) -> Held {
        let tags =
            BTreeMap::from([("retention".to_owned(), "7y".to_owned()), ("a b".to_owned(), "x=y+z:1/@".to_owned())]);
        let properties = Properties { tags: tags.clone(), ..Properties::default() };
        let object = Object { properties: Arc::new(properties), ..object(&self.key("k"), b"x", "run-1") };
        self.put(&object, b"x", &Expect::Absent).await.map_err(|error| format!("{error:?}"))?;
        if self.quirks.loses_tags {
            return Ok(());
        }
        let told = self.store.tags(&object.key).await.map_err(|error| format!("{error:?}"))?;
        ensure!(told == tags, "sent {tags:?}, got {told:?}");
        Ok(())
    }

    pub(super) async fn odd_keys_come_back_as_they_are(&self) -> Held {
        let names = [
            "space in it",
            "plus+plus",
            "per%20cent",
            "per%cent",
            "a&b=c",
            "quest?ion",
            "ha#sh",
            "semi;colon,",
            "qu'o\"te",
            "<xml>&amp;",
            "tilde~",
            "umlaut-ü",
            "u\u{308}-decomposed",
            "日本語",
            "emoji-🦀",
            "paren(s)[b]{c}",
            "star*",
            "at@:colon",
            "back\\slash",
            "caret^`|",
            "double//slash",
            " leading",
            "trailing ",
        ];
        let mangled = |name: &str| self.quirks.mangles_keys.contains(&name);
        for name in names.into_iter().filter(|name| !mangled(name)) {
            self.given(name, name.as_bytes(), "run-1").await.map_err(|why| format!("{name:?}: {why}"))?;
        }
        let listed: BTreeSet<String> = self.list(self.prefix).await?.into_keys().collect();
        let wanted: BTreeSet<String> =
            names.into_iter().filter(|name| !mangled(name)).map(|name| self.key(name)).collect();
        ensure!(listed == wanted, "listed {:?}", listed.symmetric_difference(&wanted).collect::<Vec<_>>());
        Ok(())
    }

    /// Every object under a prefix, by all its pages.
    async fn list(&self, prefix: &str) -> Result<BTreeMap<String, ETag>, String> {
        let (mut found, mut after) = (BTreeMap::new(), None::<String>);
        loop {
            let told: Result<_, LookError> = self.store.list(prefix, after.as_deref()).await;
            let page = told.map_err(|error| format!("list: {error:?}"))?;
            for listed in page.objects {
                let twice = found.insert(listed.key.to_string(), listed.etag);
                ensure!(twice.is_none(), "{} was listed twice", listed.key);
            }
            match page.next {
                None => return Ok(found),
                next => after = next,
            }
        }
    }

    pub(super) async fn a_listing_has_every_key_of_its_prefix_and_no_other(&self) -> Held {
        let names: Vec<String> = (0..1003).map(|n| format!("in/{n:04}")).collect();
        let others = ["i", "in-between", "inside/0", "out/0"].map(ToOwned::to_owned);
        let failed = stream::iter(names.iter().chain(&others))
            .map(|name| async move {
                let object = object(&self.key(name), name.as_bytes(), "run-1");
                self.put(&object, name.as_bytes(), &Expect::Absent).await.err()
            })
            .buffer_unordered(16)
            .filter_map(std::future::ready)
            .collect::<Vec<_>>()
            .await;
        ensure!(failed.is_empty(), "could not be set up: {failed:?}");
        let listed = self.list(&self.key("in/")).await?;
        let wanted: BTreeSet<String> = names.iter().map(|name| self.key(name)).collect();
        ensure!(listed.keys().cloned().collect::<BTreeSet<_>>() == wanted, "listed {} keys", listed.len());
        let head = self.present("in/0500").await?;
        ensure!(listed.get(&self.key("in/0500")) == Some(&head.etag), "LIST and HEAD tell different ETags");
        let none = self.list(&self.key("nothing/here")).await?;
        ensure!(none.is_empty(), "listed {none:?}");
        Ok(())
    }

    pub(super) async fn versions_come_newest_first(&self) -> Held {
        let key = Key::new(self.key("k"));
        self.given("k2", b"a longer key with the same beginning", "other-1").await?;
        let mut written = Vec::new();
        let mut expect = Expect::Absent;
        for n in 0..3 {
            let bytes = format!("version {n}");
            let object = object(key.as_str(), bytes.as_bytes(), &format!("run-{n}"));
            let answer = self.put(&object, bytes.as_bytes(), &expect).await.map_err(|error| format!("{error:?}"))?;
            let Some(etag) = answer.etag else { return Err("no ETag".into()) };
            expect = Expect::Unchanged(etag.clone());
            written.insert(0, (answer.version, etag));
        }
        let told = self.store.versions(&key, 10).await.map_err(|error| format!("{error:?}"))?;
        if self.quirks.unversioned {
            ensure!(told.is_empty(), "told {told:?}");
            return Ok(());
        }
        let told_pairs: Vec<_> = told
            .iter()
            .map(|version| (Some(version.id.clone()), version.etag.clone().unwrap_or_else(|| ETag::new(""))))
            .collect();
        ensure!(told_pairs == written, "wrote {written:?}, told {told_pairs:?}");
        ensure!(told.iter().map(|version| version.is_latest).eq([true, false, false]), "latest: {told:?}");
        let most = self.store.versions(&key, 2).await.map_err(|error| format!("{error:?}"))?;
        ensure!(most == told[..2], "at most two: {most:?}");
        let old = self.store.head_version(&key, &told[2].id).await.map_err(|error| format!("{error:?}"))?;
        let Remote::Present(old) = old else { return Err(format!("the oldest version is {old:?}")) };
        ensure!(old.write_id.as_deref() == Some("run-0"), "the oldest version is {old:?}");
        let none = self.store.versions(&Key::new(self.key("none")), 10).await.map_err(|error| format!("{error:?}"))?;
        ensure!(none.is_empty(), "a key never written has versions {none:?}");
        Ok(())
    }
}
