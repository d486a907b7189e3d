//! Reads a page of a listing straight out of its XML. Never takes a part of a page for the whole.
//!
//! The SDK still signs, sends, repeats and classifies. Only its types for a listed object are gone round: to fill them
//! costs several times what it costs to send a page. For this the body is read on its way into the SDK, which gets to see
//! an empty listing instead. Whatever is not a listing that can be read, it gets to see as it came, and says so.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextMut;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use bytes::Bytes;
use http_body::{Body, Frame};
use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, Event};

use super::translate;
use crate::model::digest::ETag;
use crate::model::entry::Key;
use crate::store::{Listed, Page, Time};

/// What the SDK is shown of a listing that we have read.
const READ_ALREADY: &[u8] = b"<ListBucketResult/>";

/// Reads the page out of one ListObjectsV2. `after` is the token that the request carries.
pub(super) fn read(xml: &[u8], after: Option<&str>) -> Result<Page, String> {
    let text = std::str::from_utf8(xml).map_err(|error| format!("the listing is not UTF-8: {error}"))?;
    // Some servers put a byte order mark before the declaration.
    let mut xml = Xml { reader: Reader::from_str(text.trim_start_matches('\u{feff}')), text: String::new() };
    let mut told = Told { objects: Vec::with_capacity(text.len() / 300), ..Told::default() };
    match xml.root()? {
        Root::Empty => {}
        Root::Open => {
            while let Some(child) = xml.child()? {
                told.element(&mut xml, &child)?;
            }
        }
    }
    xml.end()?;
    told.page(after)
}

/// What a listing says, its keys perhaps still encoded.
#[derive(Default)]
struct Told {
    objects: Vec<Listed>,
    is_truncated: bool,
    next: Option<String>,
    is_encoded: bool,
}

impl Told {
    fn element(&mut self, xml: &mut Xml<'_>, child: &Child<'_>) -> Result<(), String> {
        match child.name() {
            b"Contents" => self.objects.push(object(xml, child)?),
            b"IsTruncated" => {
                self.is_truncated = match xml.text(child)?.trim() {
                    "true" => true,
                    "false" => false,
                    other => return Err(format!("IsTruncated is {other:?}")),
                };
            }
            b"NextContinuationToken" => self.next = Some(xml.text(child)?.to_owned()),
            b"EncodingType" => self.is_encoded = xml.text(child)?.trim() == "url",
            _ => xml.skip(child)?,
        }
        Ok(())
    }

    fn page(mut self, after: Option<&str>) -> Result<Page, String> {
        // It may be said only after the keys.
        if self.is_encoded {
            for listed in &mut self.objects {
                if listed.key.as_str().contains(['%', '+']) {
                    listed.key = Key::new(translate::key(listed.key.as_str(), true));
                }
            }
        }
        let next = self.next.filter(|_| self.is_truncated);
        // To end here, or to begin anew, would show a part of the bucket as all of it.
        if self.is_truncated && (next.as_deref().is_none_or(str::is_empty) || next.as_deref() == after) {
            return Err("the listing goes on, but the server does not say where".to_owned());
        }
        Ok(Page { objects: self.objects, next })
    }
}

fn object(xml: &mut Xml<'_>, contents: &Child<'_>) -> Result<Listed, String> {
    let (mut key, mut etag, mut size, mut last_modified) = (None, None, None, None);
    if let Child::Open(_) = contents {
        while let Some(child) = xml.child()? {
            match child.name() {
                b"Key" => key = Some(Key::new(xml.text(&child)?)),
                b"ETag" => etag = Some(ETag::new(xml.text(&child)?)),
                b"Size" => {
                    let text = xml.text(&child)?.trim();
                    size = Some(text.parse().map_err(|_| format!("a listed object has the size {text:?}"))?);
                }
                b"LastModified" => {
                    let text = xml.text(&child)?.trim();
                    let time: Time = text.parse().map_err(|_| format!("a listed object is of the time {text:?}"))?;
                    last_modified = Some(time);
                }
                _ => xml.skip(&child)?,
            }
        }
    }
    let (Some(key), Some(etag)) = (key, etag) else {
        return Err("a listed object has no key or no ETag".to_owned());
    };
    let size = size.ok_or("a listed object has no size")?;
    Ok(Listed { key, size, etag, last_modified })
}

/// A document that is read forwards, element by element. Names count without their prefix, as in the SDK.
struct Xml<'a> {
    reader: Reader<&'a [u8]>,
    /// Of the last element that was read as a text.
    text: String,
}

enum Root {
    Open,
    Empty,
}

/// An element within the one that is being read.
enum Child<'a> {
    Open(quick_xml::events::BytesStart<'a>),
    Empty(quick_xml::events::BytesStart<'a>),
}

impl Child<'_> {
    fn name(&self) -> &[u8] {
        match self {
            Self::Open(start) | Self::Empty(start) => start.local_name().into_inner(),
        }
    }
}

impl<'a> Xml<'a> {
    fn event(&mut self) -> Result<Event<'a>, String> {
        match self.reader.read_event() {
            Ok(Event::Eof) => Err("the listing breaks off".to_owned()),
            Ok(event) => Ok(event),
            Err(error) => Err(format!("the listing is not XML: {error}")),
        }
    }

    fn root(&mut self) -> Result<Root, String> {
        loop {
            let (start, root) = match self.event()? {
                Event::Start(start) => (start, Root::Open),
                Event::Empty(start) => (start, Root::Empty),
                Event::Decl(_) | Event::Comment(_) | Event::PI(_) => continue,
                Event::Text(text) if text.trim_ascii().is_empty() => continue,
                _ => return Err("the answer is not a listing".to_owned()),
            };
            if start.local_name().into_inner() == b"ListBucketResult" {
                return Ok(root);
            }
            let name = String::from_utf8_lossy(start.local_name().into_inner()).into_owned();
            return Err(format!("the answer is not a listing but a {name}"));
        }
    }

    /// The next element inside the one that is open, or `None` at its end.
    fn child(&mut self) -> Result<Option<Child<'a>>, String> {
        loop {
            match self.event()? {
                Event::Start(start) => return Ok(Some(Child::Open(start))),
                Event::Empty(start) => return Ok(Some(Child::Empty(start))),
                Event::End(_) => return Ok(None),
                // Between elements; what a newer server may say there is not ours.
                _ => {}
            }
        }
    }

    /// All text of an element that holds nothing else.
    fn text(&mut self, child: &Child<'_>) -> Result<&str, String> {
        self.text.clear();
        if let Child::Empty(_) = child {
            return Ok(&self.text);
        }
        loop {
            let bad = |error: quick_xml::encoding::EncodingError| error.to_string();
            match self.event()? {
                Event::Text(text) => self.text.push_str(&text.decode().map_err(bad)?),
                Event::CData(text) => self.text.push_str(&text.decode().map_err(bad)?),
                Event::GeneralRef(name) => refer(&name, &mut self.text)?,
                Event::End(_) => return Ok(&self.text),
                Event::Comment(_) | Event::PI(_) => {}
                Event::Start(_) | Event::Empty(_) | Event::Decl(_) | Event::DocType(_) | Event::Eof => {
                    return Err("a listed text has elements in it".to_owned());
                }
            }
        }
    }

    fn skip(&mut self, child: &Child<'_>) -> Result<(), String> {
        match child {
            Child::Empty(_) => Ok(()),
            Child::Open(start) => match self.reader.read_to_end(start.name()) {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("the listing is not XML: {error}")),
            },
        }
    }

    /// Nothing but air may follow the root.
    fn end(&mut self) -> Result<(), String> {
        loop {
            match self.reader.read_event() {
                Ok(Event::Eof) => return Ok(()),
                Ok(Event::Comment(_) | Event::PI(_)) => {}
                Ok(Event::Text(text)) if text.trim_ascii().is_empty() => {}
                Ok(_) => return Err("the listing goes on after its end".to_owned()),
                Err(error) => return Err(format!("the listing is not XML: {error}")),
            }
        }
    }
}

/// `&amp;` and its four kin, and characters by number. No other entity is ever declared.
fn refer(name: &BytesRef<'_>, text: &mut String) -> Result<(), String> {
    match name.resolve_char_ref() {
        Ok(Some(char)) => {
            text.push(char);
            return Ok(());
        }
        Ok(None) => {}
        Err(error) => return Err(format!("the listing is not XML: {error}")),
    }
    let name = name.decode().map_err(|error| error.to_string())?;
    let value = resolve_xml_entity(&name).ok_or_else(|| format!("the listing has an unknown entity &{name};"))?;
    text.push_str(value);
    Ok(())
}

/// Reads the answer to one ListObjectsV2 as it passes. Of several tries the last one counts.
#[derive(Debug, Default, Clone)]
pub(super) struct Reading {
    after: Option<String>,
    read: Arc<Mutex<Option<Result<Page, String>>>>,
}

impl Reading {
    pub(super) fn new(after: Option<&str>) -> Self {
        Self { after: after.map(ToOwned::to_owned), read: Arc::default() }
    }

    /// What was read of an answer that the SDK took for a listing.
    pub(super) fn take(&self) -> Result<Page, String> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner).take();
        read.unwrap_or_else(|| Err("the answer is not a listing".to_owned()))
    }
}

impl Intercept for Reading {
    fn name(&self) -> &'static str {
        "Reading"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let response = context.response_mut();
        if response.status().as_u16() == 200 {
            let from = response.take_body();
            // Polled by the SDK, within its time for one try, and what breaks half way is tried again like any other.
            let passing = Passing { from, bytes: Vec::new(), reading: self.clone(), is_over: false };
            *response.body_mut() = SdkBody::from_body_1_x(passing);
        }
        Ok(())
    }
}

/// A body that is held back until it is whole, and then shown as it came or as an empty listing.
struct Passing {
    from: SdkBody,
    bytes: Vec<u8>,
    reading: Reading,
    is_over: bool,
}

impl Body for Passing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        loop {
            match ready!(Pin::new(&mut self.from).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.bytes.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => {
                    self.is_over = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => break,
            }
        }
        self.is_over = true;
        let bytes = std::mem::take(&mut self.bytes);
        let read = read(&bytes, self.reading.after.as_deref());
        let shown = if read.is_ok() { Bytes::from_static(READ_ALREADY) } else { Bytes::from(bytes) };
        *self.reading.read.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
        Poll::Ready(Some(Ok(Frame::data(shown))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }
}

#[cfg(test)]
mod tests;
