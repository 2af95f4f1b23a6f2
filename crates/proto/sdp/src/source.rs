use crate::MediaError;

/// The most sources that a section may tell.
const MAX_SOURCES: usize = 64;

/// A source of a section, known before its first packet (`a=ssrc`, RFC 5576 §4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its number.
    pub ssrc: u32,
    /// Whose it is: sources with one name are of one clock.
    pub cname: Option<String>,
    /// `stream track`, as older descriptions tell what `a=msid` tells today.
    pub msid: Option<String>,
}

impl Source {
    /// One without a name.
    pub fn new(ssrc: u32) -> Self {
        Self { ssrc, cname: None, msid: None }
    }

    /// Adds what an `a=ssrc` says: one attribute of one source.
    pub(crate) fn read(value: &str, sources: &mut Vec<Self>) -> Result<(), MediaError> {
        let (ssrc, attribute) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
        let ssrc = ssrc.parse().map_err(|_| MediaError::Attribute("ssrc"))?;
        let at = match sources.iter().position(|known| known.ssrc == ssrc) {
            Some(at) => at,
            None if sources.len() == MAX_SOURCES => return Err(MediaError::Attribute("ssrc")),
            None => {
                sources.push(Self::new(ssrc));
                sources.len() - 1
            }
        };
        match attribute.split_once(':') {
            Some(("cname", name)) => sources[at].cname = Some(name.into()),
            Some(("msid", msid)) => sources[at].msid = Some(msid.into()),
            _ => {}
        }
        Ok(())
    }
}

/// Sources that belong together (`a=ssrc-group`, RFC 5576 §4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceGroup {
    /// What binds them: `FID`, the second repeats the first (RFC 4588 §8.3); `SIM`, one picture in several sizes.
    pub semantics: String,
    /// Which they are.
    pub sources: Vec<u32>,
}

impl SourceGroup {
    /// A source and the one that repeats its packets.
    pub fn retransmission(ssrc: u32, rtx: u32) -> Self {
        Self { semantics: "FID".into(), sources: vec![ssrc, rtx] }
    }

    pub(crate) fn read(value: &str) -> Result<Self, MediaError> {
        let mut fields = value.split(' ').filter(|it| !it.is_empty());
        let semantics = fields.next().filter(|it| crate::attribute::is_token(it));
        let sources: Option<Vec<u32>> = fields.map(|it| it.parse().ok()).take(MAX_SOURCES).collect();
        let (Some(semantics), Some(sources)) = (semantics, sources) else {
            return Err(MediaError::Attribute("ssrc-group"));
        };
        let group = Self { semantics: semantics.into(), sources };
        if group.semantics == "FID" && group.sources.len() != 2 {
            return Err(MediaError::Attribute("ssrc-group"));
        }
        for (index, ssrc) in group.sources.iter().enumerate() {
            if group.sources[..index].contains(ssrc) {
                return Err(MediaError::SourceLoop(*ssrc));
            }
        }
        Ok(group)
    }
}

/// The source that repeats the packets of `ssrc`.
pub(crate) fn repeated_by(groups: &[SourceGroup], ssrc: u32) -> Option<u32> {
    let group =
        groups.iter().find(|group| group.semantics == "FID" && group.sources.first() == Some(&ssrc))?;
    group.sources.get(1).copied()
}

/// Whether a source is a repetition.
pub(crate) fn is_repetition(groups: &[SourceGroup], ssrc: u32) -> bool {
    groups.iter().any(|group| group.semantics == "FID" && group.sources.get(1) == Some(&ssrc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attributes_of_a_source_come_together() {
        let mut sources = Vec::new();
        for value in ["1 cname:a", "2 cname:a", "1 msid:s t", "1 mslabel:s"] {
            Source::read(value, &mut sources).unwrap();
        }
        let one = Source { ssrc: 1, cname: Some("a".into()), msid: Some("s t".into()) };
        assert_eq!(sources, [one, Source { cname: Some("a".into()), ..Source::new(2) }]);
        assert!(Source::read("x cname:a", &mut sources).is_err());
        assert!((0..100).any(|ssrc| Source::read(&format!("{ssrc} cname:a"), &mut sources).is_err()));
    }

    #[test]
    fn groups_have_members_that_differ() {
        assert_eq!(SourceGroup::read("FID 1 2"), Ok(SourceGroup::retransmission(1, 2)));
        assert_eq!(SourceGroup::read("SIM 1 2 3").unwrap().sources, [1, 2, 3]);
        assert_eq!(SourceGroup::read("FID 1 1"), Err(MediaError::SourceLoop(1)));
        for bad in ["", "FID", "FID 1", "FID 1 2 3", "FID 1 x", "SIM 1 4294967296"] {
            assert_eq!(SourceGroup::read(bad), Err(MediaError::Attribute("ssrc-group")), "{bad}");
        }
    }
}
