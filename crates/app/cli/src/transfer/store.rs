//! Where received files go: partial files that grow, and whole ones that are verified before they get their name.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
#[cfg(target_os = "linux")]
use rustix::{
    fs::{CWD, RenameFlags},
    io::Errno,
};
use tokio::sync::mpsc;

use super::checksum::{Checksum, Hash, Sum};
use super::protocol::{FileEntry, MAX_FILES, Resume, hex};
use crate::failure::{Failure, Kind};

/// Messages that wait for the disk before the network has to wait.
const BEHIND: usize = 64;

/// What to do about a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    /// Say so, and receive nothing.
    Refuse,
    /// Replace it once the new one is verified.
    Overwrite,
    /// Give the new one another name.
    Rename,
}

/// Where each file of an offer will go, and what is there of it already.
#[derive(Debug)]
pub(crate) struct Plan {
    slots: Vec<Slot>,
    directories: Vec<PathBuf>,
    existing: Existing,
}

#[derive(Clone, Debug)]
struct Slot {
    entry: FileEntry,
    target: PathBuf,
    partial: PathBuf,
    /// Bytes that are here already.
    have: u64,
    /// The target itself is here already, and only needs to be verified.
    complete: bool,
}

impl Plan {
    /// Checks an offer against the directory `out` and the files in it. Writes nothing.
    pub(crate) fn make(
        files: &[FileEntry],
        directories: &[String],
        out: &Path,
        existing: Existing,
    ) -> Result<Self, Failure> {
        let refuse = |what: String| Failure::new(Kind::Peer, format!("the offer was refused: {what}"));
        if files.len() + directories.len() > MAX_FILES {
            return Err(refuse(format!("it has more than {MAX_FILES} files")));
        }
        let mut targets = BTreeSet::new();
        let mut slots = Vec::with_capacity(files.len());
        for entry in files {
            let relative =
                safe_path(&entry.path).ok_or_else(|| refuse(format!("unsafe path {:?}", entry.path)))?;
            let mut target = out.join(&relative);
            if !targets.insert(target.clone()) {
                return Err(refuse(format!("{:?} comes twice", entry.path)));
            }
            let partial = partial_path(&target, entry);
            let mut complete = false;
            if let Ok(found) = target.symlink_metadata() {
                match existing {
                    Existing::Refuse => {
                        complete = found.is_file() && same(&found, entry);
                        if !complete {
                            let message = format!(
                                "{} exists already; choose another place with --out, or add --rename or --overwrite",
                                target.display()
                            );
                            return Err(Failure::new(Kind::File, message));
                        }
                    }
                    Existing::Overwrite if found.is_dir() => {
                        let message =
                            format!("{} is a folder; choose another place with --out", target.display());
                        return Err(Failure::new(Kind::File, message));
                    }
                    Existing::Overwrite => {}
                    Existing::Rename => target = free_name(&target, &mut targets),
                }
            }
            let partial_size =
                partial.metadata().ok().filter(std::fs::Metadata::is_file).map_or(0, |found| found.len());
            let have = if complete { entry.size } else { partial_size };
            // A partial file that is longer than the whole is none of ours.
            let have = if have > entry.size { 0 } else { have };
            slots.push(Slot { entry: entry.clone(), target, partial, have, complete });
        }
        let directories = directories
            .iter()
            .map(|path| {
                safe_path(path)
                    .map(|path| out.join(path))
                    .ok_or_else(|| refuse(format!("unsafe path {path:?}")))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { slots, directories, existing })
    }

    /// What is here already, for the sender.
    pub(crate) fn resume(&self) -> Vec<Resume> {
        let started = self.slots.iter().enumerate().filter(|(_, slot)| slot.have > 0);
        started.map(|(file, slot)| Resume { file, offset: slot.have }).collect()
    }

    /// Bytes that are here already.
    pub(crate) fn have(&self) -> u64 {
        self.slots.iter().map(|slot| slot.have).sum()
    }

    /// Starts the thread that writes. It ends when the sender is dropped.
    pub(crate) fn write_behind(self, hash: Hash) -> (mpsc::Sender<Order>, mpsc::UnboundedReceiver<Outcome>) {
        let (orders, queue) = mpsc::channel(BEHIND);
        // At most one for each file; bounded, it could wait for the network while the network waits for the disk.
        let (outcomes, results) = mpsc::unbounded_channel();
        tokio::task::spawn_blocking(move || {
            if let Err(failure) = write_all(self, hash, queue, &outcomes) {
                let _ = outcomes.send(Outcome::Failed(failure));
            }
        });
        (orders, results)
    }
}

/// What the network tells the disk.
#[derive(Debug)]
pub(crate) enum Order {
    Begin { file: usize, offset: u64 },
    Data(Bytes),
    End { sum: Sum },
}

/// What the disk tells the network.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Stored { file: usize, digest: [u8; 32] },
    Corrupt { file: usize, path: PathBuf },
    Failed(Failure),
}

fn write_all(
    plan: Plan,
    hash: Hash,
    mut orders: mpsc::Receiver<Order>,
    outcomes: &mpsc::UnboundedSender<Outcome>,
) -> Result<(), Failure> {
    for directory in &plan.directories {
        std::fs::create_dir_all(directory).map_err(|error| Failure::file("create", directory, &error))?;
    }
    let mut open: Option<Growing> = None;
    while let Some(order) = orders.blocking_recv() {
        match order {
            Order::Begin { file, offset } => {
                let slot = plan.slots.get(file).ok_or_else(nonsense)?;
                if open.is_some() || (offset != slot.have && offset != 0) {
                    return Err(nonsense());
                }
                open = Some(Growing::open(file, slot, offset, hash)?);
            }
            Order::Data(bytes) => open.as_mut().ok_or_else(nonsense)?.write(&bytes)?,
            Order::End { sum } => {
                let outcome = open.take().ok_or_else(nonsense)?.finish(&sum, plan.existing)?;
                if outcomes.send(outcome).is_err() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn nonsense() -> Failure {
    Failure::new(Kind::Peer, "the other side broke the transfer protocol; use the same version on both sides")
}

/// A file on its way to being whole.
struct Growing {
    index: usize,
    slot: Slot,
    /// `None` if the target was here already.
    file: Option<File>,
    hash: Hash,
    digest: Checksum,
    length: u64,
}

impl Growing {
    fn open(index: usize, slot: &Slot, offset: u64, hash: Hash) -> Result<Self, Failure> {
        let mut digest = Checksum::new(hash);
        if slot.complete && offset == slot.entry.size {
            hash_prefix(&slot.target, slot.entry.size, &mut digest)?;
            let length = slot.entry.size;
            return Ok(Self { index, slot: slot.clone(), file: None, hash, digest, length });
        }
        let partial = &slot.partial;
        let failed = |error| Failure::file("write", partial, &error);
        hash_prefix(partial, offset, &mut digest)?;
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        let file = match (options.open(partial), partial.parent()) {
            // Of a thousand files in a folder one finds no folder.
            (Err(error), Some(parent)) if error.kind() == ErrorKind::NotFound => {
                std::fs::create_dir_all(parent).map_err(|error| Failure::file("create", parent, &error))?;
                options.open(partial)
            }
            (result, _) => result,
        };
        let file = file.map_err(failed)?;
        file.set_len(offset).map_err(failed)?;
        Ok(Self { index, slot: slot.clone(), file: Some(file), hash, digest, length: offset })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.length += bytes.len() as u64;
        let file = self.file.as_mut().filter(|_| self.length <= self.slot.entry.size).ok_or_else(nonsense)?;
        self.digest.update(bytes);
        file.write_all(bytes).map_err(|error| Failure::file("write", &self.slot.partial, &error))
    }

    fn finish(self, sum: &Sum, existing: Existing) -> Result<Outcome, Failure> {
        let digest = self.digest.finish();
        let Slot { entry, target, partial, complete, .. } = self.slot;
        if self.length != entry.size || !sum.is(self.hash, &digest) {
            if !complete {
                let _ = std::fs::remove_file(&partial);
            }
            return Ok(Outcome::Corrupt { file: self.index, path: target });
        }
        let Some(file) = self.file else { return Ok(Outcome::Stored { file: self.index, digest }) };
        if let Some(mtime) =
            u64::try_from(entry.mtime).ok().and_then(|secs| UNIX_EPOCH.checked_add(Duration::from_secs(secs)))
        {
            // Also what lets a later run see that this file is here already. Some file systems cannot.
            let _ = file.set_modified(mtime);
        }
        drop(file);
        let moved = match existing {
            Existing::Overwrite => std::fs::rename(&partial, &target),
            Existing::Refuse | Existing::Rename => move_without_replacing(&partial, &target),
        };
        moved.map_err(|error| Failure::file("write", &target, &error))?;
        Ok(Outcome::Stored { file: self.index, digest })
    }
}

/// Renames, but never over a file that somebody else has put there meanwhile.
fn move_without_replacing(from: &Path, to: &Path) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that cannot, or a system.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
        result => return result.map_err(std::io::Error::from),
    }
    match std::fs::hard_link(from, to) {
        Ok(()) => std::fs::remove_file(from),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
        // A file system without hard links.
        Err(_) => std::fs::rename(from, to),
    }
}

fn hash_prefix(path: &Path, length: u64, digest: &mut Checksum) -> Result<(), Failure> {
    if length == 0 {
        return Ok(());
    }
    let failed = |error| Failure::file("read", path, &error);
    let mut file = File::open(path).map_err(failed)?.take(length);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(()),
            read => digest.update(&buffer[..read]),
        }
    }
}

/// A relative path that stays inside: no `..`, nothing absolute, no drive letters, no control characters.
fn safe_path(path: &str) -> Option<PathBuf> {
    let bad = |part: &str| {
        part.is_empty()
            || part == "."
            || part == ".."
            || part.len() > 255
            || part.chars().any(|c| c.is_control() || matches!(c, '\\' | ':') && cfg!(windows))
            || part.contains('\\')
    };
    if path.len() > 4096 || path.split('/').any(bad) {
        return None;
    }
    Some(path.split('/').collect())
}

/// The name of a partial file: that of the whole, and a mark of which whole it is part of.
fn partial_path(target: &Path, entry: &FileEntry) -> PathBuf {
    let identity = format!("{}\n{}\n{}", entry.path, entry.size, entry.mtime);
    let mark = hex(&crypto::sha256(&[identity.as_bytes()])[..4]);
    let mut name = target.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{mark}.sterna-part"));
    target.with_file_name(name)
}

fn same(found: &std::fs::Metadata, entry: &FileEntry) -> bool {
    let modified = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    found.len() == entry.size
        && entry.mtime > 0
        && modified.is_some_and(|since| since.as_secs() as i64 == entry.mtime)
}

/// `photo (1).jpg` for `photo.jpg`, and so on until nobody has it.
fn free_name(target: &Path, taken: &mut BTreeSet<PathBuf>) -> PathBuf {
    let stem = target.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let extension =
        target.extension().map(|extension| format!(".{}", extension.to_string_lossy())).unwrap_or_default();
    (1u32..)
        .map(|number| target.with_file_name(format!("{stem} ({number}){extension}")))
        .find(|candidate| candidate.symlink_metadata().is_err() && taken.insert(candidate.clone()))
        .expect("some number is free")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::scratch::Scratch;

    fn entry(path: &str, size: u64) -> FileEntry {
        FileEntry { path: path.into(), size, mtime: 1_700_000_000 }
    }

    async fn store(plan: Plan, offset: u64, bytes: &'static [u8], digest: [u8; 32]) -> Outcome {
        let (orders, mut results) = plan.write_behind(Hash::Sha256);
        orders.send(Order::Begin { file: 0, offset }).await.unwrap();
        orders.send(Order::Data(Bytes::from_static(bytes))).await.unwrap();
        let _ = orders.send(Order::End { sum: Sum::new(Hash::Sha256, &digest) }).await;
        results.recv().await.unwrap()
    }

    #[test]
    fn paths_that_leave_the_directory_are_refused() {
        for path in ["", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/./b", "a\\b", "a\0b", "a/"] {
            assert_eq!(safe_path(path), None, "{path:?}");
        }
        assert_eq!(safe_path("a/b c/ü.txt"), Some(PathBuf::from("a/b c/ü.txt")));
    }

    #[tokio::test]
    async fn a_whole_file_gets_its_name_only_after_it_is_verified() {
        let scratch = Scratch::new("store-whole");
        let out = scratch.path("out");
        let plan = |existing| Plan::make(&[entry("d/x", 5)], &[], &out, existing);
        let wrong = store(plan(Existing::Refuse).unwrap(), 0, b"hellO", crypto::sha256(&[b"hello"])).await;
        assert!(matches!(wrong, Outcome::Corrupt { file: 0, .. }));
        assert_eq!(std::fs::read_dir(out.join("d")).unwrap().count(), 0);
        let digest = crypto::sha256(&[b"hello"]);
        let right = store(plan(Existing::Refuse).unwrap(), 0, b"hello", digest).await;
        assert_eq!(right, Outcome::Stored { file: 0, digest });
        assert_eq!(std::fs::read(out.join("d/x")).unwrap(), b"hello");
        assert_eq!(std::fs::read_dir(out.join("d")).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_partial_file_is_gone_on_with() {
        let scratch = Scratch::new("store-resume");
        let out = scratch.path("");
        let plan = || Plan::make(&[entry("x", 10)], &[], &out, Existing::Refuse).unwrap();
        let (orders, mut results) = plan().write_behind(Hash::Blake3);
        orders.send(Order::Begin { file: 0, offset: 0 }).await.unwrap();
        orders.send(Order::Data(Bytes::from_static(b"hello"))).await.unwrap();
        drop(orders);
        assert!(results.recv().await.is_none());
        assert!(!out.join("x").exists());
        assert_eq!(plan().resume(), [Resume { file: 0, offset: 5 }]);
        let digest = crypto::sha256(&[b"helloworld"]);
        assert_eq!(store(plan(), 5, b"world", digest).await, Outcome::Stored { file: 0, digest });
        // And once it is whole, a later run has nothing left to fetch.
        assert_eq!(plan().resume(), [Resume { file: 0, offset: 10 }]);
    }

    #[tokio::test]
    async fn existing_files_are_kept_unless_asked() {
        let scratch = Scratch::new("store-existing");
        scratch.write("x.txt", b"old");
        let out = scratch.path("");
        let plan = |existing| Plan::make(&[entry("x.txt", 3)], &[], &out, existing);
        assert_eq!(plan(Existing::Refuse).unwrap_err().kind, Kind::File);
        let digest = crypto::sha256(&[b"new"]);
        let stored = Outcome::Stored { file: 0, digest };
        assert_eq!(store(plan(Existing::Rename).unwrap(), 0, b"new", digest).await, stored);
        assert_eq!(std::fs::read(out.join("x.txt")).unwrap(), b"old");
        assert_eq!(std::fs::read(out.join("x (1).txt")).unwrap(), b"new");
        assert_eq!(store(plan(Existing::Overwrite).unwrap(), 0, b"new", digest).await, stored);
        assert_eq!(std::fs::read(out.join("x.txt")).unwrap(), b"new");
    }

    #[tokio::test]
    async fn more_bytes_than_promised_are_refused() {
        let scratch = Scratch::new("store-more");
        let plan = Plan::make(&[entry("x", 3)], &[], &scratch.path(""), Existing::Refuse).unwrap();
        assert!(
            matches!(store(plan, 0, b"four", [0; 32]).await, Outcome::Failed(failure) if failure.kind == Kind::Peer)
        );
        assert!(!scratch.path("x").exists());
    }
}
