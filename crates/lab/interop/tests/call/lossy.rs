use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use sansio::{Rng, Seed};
use sterna::IceCandidateInit;
use tokio::net::UdpSocket;

/// A place on the way that loses some packets of media: each side knows it as the other one's only address.
pub(crate) struct Lossy {
    /// Where we send to, and where Chromium does.
    fronts: [SocketAddr; 2],
    /// Where the two are, as their candidates or their packets told last: ours, Chromium's.
    homes: Arc<Mutex<[Option<SocketAddr>; 2]>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Lossy {
    pub(crate) async fn new(part: f64) -> Self {
        let ip = own_address().await;
        let sockets = [UdpSocket::bind((ip, 0)).await.unwrap(), UdpSocket::bind((ip, 0)).await.unwrap()];
        let fronts = [0, 1].map(|at| sockets[at].local_addr().unwrap());
        let sockets = sockets.map(Arc::new);
        let homes: Arc<Mutex<[Option<SocketAddr>; 2]>> = Arc::default();
        let tasks = [0, 1].map(|from| {
            let (sockets, homes) = (sockets.clone(), Arc::clone(&homes));
            tokio::spawn(async move {
                let mut dice = Rng::new(Seed::from(from as u64));
                let mut packet = [0; 2048];
                loop {
                    let Ok((length, sender)) = sockets[from].recv_from(&mut packet).await else { continue };
                    let to = {
                        let mut homes = homes.lock().unwrap_or_else(PoisonError::into_inner);
                        homes[from] = Some(sender);
                        homes[1 - from]
                    };
                    // RFC 7983 §7: RTP and RTCP.
                    let is_media = (128..192).contains(&packet[0]);
                    if let Some(to) = to.filter(|_| !is_media || dice.unit() >= part) {
                        let _ = sockets[1 - from].send_to(&packet[..length], to).await;
                    }
                }
            })
        });
        Self { fronts, homes, tasks: tasks.into() }
    }

    /// What Chromium is told in place of one of our candidates: of one only, it is the same place for all.
    pub(crate) fn ours(&self, candidate: &IceCandidateInit) -> Option<IceCandidateInit> {
        self.instead(0, candidate)
    }

    /// What we are told in place of one of Chromium's.
    pub(crate) fn theirs(&self, candidate: &IceCandidateInit) -> Option<IceCandidateInit> {
        self.instead(1, candidate)
    }

    fn instead(&self, whose: usize, candidate: &IceCandidateInit) -> Option<IceCandidateInit> {
        let words: Vec<&str> = candidate.candidate.split(' ').collect();
        let [_, _, transport, _, ip, port, ..] = words[..] else { return None };
        let address = SocketAddr::new(ip.parse().ok()?, port.parse().ok()?);
        let front = self.fronts[1 - whose];
        if !transport.eq_ignore_ascii_case("udp") || address.ip() != front.ip() {
            return None;
        }
        let mut homes = self.homes.lock().unwrap_or_else(PoisonError::into_inner);
        if homes[whose].replace(address).is_some() {
            return None;
        }
        let mut words: Vec<String> = words.into_iter().map(String::from).collect();
        (words[4], words[5]) = (front.ip().to_string(), front.port().to_string());
        Some(IceCandidateInit { candidate: words.join(" "), ..candidate.clone() })
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// The address from which this machine would speak to others: one that Chromium has, too. Nothing is sent.
async fn own_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
    socket.connect("192.0.2.1:9").await.unwrap();
    socket.local_addr().unwrap().ip()
}
