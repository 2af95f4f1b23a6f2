use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use sansio::{Datagram, Machine, Outbox, Path, SocketOp, SocketReply, Ticket, Time, Transport};

/// The port that an HTTP proxy listens on.
const PORT: u16 = 3128;
/// What waits for one side of a tunnel while the other is opened; more is dropped with the tunnel.
const WAITING: usize = 64;

/// An HTTP proxy that knows one method, `CONNECT` (RFC 9110 §9.3.6): what an office puts in front of the internet.
///
/// It listens with [`Net::listen`](crate::Net::listen) on any port, [`HttpProxy::PORT`] by custom. A stream's first
/// message is the request, `CONNECT host:port HTTP/1.1` and an empty line, with a name or an address; after the
/// answer `HTTP/1.1 200 …` every message goes through, both ways. The preset `http-proxy` puts one in.
///
/// Machines need not know it: [`Net::set_proxy`](crate::Net::set_proxy) lets the hosts of a network ask it, as their
/// systems would.
#[derive(Debug, Default)]
pub struct HttpProxy {
    /// Ports that it connects to; all if there are none.
    allowed: Vec<u16>,
    /// From one end of a tunnel to the other, both ways.
    tunnels: BTreeMap<Path, Path>,
    asked: BTreeMap<Ticket, Asked>,
    next_ticket: u64,
    to_send: VecDeque<(Path, Vec<u8>)>,
    to_ask: VecDeque<SocketOp>,
}

/// Somebody waits for a name or a connection.
#[derive(Debug)]
struct Asked {
    client: Path,
    port: u16,
    /// What the client has sent meanwhile.
    waiting: Vec<Vec<u8>>,
}

impl HttpProxy {
    /// 3128.
    pub const PORT: u16 = PORT;

    /// One that connects to these ports alone, and refuses others (403).
    pub fn only_to(ports: impl Into<Vec<u16>>) -> Self {
        Self { allowed: ports.into(), ..Self::default() }
    }

    fn request(&mut self, client: Path, message: &[u8]) {
        let text = String::from_utf8_lossy(message);
        let target = text.strip_prefix("CONNECT ").and_then(|rest| rest.split_once(" HTTP/1."));
        let Some((host, port)) = target.and_then(|(target, _)| target.rsplit_once(':')) else {
            return self.refuse(client, "405 Method Not Allowed");
        };
        let Ok(port) = port.parse() else { return self.refuse(client, "400 Bad Request") };
        if !self.allowed.is_empty() && !self.allowed.contains(&port) {
            return self.refuse(client, "403 Forbidden");
        }
        let ticket = self.ticket(Asked { client, port, waiting: Vec::new() });
        let name = host.trim_matches(['[', ']']).to_owned();
        self.to_ask.push_back(SocketOp::Resolve { ticket, name });
    }

    fn ticket(&mut self, asked: Asked) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.asked.insert(ticket, asked);
        ticket
    }

    fn refuse(&mut self, client: Path, status: &str) {
        self.to_send.push_back((client, format!("HTTP/1.1 {status}\r\n\r\n").into_bytes()));
    }

    fn connect(&mut self, asked: Asked, address: std::net::IpAddr) {
        let remote = SocketAddr::new(address, asked.port);
        let ticket = self.ticket(asked);
        let (transport, server_name) = (Transport::Tcp, String::new());
        self.to_ask.push_back(SocketOp::Connect { ticket, transport, local: None, remote, server_name });
    }

    fn join(&mut self, asked: Asked, server: Path) {
        self.tunnels.insert(asked.client, server);
        self.tunnels.insert(server, asked.client);
        self.refuse(asked.client, "200 Connection Established");
        self.to_send.extend(asked.waiting.into_iter().map(|message| (server, message)));
    }
}

impl Machine for HttpProxy {
    type Addr = Path;
    type Event = ();

    fn handle_datagram(&mut self, _: Time, datagram: Datagram<'_>, _: &mut dyn Outbox) {
        let from = datagram.from;
        if let Some(&to) = self.tunnels.get(&from) {
            return self.to_send.push_back((to, datagram.payload.to_vec()));
        }
        match self.asked.values_mut().find(|asked| asked.client == from) {
            Some(asked) if asked.waiting.len() < WAITING => asked.waiting.push(datagram.payload.to_vec()),
            Some(_) => {}
            None => self.request(from, datagram.payload),
        }
    }

    fn handle_timeout(&mut self, _: Time) {}

    fn poll_transmit(&mut self, _: Time, out: &mut dyn Outbox) {
        while let Some((path, message)) = self.to_send.front() {
            if !out.send_bytes(*path, message) {
                return;
            }
            self.to_send.pop_front();
        }
    }

    fn poll_event(&mut self) -> Option<()> {
        None
    }

    fn poll_timeout(&self) -> Option<Time> {
        None
    }

    fn poll_socket(&mut self) -> Option<SocketOp> {
        self.to_ask.pop_front()
    }

    fn handle_socket(&mut self, _: Time, reply: SocketReply) {
        match reply {
            SocketReply::Resolved { ticket, addresses } => {
                if let (Some(asked), Some(&address)) = (self.asked.remove(&ticket), addresses.first()) {
                    self.connect(asked, address);
                }
            }
            SocketReply::Connected { ticket, path } => {
                match self.asked.remove(&ticket) {
                    Some(asked) => self.join(asked, path),
                    None => self.to_ask.push_back(SocketOp::Disconnect { path }), // the client has gone
                }
            }
            SocketReply::Failed { ticket, .. } => {
                if let Some(asked) = self.asked.remove(&ticket) {
                    self.refuse(asked.client, "502 Bad Gateway");
                }
            }
            SocketReply::Disconnected { path, .. } => {
                self.asked.retain(|_, asked| asked.client != path);
                if let Some(other) = self.tunnels.remove(&path) {
                    self.tunnels.remove(&other);
                    self.to_ask.push_back(SocketOp::Disconnect { path: other });
                }
            }
            SocketReply::Bound { .. } | SocketReply::Located { .. } => {}
        }
    }
}
