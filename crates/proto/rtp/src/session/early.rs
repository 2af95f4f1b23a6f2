/// Packets that came before there were keys: a few are kept, so that what follows the handshake's last flight too
/// closely is not lost.
#[derive(Debug, Default)]
pub(super) struct Early {
    packets: Vec<(Kind, Vec<u8>)>,
    bytes: usize,
}

/// What a packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Rtp,
    Rtcp,
}

/// How many are kept, and how many bytes of them.
const MAX_PACKETS: usize = 64;
const MAX_BYTES: usize = 64 * 1024;

impl Early {
    /// Keeps a packet; `false` if there are too many.
    pub(super) fn keep(&mut self, kind: Kind, packet: &[u8]) -> bool {
        if self.packets.len() >= MAX_PACKETS || self.bytes + packet.len() > MAX_BYTES {
            return false;
        }
        self.bytes += packet.len();
        self.packets.push((kind, packet.to_vec()));
        true
    }

    /// Takes them all.
    pub(super) fn take(&mut self) -> Vec<(Kind, Vec<u8>)> {
        self.bytes = 0;
        std::mem::take(&mut self.packets)
    }
}
