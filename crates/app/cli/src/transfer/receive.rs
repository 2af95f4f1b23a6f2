//! The receiving half of a transfer.

use std::collections::BTreeSet;
use std::path::Path;

use tokio::sync::mpsc;

use super::checksum::{Hash, Sum};
use super::protocol::{Control, FileEntry, MAX_FILES, hex};
use super::send::{Summary, cancelled};
use super::store::{Existing, Order, Outcome, Plan};
use super::wire::{Frame, Wire, vanished};
use crate::failure::{Failure, Kind};
use crate::output::Meter;

/// What the other side offers.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    id: String,
    pub(crate) name: String,
    pub(crate) files: Vec<FileEntry>,
    directories: Vec<String>,
    pub(crate) bytes: u64,
    /// By what files are checked.
    hash: Hash,
}

/// Waits for an offer.
pub(crate) async fn offered(wire: &impl Wire) -> Result<Offer, Failure> {
    loop {
        match hear(wire).await? {
            Heard::Control(Control::Offer { id, name, mut files, directories, count, hashes, .. }) => {
                more(wire, &id, &mut files, count).await?;
                // The sum is ours: what the offer claims is for display in simpler clients.
                let bytes = files.iter().try_fold(0u64, |sum, file| sum.checked_add(file.size));
                let bytes =
                    bytes.ok_or_else(|| Failure::new(Kind::Peer, "the offer was refused: absurd sizes"))?;
                let hash = Hash::choose(&hashes);
                return Ok(Offer { id, name, files, directories, bytes, hash });
            }
            Heard::Control(Control::Cancel { reason, .. }) => return Err(cancelled(&reason)),
            _ => {}
        }
    }
}

/// The rest of a list that was too long for one message.
async fn more(
    wire: &impl Wire,
    id: &str,
    files: &mut Vec<FileEntry>,
    count: Option<usize>,
) -> Result<(), Failure> {
    let count = count.unwrap_or(files.len());
    if count > MAX_FILES {
        return Err(Failure::new(
            Kind::Peer,
            format!("the offer was refused: it has more than {MAX_FILES} files"),
        ));
    }
    while files.len() < count {
        match hear(wire).await? {
            Heard::Control(Control::More { id: same, files: more }) if same == id => files.extend(more),
            Heard::Control(Control::Cancel { reason, .. }) => return Err(cancelled(&reason)),
            _ => {}
        }
    }
    Ok(())
}

/// Says no to an offer.
pub(crate) async fn refuse(wire: &impl Wire, offer: &Offer, reason: &str) {
    let message = Control::Refuse { id: offer.id.clone(), reason: reason.to_owned() };
    let _ = wire.send(Frame::Text(message.to_json())).await;
}

/// Receives what was offered into the directory `out`.
pub(crate) async fn receive(
    wire: &impl Wire,
    offer: Offer,
    out: &Path,
    existing: Existing,
    meter: &mut Meter,
) -> Result<Summary, Failure> {
    let id = offer.id.clone();
    let result = Receiving { wire, offer }.run(out, existing, meter).await;
    match &result {
        Err(failure) if !matches!(failure.kind, Kind::Peer | Kind::Checksum) => {
            let cancel = Control::Cancel { id, reason: failure.message.clone() };
            let _ = wire.send(Frame::Text(cancel.to_json())).await;
        }
        _ => {}
    }
    result
}

enum Heard {
    Control(Control),
    Data(bytes::Bytes),
}

/// The next message; text that is no control message is passed over.
async fn hear(wire: &impl Wire) -> Result<Heard, Failure> {
    loop {
        match wire.recv().await.ok_or_else(vanished)? {
            Frame::Binary(bytes) => return Ok(Heard::Data(bytes)),
            Frame::Text(text) => {
                if let Ok(message) = serde_json::from_str(&text) {
                    return Ok(Heard::Control(message));
                }
            }
        }
    }
}

struct Receiving<'a, W> {
    wire: &'a W,
    offer: Offer,
}

impl<W: Wire> Receiving<'_, W> {
    async fn run(&self, out: &Path, existing: Existing, meter: &mut Meter) -> Result<Summary, Failure> {
        let plan = Plan::make(&self.offer.files, &self.offer.directories, out, existing)?;
        let resume = plan.resume();
        let resumed = plan.have();
        let hash = self.offer.hash;
        let (orders, mut outcomes) = plan.write_behind(hash);
        // Who has offered nothing else knows no other word for it.
        let chosen = (hash != Hash::default()).then(|| hash.name().to_owned());
        self.say(Control::Accept { id: self.offer.id.clone(), resume, hash: chosen }).await?;
        meter.start(self.offer.bytes, resumed);
        let result = self.take(&orders, &mut outcomes, resumed, meter).await;
        if result.is_err() {
            // What has arrived is kept, so that the next attempt goes on from there.
            drop(orders);
            while outcomes.recv().await.is_some() {}
        }
        result
    }

    /// Takes what comes, until all of it is stored.
    async fn take(
        &self,
        orders: &mpsc::Sender<Order>,
        outcomes: &mut mpsc::UnboundedReceiver<Outcome>,
        resumed: u64,
        meter: &mut Meter,
    ) -> Result<Summary, Failure> {
        let mut here = resumed;
        let mut digests = vec![None; self.offer.files.len()];
        let mut again = BTreeSet::new();
        let mut claimed = None;
        let mut tick = tokio::time::interval(Meter::EVERY);
        while claimed.is_none() || digests.iter().any(Option::is_none) {
            tokio::select! {
                heard = hear(self.wire) => match heard? {
                    Heard::Data(bytes) => {
                        here += bytes.len() as u64;
                        order(orders, Order::Data(bytes), outcomes).await?;
                    }
                    Heard::Control(Control::File { id, file, offset }) if id == self.offer.id => {
                        order(orders, Order::Begin { file, offset }, outcomes).await?;
                    }
                    Heard::Control(Control::End { id, sum, .. }) if id == self.offer.id => {
                        order(orders, Order::End { sum }, outcomes).await?;
                    }
                    Heard::Control(Control::Done { id, sum }) if id == self.offer.id => {
                        claimed = Some(sum);
                    }
                    Heard::Control(Control::Cancel { reason, .. }) => return Err(cancelled(&reason)),
                    Heard::Control(_) => {}
                },
                Some(outcome) = outcomes.recv() => match outcome {
                    Outcome::Stored { file, digest } => {
                        digests[file] = Some(digest);
                        self.say(Control::Stored { id: self.offer.id.clone(), file }).await?;
                    }
                    Outcome::Corrupt { file, path } => {
                        self.corrupt(file, &path, again.insert(file)).await?;
                        here = here.saturating_sub(self.offer.files[file].size);
                    }
                    Outcome::Failed(failure) => return Err(failure),
                },
                _ = tick.tick() => {
                    meter.set(here);
                    self.say(Control::Progress { id: self.offer.id.clone(), bytes: here }).await?;
                }
            }
        }
        let digests: Vec<[u8; 32]> = digests.into_iter().flatten().collect();
        let hash = self.offer.hash;
        let digest = hash.of_whole(&digests);
        if !claimed.is_some_and(|claimed| claimed.is_empty() || claimed.is(hash, &digest)) {
            return Err(Failure::new(Kind::Checksum, "the checksum of the whole differs; receive it again"));
        }
        meter.set(self.offer.bytes);
        self.say(Control::Done { id: self.offer.id.clone(), sum: Sum::default() }).await?;
        Ok(Summary { bytes: self.offer.bytes, resumed, digest: hex(&digest), hash })
    }

    async fn say(&self, message: Control) -> Result<(), Failure> {
        self.wire.send(Frame::Text(message.to_json())).await
    }

    /// Asks for a damaged file once more; the second time is the end.
    async fn corrupt(&self, file: usize, path: &Path, first: bool) -> Result<(), Failure> {
        self.say(Control::Corrupt { id: self.offer.id.clone(), file }).await?;
        if first {
            return Ok(());
        }
        let message =
            format!("{} arrived damaged twice (its checksum differs) and was not kept", path.display());
        Err(Failure::new(Kind::Checksum, message))
    }
}

/// Hands an order to the disk. If the disk has given up, the reason is among its outcomes.
async fn order(
    orders: &mpsc::Sender<Order>,
    order: Order,
    outcomes: &mut mpsc::UnboundedReceiver<Outcome>,
) -> Result<(), Failure> {
    if orders.send(order).await.is_ok() {
        return Ok(());
    }
    while let Some(outcome) = outcomes.recv().await {
        if let Outcome::Failed(failure) = outcome {
            return Err(failure);
        }
    }
    Err(Failure::new(Kind::File, "writing stopped for no known reason"))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::transfer::manifest::Manifest;
    use crate::transfer::scratch::Scratch;
    use crate::transfer::send::send;
    use crate::transfer::wire::pair::wires;

    async fn transfer(
        from: &Path,
        out: &Path,
        existing: Existing,
    ) -> (Result<Summary, Failure>, Result<Summary, Failure>) {
        let manifest = Manifest::gather(&[from.to_owned()]).unwrap();
        let (a, b) = wires();
        let (mut sender, mut receiver) = (Meter::silent(), Meter::silent());
        tokio::join!(send(&a, &manifest, &mut sender), async {
            let offer = offered(&b).await.unwrap();
            receive(&b, offer, out, existing, &mut receiver).await
        })
    }

    /// The other side, gone after so many frames.
    struct Dying<W> {
        wire: W,
        frames: Cell<u32>,
    }

    impl<W: Wire> Wire for Dying<W> {
        async fn send(&self, frame: Frame) -> Result<(), Failure> {
            self.wire.send(frame).await
        }
        async fn recv(&self) -> Option<Frame> {
            self.frames.set(self.frames.get().checked_sub(1)?);
            self.wire.recv().await
        }
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[tokio::test]
    async fn a_folder_arrives_whole_and_both_sides_agree() {
        let scratch = Scratch::new("transfer-folder");
        let big = noise(3_000_001);
        scratch.write("in/big", &big);
        scratch.write("in/sub/empty", b"");
        let (sent, received) = transfer(&scratch.path("in"), &scratch.path("out"), Existing::Refuse).await;
        let (sent, received) = (sent.unwrap(), received.unwrap());
        assert_eq!(sent, received);
        assert_eq!(sent.bytes, 3_000_001);
        assert_eq!(std::fs::read(scratch.path("out/in/big")).unwrap(), big);
        assert_eq!(std::fs::read(scratch.path("out/in/sub/empty")).unwrap(), b"");
        // The second time there is nothing left to send.
        let (again, _) = transfer(&scratch.path("in"), &scratch.path("out"), Existing::Refuse).await;
        assert_eq!(again.unwrap().resumed, 3_000_001);
    }

    #[tokio::test]
    async fn a_receiver_that_dies_midway_goes_on_later() {
        let scratch = Scratch::new("transfer-resume");
        let bytes = noise(5_000_000);
        let path = scratch.write("x", &bytes);
        let out = scratch.path("out");
        let manifest = Manifest::gather(std::slice::from_ref(&path)).unwrap();
        let (a, b) = wires();
        let (mut meter, mut receiving) = (Meter::silent(), Meter::silent());
        let receiver = async {
            let b = Dying { wire: b, frames: Cell::new(40) };
            let offer = offered(&b).await.unwrap();
            assert_eq!(
                receive(&b, offer, &out, Existing::Refuse, &mut receiving).await.unwrap_err(),
                vanished()
            );
        };
        let (sent, ()) = tokio::join!(send(&a, &manifest, &mut meter), receiver);
        assert_eq!(sent.unwrap_err().kind, Kind::Peer);
        assert!(!out.join("x").exists());
        let (sent, received) = transfer(&path, &out, Existing::Refuse).await;
        let (sent, received) = (sent.unwrap(), received.unwrap());
        assert!(sent.resumed > 0 && sent.resumed < 5_000_000, "{sent:?}");
        assert_eq!((sent.hash, &sent.digest), (Hash::Blake3, &received.digest));
        assert_eq!(std::fs::read(out.join("x")).unwrap(), bytes);
    }

    #[tokio::test]
    async fn an_existing_file_stops_both_sides_with_the_reason() {
        let scratch = Scratch::new("transfer-existing");
        let path = scratch.write("x", b"new");
        scratch.write("out/x", b"precious");
        let (sent, received) = transfer(&path, &scratch.path("out"), Existing::Refuse).await;
        assert_eq!(received.unwrap_err().kind, Kind::File);
        assert!(sent.unwrap_err().message.contains("exists already"));
        assert_eq!(std::fs::read(scratch.path("out/x")).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn a_part_that_is_not_the_files_own_is_thrown_away_and_sent_again() {
        let scratch = Scratch::new("transfer-damaged");
        let bytes = noise(100_000);
        let path = scratch.write("x", &bytes);
        let manifest = Manifest::gather(std::slice::from_ref(&path)).unwrap();
        let out = scratch.path("out");
        let plan = Plan::make(&manifest.files, &[], &out, Existing::Refuse).unwrap();
        let (orders, mut outcomes) = plan.write_behind(Hash::Sha256);
        orders.send(Order::Begin { file: 0, offset: 0 }).await.unwrap();
        orders.send(Order::Data(bytes::Bytes::from_static(b"rubbish"))).await.unwrap();
        drop(orders);
        assert!(outcomes.recv().await.is_none());
        let (sent, received) = transfer(&path, &out, Existing::Refuse).await;
        assert_eq!(sent.unwrap(), received.unwrap());
        assert_eq!(std::fs::read(out.join("x")).unwrap(), bytes);
    }

    #[tokio::test]
    async fn a_file_that_is_damaged_twice_is_given_up() {
        let scratch = Scratch::new("transfer-twice");
        let path = scratch.write("x", b"x");
        let manifest = Manifest::gather(std::slice::from_ref(&path)).unwrap();
        let (a, b) = wires();
        let mut meter = Meter::silent();
        let complain = async {
            let offer = offered(&b).await.unwrap();
            let receiving = Receiving { wire: &b, offer };
            let id = receiving.offer.id.clone();
            receiving.say(Control::Accept { id, resume: vec![], hash: None }).await.unwrap();
            for _ in 0..2 {
                receiving.say(Control::Corrupt { id: receiving.offer.id.clone(), file: 0 }).await.unwrap();
            }
            while let Ok(heard) = hear(&b).await {
                if matches!(heard, Heard::Control(Control::Cancel { .. })) {
                    return;
                }
            }
        };
        let (sent, ()) = tokio::join!(send(&a, &manifest, &mut meter), complain);
        assert_eq!(sent.unwrap_err().kind, Kind::Checksum);
    }

    /// A wire that takes out of messages what older programs, and pages, do not say.
    struct Older<W>(W);

    impl<W: Wire> Wire for Older<W> {
        async fn send(&self, frame: Frame) -> Result<(), Failure> {
            let frame = match frame {
                Frame::Text(text) => Frame::Text(text.replace(r#","hashes":["blake3"]"#, "")),
                frame @ Frame::Binary(_) => frame,
            };
            self.0.send(frame).await
        }
        async fn recv(&self) -> Option<Frame> {
            self.0.recv().await
        }
    }

    #[tokio::test]
    async fn who_knows_sha256_only_is_understood_and_goes_on_with_what_another_has_begun() {
        let scratch = Scratch::new("transfer-older");
        let bytes = noise(500_000);
        let path = scratch.write("x", &bytes);
        let out = scratch.path("out");
        let manifest = Manifest::gather(std::slice::from_ref(&path)).unwrap();
        let plan = Plan::make(&manifest.files, &[], &out, Existing::Refuse).unwrap();
        let (orders, mut outcomes) = plan.write_behind(Hash::Blake3);
        orders.send(Order::Begin { file: 0, offset: 0 }).await.unwrap();
        orders.send(Order::Data(bytes::Bytes::from(bytes[..200_000].to_vec()))).await.unwrap();
        drop(orders);
        assert!(outcomes.recv().await.is_none());
        let (a, b) = wires();
        let a = Older(a);
        let (mut sender, mut receiver) = (Meter::silent(), Meter::silent());
        let (sent, received) = tokio::join!(send(&a, &manifest, &mut sender), async {
            let offer = offered(&b).await.unwrap();
            receive(&b, offer, &out, Existing::Refuse, &mut receiver).await
        });
        let (sent, received) = (sent.unwrap(), received.unwrap());
        assert_eq!(sent, received);
        assert_eq!((sent.hash, sent.resumed), (Hash::Sha256, 200_000));
        assert_eq!(sent.digest, hex(&crypto::sha256(&[&bytes])));
        assert_eq!(std::fs::read(out.join("x")).unwrap(), bytes);
    }

    #[tokio::test]
    async fn a_list_too_long_for_one_message_arrives_whole() {
        let scratch = Scratch::new("transfer-many");
        for number in 0..1500 {
            scratch.write(&format!("in/a rather long name, so that the list gets long {number}"), b"");
        }
        let (sent, received) = transfer(&scratch.path("in"), &scratch.path("out"), Existing::Refuse).await;
        assert_eq!(sent.unwrap(), received.unwrap());
        assert_eq!(std::fs::read_dir(scratch.path("out/in")).unwrap().count(), 1500);
    }
}
