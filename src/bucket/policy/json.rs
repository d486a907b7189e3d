//! JSON that keeps the order of what it read, and refuses to hear one name twice.
//!
//! A policy that is merged must come out as its owner wrote it; and of two `"Condition"` in one statement, a reader that
//! keeps the last would judge another policy than a reader that keeps the first.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

/// One JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Json>),
    /// In the order of the document.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// The value under a name, where this is an object that has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Self::Object(fields) => fields.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::List(_) => None,
        }
    }

    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::List(_) | Self::Object(_) => None,
        }
    }

    /// One value or a list of them, as policies spell both alike.
    pub(super) fn items(&self) -> &[Json] {
        match self {
            Self::List(items) => items,
            one => std::slice::from_ref(one),
        }
    }

    /// Whether it says the same in a policy: servers give the fields of an object back in an order of their own, and a list
    /// of one without its brackets.
    pub(super) fn is_like(&self, other: &Json) -> bool {
        match (self, other) {
            (Self::Object(fields), Self::Object(others)) => {
                let there = |(name, value): &(String, Json)| other.get(name).is_some_and(|other| value.is_like(other));
                fields.len() == others.len() && fields.iter().all(there)
            }
            (Self::List(_), _) | (_, Self::List(_)) => {
                let (items, others) = (self.items(), other.items());
                items.len() == others.len() && items.iter().zip(others).all(|(item, other)| item.is_like(other))
            }
            (one, other) => one == other,
        }
    }

    pub(super) fn of(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn object<const N: usize>(fields: [(&str, Json); N]) -> Self {
        Self::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }
}

/// The first number in a document that reading and printing would spell in another way: `1.50`, or one of thirty digits.
/// The text must have been read before, so that what looks like a number is one.
pub(super) fn rewritten(text: &str) -> Option<&str> {
    let is_numeric = |c: char| matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E');
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        rest = &rest[at..];
        let end = if let Some(inside) = rest.strip_prefix('"') {
            let mut escaped = false;
            let close = inside.find(|c| {
                let closes = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                closes
            });
            close.map_or(rest.len(), |close| close + 2)
        } else {
            let end = rest.find(|c| !is_numeric(c)).unwrap_or(rest.len());
            let number = &rest[..end];
            let printed = serde_json::from_str::<Json>(number).ok().map(|json| json.to_string());
            if printed.as_deref() != Some(number) {
                return Some(number);
            }
            end
        };
        rest = &rest[end..];
    }
    None
}

/// As a document; indented under `{:#}`.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if f.alternate() { serde_json::to_string_pretty(self) } else { serde_json::to_string(self) };
        f.write_str(&text.map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => to.serialize_unit(),
            Self::Bool(truth) => to.serialize_bool(*truth),
            Self::Number(number) => number.serialize(to),
            Self::Text(text) => to.serialize_str(text),
            Self::List(items) => to.collect_seq(items),
            Self::Object(fields) => {
                let mut map = to.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Json, E> {
        Ok(Json::Bool(truth))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(serde_json::Number::from_f64(number).map_or(Json::Null, Json::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element()? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Json, A::Error> {
        let mut fields: Vec<(String, Json)> = Vec::new();
        while let Some(name) = from.next_key::<String>()? {
            if fields.iter().any(|(known, _)| *known == name) {
                return Err(A::Error::custom(format_args!("\"{name}\" stands twice in one object")));
            }
            let value = from.next_value()?;
            fields.push((name, value));
        }
        Ok(Json::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_comes_out_in_the_same_order() {
        let text = r#"{"b":[1,-2,1.5,null,true,"x\n"],"a":{"z":"1","y":{}}}"#;
        let read: Json = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
    }

    #[test]
    fn a_number_that_would_be_spelled_in_another_way_is_found_and_no_text_is_taken_for_one() {
        for same in [r#"{"a":[1,-2,1.5,0],"1.50":"1.50","b\"1e2":"\\","c":18446744073709551615}"#, "7", "[true]"] {
            assert_eq!(rewritten(same), None, "{same}");
        }
        for (text, number) in [
            (r#"{"1.50":"\\","a":[1, 1.50]}"#, "1.50"),
            (r#"{"a":123456789012345678901234567890}"#, "123456789012345678901234567890"),
            (r#"["\"", -0]"#, "-0"),
            ("1E2", "1E2"),
        ] {
            assert_eq!(rewritten(text), Some(number), "{text}");
        }
    }

    #[test]
    fn order_and_brackets_make_no_difference_and_values_do() {
        let read = |text| serde_json::from_str::<Json>(text).unwrap();
        let one = read(r#"{"a":["x"],"b":{"c":"1","d":["y","z"]}}"#);
        assert!(one.is_like(&read(r#"{"b":{"d":["y","z"],"c":["1"]},"a":"x"}"#)));
        for other in [
            r#"{"a":"x"}"#,
            r#"{"a":"x","b":{"c":"1","d":["y","w"]}}"#,
            r#"{"a":["x","x"],"b":{"c":"1","d":["y","z"]}}"#,
        ] {
            assert!(!one.is_like(&read(other)) && !read(other).is_like(&one), "{other}");
        }
    }

    #[test]
    fn a_name_that_stands_twice_is_refused_at_any_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"[{"x":{"a":1,"b":2,"a":3}}]"#] {
            let error = serde_json::from_str::<Json>(text).unwrap_err().to_string();
            assert!(error.contains("\"a\" stands twice"), "{error}");
        }
    }
}
