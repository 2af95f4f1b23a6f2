use rtp::codecs::Codec;
use rtp::session::Kind;
use sdp::{Format, Rtp};

use super::{Media, describe_sending, extensions, extmap};
use crate::payload_types::PayloadTypes;
use crate::{RtpCodec, Transceiver, TransceiverId};

/// A section that an offer is to have.
pub(crate) struct Planned {
    pub(crate) id: TransceiverId,
    pub(crate) kind: Kind,
    /// Where it stands; `None` for a new one.
    pub(crate) place: Option<usize>,
    /// What it says; `None`: it ends.
    pub(crate) rtp: Option<Rtp>,
}

impl Media {
    /// The sections of the next offer (RFC 9429 §5.2.1).
    pub(crate) fn offer(&mut self) -> Vec<Planned> {
        let Self { transceivers, types, cname, .. } = self;
        let alive = transceivers.iter().filter(|it| it.index.is_some() || !it.stopping);
        alive
            .map(|it| Planned {
                id: it.id,
                kind: it.kind,
                place: it.index,
                rtp: (!it.stopping).then(|| section(it, types, cname)),
            })
            .collect()
    }

    /// Which section of the offer that was just written is whose.
    pub(crate) fn set_planned(&mut self, planned: Vec<(usize, TransceiverId)>) {
        self.planned = planned;
    }
}

fn section(transceiver: &Transceiver, types: &mut PayloadTypes, cname: &str) -> Rtp {
    let mut rtp = Rtp {
        direction: transceiver.direction,
        rtcp_mux: true,
        reduced_size: true,
        mixed_extensions: true,
        cryptex: true,
        receiver_time: true,
        ..Rtp::default()
    };
    for codec in transceiver.codecs() {
        let (number, companion) = types.of(&codec);
        rtp.formats.push(format(number, &codec, codec.sdp_fmtp_line.clone()));
        rtp.formats.extend(companion.map(|it| self::companion(it, number, &codec)));
    }
    for name in extensions(transceiver.kind) {
        rtp.extensions.extend(types.extension(*name).map(|number| extmap(number, *name)));
    }
    describe_sending(&mut rtp, transceiver, cname);
    rtp
}

/// A format with all the feedback that is understood.
pub(super) fn format(number: u8, codec: &RtpCodec, parameters: String) -> Format {
    let feedback = codec.feedback().iter().map(|it| (*it).to_owned()).collect();
    let name = codec.codec.name();
    Format { parameters, feedback, ..Format::new(number, name, codec.clock_rate(), codec.channels()) }
}

/// What goes with it: redundant copies of sound (RFC 2198), retransmissions of pictures (RFC 4588).
pub(super) fn companion(number: u8, of: u8, codec: &RtpCodec) -> Format {
    let (name, parameters) = match codec.codec {
        Codec::Opus => ("red", format!("{of}/{of}")),
        _ => ("rtx", format!("apt={of}")),
    };
    Format { parameters, ..Format::new(number, name, codec.clock_rate(), codec.channels()) }
}
