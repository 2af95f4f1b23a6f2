use crate::source::{is_repetition, repeated_by};
use crate::{Direction, Extmap, Format, Media, MediaError, Rid, Section, Simulcast, Source, SourceGroup};

/// The most header extensions that a section may number.
const MAX_EXTENSIONS: usize = 64;

/// A track in a stream (`a=msid`, RFC 8830 §2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Msid {
    /// The stream; `None` for a track in none (`-`).
    pub stream: Option<String>,
    /// The track, if it has a name.
    pub track: Option<String>,
}

/// What a section of sound or pictures says about its packets: read by [`Section::rtp`], written by [`Rtp::write`].
///
/// What is read is free of contradictions: payload types and extensions have one meaning, retransmissions repeat what is
/// there and is no retransmission itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rtp {
    /// The formats that the one who describes receives, the preferred first. Those that mean nothing are left out:
    /// dynamic payload types without `a=rtpmap`, retransmissions of what is not there.
    pub formats: Vec<Format>,
    /// The header extensions, each URI once.
    pub extensions: Vec<Extmap>,
    /// Whether headers of one and two bytes may be mixed (RFC 8285 §6), told for the section.
    pub mixed_extensions: bool,
    /// Which way media flows.
    pub direction: Direction,
    /// What is sent, and in which streams it belongs together.
    pub msids: Vec<Msid>,
    /// Whether RTP and RTCP share a port (RFC 5761).
    pub rtcp_mux: bool,
    /// Whether they have to (RFC 8858).
    pub rtcp_mux_only: bool,
    /// Whether RTCP may be short (`a=rtcp-rsize`, RFC 5506).
    pub reduced_size: bool,
    /// Sources that are known beforehand.
    pub sources: Vec<Source>,
    /// What they are to each other.
    pub groups: Vec<SourceGroup>,
    /// Streams with names.
    pub rids: Vec<Rid>,
    /// Which of them are one track.
    pub simulcast: Option<Simulcast>,
    /// The milliseconds of sound that a packet should have (RFC 8866 §6.4).
    pub ptime: Option<u32>,
    /// The most that it may have.
    pub max_ptime: Option<u32>,
    /// Whether header extensions may be encrypted (RFC 9335 §4).
    pub cryptex: bool,
    /// Whether who sends nothing may say what time it is, to learn the round trip (`a=rtcp-xr:rcvr-rtt`, RFC 3611 §5.1).
    pub receiver_time: bool,
}

impl Rtp {
    /// The source that repeats the packets of `ssrc` (RFC 4588 §8.3).
    pub fn repeated_by(&self, ssrc: u32) -> Option<u32> {
        repeated_by(&self.groups, ssrc)
    }

    /// The sources that are no repetitions.
    pub fn primary_sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|source| !is_repetition(&self.groups, source.ssrc))
    }

    /// The format with this payload type.
    pub fn format(&self, payload_type: u8) -> Option<&Format> {
        self.formats.iter().find(|format| format.payload_type == payload_type)
    }

    /// The payload type that repeats packets of this one.
    pub fn retransmission(&self, payload_type: u8) -> Option<u8> {
        let rtx = self.formats.iter().find(|format| format.repeats() == Some(payload_type));
        rtx.map(|format| format.payload_type)
    }

    /// The `m=` section's list of formats.
    pub fn payload_types(&self) -> Vec<String> {
        self.formats.iter().map(|format| format.payload_type.to_string()).collect()
    }

    /// Writes all of it below an `m=` line, in the order in which browsers do.
    pub fn write(&self, media: &mut Media) {
        let lines = &mut media.lines;
        self.extensions.iter().for_each(|it| lines.push_attribute("extmap", &it.to_string()));
        let flags = [
            (self.mixed_extensions, "extmap-allow-mixed"),
            (true, self.direction.as_str()),
            (self.rtcp_mux, "rtcp-mux"),
            (self.rtcp_mux_only, "rtcp-mux-only"),
            (self.reduced_size, "rtcp-rsize"),
            (self.cryptex, "cryptex"),
        ];
        flags.into_iter().filter(|(is_set, _)| *is_set).for_each(|(_, name)| lines.push_flag(name));
        if self.receiver_time {
            lines.push_attribute("rtcp-xr", "rcvr-rtt=all");
        }
        for Msid { stream, track } in &self.msids {
            let track = track.as_ref().map(|track| format!(" {track}")).unwrap_or_default();
            lines.push_attribute("msid", &format!("{}{track}", stream.as_deref().unwrap_or("-")));
        }
        for format in &self.formats {
            let number = format.payload_type;
            lines.push_attribute("rtpmap", &format!("{number} {}", format.map()));
            format.feedback.iter().for_each(|it| lines.push_attribute("rtcp-fb", &format!("{number} {it}")));
            if !format.parameters.is_empty() {
                lines.push_attribute("fmtp", &format!("{number} {}", format.parameters));
            }
        }
        for (name, value) in [("ptime", self.ptime), ("maxptime", self.max_ptime)] {
            value.iter().for_each(|value| lines.push_attribute(name, &value.to_string()));
        }
        self.rids.iter().for_each(|rid| lines.push_attribute("rid", &rid.to_string()));
        self.simulcast.iter().for_each(|it| lines.push_attribute("simulcast", &it.to_string()));
        for SourceGroup { semantics, sources } in &self.groups {
            let sources: String = sources.iter().map(|ssrc| format!(" {ssrc}")).collect();
            lines.push_attribute("ssrc-group", &format!("{semantics}{sources}"));
        }
        for Source { ssrc, cname, msid } in &self.sources {
            for (name, value) in [("cname", cname), ("msid", msid)] {
                value.iter().for_each(|it| lines.push_attribute("ssrc", &format!("{ssrc} {name}:{it}")));
            }
        }
    }
}

impl Section<'_> {
    /// What it says about its packets, if it is one of sound or pictures.
    ///
    /// # Errors
    /// What cannot be understood without guessing: payload types or extensions with two meanings, retransmissions that go
    /// in circles, attributes in use that are malformed.
    pub fn rtp(self) -> Result<Rtp, MediaError> {
        let lines = &self.media().lines;
        let rids = rids(lines.attributes("rid"));
        let mut rtp = Rtp {
            formats: formats(self.media())?,
            extensions: extensions(self)?,
            mixed_extensions: self.allows_mixed_extmaps(),
            direction: self.direction(),
            msids: lines.attributes("msid").map(msid).collect::<Result<_, _>>()?,
            rtcp_mux: self.has_rtcp_mux() || lines.has("rtcp-mux-only"),
            rtcp_mux_only: lines.has("rtcp-mux-only"),
            reduced_size: lines.has("rtcp-rsize"),
            simulcast: once(lines.attributes("simulcast").map(Simulcast::read), "simulcast")?,
            // Nothing depends on them: what is not a number is as if it were not there. Firefox writes fractions.
            ptime: lines.attribute("ptime").and_then(|it| it.trim().parse().ok()),
            max_ptime: lines.attribute("maxptime").and_then(|it| it.trim().parse().ok()),
            cryptex: self.attribute("cryptex").is_some(),
            receiver_time: lines
                .attributes("rtcp-xr")
                .any(|it| it.split(' ').any(|it| it.starts_with("rcvr-rtt="))),
            rids,
            ..Rtp::default()
        };
        for value in lines.attributes("ssrc") {
            Source::read(value, &mut rtp.sources)?;
        }
        rtp.groups = lines.attributes("ssrc-group").map(SourceGroup::read).collect::<Result<_, _>>()?;
        for group in rtp.groups.iter().filter(|group| group.semantics == "FID") {
            if is_repetition(&rtp.groups, group.sources[0]) {
                return Err(MediaError::SourceLoop(group.sources[0]));
            }
        }
        Ok(rtp)
    }
}

/// The formats of the `m=` line, each with all that is said about it.
fn formats(media: &Media) -> Result<Vec<Format>, MediaError> {
    let mut numbers: Vec<u8> = Vec::new();
    for text in media.formats() {
        let number: u8 = text.parse().map_err(|_| MediaError::PayloadType)?;
        if number > 127 {
            return Err(MediaError::PayloadType);
        }
        if numbers.contains(&number) {
            return Err(MediaError::DuplicatePayloadType(number));
        }
        numbers.push(number);
    }
    let mut formats = Vec::new();
    for number in &numbers {
        let mut found: Option<Format> = None;
        for map in about(media, "rtpmap", *number) {
            let format = Format::read(*number, map)?;
            if found.as_ref().is_some_and(|known| *known != format) {
                return Err(MediaError::DuplicatePayloadType(*number));
            }
            found = Some(format);
        }
        let Some(mut format) = found.or_else(|| Format::assigned(*number)) else { continue };
        // Parameters may come in several lines.
        format.parameters = about(media, "fmtp", *number).collect::<Vec<_>>().join(";");
        for feedback in about(media, "rtcp-fb", *number) {
            let feedback = feedback.split(' ').filter(|it| !it.is_empty()).collect::<Vec<_>>().join(" ");
            if !format.feedback.contains(&feedback) {
                format.feedback.push(feedback);
            }
        }
        formats.push(format);
    }
    let is_rtx = |number: u8| formats.iter().any(|it| it.payload_type == number && it.is("rtx"));
    if let Some(format) = formats.iter().find(|format| format.repeats().is_some_and(is_rtx)) {
        return Err(MediaError::RtxLoop(format.payload_type));
    }
    let is_there = |number: u8| formats.iter().any(|it: &Format| it.payload_type == number);
    let useful: Vec<bool> =
        formats.iter().map(|it| !it.is("rtx") || it.repeats().is_some_and(is_there)).collect();
    let mut useful = useful.into_iter();
    formats.retain(|_| useful.next().unwrap_or_default());
    Ok(formats)
}

/// What attributes of this name say about a payload type, or about all (`*`).
fn about<'a>(media: &'a Media, name: &'a str, number: u8) -> impl Iterator<Item = &'a str> {
    media.lines.attributes(name).filter_map(move |value| {
        let (whose, rest) = value.trim().split_once(' ')?;
        (whose.parse() == Ok(number) || (whose == "*" && name == "rtcp-fb")).then(|| rest.trim())
    })
}

/// Those of the section, and those of the session.
fn extensions(section: Section<'_>) -> Result<Vec<Extmap>, MediaError> {
    let mut extensions: Vec<Extmap> = Vec::new();
    let all = section.media().lines.attributes("extmap").chain(section.session.lines.attributes("extmap"));
    for value in all.take(MAX_EXTENSIONS) {
        let extmap = Extmap::read(value)?;
        match extensions.iter().find(|known| known.id == extmap.id) {
            // A number beyond the valid ones is a list to choose from.
            Some(known) if extmap.id < 4096 && known.uri != extmap.uri => {
                return Err(MediaError::DuplicateExtension(extmap.id));
            }
            _ if extensions.iter().any(|known| known.uri == extmap.uri) => {}
            _ => extensions.push(extmap),
        }
    }
    Ok(extensions)
}

fn msid(value: &str) -> Result<Msid, MediaError> {
    let mut fields = value.split(' ').filter(|it| !it.is_empty());
    let stream = fields.next().ok_or(MediaError::Attribute("msid"))?;
    Ok(Msid { stream: (stream != "-").then(|| stream.into()), track: fields.next().map(String::from) })
}

/// "The entire "a=rid" line, and all "a=rid" lines with rid-ids that duplicate this line, are discarded" (RFC 8851 §6.2.1).
fn rids<'a>(values: impl Iterator<Item = &'a str>) -> Vec<Rid> {
    let all: Vec<Rid> = values.filter_map(Rid::read).collect();
    let is_alone = |rid: &Rid| all.iter().filter(|other| other.id == rid.id).count() == 1;
    all.iter().filter(|rid| is_alone(rid)).cloned().collect()
}

fn once<T: PartialEq>(
    values: impl Iterator<Item = Result<T, MediaError>>,
    name: &'static str,
) -> Result<Option<T>, MediaError> {
    let mut found = None;
    for value in values {
        let value = Some(value?);
        if found.is_some() && found != value {
            return Err(MediaError::Twice(name));
        }
        found = value;
    }
    Ok(found)
}
