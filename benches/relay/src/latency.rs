//! What a server adds to the time that a datagram takes.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::contestant::Contestant;
use crate::place::{CLIENT, PEER, any};
use crate::session::{Session, channel_data};

const PER_SECOND: u32 = 5_000;
const BYTES: usize = 160;

/// Microseconds from sending to receiving.
#[derive(Clone, Copy)]
pub(crate) struct Latency {
    pub p50: f64,
    pub p99: f64,
}

/// From client to peer through `server`, or straight if there is none.
pub(crate) fn measure(server: Option<&Contestant>, time: Duration) -> io::Result<Latency> {
    let far = UdpSocket::bind(any(PEER))?;
    far.set_nonblocking(true)?;
    let peer = far.local_addr()?;
    let Some(server) = server else {
        let near = UdpSocket::bind(any(CLIENT))?;
        return run(&near, peer, &far, &[0; BYTES], 0, time);
    };
    let mut session = Session::open(server.address())?;
    session.bind(peer)?;
    let latency = run(&session.socket, server.address(), &far, &channel_data(&[0; BYTES]), 4, time)?;
    session.close()?;
    Ok(latency)
}

/// Sends at a steady pace and looks for what comes all the while, so that nothing waits for this side to wake up. The
/// first eight bytes of the data say which datagram it is.
fn run(
    near: &UdpSocket,
    to: SocketAddr,
    far: &UdpSocket,
    frame: &[u8],
    data: usize,
    time: Duration,
) -> io::Result<Latency> {
    let count = (time.as_secs_f64() * f64::from(PER_SECOND)) as usize;
    let interval = Duration::from_secs(1) / PER_SECOND;
    let mut frame = frame.to_vec();
    let (mut sent, mut took) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let start = Instant::now();
    let end = start + time + Duration::from_millis(50);
    let mut buffer = [0; 2048];
    while Instant::now() < end && took.len() < count {
        if sent.len() < count && Instant::now() >= start + interval * sent.len() as u32 {
            frame[data..data + 8].copy_from_slice(&(sent.len() as u64).to_be_bytes());
            sent.push(Instant::now());
            if near.peer_addr().is_ok() {
                near.send(&frame)?
            } else {
                near.send_to(&frame, to)?
            };
        }
        if let Ok(length @ 8..) = far.recv(&mut buffer) {
            let number = u64::from_be_bytes(buffer[..8].try_into().expect("8 bytes")) as usize;
            if let (true, Some(at)) = (length >= 8, sent.get(number)) {
                took.push(at.elapsed().as_secs_f64() * 1e6);
            }
        }
    }
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took.get((took.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    Ok(Latency { p50: at(0.5), p99: at(0.99) })
}
