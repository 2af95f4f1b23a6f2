//! One end of a duel, with a plain loop that makes a system call for each datagram: the same for all makes.

use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::net::sockopt;

use crate::contender::{Contender, Make, Received, Terms};
use crate::duel::Task;
use crate::flow::{Processor, monotonic};

/// Datagrams that are received before the end is polled.
const LOT: usize = 64;
/// The default of the system is too small for everybody.
const SOCKET_BUFFER: usize = 8 << 20;

/// What the process that started this one says, and what is said to it.
pub struct Wire(mpsc::Receiver<String>);

impl Wire {
    pub fn open() -> Self {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for line in std::io::stdin().lines() {
                let Ok(line) = line else { break };
                if sender.send(line).is_err() {
                    return;
                }
            }
            // Whoever started us is gone.
            std::process::exit(0);
        });
        Self(receiver)
    }

    /// The rest of the next line, which begins with this word.
    pub fn hear(&self, word: &str) -> String {
        let line = self.0.recv().expect("there is a line");
        line.strip_prefix(word).unwrap_or_else(|| panic!("{word}? {line}")).trim().to_owned()
    }

    /// Whether that has been said.
    pub fn is_said(&self, word: &str) -> bool {
        self.0.try_recv().is_ok_and(|line| line.trim() == word)
    }

    pub fn tell(&self, word: &str, rest: &str) {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{word} {rest}").and_then(|()| out.flush()).expect("somebody listens");
    }

    pub fn tell_numbers<const N: usize>(&self, word: &str, numbers: [u128; N]) {
        self.tell(word, &numbers.map(|it| it.to_string()).join(" "));
    }
}

/// What was received since the first message of the flood, and when that was.
pub struct Count {
    begun: Option<(Instant, Processor, Received)>,
    /// The clock is not looked at before there are so many messages.
    next: u64,
}

/// Messages between two looks at the clock: who counts costs something, too.
const SELDOM: u64 = 16;

impl Count {
    pub fn new() -> Self {
        Self { begun: None, next: 2 }
    }

    /// Told what there is now; tells the wire, and returns true, when the time is over.
    pub fn look(&mut self, received: Received, duration: Duration, wire: &Wire) -> bool {
        // The first message is the greeting.
        if received.messages < self.next {
            return false;
        }
        self.next = received.messages + SELDOM;
        let (begin, processor, already) =
            *self.begun.get_or_insert_with(|| (Instant::now(), Processor::now(), received));
        let time = begin.elapsed();
        if time < duration {
            return false;
        }
        let [messages, bytes] = [received.messages - already.messages, received.bytes - already.bytes];
        let numbers = [messages.into(), bytes.into(), time.as_nanos(), processor.elapsed().as_nanos()];
        wire.tell_numbers("received", numbers);
        true
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    // Beyond what everybody is granted, if we may; else as much as there is.
    let _ = sockopt::set_socket_recv_buffer_size_force(&socket, SOCKET_BUFFER)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER));
    let _ = sockopt::set_socket_send_buffer_size_force(&socket, SOCKET_BUFFER)
        .or_else(|_| sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER));
    socket
}

/// An end with its socket.
struct Driven {
    end: Box<dyn Contender>,
    socket: UdpSocket,
    remote: SocketAddr,
    buffer: Vec<u8>,
}

impl Driven {
    /// Takes in what has arrived, and waits for it unless there is more to write; then sends what wants to be sent.
    fn turn(&mut self, more: bool) {
        let Self { end, socket, remote, buffer } = self;
        let now = Instant::now();
        let until = end.timeout().map_or(Duration::from_millis(5), |at| at.saturating_duration_since(now));
        let wait = if more { Duration::ZERO } else { until.min(Duration::from_millis(5)) };
        socket.set_nonblocking(wait.is_zero()).expect("it can be set");
        if !wait.is_zero() {
            socket.set_read_timeout(Some(wait)).expect("it can be set");
        }
        for number in 0..LOT {
            if number == 1 {
                socket.set_nonblocking(true).expect("it can be set");
            }
            match socket.recv(buffer) {
                Ok(length) => end.handle(Instant::now(), &mut buffer[..length]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                // What the other side's system says when its process has ended.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => break,
                Err(error) => panic!("{error}"),
            }
        }
        end.poll(Instant::now(), &mut |datagram| {
            let _ = socket.send_to(datagram, *remote);
        });
    }
}

fn begin(task: Task, wire: &Wire) -> (UdpSocket, Terms) {
    let socket = socket();
    let local = socket.local_addr().expect("an address");
    wire.tell("address", &local.to_string());
    let remote = wire.hear("remote").parse().expect("an address");
    (socket, Terms { local, remote, channel: task.channel })
}

/// The end that offers, and sends.
pub fn offer(make: Make, task: Task) {
    let wire = Wire::open();
    let (socket, terms) = begin(task, &wire);
    let (end, offer) = (make.offer)(terms);
    wire.tell("offer", &serde_json::json!(offer).to_string());
    let mut driven = Driven { end, socket, remote: terms.remote, buffer: vec![0; 65_536] };
    let answer: String = serde_json::from_str(&wire.hear("answer")).expect("a string");
    let ready = monotonic();
    driven.end.accept(&answer);
    wire.tell_numbers("ready", [ready.as_nanos()]);
    let mut said = false;
    driven.turn(true);
    while !wire.is_said("flood") {
        let says = !said && driven.end.is_open() && driven.end.write(Instant::now(), b"first");
        said |= says;
        driven.turn(says);
    }
    let payload = vec![0x5a; task.size];
    let (begin, processor) = (Instant::now(), Processor::now());
    while !wire.is_said("stop") {
        let mut wrote = false;
        while driven.end.write(Instant::now(), &payload) {
            wrote = true;
        }
        driven.turn(wrote);
    }
    wire.tell_numbers("sent", [begin.elapsed().as_nanos(), processor.elapsed().as_nanos()]);
}

/// The end that answers, and counts.
pub fn answer(make: Make, task: Task) {
    let wire = Wire::open();
    let (socket, terms) = begin(task, &wire);
    let offer: String = serde_json::from_str(&wire.hear("offer")).expect("a string");
    let (end, answer) = (make.answer)(terms, &offer);
    wire.tell("answer", &serde_json::json!(answer).to_string());
    let mut driven = Driven { end, socket, remote: terms.remote, buffer: vec![0; 65_536] };
    driven.turn(true);
    while driven.end.received().messages == 0 {
        driven.turn(false);
    }
    wire.tell_numbers("first", [monotonic().as_nanos()]);
    let mut count = Count::new();
    // Until we are ended.
    let mut told = false;
    loop {
        told = told || count.look(driven.end.received(), task.duration, &wire);
        driven.turn(false);
    }
}
