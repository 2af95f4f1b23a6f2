use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sterna::{
    Configuration, IceCandidateInit, LocalFrame, LocalTrack, LocalTrackEvent, MediaConfiguration, MediaKind,
    PeerConnection, PeerEvent, RemoteTrack, WriteError,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A connection of ours that sends back what comes.
pub(crate) struct Echo {
    pub(crate) connection: PeerConnection,
    pub(crate) candidates: mpsc::UnboundedReceiver<Option<IceCandidateInit>>,
    ledger: Arc<Mutex<Ledger>>,
    task: JoinHandle<()>,
}

/// What the tasks that send back know.
#[derive(Debug, Default)]
struct Ledger {
    /// Frames that came: sound, pictures.
    frames: [u64; 2],
    /// Pictures by the names of their encodings.
    layers: BTreeMap<String, u64>,
    /// Which layer goes back, if there are several.
    chosen: Option<String>,
    dropped: u64,
}

impl Echo {
    pub(crate) fn new(configuration: Configuration) -> Self {
        let media = MediaConfiguration { start_bitrate: 1_500_000, ..MediaConfiguration::default() };
        let configuration = Configuration { media: Some(media), ..configuration };
        let connection = PeerConnection::new(configuration).unwrap();
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let (out, candidates) = mpsc::unbounded_channel();
        let task = tokio::spawn(attend(connection.clone(), Arc::clone(&ledger), out));
        Self { connection, candidates, ledger, task }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// Frames of one kind that have come.
    pub(crate) fn frames(&self, kind: MediaKind) -> u64 {
        self.ledger().frames[usize::from(kind == MediaKind::Video)]
    }

    /// Frames that were not read in time.
    pub(crate) fn dropped(&self) -> u64 {
        self.ledger().dropped
    }

    /// Waits until so many more frames have come.
    pub(crate) async fn has_come(&self, kind: MediaKind, more: u64) {
        let before = self.frames(kind);
        until(|| self.frames(kind) >= before + more).await;
    }

    /// Waits until all of these encodings come.
    pub(crate) async fn layers(&self, rids: &[&str]) {
        until(|| {
            let ledger = self.ledger();
            rids.iter().all(|rid| ledger.layers.get(*rid).is_some_and(|frames| *frames > 10))
        })
        .await;
        let video = self.connection.transceivers().into_iter().find(|it| it.kind() == MediaKind::Video);
        assert_eq!(video.expect("there are pictures").receiver().rids(), rids);
    }

    /// From now on this encoding goes back.
    pub(crate) fn sends_back(&self, rid: &str) {
        self.ledger().chosen = Some(rid.to_owned());
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn until(done: impl Fn() -> bool) {
    while !done() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Hands candidates on, and sends back what comes by each track.
async fn attend(
    connection: PeerConnection,
    ledger: Arc<Mutex<Ledger>>,
    candidates: mpsc::UnboundedSender<Option<IceCandidateInit>>,
) {
    while let Some(event) = connection.next_event().await {
        match event {
            PeerEvent::IceCandidate(candidate) => {
                let _ = candidates.send(candidate);
            }
            PeerEvent::Track(track) => {
                let back = track.transceiver().sender();
                tokio::spawn(send_back(track, back, Arc::clone(&ledger)));
            }
            PeerEvent::Failed(failure) => panic!("{failure}"),
            _ => {}
        }
    }
}

async fn send_back(from: RemoteTrack, to: LocalTrack, ledger: Arc<Mutex<Ledger>>) {
    let at = usize::from(from.kind() == MediaKind::Video);
    let mut switch = Switch::default();
    loop {
        tokio::select! {
            frame = from.recv() => {
                let Some(frame) = frame else { return };
                let chosen = {
                    let mut ledger = lock(&ledger);
                    ledger.frames[at] += 1;
                    ledger.dropped = from.dropped();
                    if let Some(rid) = &frame.rid {
                        *ledger.layers.entry(rid.to_string()).or_default() += 1;
                    }
                    ledger.chosen.clone()
                };
                if switch.choose(chosen) {
                    let _ = from.request_key_frame(switch.wanted.as_deref());
                }
                let Some(time) = switch.passes(frame.rid.as_deref(), frame.key_frame, frame.time) else { continue };
                let local = LocalFrame { data: &frame.data, time, codec: Some(frame.codec), ..LocalFrame::default() };
                let refused = to.write(&local).err();
                if matches!(refused, Some(WriteError::KeyFrameNeeded | WriteError::Paused | WriteError::Full)) {
                    let _ = from.request_key_frame(frame.rid.as_deref());
                }
            }
            news = to.next_event() => match news {
                Some(LocalTrackEvent::KeyFrameRequested { .. }) => {
                    let _ = from.request_key_frame(switch.current.as_deref());
                }
                Some(_) => {}
                None => return,
            }
        }
    }
}

/// Which of several encodings goes back. It changes at a picture that needs no other, and its time goes on.
#[derive(Default)]
struct Switch {
    current: Option<String>,
    wanted: Option<String>,
    /// What is added to the times of the present one, and the last time that went out.
    offset: Duration,
    last: Duration,
}

impl Switch {
    /// Whether this is a new choice.
    fn choose(&mut self, chosen: Option<String>) -> bool {
        let new = chosen.is_some() && chosen != self.wanted;
        if new {
            self.wanted = chosen;
        }
        new
    }

    /// The time under which a frame goes out, if it does.
    fn passes(&mut self, rid: Option<&str>, key_frame: bool, time: Duration) -> Option<Duration> {
        if rid.is_some() && self.wanted.as_deref() == rid && self.current != self.wanted && key_frame {
            self.current.clone_from(&self.wanted);
            // The next picture's time, whatever the encoding counts from.
            self.offset = (self.last + Duration::from_millis(50)).saturating_sub(time);
        }
        if rid != self.current.as_deref() {
            return None;
        }
        self.last = time + self.offset;
        Some(self.last)
    }
}
