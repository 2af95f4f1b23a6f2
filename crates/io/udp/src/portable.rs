//! Datagram by datagram, with what every system has.

#![cfg_attr(target_os = "linux", allow(dead_code))] // there it is compiled for its test only

use std::io;
use std::net::SocketAddr;

use sansio::Path;
use socket2::SockRef;

use crate::bundle::{Arrived, slot};
use crate::handle::Handle;
use crate::segments::Segments;
use crate::socket::is_transient;
use crate::{Bundles, Config, Outcome, Transmit, Unreachable};

/// Pieces that one datagram may have.
const MAX_PIECES: usize = 64;
/// Errors of the network that one call skips.
const MAX_SKIPPED: usize = 16;

/// What receiving is told about the buffers: nothing.
#[cfg(not(target_os = "linux"))]
pub(crate) struct Headers;

#[cfg(not(target_os = "linux"))]
impl Headers {
    pub(crate) fn new(_: usize) -> Self {
        Self
    }
}

/// What a socket remembers about its system: nothing.
pub(crate) struct State;

pub(crate) fn enlarge_buffers(socket: SockRef<'_>, config: &Config) {
    let _ = socket.set_recv_buffer_size(config.receive_buffer);
    let _ = socket.set_send_buffer_size(config.send_buffer);
}

impl State {
    pub(crate) fn new(_: SockRef<'_>, _: SocketAddr, config: &Config) -> io::Result<Self> {
        if config.never_fragment { Err(io::ErrorKind::Unsupported.into()) } else { Ok(Self) }
    }

    pub(crate) fn segments(&self) -> bool {
        false
    }

    /// These systems are not asked to say that datagrams may be marked.
    pub(crate) fn send_capable(&self, socket: &impl Handle, transmit: &Transmit<'_>) -> Outcome {
        self.send(socket, transmit)
    }

    pub(crate) fn send(&self, socket: &impl Handle, transmit: &Transmit<'_>) -> Outcome {
        let to = transmit.to.into();
        let mut segments = Segments::new(transmit.bytes, transmit.segment);
        let mut pieces = Vec::new();
        let (mut sent, mut lost) = (0, None);
        loop {
            pieces.clear();
            let length = match segments.next_into(&mut pieces, MAX_PIECES) {
                Some(0) => return lost.map_or(Outcome::Sent, Outcome::Lost),
                Some(length) => length,
                None => return Outcome::Lost(io::ErrorKind::InvalidInput.into()),
            };
            match socket.socket().send_to_vectored(&pieces, &to) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Outcome::Blocked { sent },
                Err(error) => lost = lost.or(Some(error)),
            }
            sent += length;
        }
    }

    /// Like any other: these systems are not asked to keep datagrams whole.
    pub(crate) fn send_whole(&self, socket: &impl Handle, transmit: &Transmit<'_>) -> Outcome {
        self.send(socket, transmit)
    }

    pub(crate) fn poll_unreachable(&self, _: &impl Handle) -> Option<Unreachable> {
        None
    }

    pub(crate) fn receive(
        &self,
        socket: &impl Handle,
        local: SocketAddr,
        bundles: &mut Bundles,
    ) -> io::Result<()> {
        let socket = socket.socket();
        let mut skipped = 0;
        while bundles.arrivals.len() < bundles.capacity {
            let place = slot(bundles.arrivals.len());
            let buffer = &mut bundles.buffers[place.clone()];
            // `u8` and `MaybeUninit<u8>` have one layout; socket2 writes only initialised bytes.
            // SAFETY: the slice is valid for writes of its length, and nothing uninitialised is written through it.
            let buffer = unsafe { &mut *(std::ptr::from_mut(buffer) as *mut [std::mem::MaybeUninit<u8>]) };
            match socket.recv_from(buffer) {
                Ok((length, remote)) => {
                    let Some(remote) = remote.as_socket() else { continue };
                    let (path, range) = (Path::udp(local, remote), place.start..place.start + length);
                    bundles.arrivals.push(Arrived { path, segment: length, marked: false, range });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if is_transient(&error) && skipped < MAX_SKIPPED => skipped += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::*;
    use tokio::net::UdpSocket;

    fn socket() -> UdpSocket {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        UdpSocket::from_std(socket).unwrap()
    }

    #[tokio::test]
    async fn datagrams_arrive_one_by_one() {
        let (here, there) = (socket(), socket());
        let local = there.local_addr().unwrap();
        let bytes = [IoSlice::new(b"abcde"), IoSlice::new(b"fgh")];
        let transmit = Transmit { from: None, to: local, segment: 3, bytes: &bytes };
        assert!(matches!(State.send(&here, &transmit), Outcome::Sent));
        let mut bundles = Bundles::new(8);
        while bundles.len() < 3 {
            there.readable().await.unwrap();
            State.receive(&there, local, &mut bundles).unwrap();
        }
        let got: Vec<_> = bundles.iter_mut().map(|bundle| (bundle.path, bundle.bytes.to_vec())).collect();
        let path = sansio::Path::udp(local, here.local_addr().unwrap());
        assert_eq!(got, [(path, b"abc".to_vec()), (path, b"def".to_vec()), (path, b"gh".to_vec())]);
    }
}
