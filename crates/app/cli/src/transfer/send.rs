//! The sending half of a transfer.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use super::checksum::{Hash, Sum};
use super::manifest::Manifest;
use super::protocol::{Control, FileEntry, LIST_BYTES, Resume, hex};
use super::source::{Job, Piece, read_ahead};
use super::wire::{Frame, Wire, vanished};
use crate::failure::{Failure, Kind};
use crate::output::{Meter, human_bytes};

/// How a transfer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Bytes of all files, those that were there before included.
    pub(crate) bytes: u64,
    /// Bytes that were there before.
    pub(crate) resumed: u64,
    /// The checksum of the whole, and by which hash.
    pub(crate) digest: String,
    pub(crate) hash: Hash,
}

impl Summary {
    /// The last line for a person.
    pub(crate) fn line(&self, verb: &str, seconds: f64) -> String {
        let fresh = self.bytes - self.resumed;
        let rate = human_bytes((fresh as f64 / seconds.max(1e-3)) as u64);
        let before = match self.resumed {
            0 => String::new(),
            resumed => format!(" ({} were there already)", human_bytes(resumed)),
        };
        let bytes = human_bytes(self.bytes);
        format!(
            "{verb} {bytes}{before} in {seconds:.1} s, {rate}/s, verified ({} {})",
            self.hash.name(),
            self.digest
        )
    }
}

/// Offers the manifest and sends what the other side wants of it.
pub(crate) async fn send(
    wire: &impl Wire,
    manifest: &Manifest,
    meter: &mut Meter,
) -> Result<Summary, Failure> {
    let id = hex(&crypto::seed()[..8]);
    let result = Sending { wire, manifest, id: id.clone() }.run(meter).await;
    if let Err(failure) = &result
        && failure.kind != Kind::Peer
    {
        let cancel = Control::Cancel { id, reason: failure.message.clone() };
        let _ = wire.send(Frame::Text(cancel.to_json())).await;
    }
    result
}

/// Tells the other side that somebody has stopped us. Does not wait long: the channel may be full.
pub(crate) async fn cancel(wire: &impl Wire) {
    let message = Control::Cancel { id: String::new(), reason: "it was interrupted".to_owned() };
    let _ = tokio::time::timeout(Duration::from_secs(1), wire.send(Frame::Text(message.to_json()))).await;
}

struct Sending<'a, W> {
    wire: &'a W,
    manifest: &'a Manifest,
    id: String,
}

/// What the receiver has said so far, for the half that sends.
#[derive(Default)]
struct Heard {
    stored: RefCell<BTreeSet<usize>>,
    /// Files that arrived damaged, and have to be sent again.
    corrupt: RefCell<VecDeque<usize>>,
    again: RefCell<BTreeSet<usize>>,
    changed: Notify,
}

impl<W: Wire> Sending<'_, W> {
    async fn run(&self, meter: &mut Meter) -> Result<Summary, Failure> {
        self.offer().await?;
        let (resume, hash) = self.answer().await?;
        let resumed = resume.iter().map(|resume| resume.offset).sum();
        meter.start(self.manifest.bytes(), resumed);
        let sent = AtomicU64::new(resumed);
        let heard = Heard::default();
        let jobs = self.jobs(&resume)?;
        // Both at once: a full channel must not keep us from hearing that the other side has stopped.
        let (digest, ()) =
            tokio::try_join!(self.pump(jobs, hash, &sent, &heard), self.listen(&sent, &heard, meter))?;
        Ok(Summary { bytes: self.manifest.bytes(), resumed, digest: hex(&digest), hash })
    }

    async fn say(&self, message: Control) -> Result<(), Failure> {
        self.wire.send(Frame::Text(message.to_json())).await
    }

    /// Says what there is, in as many messages as the list needs.
    async fn offer(&self) -> Result<(), Failure> {
        let Manifest { name, files, directories, .. } = self.manifest;
        let mut lists = lists(files);
        let first = lists.next().unwrap_or_default();
        let offer = Control::Offer {
            id: self.id.clone(),
            name: name.clone(),
            files: first.to_vec(),
            directories: directories.clone(),
            bytes: self.manifest.bytes(),
            count: (first.len() < files.len()).then_some(files.len()),
            hashes: Hash::offered(),
        };
        self.say(offer).await?;
        for files in lists {
            self.say(Control::More { id: self.id.clone(), files: files.to_vec() }).await?;
        }
        Ok(())
    }

    /// Waits until the offer is accepted: what is there already, and by what the rest is to be checked.
    async fn answer(&self) -> Result<(Vec<Resume>, Hash), Failure> {
        loop {
            match self.hear().await? {
                Control::Accept { id, resume, hash } if id == self.id => {
                    let hash = Hash::chosen(hash.as_deref()).ok_or_else(|| {
                        Failure::new(Kind::Peer, "the other side wants a checksum that was not offered")
                    })?;
                    return Ok((resume, hash));
                }
                Control::Refuse { id, reason } if id == self.id => {
                    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                    return Err(Failure::new(Kind::Peer, format!("the other side refused the files{why}")));
                }
                Control::Cancel { reason, .. } => return Err(cancelled(&reason)),
                _ => {}
            }
        }
    }

    /// The next control message for anybody; what is not one is passed over.
    async fn hear(&self) -> Result<Control, Failure> {
        loop {
            if let Frame::Text(text) = self.wire.recv().await.ok_or_else(vanished)?
                && let Ok(message) = serde_json::from_str(&text)
            {
                return Ok(message);
            }
        }
    }

    fn jobs(&self, resume: &[Resume]) -> Result<Vec<Job>, Failure> {
        let mut offsets = vec![0; self.manifest.files.len()];
        for &Resume { file, offset } in resume {
            let size = self.manifest.files.get(file).map(|entry| entry.size);
            if size.is_none_or(|size| offset > size) {
                return Err(Failure::new(
                    Kind::Peer,
                    "the other side claims to have more of a file than there is",
                ));
            }
            offsets[file] = offset;
        }
        Ok(offsets.into_iter().enumerate().map(|(file, offset)| self.job(file, offset)).collect())
    }

    fn job(&self, file: usize, offset: u64) -> Job {
        let Manifest { files, sources, .. } = self.manifest;
        Job { file, path: sources[file].clone(), entry: files[file].clone(), offset }
    }

    /// Sends all files, once more those that arrived damaged, and at last the checksum of the whole.
    async fn pump(
        &self,
        jobs: Vec<Job>,
        hash: Hash,
        sent: &AtomicU64,
        heard: &Heard,
    ) -> Result<[u8; 32], Failure> {
        let mut digests = vec![[0; 32]; jobs.len()];
        let mut pieces = read_ahead(jobs, hash);
        loop {
            let ended = self.send_file(&mut pieces, hash, &mut digests, sent).await?;
            while let Some(file) = { heard.corrupt.borrow_mut().pop_front() } {
                let mut again = read_ahead(vec![self.job(file, 0)], hash);
                self.send_file(&mut again, hash, &mut digests, sent).await?;
            }
            if ended {
                if heard.stored.borrow().len() == digests.len() {
                    break;
                }
                heard.changed.notified().await;
            }
        }
        let digest = hash.of_whole(&digests);
        self.say(Control::Done { id: self.id.clone(), sum: Sum::new(hash, &digest) }).await?;
        Ok(digest)
    }

    /// Sends up to the end of one file; `true` if there are no more.
    async fn send_file(
        &self,
        pieces: &mut mpsc::Receiver<Piece>,
        hash: Hash,
        digests: &mut [[u8; 32]],
        sent: &AtomicU64,
    ) -> Result<bool, Failure> {
        while let Some(piece) = pieces.recv().await {
            match piece {
                Piece::Begin { file, offset } => {
                    self.say(Control::File { id: self.id.clone(), file, offset }).await?;
                }
                Piece::Data(bytes) => {
                    let length = bytes.len() as u64;
                    self.wire.send(Frame::Binary(bytes)).await?;
                    sent.fetch_add(length, Ordering::Relaxed);
                }
                Piece::End { file, digest } => {
                    digests[file] = digest;
                    let sum = Sum::new(hash, &digest);
                    self.say(Control::End { id: self.id.clone(), file, sum }).await?;
                    return Ok(false);
                }
                Piece::Failed(failure) => return Err(failure),
            }
        }
        Ok(true)
    }

    /// Hears what the receiver says until it says that it has everything.
    async fn listen(&self, sent: &AtomicU64, heard: &Heard, meter: &mut Meter) -> Result<(), Failure> {
        let mut tick = tokio::time::interval(Meter::EVERY);
        loop {
            let message = tokio::select! {
                message = self.hear() => message?,
                _ = tick.tick() => {
                    meter.set(sent.load(Ordering::Relaxed));
                    continue;
                }
            };
            match message {
                Control::Done { id, .. } if id == self.id => {
                    meter.set(self.manifest.bytes());
                    return Ok(());
                }
                Control::Stored { id, file } if id == self.id && file < self.manifest.files.len() => {
                    heard.stored.borrow_mut().insert(file);
                    heard.changed.notify_one();
                }
                Control::Corrupt { id, file } if id == self.id && file < self.manifest.files.len() => {
                    let entry = &self.manifest.files[file];
                    if !heard.again.borrow_mut().insert(file) {
                        let message = format!("{} arrived damaged twice (its checksum differs)", entry.path);
                        return Err(Failure::new(Kind::Checksum, message));
                    }
                    // It starts from nothing, whatever was there before.
                    let _ = sent.try_update(Ordering::Relaxed, Ordering::Relaxed, |sent| {
                        sent.checked_sub(entry.size)
                    });
                    heard.corrupt.borrow_mut().push_back(file);
                    heard.changed.notify_one();
                }
                Control::Cancel { reason, .. } => return Err(cancelled(&reason)),
                _ => {}
            }
        }
    }
}

/// The list in pieces that fit into one message each.
fn lists(files: &[FileEntry]) -> impl Iterator<Item = &[FileEntry]> {
    let mut rest = files;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |entry: &FileEntry| {
            // What surrounds a path, with the longest numbers.
            bytes += 2 * entry.path.len() + 80;
            bytes <= LIST_BYTES
        };
        let count = rest.iter().map(fits).take_while(|fits| *fits).count().max(1).min(rest.len());
        let (list, left) = rest.split_at(count);
        rest = left;
        (!list.is_empty()).then_some(list)
    })
}

pub(super) fn cancelled(reason: &str) -> Failure {
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    Failure::new(Kind::Peer, format!("the other side stopped the transfer{why}"))
}
