use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use peer::{Delivery, MediaKind, ReceivedPacket, RequestError};

use crate::transceiver::Stake;
use crate::{Error, RemoteFrame, Transceiver};

/// Media that comes: the receiving half of a [`Transceiver`] (`RTCRtpReceiver`, with its track).
///
/// What is read is encoded still, in its order, and each frame as soon as it is whole and all before it were read: when to
/// show it its time says. What was lost on the way has been asked for again.
///
/// **The queue is bounded** ([`MediaConfiguration::receive_frames`](crate::MediaConfiguration::receive_frames)). Of frames that
/// nobody reads in time the oldest go, and are counted ([`RemoteTrack::dropped`]). Of pictures all go that need those: up to the
/// next key frame, and if none has come, one is asked for as soon as somebody reads again. What is read can be decoded.
///
/// Clones read from one queue: each frame goes to one of them.
#[doc(alias = "RTCRtpReceiver")]
#[derive(Clone)]
pub struct RemoteTrack {
    stake: Arc<Stake>,
}

impl RemoteTrack {
    pub(crate) fn of(stake: Arc<Stake>) -> Self {
        Self { stake }
    }

    /// Sound or pictures.
    pub fn kind(&self) -> MediaKind {
        self.stake.kind
    }

    /// Its name, by the other side's description; one of our making before there is one.
    pub fn id(&self) -> String {
        self.stake.look(|it| it.remote_track().to_owned()).unwrap_or_default()
    }

    /// The streams that the other side puts it in: what belongs together and is played together.
    pub fn streams(&self) -> Vec<String> {
        self.stake.look(|it| it.remote_streams().to_vec()).unwrap_or_default()
    }

    /// The transceiver that it is the half of.
    pub fn transceiver(&self) -> Transceiver {
        Transceiver::of(self.stake.clone())
    }

    /// Whether nothing comes: not yet, or the other side has said so (`muted`).
    pub fn is_muted(&self) -> bool {
        self.stake.look(peer::Transceiver::is_muted).unwrap_or(true)
    }

    /// The next frame; `None` once the track has ended and all were read: its transceiver is stopped, or the connection has
    /// ended. A track that is muted may go on.
    pub async fn recv(&self) -> Option<RemoteFrame> {
        poll_fn(|cx| {
            let (polled, asked) = self.stake.handle.state().poll_frame(cx, self.stake.id);
            if asked {
                self.stake.handle.wake();
            }
            polled
        })
        .await
    }

    /// The next packet, for who forwards packets: at once and as it came. What is missing is asked for all the same.
    ///
    /// From the first call on media comes in packets ([`RemoteTrack::set_delivery`]); frames that wait are forgotten.
    pub async fn recv_packet(&self) -> Option<ReceivedPacket> {
        poll_fn(|cx| {
            let now = self.stake.handle.now();
            let (polled, asked) = self.stake.handle.state().poll_packet(now, cx, self.stake.id);
            if asked {
                self.stake.handle.wake();
            }
            polled
        })
        .await
    }

    /// Says in what shape media is handed over: frames at first.
    ///
    /// # Errors
    /// If the transceiver is stopped, or the connection closed.
    pub fn set_delivery(&self, delivery: Delivery) -> Result<(), Error> {
        Ok(self.stake.handle.act(|state, now| state.set_delivery(now, self.stake.id, delivery))?)
    }

    /// Asks the other side for a picture that needs no other: of all that comes, or of one of several encodings. Wishes that come
    /// soon after one another are one.
    ///
    /// # Errors
    /// If nothing comes, or such questions were not agreed on.
    pub fn request_key_frame(&self, rid: Option<&str>) -> Result<(), RequestError> {
        self.stake.handle.act(|state, _| state.connection.request_key_frame(self.stake.id, rid))
    }

    /// The names of the encodings that come, if several do (simulcast), as the other side offers them.
    pub fn rids(&self) -> Vec<String> {
        let Some(mid) = self.transceiver().mid() else { return Vec::new() };
        let terms = self.stake.handle.state().connection.terms();
        let of = terms.iter().find(|terms| *terms.mid == *mid);
        of.map(|terms| terms.remote_rids.iter().map(|rid| rid.to_string()).collect()).unwrap_or_default()
    }

    /// Frames, or packets, that nobody read in time.
    pub fn dropped(&self) -> u64 {
        self.stake.handle.state().dropped(self.stake.id)
    }
}

impl fmt::Debug for RemoteTrack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteTrack").field("kind", &self.kind()).field("id", &self.id()).finish()
    }
}
