use std::fmt;
use std::sync::Arc;

use peer::{Connection, Direction, MediaKind, RtpCodec, TransceiverError, TransceiverId};
use sansio::Time;

use crate::peer_connection::Handle;
use crate::{Error, LocalTrack, RemoteTrack};

/// A way for media of one kind, there and back (`RTCRtpTransceiver`): one section of the descriptions.
///
/// It is a handle, as are its two halves: [`Transceiver::sender`] sends, [`Transceiver::receiver`] receives. Like all handles
/// they keep the connection open; dropping them stops nothing, [`Transceiver::stop`] does.
#[doc(alias = "RTCRtpTransceiver")]
#[derive(Clone)]
pub struct Transceiver {
    stake: Arc<Stake>,
}

impl Transceiver {
    pub(crate) fn new(handle: Arc<Handle>, id: TransceiverId, kind: MediaKind) -> Self {
        Self { stake: Stake::new(handle, id, kind) }
    }

    pub(crate) fn of(stake: Arc<Stake>) -> Self {
        Self { stake }
    }

    /// Sound or pictures.
    pub fn kind(&self) -> MediaKind {
        self.stake.kind
    }

    /// The name of its section, once a description that was applied has it.
    pub fn mid(&self) -> Option<String> {
        self.stake.look(|it| it.mid().map(String::from)).flatten()
    }

    /// Which way media is to flow after the next exchange.
    pub fn direction(&self) -> Direction {
        self.stake.look(peer::Transceiver::direction).unwrap_or(Direction::Inactive)
    }

    /// Which way it flows, as of the last exchange; `None` before there was one, and once it is stopped (`currentDirection`).
    #[doc(alias = "currentDirection")]
    pub fn current_direction(&self) -> Option<Direction> {
        self.stake.look(peer::Transceiver::current_direction).flatten()
    }

    /// Wishes for a direction; it is so after the next exchange, as far as the other side agrees.
    /// [`PeerEvent::NegotiationNeeded`](crate::PeerEvent::NegotiationNeeded) follows if one is due.
    ///
    /// # Errors
    /// If it is stopped, or the connection closed.
    pub fn set_direction(&self, direction: Direction) -> Result<(), Error> {
        self.stake.wish(|connection, now, id| connection.set_direction(now, id, direction))
    }

    /// Says which formats are offered and taken, the preferred first (`setCodecPreferences`); none: all that are known, as
    /// [`RtpCodec::capabilities`] lists them. It counts from the next exchange on.
    ///
    /// # Errors
    /// If one is of the other kind, it is stopped, or the connection closed.
    #[doc(alias = "setCodecPreferences")]
    pub fn set_codec_preferences(&self, codecs: Vec<RtpCodec>) -> Result<(), Error> {
        self.stake.wish(|connection, now, id| connection.set_codec_preferences(now, id, codecs))
    }

    /// Ends it: nothing is sent or received by it any more, and the next exchange ends its section.
    ///
    /// # Errors
    /// If it is stopped already, or the connection closed.
    pub fn stop(&self) -> Result<(), Error> {
        self.stake.wish(|connection, now, id| connection.stop_transceiver(now, id))?;
        let mut wakers = Vec::new();
        self.stake.handle.state().wake_track(self.stake.id, &mut wakers);
        wakers.into_iter().for_each(std::task::Waker::wake);
        Ok(())
    }

    /// Whether it has ended, by either side, or the connection has.
    pub fn is_stopped(&self) -> bool {
        self.stake.look(peer::Transceiver::is_stopped).unwrap_or(true)
    }

    /// The half that sends (`sender`, and its track).
    pub fn sender(&self) -> LocalTrack {
        LocalTrack::of(self.stake.clone())
    }

    /// The half that receives (`receiver`, and its track).
    pub fn receiver(&self) -> RemoteTrack {
        RemoteTrack::of(self.stake.clone())
    }
}

impl fmt::Debug for Transceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transceiver").field("kind", &self.kind()).field("mid", &self.mid()).finish()
    }
}

/// What the handles of one transceiver share. As long as there is one, what comes is kept for it.
pub(crate) struct Stake {
    pub(crate) handle: Arc<Handle>,
    pub(crate) id: TransceiverId,
    pub(crate) kind: MediaKind,
}

impl Stake {
    pub(crate) fn new(handle: Arc<Handle>, id: TransceiverId, kind: MediaKind) -> Arc<Self> {
        handle.state().enter(id);
        Arc::new(Self { handle, id, kind })
    }

    /// Looks at the transceiver, as long as there is one.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&peer::Transceiver) -> T) -> Option<T> {
        self.handle.state().connection.transceiver(self.id).map(look)
    }

    /// Wishes something of it.
    pub(crate) fn wish(
        &self,
        wish: impl FnOnce(&mut Connection, Time, TransceiverId) -> Result<(), TransceiverError>,
    ) -> Result<(), Error> {
        Ok(self.handle.act(|state, now| wish(&mut state.connection, now, self.id))?)
    }
}

impl Drop for Stake {
    fn drop(&mut self) {
        self.handle.state().leave(self.id);
    }
}
