use sansio::{Outbox, Path};

/// Where application bytes leave: an outbox for whole packets, whose path the agent knows.
///
/// From [`Agent::lane`](crate::Agent::lane).
pub struct Lane<'a> {
    path: Path,
    out: &'a mut dyn Outbox,
}

impl Outbox<()> for Lane<'_> {
    fn room(&self) -> usize {
        self.out.room()
    }

    fn send(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.out.send(self.path, max, fill)
    }
}
