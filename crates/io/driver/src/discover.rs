//! Asks the network for its relays (RFC 8155): the system's DNS, multicast DNS and the anycast addresses, all at once.

mod anycast;
mod dns;
mod local;
mod resolv_conf;

use std::net::SocketAddr;
use std::time::Duration;

use sansio::Seed;
use tokio::task::JoinSet;
use tokio::time::Instant;
use turn::discovery::{Config, Discovery, Question, Record, Relay};

use crate::multicast::Scope;
use local::Local;
use resolv_conf::ResolvConf;

/// What to ask, and whom. The default is what the system knows, and all three ways.
#[derive(Clone, Debug)]
pub struct DiscoverOptions {
    /// The domains to look into; if empty, those that the system searches (which DHCP usually has told it).
    pub domains: Vec<String>,
    /// The DNS servers to ask; if empty, the system's.
    pub nameservers: Vec<SocketAddr>,
    /// Whether to ask the local network by multicast DNS.
    pub mdns: bool,
    /// Whether to send an Allocate request, without credentials, to the anycast addresses. Where no relay listens to
    /// them, that may leave the network (RFC 8155 §9.3).
    pub anycast: bool,
    /// How long it may take, and takes if there is nobody.
    pub patience: Duration,
    scope: Scope,
}

impl Default for DiscoverOptions {
    fn default() -> Self {
        Self {
            domains: Vec::new(),
            nameservers: Vec::new(),
            mdns: true,
            anycast: true,
            patience: Duration::from_millis(1800),
            scope: Scope::default(),
        }
    }
}

/// The relays that the network offers, the preferred first. Before one is used, read whom to trust:
/// [`turn::discovery`].
pub async fn discover(options: DiscoverOptions) -> Vec<Relay> {
    let system = ResolvConf::read();
    let or = |given: Vec<String>, system: Vec<String>| if given.is_empty() { system } else { given };
    let nameservers = if options.nameservers.is_empty() { system.nameservers } else { options.nameservers };
    let families = [true, false].map(|v4| {
        let ours = crate::interfaces();
        options.anycast && ours.iter().any(|one| one.address.is_ipv4() == v4 && !one.address.is_loopback())
    });
    let mut machine = Discovery::new(Config {
        domains: or(options.domains, system.search),
        mdns: options.mdns,
        anycast: families,
        ..Config::new(Seed(crypto::seed()))
    });
    let deadline = Instant::now() + options.patience;
    let mut local = if options.mdns { Local::open(options.scope) } else { None };
    let mut tasks: JoinSet<(Question, Vec<Record>)> = JoinSet::new();
    loop {
        while let Some(question) = machine.poll_question() {
            match (&question, &mut local) {
                (Question::Anycast(address), _) => {
                    let address = *address;
                    tasks.spawn(async move { (question, anycast::ask(address).await) });
                }
                (_, Some(local)) if question.is_multicast() => {
                    let known = local.ask(&question);
                    if !known.is_empty() {
                        machine.handle_answer(&question, known);
                    }
                }
                (Question::Dns { .. }, _) if question.is_multicast() => {
                    machine.handle_answer(&question, Vec::new());
                }
                (Question::Dns { .. }, _) => answer_by_dns(&mut tasks, &nameservers, question),
            }
        }
        if machine.is_finished() {
            break;
        }
        let heard = async {
            match &mut local {
                Some(local) => local.hear().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(done) = tasks.join_next() => {
                if let Ok((question, records)) = done {
                    machine.handle_answer(&question, records);
                }
            }
            heard = heard => {
                for (question, records) in heard {
                    machine.handle_answer(&question, records);
                }
            }
            () = tokio::time::sleep_until(deadline) => break,
        }
    }
    machine.relays()
}

/// Has DNS servers answer a question about a name.
pub(crate) fn answer_by_dns(
    tasks: &mut JoinSet<(Question, Vec<Record>)>,
    servers: &[SocketAddr],
    question: Question,
) {
    let Question::Dns { name, kind } = &question else { return };
    let (servers, name, kind) = (servers.to_vec(), name.clone(), *kind);
    tasks.spawn(async move { (question, dns::ask(&servers, &name, kind).await) });
}

/// The DNS servers that the system asks.
pub(crate) fn system_nameservers() -> Vec<SocketAddr> {
    ResolvConf::read().nameservers
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use simple_dns::rdata::{NAPTR, PTR, RData, SRV};
    use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, ResourceRecord, TYPE};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, UdpSocket};
    use turn::discovery::Found;

    use super::*;
    use crate::multicast::Multicast;

    fn name(text: &str) -> Name<'_> {
        Name::new(text).unwrap()
    }

    pub(crate) fn srv(owner: &'static str, port: u16, target: &'static str) -> ResourceRecord<'static> {
        let srv = SRV { priority: 0, weight: 0, port, target: name(target) };
        ResourceRecord::new(name(owner), CLASS::IN, 60, RData::SRV(srv))
    }

    fn zone() -> Vec<ResourceRecord<'static>> {
        let naptr = NAPTR {
            order: 1,
            preference: 1,
            flags: "s".try_into().unwrap(),
            services: "RELAY:turn.tls".try_into().unwrap(),
            regexp: "".try_into().unwrap(),
            replacement: name("_turns._tcp.office.example"),
        };
        vec![
            ResourceRecord::new(name("office.example"), CLASS::IN, 60, RData::NAPTR(naptr)),
            srv("_turns._tcp.office.example", 443, "relay.office.example"),
        ]
    }

    /// What a DNS server with `zone` answers.
    fn answer(request: &[u8], zone: &[ResourceRecord<'static>]) -> Vec<u8> {
        let request = Packet::parse(request).unwrap();
        let mut reply = Packet::new_reply(request.id());
        reply.questions = request.questions.clone();
        for question in &request.questions {
            let fits = |one: &&ResourceRecord<'_>| {
                one.name == question.qname && question.qtype == QTYPE::TYPE(one.rdata.type_code())
            };
            reply.answers.extend(zone.iter().filter(fits).cloned());
        }
        reply.build_bytes_vec().unwrap()
    }

    /// A DNS server on loopback that answers by TCP alone what `long` has, as if it were too long for a datagram.
    pub(crate) async fn nameserver(
        zone: Vec<ResourceRecord<'static>>,
        long: Vec<ResourceRecord<'static>>,
    ) -> SocketAddr {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = udp.local_addr().unwrap();
        let tcp = TcpListener::bind(address).await.unwrap();
        let all = [zone.clone(), long.clone()].concat();
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
                let mut bytes = answer(&buffer[..length], &zone);
                if !Packet::parse(&answer(&buffer[..length], &long)).unwrap().answers.is_empty() {
                    bytes[2] |= 2; // TC
                }
                // A forger's guess comes first, and is not believed.
                let mut forged =
                    answer(&buffer[..length], &[srv("_turns._tcp.office.example", 1, "evil.example")]);
                forged[0] ^= 0xff;
                let _ = udp.send_to(&forged, from).await;
                let _ = udp.send_to(&bytes, from).await;
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let mut request = vec![0; usize::from(stream.read_u16().await.unwrap())];
                stream.read_exact(&mut request).await.unwrap();
                let bytes = answer(&request, &all);
                stream.write_u16(u16::try_from(bytes.len()).unwrap()).await.unwrap();
                stream.write_all(&bytes).await.unwrap();
            }
        });
        address
    }

    fn alone(nameservers: Vec<SocketAddr>) -> DiscoverOptions {
        DiscoverOptions {
            domains: vec!["office.example".into()],
            nameservers,
            mdns: false,
            anycast: false,
            patience: Duration::from_secs(10),
            scope: Scope::Loopback,
        }
    }

    #[tokio::test]
    async fn the_dns_of_the_domain_names_a_relay() {
        let dead = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let server = nameserver(zone(), Vec::new()).await;
        let relays = discover(alone(vec![dead.local_addr().unwrap(), server])).await;
        let urls: Vec<String> = relays.iter().map(Relay::url).collect();
        assert_eq!(urls, ["turns:relay.office.example:443?transport=tcp"]);
        assert_eq!((relays[0].identity.as_str(), relays[0].found), ("office.example", Found::Dns));
    }

    #[tokio::test]
    async fn what_is_too_long_for_a_datagram_is_asked_for_by_tcp() {
        let zone = zone();
        let server = nameserver(zone[..1].to_vec(), zone[1..].to_vec()).await;
        let relays = discover(alone(vec![server])).await;
        assert_eq!(relays.len(), 1, "{relays:?}");
    }

    #[tokio::test]
    async fn a_relay_of_the_local_network_announces_itself() {
        let mut responder = Multicast::open(Scope::Loopback).unwrap();
        tokio::spawn(async move {
            loop {
                let (_, message) = responder.receive().await;
                let Ok(packet) = Packet::parse(&message) else { continue };
                let service = "_turn._udp.local";
                let asked = |question: &simple_dns::Question<'_>| {
                    question.qname == name(service) && question.qtype == QTYPE::TYPE(TYPE::PTR)
                };
                if packet.has_flags(PacketFlag::RESPONSE) || !packet.questions.iter().any(asked) {
                    continue;
                }
                let mut reply = Packet::new_reply(0);
                reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
                let instance = PTR(name(r"The v1\.2 box._turn._udp.local"));
                reply.answers.push(ResourceRecord::new(name(service), CLASS::IN, 120, RData::PTR(instance)));
                reply.additional_records.push(srv(r"The v1\.2 Box._turn._udp.local", 3478, "box.local"));
                responder.send(&reply.build_bytes_vec().unwrap());
            }
        });
        let options =
            DiscoverOptions { mdns: true, patience: Duration::from_millis(1500), ..alone(Vec::new()) };
        let relays = discover(options).await;
        let found: Vec<_> = relays.iter().map(|relay| (relay.url(), relay.found)).collect();
        assert_eq!(found, [("turn:box.local:3478?transport=udp".to_owned(), Found::Mdns)]);
    }

    #[tokio::test]
    async fn whoever_is_at_the_anycast_address_tells_where_to_go() {
        for alternate in [Some("198.51.100.7:3479".parse::<SocketAddr>().unwrap()), None] {
            let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let address = server.local_addr().unwrap();
            let asked = tokio::spawn(anycast::ask(address));
            let mut buffer = [0; 1500];
            let (length, from) = server.recv_from(&mut buffer).await.unwrap();
            let request = stun::Message::parse(&buffer[..length]).unwrap();
            assert_eq!(request.method(), stun::Method::ALLOCATE);
            let mut answer = [0; 200];
            let mut writer = stun::MessageWriter::answer(&mut answer, stun::Class::Error, &request);
            match alternate {
                Some(alternate) => {
                    writer.error_code(300, "").address(stun::kind::ALTERNATE_SERVER, alternate);
                }
                None => {
                    writer.error_code(401, "").string(stun::kind::REALM, "a").string(stun::kind::NONCE, "b");
                }
            }
            let length = writer.finish().unwrap();
            server.send_to(&answer[..length], from).await.unwrap();
            assert_eq!(asked.await.unwrap(), [Record::Anycast(alternate)]);
        }
        // Nobody there.
        let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        assert_eq!(anycast::ask(silent.local_addr().unwrap()).await, []);
        assert!(IpAddr::from(turn::discovery::ANYCAST_V4).is_ipv4());
    }
}
