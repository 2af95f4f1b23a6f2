//! Packets between this machine and its own relayed address: past the TURN server's door one way, through it the other.

use std::net::SocketAddr;
use std::time::Duration;

use doctor::Echo;
use driver::Clock;
use sansio::{Batches, Outbox as _, Path, Rng, Seed, Transport};
use sterna::IceServer;
use stun::{Class, Message, MessageWriter, Method, TransactionId};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until, timeout_at};
use turn::{Client, ClientConfig, ClientEvent, Credentials};

/// How long to wait for an allocation and a permission.
const LOGIN: Duration = Duration::from_millis(1500);
/// Packets each way, and how far apart.
const PACKETS: u32 = 3;
const GAP: Duration = Duration::from_millis(120);
/// How long the last packet may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// Gets an allocation at the first TURN server over UDP and tries it. `None`: there is none, or it does not let us exchange
/// packets with ourselves (which it must not where our address is a private one).
pub(crate) async fn measure(servers: &[IceServer]) -> Option<Echo> {
    let (server, credentials) = servers.iter().find_map(|server| {
        let url = server.urls.iter().filter_map(|url| url.parse::<ice::ServerUrl>().ok());
        let url = url.into_iter().find(|url| url.is_turn() && url.transport == Transport::Udp)?;
        let username = server.username.clone()?;
        Some((url, Credentials { username, password: server.credential.clone()? }))
    })?;
    let address = driver::locate(&server).await.ok()?.into_iter().find(SocketAddr::is_ipv4)?;
    let mut trial = Trial::start(address, credentials).await?;
    let echo = trial.run().await;
    trial.end().await;
    echo
}

struct Trial {
    clock: Clock,
    client: Client,
    /// To the server.
    relay: UdpSocket,
    /// To the relayed address.
    plain: UdpSocket,
    server: SocketAddr,
}

impl Trial {
    async fn start(server: SocketAddr, credentials: Credentials) -> Option<Self> {
        let local = driver::source_for(server)?;
        let relay = UdpSocket::bind((local, 0)).await.ok()?;
        let plain = UdpSocket::bind((local, 0)).await.ok()?;
        let clock = Clock::start();
        let path = Path::udp(relay.local_addr().ok()?, server);
        let config = ClientConfig::new(path, credentials, Seed(crypto::seed()));
        Some(Self { client: Client::new(clock.now(), config), clock, relay, plain, server })
    }

    async fn run(&mut self) -> Option<Echo> {
        let login = Instant::now() + LOGIN;
        let mapped = self.mapped(login).await?;
        self.client.permit(self.clock.now(), mapped);
        let mut relayed = None;
        loop {
            while let Some(event) = self.client.poll_event() {
                match event {
                    ClientEvent::Allocated { relayed: address, .. } => relayed = Some(address),
                    ClientEvent::PermissionGranted(_) => {
                        let (relayed, echo) = (relayed?, self.exchange(relayed?, mapped).await);
                        let silent = echo.received == 0 && echo.returned == 0;
                        // A server lets those at its own address talk to its relayed addresses, and no further.
                        return (!silent || relayed.ip() != mapped.ip()).then_some(echo);
                    }
                    ClientEvent::PermissionRefused { .. }
                    | ClientEvent::Failed(_)
                    | ClientEvent::Redirected { .. } => return None,
                    _ => {}
                }
            }
            self.turn(login, &mut Echo::default()).await;
            if Instant::now() >= login {
                return None;
            }
        }
    }

    /// How the world sees the plain socket.
    async fn mapped(&self, until: Instant) -> Option<SocketAddr> {
        let id = TransactionId::random(&mut Rng::new(Seed(crypto::seed())));
        let mut request = [0; 20];
        MessageWriter::new(&mut request, Class::Request, Method::BINDING, id).finish().ok()?;
        let mut buffer = [0; 1500];
        while Instant::now() < until {
            self.plain.send_to(&request, self.server).await.ok()?;
            let answered = timeout_at(Instant::now() + 2 * GAP, self.plain.recv_from(&mut buffer)).await;
            if let Ok(Ok((length, from))) = answered
                && from == self.server
                && let Ok(answer) = Message::parse(&buffer[..length])
                && answer.transaction_id() == id
            {
                return answer.xor_mapped_address();
            }
        }
        None
    }

    /// First to the relayed address, which nobody has opened from inside; then the other way, too.
    async fn exchange(&mut self, relayed: SocketAddr, mapped: SocketAddr) -> Echo {
        let mut echo = Echo::default();
        for round in 0..2 {
            for _ in 0..PACKETS {
                if round == 0 {
                    echo.sent += u32::from(self.plain.send_to(b"sterna doctor", relayed).await.is_ok());
                } else {
                    let mut out = Batches::new(2000);
                    if let Some(mut lane) = self.client.lane(mapped, &mut out) {
                        lane.send((), 64, &mut |buffer| {
                            buffer[..13].copy_from_slice(b"sterna doctor");
                            13
                        });
                    }
                    self.flush(out).await;
                }
                let until = Instant::now() + GAP;
                while Instant::now() < until && echo.received == 0 {
                    self.turn(until, &mut echo).await;
                }
            }
            let until = Instant::now() + PATIENCE;
            while Instant::now() < until && echo.received == 0 && (round == 0 || echo.returned < PACKETS) {
                self.turn(until, &mut echo).await;
            }
            // What arrives shows that the ports are open; the rest need not be tried.
            if echo.received > 0 {
                break;
            }
        }
        echo
    }

    /// One thing that happens, until then.
    async fn turn(&mut self, until: Instant, echo: &mut Echo) {
        let now = self.clock.now();
        self.client.handle_timeout(now);
        let mut out = Batches::new(4000);
        self.client.poll_transmit(now, &mut out);
        self.flush(out).await;
        let due = self.client.poll_timeout().map_or(until, |at| {
            let wait = at.elapsed().saturating_sub(now.elapsed());
            until.min(Instant::now() + wait.max(Duration::from_millis(1)))
        });
        let (mut answer, mut packet) = ([0; 1500], [0; 1500]);
        tokio::select! {
            received = self.relay.recv_from(&mut answer) => {
                if let Ok((length, from)) = received && from == self.server {
                    let now = self.clock.now();
                    self.client.open(now, &mut answer[..length], &mut |_, data| {
                        echo.received += u32::from(data == b"sterna doctor");
                    });
                }
            }
            received = self.plain.recv_from(&mut packet) => {
                if let Ok((length, _)) = received {
                    echo.returned += u32::from(&packet[..length] == b"sterna doctor");
                }
            }
            () = sleep_until(due) => {}
        }
    }

    async fn flush(&self, mut out: Batches) {
        while let Some(batch) = out.pop() {
            for datagram in batch.datagrams() {
                let _ = self.relay.send_to(datagram, batch.path.remote).await;
            }
        }
    }

    /// Gives the allocation back; nobody waits for the answer.
    async fn end(&mut self) {
        let now = self.clock.now();
        self.client.close(now);
        let mut out = Batches::new(4000);
        self.client.poll_transmit(now, &mut out);
        self.flush(out).await;
    }
}
