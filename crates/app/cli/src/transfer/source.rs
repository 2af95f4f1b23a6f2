//! Reads the files of a manifest on a thread of its own, one chunk ahead of the network.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::checksum::{Checksum, Hash};
use super::protocol::{CHUNK, FileEntry};
use crate::failure::{Failure, Kind};

/// Bytes read by one system call.
const READ: usize = 16 * CHUNK;
/// Chunks read ahead of the network.
const AHEAD: usize = 32;

/// What is to be sent next.
#[derive(Debug)]
pub(crate) enum Piece {
    Begin { file: usize, offset: u64 },
    Data(Bytes),
    End { file: usize, digest: [u8; 32] },
    Failed(Failure),
}

/// One file to read: where it lies, what was promised of it, and where to start.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) file: usize,
    pub(crate) path: PathBuf,
    pub(crate) entry: FileEntry,
    pub(crate) offset: u64,
}

/// Starts reading. The thread ends with the last piece, or when the receiver is dropped.
pub(crate) fn read_ahead(jobs: Vec<Job>, hash: Hash) -> mpsc::Receiver<Piece> {
    let (pieces, queue) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        for job in jobs {
            match read_one(&job, hash, &pieces) {
                Ok(true) => {}
                Ok(false) => return,
                Err(failure) => {
                    let _ = pieces.blocking_send(Piece::Failed(failure));
                    return;
                }
            }
        }
    });
    queue
}

/// Reads one file; `false` if nobody wants it any more.
fn read_one(job: &Job, hash: Hash, pieces: &mpsc::Sender<Piece>) -> Result<bool, Failure> {
    let failed = |error| Failure::file("read", &job.path, &error);
    let changed = || {
        let message = format!("{} changed while it was being sent; send it again", job.path.display());
        Failure::new(Kind::File, message)
    };
    let mut file = File::open(&job.path).map_err(failed)?;
    let mut digest = Checksum::new(hash);
    // What the receiver has already still counts for the checksum of the whole.
    let mut before = job.offset;
    while before > 0 {
        let block = read_block(&mut file, before).map_err(failed)?.ok_or_else(changed)?;
        digest.update(&block);
        before -= block.len() as u64;
    }
    file.seek(SeekFrom::Start(job.offset)).map_err(failed)?;
    if pieces.blocking_send(Piece::Begin { file: job.file, offset: job.offset }).is_err() {
        return Ok(false);
    }
    let mut left = job.entry.size - job.offset;
    while left > 0 {
        let mut block = read_block(&mut file, left).map_err(failed)?.ok_or_else(changed)?;
        digest.update(&block);
        left -= block.len() as u64;
        while !block.is_empty() {
            let chunk = block.split_to(CHUNK.min(block.len()));
            if pieces.blocking_send(Piece::Data(chunk)).is_err() {
                return Ok(false);
            }
        }
    }
    if file.read(&mut [0; 1]).map_err(failed)? != 0 {
        return Err(changed());
    }
    Ok(pieces.blocking_send(Piece::End { file: job.file, digest: digest.finish() }).is_ok())
}

/// The next bytes of a file, of so many that there should be; `None` if there are fewer than are wanted at once.
fn read_block(file: &mut File, left: u64) -> io::Result<Option<Bytes>> {
    let want = READ.min(usize::try_from(left).unwrap_or(READ));
    let mut block = Vec::with_capacity(want);
    file.take(want as u64).read_to_end(&mut block)?;
    Ok((block.len() == want).then(|| block.into()))
}
