use sansio::{Rng, Seed};

use crate::init::Init;

/// Which side of the DTLS association below this is. It decides which stream numbers are whose (RFC 8832 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// DTLS client: the channels it opens have even numbers.
    Client,
    /// DTLS server: the channels it opens have odd numbers.
    Server,
}

/// Who decides how much may be on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Congestion {
    /// CUBIC (RFC 9438) with HyStart++ (RFC 9406): what TCP does, and shares links with it as equals.
    #[default]
    Cubic,
    /// After BBR: by the rate at which things arrive. Keeps links full that lose packets at random.
    Bbr,
}

/// How an [`Association`](crate::Association) is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which side of the DTLS association below this is.
    pub role: Role,
    /// Our SCTP port: `a=sctp-port` of our own description. 5000 for everybody.
    pub local_port: u16,
    /// The peer's SCTP port: `a=sctp-port` of its description.
    pub remote_port: u16,
    /// The largest SCTP packet to send, in bytes, the common header included. What is below (DTLS, TURN, UDP) must
    /// fit around it: 1160 leaves room for DTLS 1.2 in 1,200 bytes of UDP payload. From 128 to 65,000.
    pub mtu: usize,
    /// The largest SCTP packet that may be tried out (RFC 8899), if it is more than [`Config::mtu`]: what is below has to be
    /// able to carry it, and to do without being told that it was too large. 0: none is.
    pub largest_mtu: usize,
    /// The largest message that the peer accepts, in bytes: its `a=max-message-size`; 0 is no limit (RFC 8841 §6).
    /// 65,536 when the peer does not say.
    pub remote_max_message_size: u32,
    /// The largest message that we accept, in bytes: our `a=max-message-size`. A larger one ends the association.
    pub local_max_message_size: u32,
    /// Bytes that wait to be sent or acknowledged, per channel, before [`SendError::Full`](crate::SendError::Full).
    pub send_buffer: usize,
    /// How large the send buffer may grow if the path holds more than it (0: it stays).
    pub largest_send_buffer: usize,
    /// Bytes that the peer may send before the application has taken them, over all channels. At least four times
    /// [`Config::local_max_message_size`] is used.
    pub receive_window: u32,
    /// How large the receive window may grow if the path holds more than it and the application keeps up (0: it stays).
    pub largest_receive_window: u32,
    /// Channels that may be open at the same time; the peer's further ones are refused.
    pub max_channels: usize,
    /// Whether messages of several channels may be mixed (RFC 8260), if the peer knows that too.
    pub interleaving: bool,
    /// Whether packets may come without a checksum (RFC 9653), since DTLS has its own. They are sent without one if the peer
    /// allows that.
    pub zero_checksum: bool,
    /// Whether congestion marks are told ([`Machine::handle_mark`](sansio::Machine::handle_mark)) and can be asked for
    /// ([`Outbox::send_capable`](sansio::Outbox::send_capable)): then, if the peer says so as well and once
    /// [`Association::set_capable`](crate::Association::set_capable) has said so of the path, routers may mark data instead of
    /// dropping it (RFC 4960, appendix A).
    pub ecn: bool,
    /// Who decides how much may be on its way.
    pub congestion: Congestion,
    /// What verification tags, cookies and initial sequence numbers are drawn from.
    pub seed: Seed,
}

impl Config {
    /// The usual settings.
    pub fn new(role: Role, seed: Seed) -> Self {
        Self {
            role,
            local_port: 5000,
            remote_port: 5000,
            mtu: 1160,
            largest_mtu: 0,
            remote_max_message_size: 65_536,
            local_max_message_size: 262_144,
            send_buffer: 1 << 20,
            largest_send_buffer: 96 << 20,
            receive_window: 2 << 20,
            largest_receive_window: 96 << 20,
            max_channels: 4096,
            interleaving: true,
            zero_checksum: true,
            ecn: false,
            congestion: Congestion::default(),
            seed,
        }
    }

    /// The INIT chunk that an association with these settings sends, for those who tell it the peer beforehand
    /// (`a=sctp-init`, draft-hancke-tsvwg-snap): see [`Association::agreed`](crate::Association::agreed).
    pub fn init(&self) -> Vec<u8> {
        self.terms(&mut Rng::new(self.seed)).chunk()
    }

    /// Our terms. Draws the tag and the first TSN, before anything else is drawn.
    pub(crate) fn terms(&self, rng: &mut Rng) -> Init {
        Init {
            tag: rng.next_u32().max(1),
            window: self.window(),
            outbound: u16::MAX,
            inbound: u16::MAX,
            tsn: rng.next_u32(),
            partial: true,
            reconfig: true,
            interleaving: self.interleaving,
            unsummed: self.zero_checksum,
            marks: self.ecn,
        }
    }

    /// The receive window at first. A message can only be read when it is whole, so it must hold several.
    pub(crate) fn window(&self) -> u32 {
        self.receive_window.max(self.local_max_message_size.saturating_mul(4))
    }
}
