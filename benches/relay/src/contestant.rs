//! The servers, each in a process of its own on the server's core.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::place::{CLIENT, PASSWORD, REALM, RELAY_PORTS, SERVER, SERVER_CORE, USER, any};
use crate::session::binding;
use crate::system;

/// Which server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Sterna,
    /// With two shards on both cores.
    SternaTwice,
    /// With busy polling.
    SternaBusy,
    /// Another one, that has done nothing yet.
    SternaFresh,
    Coturn,
    CoturnFresh,
    /// The bare forwarder with GRO and GSO.
    Bundles,
    /// The bare forwarder with a call for each datagram.
    Each,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sterna | Self::SternaFresh => "sterna",
            Self::SternaTwice => "sterna, 2 shards",
            Self::SternaBusy => "sterna, busy-poll",
            Self::Coturn | Self::CoturnFresh => "coturn",
            Self::Bundles => "bare, GRO+GSO",
            Self::Each => "bare, recvfrom+sendto",
        }
    }

    /// Whether it speaks TURN.
    pub(crate) fn is_turn(self) -> bool {
        !matches!(self, Self::Bundles | Self::Each)
    }

    pub(crate) fn is_coturn(self) -> bool {
        matches!(self, Self::Coturn | Self::CoturnFresh)
    }

    fn port(self) -> u16 {
        3480 + self as u16
    }

    fn cores(self) -> &'static [usize] {
        if self == Self::SternaTwice { &[0, 1] } else { &[SERVER_CORE] }
    }

    /// Its command, on its cores, and not outliving a generator that is killed.
    fn held(self) -> io::Result<Command> {
        let command = self.command()?;
        let cores: Vec<String> = self.cores().iter().map(usize::to_string).collect();
        let mut held = Command::new("setpriv");
        held.args(["--pdeathsig", "KILL", "taskset", "--cpu-list", &cores.join(",")]);
        held.arg(command.get_program()).args(command.get_args());
        Ok(held)
    }

    fn command(self) -> io::Result<Command> {
        let port = self.port();
        if self.is_coturn() {
            let mut command = Command::new("turnserver");
            let relay = if self == Self::Coturn { "127.0.0.5" } else { "127.0.0.7" };
            command.args([
                "-n",
                "-m",
                "1",
                "-L",
                "127.0.0.2",
                "-E",
                relay,
                "-a",
                "--no-cli",
                "--cli-password=x",
            ]);
            command.args(["--no-tls", "--no-dtls", "--no-tcp", "--no-tcp-relay", "--no-software-attribute"]);
            command.args([
                "--allow-loopback-peers",
                "--log-file=/dev/null",
                "--no-stdout-log",
                "--simple-log",
            ]);
            command.arg(format!("--listening-port={port}"));
            command.arg(format!("--user={USER}:{PASSWORD}")).arg(format!("--realm={REALM}"));
            command.arg(format!("--min-port={}", RELAY_PORTS.start()));
            command.arg(format!("--max-port={}", RELAY_PORTS.end()));
            command.arg(format!(
                "--pidfile={}",
                std::env::temp_dir().join(format!("relay-bench-{port}.pid")).display()
            ));
            return Ok(command);
        }
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(match self {
            Self::Bundles => "forward-bundles",
            Self::Each => "forward-each",
            _ => "serve",
        });
        command.arg(SocketAddr::new(SERVER, port).to_string());
        match self {
            Self::SternaTwice => command.args(["2", "0"]),
            Self::SternaBusy => command.args(["1", "1000"]),
            Self::Sterna | Self::SternaFresh => command.args(["1", "0"]),
            _ => &mut command,
        };
        Ok(command)
    }
}

/// A running server. Dropped, it ends.
pub(crate) struct Contestant {
    pub(crate) kind: Kind,
    process: Child,
}

impl Contestant {
    pub(crate) fn start(kind: Kind) -> io::Result<Self> {
        let mut command = kind.held()?;
        command.stdin(Stdio::null()).stdout(Stdio::null());
        if kind.is_coturn() {
            command.stderr(Stdio::null());
        }
        let process = command
            .spawn()
            .map_err(|error| io::Error::other(format!("{} does not start: {error}", kind.name())))?;
        let mut contestant = Self { kind, process };
        contestant.wait_until_it_answers()?;
        Ok(contestant)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(SERVER, self.kind.port())
    }

    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn cpu_time(&self) -> io::Result<Duration> {
        system::cpu_time(self.process())
    }

    fn wait_until_it_answers(&mut self) -> io::Result<()> {
        let socket = UdpSocket::bind(any(CLIENT))?;
        socket.connect(self.address())?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            let mut answer = [0; 512];
            if socket.send(&binding()).is_ok() && socket.recv(&mut answer).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.process.try_wait()? {
                return Err(io::Error::other(format!("{} ended: {status}", self.kind.name())));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(io::Error::other(format!("{} does not answer", self.kind.name())))
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
