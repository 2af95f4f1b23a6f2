//! Parsers on any bytes. What prints must read back as the same.

/// An ICE candidate line.
pub(crate) fn candidate(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(candidate) = text.parse::<ice::Candidate>() {
        let printed = candidate.to_string();
        let again: ice::Candidate = printed.parse().expect("what we print we can read");
        assert_eq!(again.to_string(), printed);
    }
}

/// A `stun:` or `turn:` URL.
pub(crate) fn server_url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(url) = text.parse::<ice::ServerUrl>() {
        assert_eq!(url.to_string().parse::<ice::ServerUrl>().expect("what we print we can read"), url);
    }
}

/// A session description.
pub(crate) fn sdp(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(session) = sdp::Session::parse(text) {
        let again = sdp::Session::parse(&session.to_string()).expect("what we print we can read");
        assert_eq!(again, session);
    }
}

/// What the sections of a description say of their media: free of circles, and written again it is the same.
pub(crate) fn sdp_media(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(session) = sdp::Session::parse(text) else { return };
    for section in session.sections() {
        let Ok(mut rtp) = section.rtp() else { continue };
        let repeats = |format: &sdp::Format| format.repeats();
        for number in rtp.formats.iter().filter_map(repeats) {
            assert!(rtp.format(number).is_some_and(|original| repeats(original).is_none()));
        }
        // Sources of which nothing is said are not written.
        rtp.sources.retain(|source| source.cname.is_some() || source.msid.is_some());
        let types = rtp.payload_types();
        let mut media = sdp::Media::new("video", 9, "UDP/TLS/RTP/SAVPF", types.iter().map(String::as_str));
        rtp.write(&mut media);
        let mut again = sdp::Session::new(sdp::Origin::new(1, 1));
        again.media.push(media);
        if !types.is_empty() {
            let again = sdp::Session::parse(&again.to_string()).expect("what we print we can read");
            assert_eq!(again.section(0).expect("there is one").rtp().expect("it has been read before"), rtp);
        }
    }
}

/// A scenario file: whatever is wrong with it is told with a line of the file.
pub(crate) fn script(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(mistake) = scenario::script::Script::parse("fuzz.toml", text) {
        assert!((1..=text.lines().count() + 1).contains(&mistake.line), "{mistake}");
        assert!(mistake.to_string().starts_with("fuzz.toml:"), "{mistake}");
    }
}

/// Everything that can be read from a STUN message.
pub(crate) fn stun(data: &[u8]) {
    stun::classify(data);
    let Ok(message) = stun::Message::parse(data) else { return };
    for attribute in message.attributes() {
        assert!(attribute.value.len() <= data.len());
        let _ = (message.xor_address(attribute.kind), message.address(attribute.kind));
        let _ = (message.u32(attribute.kind), message.u64(attribute.kind), message.string(attribute.kind));
    }
    let _ = (message.check_fingerprint(), message.check_integrity(&stun::Key::short_term("password")));
    let _ = (message.error_code(), message.unknown_attributes(), message.unknown_comprehension_required(&[]));
    if let Some(algorithms) = message.password_algorithms() {
        algorithms.supported().for_each(drop);
    }
}

/// A stream cut into pieces: the same frames come out wherever it is cut.
pub(crate) fn framing(data: &[u8]) {
    let frames = |piece: usize| {
        let mut deframer = stun::framing::Deframer::new();
        let mut frames = Vec::new();
        for bytes in data.chunks(piece.max(1)) {
            deframer.push(bytes);
            while let Some(frame) = deframer.next_frame() {
                match frame {
                    Ok(frame) => frames.push(frame.to_vec()),
                    Err(_) => return frames,
                }
            }
        }
        frames
    };
    assert_eq!(frames(1), frames(data.len()));
}
