//! Questions to the system's DNS servers (RFC 1035).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, ResourceRecord, TYPE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use turn::discovery::{Record, RecordKind};

use crate::mdns::is_reasonable;

/// How long one server may take.
const PATIENCE: Duration = Duration::from_millis(600);
/// Servers that are asked, and how often.
const SERVERS: usize = 3;
const ROUNDS: usize = 2;

/// The records of a name: nothing if there are none, or no server answers.
pub(super) async fn ask(servers: &[SocketAddr], name: &str, kind: RecordKind) -> Vec<Record> {
    for _ in 0..ROUNDS {
        for server in &servers[..servers.len().min(SERVERS)] {
            match timeout(PATIENCE, ask_one(*server, name, kind)).await {
                Ok(Ok(records)) => return records,
                Ok(Err(error)) => tracing::debug!(%server, name, %error, "no answer from the DNS"),
                Err(_) => tracing::debug!(%server, name, "the DNS is silent"),
            }
        }
    }
    Vec::new()
}

async fn ask_one(server: SocketAddr, name: &str, kind: RecordKind) -> io::Result<Vec<Record>> {
    let [high, low, ..] = crypto::seed();
    let id = u16::from_be_bytes([high, low]);
    let request = request(id, name, kind)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no name for the DNS"))?;
    let local: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // Connected, to a port that the system draws: what comes is the server's, unless somebody guesses port and id.
    let socket = UdpSocket::bind((local, 0)).await?;
    socket.connect(server).await?;
    socket.send(&request).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let Some(answer) = answer(&buffer[..length], id, name, kind) else { continue };
        if !answer.has_flags(PacketFlag::TRUNCATION) {
            return Ok(told(&answer, kind));
        }
        let mut stream = TcpStream::connect(server).await?;
        let length = u16::try_from(request.len()).map_err(io::Error::other)?;
        stream.write_all(&[&length.to_be_bytes()[..], &request].concat()).await?;
        let mut long = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut long).await?;
        return match self::answer(&long, id, name, kind) {
            Some(answer) => Ok(told(&answer, kind)),
            None => Err(io::ErrorKind::InvalidData.into()),
        };
    }
}

/// A question to a server that looks further for us.
fn request(id: u16, name: &str, kind: RecordKind) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(question(name, kind)?);
    packet.build_bytes_vec().ok()
}

/// One question.
pub(super) fn question(name: &str, kind: RecordKind) -> Option<Question<'_>> {
    let kind = match kind {
        RecordKind::Naptr => TYPE::NAPTR,
        RecordKind::Srv => TYPE::SRV,
        RecordKind::Ptr => TYPE::PTR,
    };
    Some(Question::new(Name::new(name).ok()?, kind.into(), CLASS::IN.into(), false))
}

/// The answer to our question, if it is that.
fn answer<'a>(bytes: &'a [u8], id: u16, name: &str, kind: RecordKind) -> Option<Packet<'a>> {
    let packet = is_reasonable(bytes).then(|| Packet::parse(bytes).ok())??;
    let asked = question(name, kind)?;
    let repeated = |question: &Question<'_>| question.qname == asked.qname && question.qtype == asked.qtype;
    let ours = packet.id() == id && packet.questions.iter().any(repeated);
    (ours && packet.has_flags(PacketFlag::RESPONSE)).then_some(packet)
}

/// What it says. The names of the records may be others than the one asked for: it may be an alias.
fn told(packet: &Packet<'_>, kind: RecordKind) -> Vec<Record> {
    let records = packet.answers.iter().filter_map(record);
    records.filter(|(found, _)| *found == kind).map(|(_, record)| record).collect()
}

/// A record of a kind that matters.
pub(super) fn record(record: &ResourceRecord<'_>) -> Option<(RecordKind, Record)> {
    Some(match &record.rdata {
        RData::NAPTR(naptr) => (
            RecordKind::Naptr,
            Record::Naptr {
                order: naptr.order,
                preference: naptr.preference,
                flags: naptr.flags.to_string(),
                services: naptr.services.to_string(),
                regexp: naptr.regexp.to_string(),
                replacement: naptr.replacement.to_string(),
            },
        ),
        RData::SRV(srv) => (
            RecordKind::Srv,
            Record::Srv {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: srv.target.to_string(),
            },
        ),
        RData::PTR(ptr) => (RecordKind::Ptr, Record::Ptr(ptr.0.to_string())),
        _ => return None,
    })
}
