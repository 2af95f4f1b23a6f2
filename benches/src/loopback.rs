//! Each end on its own thread with its own UDP socket on loopback, driven by the same plain loop for all.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::net::sockopt;

use crate::contender::{Contender, Make};

const LOT: usize = 64;
/// The default of the system is too small for everybody.
const SOCKET_BUFFER: usize = 8 << 20;

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    // Beyond what everybody is granted, if we may; else as much as there is.
    let _ = sockopt::set_socket_recv_buffer_size_force(&socket, SOCKET_BUFFER)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER));
    let _ = sockopt::set_socket_send_buffer_size_force(&socket, SOCKET_BUFFER)
        .or_else(|_| sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER));
    socket
}

/// What the two threads tell each other about the measurement.
#[derive(Default)]
struct Board {
    messages: AtomicU64,
    bytes: AtomicU64,
    done: AtomicBool,
}

/// Runs an end until the measurement is done. `work` is asked before each wait, and returns whether it wrote.
fn drive(
    mut end: Box<dyn Contender>,
    socket: &UdpSocket,
    remote: SocketAddr,
    board: &Board,
    receiver: bool,
    mut work: impl FnMut(&mut dyn Contender) -> bool,
) {
    let mut buffer = vec![0; 65_536];
    while !board.done.load(Ordering::Relaxed) {
        let wrote = work(&mut *end);
        end.poll(Instant::now(), &mut |datagram| {
            let _ = socket.send_to(datagram, remote);
        });
        if receiver {
            let received = end.received();
            board.bytes.store(received.bytes, Ordering::Relaxed);
            board.messages.store(received.messages, Ordering::Relaxed);
        }
        let now = Instant::now();
        let until = end.timeout().map_or(Duration::from_millis(5), |at| at.saturating_duration_since(now));
        let wait = if wrote { Duration::ZERO } else { until.min(Duration::from_millis(5)) };
        socket.set_nonblocking(wait.is_zero()).expect("it can be set");
        if !wait.is_zero() {
            socket.set_read_timeout(Some(wait)).expect("it can be set");
        }
        for number in 0..LOT {
            if number == 1 {
                socket.set_nonblocking(true).expect("it can be set");
            }
            match socket.recv(&mut buffer) {
                Ok(length) => end.handle(Instant::now(), &mut buffer[..length]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Connects, sends `total` bytes in messages of `message`, and returns how long each took. Without bytes it returns
/// once the first message is there.
fn run(make: Make, message: usize, total: u64) -> (Duration, f64) {
    let sockets = [socket(), socket()];
    let addresses = [0, 1].map(|end| sockets[end].local_addr().expect("an address"));
    let [sender, receiver] = (make.pair)(addresses);
    let board = Arc::new(Board::default());
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let [ours, theirs] = &sockets;
        let watch = &board;
        scope.spawn(move || drive(receiver, theirs, addresses[0], watch, true, |_| false));
        scope.spawn(move || {
            let payload = vec![0x5a; message];
            let (mut said, mut written) = (false, 0);
            drive(sender, ours, addresses[1], watch, false, |end| {
                if !said && end.is_open() {
                    said = end.write(Instant::now(), b"first");
                    return said;
                }
                // The measurement begins when the first message has arrived.
                let mut wrote = false;
                while said
                    && written < total
                    && watch.messages.load(Ordering::Relaxed) > 0
                    && end.write(Instant::now(), &payload)
                {
                    written += payload.len() as u64;
                    wrote = true;
                }
                wrote
            });
        });
        let limit = |what: &str| assert!(begin.elapsed() < Duration::from_secs(180), "{}: {what}", make.name);
        while board.messages.load(Ordering::Relaxed) == 0 {
            limit("the channel does not open");
            std::thread::sleep(Duration::from_micros(100));
        }
        let opened = begin.elapsed();
        let (start, already) = (Instant::now(), board.bytes.load(Ordering::Relaxed));
        while board.bytes.load(Ordering::Relaxed) - already < total {
            limit("the transfer does not end");
            std::thread::sleep(Duration::from_micros(500));
        }
        let rate = total as f64 / start.elapsed().as_secs_f64();
        board.done.store(true, Ordering::Relaxed);
        (opened, rate)
    })
}

/// Until the answerer has the offerer's first message, from when both know the other's description.
pub fn open(make: Make) -> Duration {
    run(make, 1, 0).0
}

/// Bytes per second from the offerer to the answerer.
pub fn throughput(make: Make, message: usize, total: u64) -> f64 {
    run(make, message, total).1
}
