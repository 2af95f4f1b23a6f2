use sansio::Outbox;

use crate::Endpoint;
use crate::record::APPLICATION_DATA;

/// Seals each packet that is written through it and writes it into the outbox below. From [`Endpoint::lane`].
///
/// The packet is filled in and sealed in the final buffer.
pub struct Lane<'a> {
    endpoint: &'a mut Endpoint,
    out: &'a mut dyn Outbox<()>,
}

impl<'a> Lane<'a> {
    pub(crate) fn new(endpoint: &'a mut Endpoint, out: &'a mut dyn Outbox<()>) -> Self {
        Self { endpoint, out }
    }
}

/// How a sealed packet goes into the outbox below.
type Send = fn(&mut dyn Outbox<()>, usize, &mut dyn FnMut(&mut [u8]) -> usize) -> bool;

impl Lane<'_> {
    fn write(&mut self, how: Send, max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        if !self.endpoint.flush(self.out) {
            return false;
        }
        let Some(sealer) = self.endpoint.sealer() else { return false };
        let (front, size) = (sealer.front(), max + sealer.overhead());
        let mut seal = |buffer: &mut [u8]| {
            let plain = fill(&mut buffer[front..front + max]);
            if plain == 0 { 0 } else { sealer.seal(APPLICATION_DATA, buffer, plain) }
        };
        how(self.out, size, &mut seal)
    }
}

impl Outbox<()> for Lane<'_> {
    fn room(&self) -> usize {
        if self.endpoint.is_connected() {
            self.out.room().saturating_sub(self.endpoint.overhead())
        } else {
            0
        }
    }

    fn send(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.write(|out, size, seal| out.send((), size, seal), max, fill)
    }

    fn send_whole(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.write(|out, size, seal| out.send_whole((), size, seal), max, fill)
    }

    fn send_capable(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.write(|out, size, seal| out.send_capable((), size, seal), max, fill)
    }
}

impl std::fmt::Debug for Lane<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
