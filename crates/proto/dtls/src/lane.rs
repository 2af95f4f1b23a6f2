use dimpl::Output;
use sansio::Outbox;

use crate::{Endpoint, Version, record};

/// Seals each packet that is written through it and writes it into the outbox below. From [`Endpoint::lane`].
///
/// The packet is filled in and sealed in the final buffer; in between the engine copies it into its own memory and
/// back, which is all the in-place that it offers.
pub struct Lane<'a> {
    endpoint: &'a mut Endpoint,
    out: &'a mut dyn Outbox<()>,
}

impl<'a> Lane<'a> {
    pub(crate) fn new(endpoint: &'a mut Endpoint, out: &'a mut dyn Outbox<()>) -> Self {
        Self { endpoint, out }
    }
}

impl Outbox<()> for Lane<'_> {
    fn room(&self) -> usize {
        match self.endpoint.version() {
            Some(_) => self.out.room().saturating_sub(self.endpoint.overhead()),
            None => 0,
        }
    }

    fn send(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        let Some(version) = self.endpoint.version() else { return false };
        if !self.endpoint.flush(self.out) {
            return false;
        }
        let endpoint = &mut *self.endpoint;
        self.out.send((), max + endpoint.overhead(), &mut |buffer| {
            let plain = fill(&mut buffer[..max]);
            if plain == 0 { 0 } else { seal(endpoint, version, buffer, plain) }
        })
    }
}

/// Seals the first `plain` bytes of `buffer` in it, and returns how long they have become.
fn seal(endpoint: &mut Endpoint, version: Version, buffer: &mut [u8], plain: usize) -> usize {
    if let Err(error) = endpoint.engine.send_application_data(&buffer[..plain]) {
        endpoint.broken(error);
        return 0;
    }
    // All that the engine had to say before was taken out of it, so this is the record.
    match endpoint.engine.poll_output(buffer) {
        Output::Packet(record) => {
            let length = record.len();
            if version == Version::Dtls12 {
                record::write_nonces(&mut buffer[..length]);
            }
            length
        }
        _ => 0,
    }
}

impl std::fmt::Debug for Lane<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
