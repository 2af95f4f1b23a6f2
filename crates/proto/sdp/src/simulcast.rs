use std::fmt;

use crate::MediaError;

/// The most streams that a section may name.
const MAX_STREAMS: usize = 16;

/// A stream by its name (`a=rid`, RFC 8851 §4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rid {
    /// Its name: letters and digits, `-` and `_`.
    pub id: String,
    /// Whether the one who describes sends it; else he receives it.
    pub sends: bool,
    /// The payload types that it may have; any if there are none.
    pub formats: Vec<u8>,
    /// Restrictions such as `max-width`, each with its value, which may be empty.
    pub restrictions: Vec<(String, String)>,
}

impl Rid {
    /// One without restrictions.
    pub fn new(id: &str, sends: bool) -> Self {
        Self { id: id.into(), sends, formats: Vec::new(), restrictions: Vec::new() }
    }

    /// What an `a=rid` says; `None` for what "is discarded" (RFC 8851 §6.2.1).
    pub(crate) fn read(value: &str) -> Option<Self> {
        let mut fields = value.trim().splitn(3, ' ');
        let (id, direction) = (fields.next()?, fields.next()?);
        let sends = match direction {
            "send" => true,
            "recv" => false,
            _ => return None,
        };
        let mut rid = Self::new(id, sends);
        for each in fields.next().unwrap_or_default().split(';').filter(|each| !each.trim().is_empty()) {
            match each.trim().split_once('=') {
                Some(("pt", types)) => {
                    rid.formats = types.split(',').map(|it| it.parse().ok()).collect::<Option<_>>()?;
                }
                Some((key, value)) => rid.restrictions.push((key.into(), value.into())),
                None => rid.restrictions.push((each.trim().into(), String::new())),
            }
        }
        is_rid(id).then_some(rid)
    }
}

impl fmt::Display for Rid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, if self.sends { "send" } else { "recv" })?;
        let mut parts = Vec::new();
        if !self.formats.is_empty() {
            let types: Vec<String> = self.formats.iter().map(u8::to_string).collect();
            parts.push(format!("pt={}", types.join(",")));
        }
        parts.extend(self.restrictions.iter().map(|(key, value)| match value.as_str() {
            "" => key.clone(),
            value => format!("{key}={value}"),
        }));
        if parts.is_empty() { Ok(()) } else { write!(f, " {}", parts.join(";")) }
    }
}

/// `rid-id`: RFC 8851 §10, with the letters that RFC 8853 §5.1 allows, too.
pub fn is_rid(id: &str) -> bool {
    (1..=255).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// The streams of one track, sent or received at once (`a=simulcast`, RFC 8853 §5.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Simulcast {
    /// What the one who describes sends, the preferred first.
    pub send: Vec<SimulcastStream>,
    /// What he receives.
    pub receive: Vec<SimulcastStream>,
}

/// One of the streams of a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulcastStream {
    /// Its name, and those of formats that could stand for it.
    pub alternatives: Vec<String>,
    /// Whether it is not sent at first (`~`).
    pub paused: bool,
}

impl SimulcastStream {
    /// One with a single name.
    pub fn new(id: &str) -> Self {
        Self { alternatives: vec![id.into()], paused: false }
    }

    /// Its first name.
    pub fn id(&self) -> &str {
        self.alternatives.first().map_or("", String::as_str)
    }
}

impl Simulcast {
    pub(crate) fn read(value: &str) -> Result<Self, MediaError> {
        let mut simulcast = Self::default();
        let fields: Vec<&str> = value.split(' ').filter(|it| !it.is_empty()).collect();
        let wrong = MediaError::Attribute("simulcast");
        if !matches!(fields.len(), 2 | 4) {
            return Err(wrong);
        }
        for pair in fields.chunks(2) {
            let list = match pair[0] {
                "send" => &mut simulcast.send,
                "recv" => &mut simulcast.receive,
                _ => return Err(wrong),
            };
            if !list.is_empty() {
                return Err(wrong);
            }
            for stream in pair[1].split(';').take(MAX_STREAMS) {
                let paused = stream.starts_with('~');
                let names = stream.split(',').map(|it| it.strip_prefix('~').unwrap_or(it));
                let alternatives: Vec<String> = names.map(String::from).take(MAX_STREAMS).collect();
                if !alternatives.iter().all(|it| is_rid(it)) {
                    return Err(wrong);
                }
                list.push(SimulcastStream { alternatives, paused });
            }
        }
        Ok(simulcast)
    }
}

impl fmt::Display for Simulcast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let print = |list: &[SimulcastStream]| {
            let stream = |it: &SimulcastStream| {
                format!("{}{}", if it.paused { "~" } else { "" }, it.alternatives.join(","))
            };
            list.iter().map(stream).collect::<Vec<_>>().join(";")
        };
        match (self.send.is_empty(), self.receive.is_empty()) {
            (false, false) => write!(f, "send {} recv {}", print(&self.send), print(&self.receive)),
            (false, true) => write!(f, "send {}", print(&self.send)),
            (true, _) => write!(f, "recv {}", print(&self.receive)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rids_are_read_or_discarded() {
        for text in ["hi send", "1 recv pt=97,98;max-width=1280;max-fps", "a-b_c send max-br=64000"] {
            assert_eq!(Rid::read(text).unwrap().to_string(), text);
        }
        for bad in ["", "hi", "hi both", "h i send", "ü send", "hi send pt=x"] {
            assert_eq!(Rid::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn simulcast_is_read_strictly() {
        for text in ["send 1;~2;3", "recv h;m;l", "send 1,2;3 recv 4"] {
            assert_eq!(Simulcast::read(text).unwrap().to_string(), text);
        }
        for bad in ["", "send", "send 1;", "send 1 send 2", "both 1", "send 1 recv", "send a b", "rid=1;2"] {
            assert_eq!(Simulcast::read(bad), Err(MediaError::Attribute("simulcast")), "{bad}");
        }
    }
}
