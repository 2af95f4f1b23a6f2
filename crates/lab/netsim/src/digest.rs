use std::hash::Hasher;

pub(crate) const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// A hash that is the same on every machine and every day, eight bytes a round. Not secure, and need not be.
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(FNV_OFFSET)
    }
}

impl Fnv {
    /// A hash that goes on where another has stopped.
    pub(crate) fn from(state: u64) -> Self {
        Self(state)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(FNV_PRIME).rotate_left(29);
    }
    fn write_u8(&mut self, n: u8) {
        self.write_u64(n.into());
    }
    fn write_u16(&mut self, n: u16) {
        self.write_u64(n.into());
    }
    fn write_u32(&mut self, n: u32) {
        self.write_u64(n.into());
    }
    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }
    fn write_isize(&mut self, n: isize) {
        self.write_u64(n as u64);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

/// The hash that a [`Record`] tells of a payload. Four lanes, since each waits long for its multiplication.
pub(crate) fn hash(payload: &[u8]) -> u64 {
    let mut lanes = [0, 1, 2, 3].map(|lane| Fnv(FNV_OFFSET ^ (payload.len() as u64 + lane)));
    for chunk in payload.chunks(32) {
        let mut block = [0; 32];
        block[..chunk.len()].copy_from_slice(chunk);
        for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<8>().0) {
            lane.write_u64(u64::from_le_bytes(*word));
        }
    }
    let mut hasher = Fnv(FNV_OFFSET);
    for lane in lanes {
        hasher.write_u64(lane.0);
    }
    hasher.finish()
}
