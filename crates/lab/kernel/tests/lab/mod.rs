//! What the tests share: a lab or a visible skip, and a small agent that runs on a host and does as it is told.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use sterna_kernel::{Host, Lab};

/// A lab, or `None` and a word on standard error where it cannot be built. In CI that is a failure.
pub(crate) fn lab() -> Option<Lab> {
    match Lab::new() {
        Ok(lab) => Some(lab),
        Err(error) if error.is_lacking() && std::env::var_os("CI").is_none() => {
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Sockets on a host of the lab, by the hand of a Python program.
pub(crate) struct Agent {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

const PROGRAM: &str = r#"
import socket, sys
udp, streams = {}, {}
def bound(port):
    if port not in udp:
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(("0.0.0.0", port))
        udp[port] = s
    return udp[port]
for line in sys.stdin:
    verb, *words = line.split()
    answer = "ok"
    try:
        if verb == "bind":
            bound(int(words[0]))
        elif verb == "send":
            bound(int(words[0])).sendto(words[3].encode(), (words[1], int(words[2])))
        elif verb == "sendfrom":
            # From one of several addresses of the host.
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.bind((words[0], int(words[1])))
            s.sendto(words[4].encode(), (words[2], int(words[3])))
        elif verb == "receive":
            s = bound(int(words[0]))
            s.settimeout(int(words[1]) / 1000)
            data, peer = s.recvfrom(2000)
            answer = f"{peer[0]}:{peer[1]} {data.decode()}"
        elif verb == "listen":
            s = socket.create_server(("0.0.0.0", int(words[0])))
            streams[int(words[0])] = s
        elif verb == "connect":
            s = socket.create_connection((words[0], int(words[1])), timeout=2)
            s.sendall(b"x")
            s.close()
        elif verb == "accept":
            s = streams[int(words[0])]
            s.settimeout(2)
            peer = s.accept()[1]
            answer = f"{peer[0]}:{peer[1]}"
    except TimeoutError:
        answer = "timeout"
    except OSError as e:
        answer = f"error {e}"
    print(answer, flush=True)
"#;

impl Agent {
    pub(crate) fn new(host: &Host) -> Self {
        let mut command = host.command("python3");
        command.args(["-u", "-c", PROGRAM]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("ip netns exec runs");
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    fn ask(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}").expect("the agent lives");
        let mut answer = String::new();
        self.output.read_line(&mut answer).expect("the agent lives");
        assert!(!answer.is_empty(), "the agent died of `{line}`");
        answer.trim().to_owned()
    }

    pub(crate) fn bind(&mut self, port: u16) {
        assert_eq!(self.ask(&format!("bind {port}")), "ok");
    }

    /// Sends a word from a port. A host whose router tells it that this is hopeless may fail to.
    pub(crate) fn send(&mut self, port: u16, to: SocketAddr, word: &str) {
        let answer = self.ask(&format!("send {port} {} {} {word}", to.ip(), to.port()));
        assert!(answer == "ok" || answer.starts_with("error"), "{answer}");
    }

    /// Sends a word from a given address and port.
    pub(crate) fn send_from(&mut self, from: SocketAddr, to: SocketAddr, word: &str) {
        let (a, b) = (from.ip(), to.ip());
        assert_eq!(self.ask(&format!("sendfrom {a} {} {b} {} {word}", from.port(), to.port())), "ok");
    }

    /// The next word that comes to a port within `ms`, and from where.
    pub(crate) fn receive(&mut self, port: u16, ms: u32) -> Option<(SocketAddr, String)> {
        let answer = self.ask(&format!("receive {port} {ms}"));
        if answer == "timeout" || answer.starts_with("error") {
            return None;
        }
        let (from, word) = answer.split_once(' ').expect("an address and a word");
        Some((from.parse().expect("an address"), word.to_owned()))
    }

    pub(crate) fn listen(&mut self, port: u16) {
        assert_eq!(self.ask(&format!("listen {port}")), "ok");
    }

    pub(crate) fn connect(&mut self, to: SocketAddr) -> bool {
        self.ask(&format!("connect {} {}", to.ip(), to.port())) == "ok"
    }

    /// Who connected to a port.
    pub(crate) fn accept(&mut self, port: u16) -> SocketAddr {
        self.ask(&format!("accept {port}")).parse().expect("somebody connected")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
