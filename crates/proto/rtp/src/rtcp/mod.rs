//! RTCP: what senders and receivers of media tell each other about it (RFC 3550 §6, RFC 4585, RFC 5104, RFC 8888).
//!
//! Receivers say what they lost and how irregularly it came ([`ReceiverReport`]), ask for packets again ([`Nack`]) and
//! for a whole picture ([`PictureLoss`], [`FullIntraRequest`]), and say when each packet arrived, from which the
//! sender learns how fast he may send ([`TransportFeedback`], [`CongestionFeedback`], [`ReceiverEstimate`]). Senders
//! say which moment of a common clock their timestamps mean ([`SenderReport`]), so that lips and voices fit together.
//!
//! Several packets travel in one datagram, one after another: a *compound*. It is read by [`Compound`], and written by
//! [`CompoundWriter`]. Compounds of a single packet that is no report (RFC 5506) are read as well as others.
//!
//! ```
//! use sterna_rtp::rtcp::{Compound, CompoundWriter, Nack, Packet, ReceiverReport};
//!
//! let mut buffer = [0; 1200];
//! let mut writer = CompoundWriter::new(&mut buffer);
//! writer.add(&Packet::from(ReceiverReport { ssrc: 1, reports: Vec::new() })).unwrap();
//! writer.add(&Packet::from(Nack { sender: 1, media: 2, lost: vec![17, 19] })).unwrap();
//! let length = writer.finish();
//!
//! let packets: Result<Vec<_>, _> = Compound::parse(&buffer[..length]).unwrap().collect();
//! assert_eq!(packets.unwrap()[1], Nack { sender: 1, media: 2, lost: vec![17, 19] }.into());
//! ```

mod application;
mod compound;
mod congestion;
mod description;
mod estimate;
mod extended;
mod goodbye;
mod nack;
mod picture;
mod report;
mod transport;
mod writer;

pub use application::Application;
pub use compound::Compound;
pub use congestion::{CongestionFeedback, CongestionStream, PacketMetric};
pub use description::{Description, SourceDescription};
pub use estimate::ReceiverEstimate;
pub use extended::{ExtendedBlock, ExtendedReport, ReportDelay};
pub use goodbye::Goodbye;
pub use nack::Nack;
pub use picture::{FullIntraRequest, PictureLoss};
pub use report::{ReceiverReport, ReportBlock, SenderReport};
pub use transport::{Arrival, TransportFeedback};
pub use writer::CompoundWriter;

use crate::error::WriteError;
use writer::Sink;

/// One packet of a compound.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Packet {
    /// What a sender sent, and when his timestamps were (RFC 3550 §6.4.1).
    SenderReport(SenderReport),
    /// What a receiver received (RFC 3550 §6.4.2).
    ReceiverReport(ReceiverReport),
    /// Who the sources are (RFC 3550 §6.5).
    SourceDescription(SourceDescription),
    /// Sources that are no more (RFC 3550 §6.6).
    Goodbye(Goodbye),
    /// What an application made up (RFC 3550 §6.7).
    Application(Application),
    /// Packets are missing and should be sent again (RFC 4585 §6.2.1).
    Nack(Nack),
    /// When each packet of a transport arrived (draft-holmer-rmcat-transport-wide-cc-extensions-01).
    TransportFeedback(TransportFeedback),
    /// When each packet of each source arrived (RFC 8888).
    CongestionFeedback(CongestionFeedback),
    /// The picture is broken, a whole one is needed (RFC 4585 §6.3.1).
    PictureLoss(PictureLoss),
    /// Whole pictures are needed, counted (RFC 5104 §4.3.1).
    FullIntraRequest(FullIntraRequest),
    /// How many bits a second the receiver thinks possible (draft-alvestrand-rmcat-remb-03).
    ReceiverEstimate(ReceiverEstimate),
    /// Further reports (RFC 3611).
    ExtendedReport(ExtendedReport),
    /// A packet that nobody here knows: its type, what its header counts, and what follows.
    Unknown {
        /// The packet type.
        packet_type: u8,
        /// The 5 bits that count something or say a format.
        count: u8,
        /// All that follows the first 4 bytes.
        body: Vec<u8>,
    },
}

/// What a type of packet knows of itself.
trait Body: Sized {
    /// Its packet type.
    const TYPE: u8;

    /// Reads what follows the first 4 bytes; `None` if it is not what it should be.
    fn read(count: u8, body: &[u8]) -> Option<Self>;

    /// Writes what follows the first 4 bytes, and returns the 5 bits that count something or say a format.
    fn write(&self, sink: &mut Sink<'_>) -> Result<u8, WriteError>;
}

/// Packet types (RFC 3550 §12.1, RFC 4585 §6.1, RFC 3611 §2).
mod kind {
    pub(super) const SENDER_REPORT: u8 = 200;
    pub(super) const RECEIVER_REPORT: u8 = 201;
    pub(super) const SOURCE_DESCRIPTION: u8 = 202;
    pub(super) const GOODBYE: u8 = 203;
    pub(super) const APPLICATION: u8 = 204;
    pub(super) const TRANSPORT_FEEDBACK: u8 = 205;
    pub(super) const PAYLOAD_FEEDBACK: u8 = 206;
    pub(super) const EXTENDED_REPORT: u8 = 207;
}

/// Formats of feedback (RFC 4585 §6.2, §6.3, RFC 5104 §4, RFC 8888 §3.1).
mod format {
    pub(super) const NACK: u8 = 1;
    pub(super) const CONGESTION: u8 = 11;
    pub(super) const TRANSPORT: u8 = 15;
    pub(super) const PICTURE_LOSS: u8 = 1;
    pub(super) const FULL_INTRA: u8 = 4;
    pub(super) const APPLICATION_LAYER: u8 = 15;
}

impl Packet {
    /// Reads one packet; `None` if its body is not what its header says.
    fn read(packet_type: u8, count: u8, body: &[u8]) -> Option<Self> {
        fn read<B: Body + Into<Packet>>(count: u8, body: &[u8]) -> Option<Packet> {
            B::read(count, body).map(Into::into)
        }
        match (packet_type, count) {
            (kind::SENDER_REPORT, _) => read::<SenderReport>(count, body),
            (kind::RECEIVER_REPORT, _) => read::<ReceiverReport>(count, body),
            (kind::SOURCE_DESCRIPTION, _) => read::<SourceDescription>(count, body),
            (kind::GOODBYE, _) => read::<Goodbye>(count, body),
            (kind::APPLICATION, _) => read::<Application>(count, body),
            (kind::EXTENDED_REPORT, _) => read::<ExtendedReport>(count, body),
            (kind::TRANSPORT_FEEDBACK, format::NACK) => read::<Nack>(count, body),
            (kind::TRANSPORT_FEEDBACK, format::TRANSPORT) => read::<TransportFeedback>(count, body),
            (kind::TRANSPORT_FEEDBACK, format::CONGESTION) => read::<CongestionFeedback>(count, body),
            (kind::PAYLOAD_FEEDBACK, format::PICTURE_LOSS) => read::<PictureLoss>(count, body),
            (kind::PAYLOAD_FEEDBACK, format::FULL_INTRA) => read::<FullIntraRequest>(count, body),
            (kind::PAYLOAD_FEEDBACK, format::APPLICATION_LAYER) if estimate::is_estimate(body) => {
                read::<ReceiverEstimate>(count, body)
            }
            _ => Some(Self::Unknown { packet_type, count, body: body.to_vec() }),
        }
    }

    /// Writes it, and returns its type and what its header counts.
    fn write(&self, sink: &mut Sink<'_>) -> Result<(u8, u8), WriteError> {
        fn write<B: Body>(body: &B, sink: &mut Sink<'_>) -> Result<(u8, u8), WriteError> {
            Ok((B::TYPE, body.write(sink)?))
        }
        match self {
            Self::SenderReport(packet) => write(packet, sink),
            Self::ReceiverReport(packet) => write(packet, sink),
            Self::SourceDescription(packet) => write(packet, sink),
            Self::Goodbye(packet) => write(packet, sink),
            Self::Application(packet) => write(packet, sink),
            Self::Nack(packet) => write(packet, sink),
            Self::TransportFeedback(packet) => write(packet, sink),
            Self::CongestionFeedback(packet) => write(packet, sink),
            Self::PictureLoss(packet) => write(packet, sink),
            Self::FullIntraRequest(packet) => write(packet, sink),
            Self::ReceiverEstimate(packet) => write(packet, sink),
            Self::ExtendedReport(packet) => write(packet, sink),
            Self::Unknown { packet_type, count, body } => {
                sink.bytes(body)?;
                Ok((*packet_type, count & 0x1f))
            }
        }
    }
}

macro_rules! from {
    ($($name:ident),*) => {$(
        impl From<$name> for Packet {
            fn from(packet: $name) -> Self {
                Self::$name(packet)
            }
        }
    )*};
}
from!(
    SenderReport,
    ReceiverReport,
    SourceDescription,
    Goodbye,
    Application,
    Nack,
    TransportFeedback,
    CongestionFeedback,
    PictureLoss,
    FullIntraRequest,
    ReceiverEstimate,
    ExtendedReport
);
