use serde::{Deserialize, Serialize};

/// A candidate as it travels (`RTCIceCandidateInit`); its JSON is the browser's.
///
/// An empty `candidate` says that no more follow in its generation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IceCandidateInit {
    /// `candidate:…` (RFC 8839 §5.1), or empty.
    #[serde(default)]
    pub candidate: String,
    /// The mid of its section.
    #[serde(default)]
    pub sdp_mid: Option<String>,
    /// The place of its section, counted from 0.
    #[serde(default, rename = "sdpMLineIndex")]
    pub sdp_mline_index: Option<u16>,
    /// Which generation of candidates it belongs to.
    #[serde(default)]
    pub username_fragment: Option<String>,
}

impl IceCandidateInit {
    /// Whether it says that no more candidates follow.
    pub fn is_end_of_candidates(&self) -> bool {
        self.candidate.is_empty()
    }

    /// The generation it belongs to, told beside the candidate or inside it (`… ufrag abcd …`).
    pub(crate) fn ufrag(&self) -> Option<&str> {
        let inside = || {
            let mut words = self.candidate.split(' ').skip(8);
            words.find(|word| *word == "ufrag").and_then(|_| words.next())
        };
        self.username_fragment.as_deref().or_else(inside)
    }

    /// The line as it stands in a description, if it can stand there.
    pub(crate) fn line(&self) -> Option<&str> {
        let line = self.candidate.strip_prefix("a=").unwrap_or(&self.candidate).trim_end();
        (line.starts_with("candidate:") && !line.contains(['\r', '\n', '\0']) && line.len() <= MAX_LINE)
            .then_some(line)
    }
}

/// The longest candidate that is taken, in bytes; real ones have 100 to 250.
const MAX_LINE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_is_the_browsers() {
        let json = r#"{"candidate":"candidate:1 1 udp 1 192.0.2.1 9 typ host ufrag abcd","sdpMid":"0","sdpMLineIndex":0,"usernameFragment":null}"#;
        let candidate: IceCandidateInit = serde_json::from_str(json).unwrap();
        assert_eq!(candidate.ufrag(), Some("abcd"));
        assert_eq!(serde_json::to_string(&candidate).unwrap(), json);
        let end: IceCandidateInit = serde_json::from_str(r#"{"candidate":""}"#).unwrap();
        assert!(end.is_end_of_candidates());
    }

    #[test]
    fn lines_are_taken_with_and_without_their_prefix_and_alone() {
        let candidate = |text: &str| IceCandidateInit { candidate: text.into(), ..Default::default() };
        assert_eq!(candidate("a=candidate:1 1 udp").line(), Some("candidate:1 1 udp"));
        assert_eq!(candidate("candidate:1 1 udp\r\n").line(), Some("candidate:1 1 udp"));
        assert_eq!(candidate("candidate:1 1 udp\r\na=ice-lite").line(), None);
        assert_eq!(candidate("m=audio").line(), None);
    }
}
