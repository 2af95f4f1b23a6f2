//! A session of media whose peer has the keys and says anything.

use std::time::Duration;

use rtp::codecs::Codec;
use rtp::extension::Name;
use rtp::session::{
    Delivery, Encoding, Feedback, Format, Kind, OutgoingFrame, Session, SessionConfig, Terms,
};
use rtp::srtp::{MasterKey, Profile, Protect};
use sansio::{Seed, Time};

use crate::datagrams::datagrams;

/// Packets of RTP and RTCP (by their second byte) that the peer has protected: sources stay bounded, and so do answers;
/// time moves on; what is sent goes on.
pub(crate) fn session(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    let key = |byte| MasterKey::new(Profile::AeadAes128Gcm, &[byte; 16], &[byte; 12]).expect("lengths fit");
    let mut session = Session::new(SessionConfig::new(Seed::from(1)));
    session.set_terms(Time::ZERO, terms(*choice));
    session.set_keys(Time::ZERO, &key(1), &key(2));
    let mut peer = Protect::new(&key(2));
    let mut now = Time::ZERO;
    let mut out: Vec<Vec<u8>> = Vec::new();
    for packet in datagrams(data) {
        let mut buffer = [&packet[..], &[0; 40]].concat();
        if matches!(packet.get(1), Some(192..=223)) {
            let length = peer.protect_rtcp(&mut buffer, packet.len()).unwrap_or(packet.len());
            session.handle_rtcp(now, &mut buffer[..length]);
        } else {
            let length = peer.protect(&mut buffer, packet.len()).unwrap_or(packet.len());
            session.handle_rtp(now, &mut buffer[..length]);
        }
        let frame = OutgoingFrame { data: &[0; 2500], time: now.elapsed(), ..OutgoingFrame::default() };
        let _ = session.write_frame(now, "1", None, &frame);
        session.poll_transmit(now, &mut out);
        while session.poll_event().is_some() {}
        now += Duration::from_millis(u64::from(choice >> 4) + 1);
        session.handle_timeout(now);
        session.poll_transmit(now, &mut out);
        assert!(session.poll_timeout().is_none_or(|next| next > now), "time moves on");
        assert!(out.len() <= 2000, "{} packets at once", out.len());
        assert!(out.drain(..).all(|packet| packet.len() <= 1200));
    }
    let statistics = session.statistics();
    assert!(statistics.inbound.len() <= 256);
    for _ in 0..100 {
        now = session.poll_timeout().unwrap_or(now).max(now);
        session.handle_timeout(now);
        session.poll_transmit(now, &mut out);
        out.clear();
        while session.poll_event().is_some() {}
    }
}

/// Sound, and pictures of two formats; the choice says how they come.
fn terms(choice: u8) -> Vec<Terms> {
    let feedback =
        Feedback { nack: true, pli: choice & 1 != 0, fir: true, transport_cc: true, ..Feedback::default() };
    let format = |payload_type, codec, rtx| Format { rtx, feedback, ..Format::new(payload_type, codec) };
    let opus = vec![Format { red: Some(63), ..format(111, Codec::Opus, None) }];
    let pictures = vec![format(96, Codec::Vp8, Some(97)), format(98, Codec::H264, Some(99))];
    let section = |mid: &str, kind, formats: Vec<Format>, ssrc| Terms {
        mid: mid.into(),
        kind,
        send: Some(vec![Encoding { rtx_ssrc: Some(ssrc + 1), ..Encoding::new(ssrc) }]),
        receive: true,
        delivery: if choice & 2 != 0 { Delivery::Packets } else { Delivery::Frames },
        formats: formats.clone(),
        expected: formats,
        extensions: vec![
            (1, Name::Mid),
            (2, Name::Rid),
            (3, Name::RepairedRid),
            (4, Name::TransportSequenceNumber),
            (5, Name::AudioLevel),
        ],
        reduced_size: choice & 4 != 0,
        remote_rids: if choice & 8 != 0 { vec!["a".into(), "b".into()] } else { Vec::new() },
        ..Terms::default()
    };
    vec![section("0", Kind::Audio, opus, 10), section("1", Kind::Video, pictures, 20)]
}
