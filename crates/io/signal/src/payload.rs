//! What two ends say to each other under the seal.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// One message between two ends: a JSON object with one member, which says what it is.
///
/// Descriptions and candidates are in the browser's own JSON and pass through as they are.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Payload {
    /// `{"hello":{…}}`: who this is. The first sealed message of each side, and the proof of its key.
    Hello(Hello),
    /// `{"description":{"type":"offer","sdp":"…"}}`.
    Description(Value),
    /// `{"candidate":{"candidate":"…","sdpMid":"0","sdpMLineIndex":0}}`; `null` when there are no more.
    Candidate(Option<Value>),
    /// `{"doctor":{…}}`: what this end knows of itself (`examined`), or of a connection that does not come about (`summary`).
    Doctor(Value),
    /// Something of a later version: to be ignored.
    #[serde(untagged)]
    Other(Value),
}

/// Who speaks, and what for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// What this end is here for: `transfer`, `page`, `pipe` or `forward`.
    pub app: String,
    /// The version of what it speaks; 1 for now.
    #[serde(default)]
    pub version: u32,
    /// A name to show to the person at the other end; may be empty.
    #[serde(default)]
    pub name: String,
    /// What else an app says of itself.
    #[serde(flatten)]
    pub more: serde_json::Map<String, Value>,
}

impl Hello {
    /// A hello of this version.
    pub fn new(app: &str, name: &str) -> Self {
        Self { app: app.into(), version: 1, name: name.into(), more: Default::default() }
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        let Some(object) = value.as_object_mut() else {
            return Err(D::Error::custom("a payload is an object"));
        };
        if let Some(hello) = object.remove("hello") {
            return serde_json::from_value(hello).map(Self::Hello).map_err(D::Error::custom);
        }
        if let Some(description) = object.remove("description") {
            return Ok(Self::Description(description));
        }
        if let Some(doctor) = object.remove("doctor") {
            return Ok(Self::Doctor(doctor));
        }
        Ok(match object.remove("candidate") {
            Some(Value::Null) => Self::Candidate(None),
            Some(candidate) => Self::Candidate(Some(candidate)),
            None => Self::Other(value),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn payloads_are_what_the_document_says() {
        let cases = [
            (
                json!({"hello": {"app": "page", "version": 1, "name": "Ada"}}),
                Payload::Hello(Hello::new("page", "Ada")),
            ),
            (json!({"description": {"type": "offer", "sdp": "v=0"}}), {
                Payload::Description(json!({"type": "offer", "sdp": "v=0"}))
            }),
            (json!({"candidate": null}), Payload::Candidate(None)),
            (json!({"doctor": {"summary": {}}}), Payload::Doctor(json!({"summary": {}}))),
            (
                json!({"candidate": {"candidate": "c", "sdpMid": "0"}}),
                Payload::Candidate(Some(json!({"candidate": "c", "sdpMid": "0"}))),
            ),
            (json!({"later": 1}), Payload::Other(json!({"later": 1}))),
        ];
        for (wire, payload) in cases {
            assert_eq!(serde_json::to_value(&payload).unwrap(), wire);
            assert_eq!(serde_json::from_value::<Payload>(wire).unwrap(), payload);
        }
        assert!(serde_json::from_str::<Payload>("[]").is_err());
    }
}
