use sansio::Seed;

/// Which side of the DTLS association below this is. It decides which stream numbers are whose (RFC 8832 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// DTLS client: the channels it opens have even numbers.
    Client,
    /// DTLS server: the channels it opens have odd numbers.
    Server,
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
    /// The largest message that the peer accepts, in bytes: its `a=max-message-size`; 0 is no limit (RFC 8841 §6).
    /// 65,536 when the peer does not say.
    pub remote_max_message_size: u32,
    /// The largest message that we accept, in bytes: our `a=max-message-size`. A larger one ends the association.
    pub local_max_message_size: u32,
    /// Bytes that wait to be sent or acknowledged, per channel, before [`SendError::Full`](crate::SendError::Full).
    pub send_buffer: usize,
    /// Bytes that the peer may send before the application has taken them, over all channels. At least four times
    /// [`Config::local_max_message_size`] is used.
    pub receive_window: u32,
    /// Channels that may be open at the same time; the peer's further ones are refused.
    pub max_channels: usize,
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
            remote_max_message_size: 65_536,
            local_max_message_size: 262_144,
            send_buffer: 1 << 20,
            receive_window: 2 << 20,
            max_channels: 4096,
            seed,
        }
    }
}
