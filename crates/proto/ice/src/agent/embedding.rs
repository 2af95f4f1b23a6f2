use super::Agent;
use crate::parcels::MAX_PARCEL;

/// DTLS inside checks (draft-hancke-webrtc-sped-00): the handshake does not wait for a path, which saves a round trip, and
/// what is lost comes with the next check.
///
/// What checks and answers bring is handed out by [`Agent::poll_embedded`], wherever it came from: the other side has signed
/// it.
impl Agent {
    /// The largest packet that a check takes along.
    pub const MAX_EMBEDDED: usize = MAX_PARCEL;

    /// We offer it: checks of the other side that come before its answer find somebody who knows it.
    pub fn offer_embedding(&mut self) {
        self.parcels.offer();
    }

    /// The other side does not want it.
    pub fn stop_embedding(&mut self) {
        self.parcels.end();
    }

    /// Both sides have agreed to it (`a=ice-options:sped`) and a handshake begins: from now on checks take along what
    /// [`Agent::embed`] is given, until it is complete at both ends or the other side shows that it knows nothing of it.
    /// `remote_ufrag` is the other side's, and tells what came before its answer from what others sent.
    pub fn start_embedding(&mut self, remote_ufrag: &str) {
        self.parcels.open(remote_ufrag);
    }

    /// Whether checks take packets along.
    pub fn is_embedding(&self) -> bool {
        self.parcels.is_open()
    }

    /// Lets checks take a packet of the handshake along, of at most [`Agent::MAX_EMBEDDED`] bytes, until the other side has
    /// it. `sent`: it was sent by [`Agent::lane`] as well.
    pub fn embed(&mut self, packet: &[u8], sent: bool) {
        self.parcels.put(packet, sent);
    }

    /// The next packet of the handshake that a check or an answer has brought. To be asked for after each [`Agent::open`]
    /// and [`Agent::start_embedding`].
    pub fn poll_embedded(&mut self) -> Option<Vec<u8>> {
        self.parcels.poll()
    }

    /// The handshake is complete on this side. `answered`: the other side has shown that it lacks nothing, so that nothing has
    /// to be repeated: a client of DTLS 1.2 and a server of 1.3 know that.
    pub fn finish_embedding(&mut self, answered: bool) {
        self.parcels.close(answered);
    }
}
