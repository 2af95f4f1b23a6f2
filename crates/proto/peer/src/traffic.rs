use sansio::Outbox;

/// What went over the path, without ICE's own packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) packets_sent: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) packets_received: u64,
    pub(crate) bytes_received: u64,
    /// The largest packet, each way.
    largest_sent: usize,
    pub(crate) largest_received: usize,
}

impl Traffic {
    fn count_sent(&mut self, bytes: usize) -> usize {
        if bytes > 0 {
            self.packets_sent += 1;
            self.bytes_sent += bytes as u64;
            self.largest_sent = self.largest_sent.max(bytes);
        }
        bytes
    }

    /// As a doctor wants it.
    pub(crate) fn for_doctor(&self) -> doctor::Traffic {
        doctor::Traffic {
            packets_sent: self.packets_sent,
            packets_received: self.packets_received,
            largest_sent: self.largest_sent,
            largest_received: self.largest_received,
        }
    }
}

/// Counts what is written through it.
pub(crate) struct Counted<'a> {
    pub(crate) lane: &'a mut dyn Outbox<()>,
    pub(crate) traffic: &'a mut Traffic,
}

impl Outbox<()> for Counted<'_> {
    fn room(&self) -> usize {
        self.lane.room()
    }

    fn send(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        let traffic = &mut *self.traffic;
        self.lane.send((), max, &mut |buffer| traffic.count_sent(fill(buffer)))
    }

    fn send_whole(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        let traffic = &mut *self.traffic;
        self.lane.send_whole((), max, &mut |buffer| traffic.count_sent(fill(buffer)))
    }

    fn send_capable(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        let traffic = &mut *self.traffic;
        self.lane.send_capable((), max, &mut |buffer| traffic.count_sent(fill(buffer)))
    }
}
