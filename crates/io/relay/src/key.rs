use std::hash::{Hash, Hasher};
use std::net::SocketAddr;

use sansio::Path;
use turn::{ChannelNumber, Passage};

/// What a datagram is known by: its two addresses, and the channel or the peer that it names. Packed, for it is hashed
/// and compared for each bundle.
#[derive(Clone, Copy, Eq, Debug)]
pub(crate) struct Key {
    path: [u64; 5],
    /// Of a Send indication; zeros otherwise.
    peer: [u64; 3],
}

const CHANNEL: u64 = 1;
const SEND: u64 = 2;

impl Key {
    /// `None`: one of the addresses is more than an address and a port can tell (it is good on one interface only).
    pub(crate) fn new(passage: &Passage) -> Option<Self> {
        match passage {
            Passage::Channel { client, number } => Some(Self::of(client)?.with_channel(*number)),
            Passage::Send { client, peer } => Self::of(client)?.with_peer(peer),
            Passage::Peer { local, peer } => Self::of(&Path::udp(*local, *peer)),
        }
    }

    /// Of all that comes, or leaves, by `path`, whatever else it says.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let ([a, b], [c, d]) = (words(&path.local)?, words(&path.remote)?);
        let ports = u64::from(path.local.port()) << 48 | u64::from(path.remote.port()) << 32;
        Some(Self { path: [a, b, c, d, ports], peer: [0; 3] })
    }

    /// Of what comes that way by a channel.
    pub(crate) fn with_channel(mut self, number: ChannelNumber) -> Self {
        self.path[4] |= CHANNEL | u64::from(number.number()) << 8;
        self
    }

    /// Of what comes that way in a Send indication.
    pub(crate) fn with_peer(mut self, peer: &SocketAddr) -> Option<Self> {
        let [high, low] = words(peer)?;
        self.path[4] |= SEND;
        self.peer = [high, low, peer.port().into()];
        Some(self)
    }
}

impl PartialEq for Key {
    /// Word by word, and all of them: to compare the arrays takes a call each.
    fn eq(&self, other: &Self) -> bool {
        let words = |key: &Self| key.path.into_iter().chain(key.peer);
        words(self).zip(words(other)).fold(0, |difference, (one, other)| difference | (one ^ other)) == 0
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.path.iter().for_each(|word| state.write_u64(*word));
        if self.path[4] & 0xff == SEND {
            self.peer.iter().for_each(|word| state.write_u64(*word));
        }
    }
}

fn words(address: &SocketAddr) -> Option<[u64; 2]> {
    match address {
        SocketAddr::V4(v4) => Some([1 << 32, u32::from(*v4.ip()).into()]),
        SocketAddr::V6(v6) if v6.scope_id() == 0 => {
            let bits = v6.ip().to_bits();
            Some([(bits >> 64) as u64, bits as u64])
        }
        SocketAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_differs_in_anything_has_another_key() {
        let client = Path::udp(at("192.0.2.1:3478"), at("198.51.100.7:4000"));
        let six = Path::udp(at("[2001:db8::1]:3478"), at("[2001:db8::2]:4000"));
        let channel = |client, offset: u16| Passage::Channel {
            client,
            number: ChannelNumber::new(0x4000 + offset).unwrap(),
        };
        let passages = [
            channel(client, 0),
            channel(client, 1),
            channel(six, 0),
            channel(Path::udp(client.local, at("198.51.100.7:4001")), 0),
            channel(Path::udp(at("192.0.2.2:3478"), client.remote), 0),
            Passage::Send { client, peer: at("203.0.113.9:9") },
            Passage::Send { client, peer: at("203.0.113.9:10") },
            Passage::Send { client, peer: at("[2001:db8::9]:9") },
            Passage::Peer { local: client.local, peer: client.remote },
            Passage::Peer { local: client.remote, peer: client.local },
        ];
        for (index, one) in passages.iter().enumerate() {
            for (other_index, other) in passages.iter().enumerate() {
                assert_eq!(Key::new(one) == Key::new(other), index == other_index, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn an_address_of_one_interface_has_none() {
        let local = at("[fe80::1%3]:3478");
        assert_eq!(Key::new(&Passage::Peer { local, peer: at("[fe80::2%3]:9") }), None);
        assert!(Key::new(&Passage::Peer { local: at("[::1]:1"), peer: at("[::1]:9") }).is_some());
    }
}
