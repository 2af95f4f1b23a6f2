//! Whoever is nearest at an anycast address (RFC 8155 §6).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use sansio::{Rng, Seed};
use stun::{Class, Message, MessageWriter, Method, TransactionId, kind};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use turn::discovery::Record;

/// How often, and how far apart. An answer that takes longer is not from nearby.
const TRIES: usize = 3;
const GAP: Duration = Duration::from_millis(300);
/// UDP, as REQUESTED-TRANSPORT has it (RFC 8656 §18.7).
const UDP: u32 = 17 << 24;

/// Asks for an allocation without credentials. One who is there says where to go (300), or wants to know who is asking.
pub(super) async fn ask(server: SocketAddr) -> Vec<Record> {
    let found = ask_for(server).await;
    found.map(Record::Anycast).into_iter().collect()
}

async fn ask_for(server: SocketAddr) -> Option<Option<SocketAddr>> {
    let local: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((local, 0)).await.ok()?;
    socket.connect(server).await.ok()?;
    let mut rng = Rng::new(Seed(crypto::seed()));
    let id = TransactionId::random(&mut rng);
    let allocate = request(Method::ALLOCATE, id, kind::REQUESTED_TRANSPORT, UDP);
    let mut buffer = [0; 1500];
    for _ in 0..TRIES {
        // Where there is no way to it this fails, at once or by ICMP.
        socket.send(&allocate).await.ok()?;
        let answer = async {
            loop {
                let length = socket.recv(&mut buffer).await.ok()?;
                if let Some(answer) = read(&buffer[..length], id) {
                    return Some(answer);
                }
            }
        };
        match timeout(GAP, answer).await {
            Ok(Some(Answer::Elsewhere(server))) => return Some(Some(server)),
            Ok(Some(Answer::Here { allocated })) => {
                if allocated {
                    // Nobody was meant to relay yet.
                    let release =
                        request(Method::REFRESH, TransactionId::random(&mut rng), kind::LIFETIME, 0);
                    let _ = socket.send(&release).await;
                }
                return Some(None);
            }
            Ok(None) => return None,
            Err(_) => {}
        }
    }
    None
}

enum Answer {
    Elsewhere(SocketAddr),
    Here { allocated: bool },
}

fn read(bytes: &[u8], id: TransactionId) -> Option<Answer> {
    let message = Message::parse(bytes).ok().filter(|message| message.transaction_id() == id)?;
    match message.class() {
        Class::Error => {
            let elsewhere =
                message.alternate_server().filter(|_| message.error_code().is_some_and(|it| it.code == 300));
            Some(elsewhere.map_or(Answer::Here { allocated: false }, Answer::Elsewhere))
        }
        Class::Success => Some(Answer::Here { allocated: true }),
        _ => None,
    }
}

fn request(method: Method, id: TransactionId, kind: stun::AttributeKind, value: u32) -> Vec<u8> {
    let mut buffer = vec![0; 64];
    let mut writer = MessageWriter::new(&mut buffer, Class::Request, method, id);
    writer.u32(kind, value);
    let length = writer.finish().expect("64 bytes are enough for a header and a number");
    buffer.truncate(length);
    buffer
}
