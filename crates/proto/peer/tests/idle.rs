//! What a connection costs that is open and idle: memory, time, packets.

use std::time::Duration;

use sansio::{Batches, Datagram, Machine as _, Seed, SocketOp, SocketReply, Time};
use sterna_peer::{
    ChannelId, Configuration, Connection, ConnectionId, DataChannelInit, Event, Hub, HubConfig, MessageKind,
};

/// A hub with connections, and the other ends. The wire between takes no time.
struct Crowd {
    now: Time,
    hub: Hub,
    guests: Vec<Box<Connection>>,
    /// What seeds are counted from.
    seed: u64,
    ids: Vec<ConnectionId>,
    wire: Batches,
    opened: Vec<Option<ChannelId>>,
}

fn certificate() -> crypto::Certificate {
    static CERTIFICATE: std::sync::OnceLock<crypto::Certificate> = std::sync::OnceLock::new();
    CERTIFICATE.get_or_init(|| crypto::Certificate::generate().unwrap()).clone()
}

fn connection(now: Time, seed: u64, address: [u8; 4]) -> Connection {
    let mut configuration = Configuration::new(Seed::from(seed), certificate());
    configuration.interfaces = vec![ice::Interface::new("eth0", address.into())];
    Connection::new(now, configuration)
}

impl Crowd {
    fn new(seed: u64) -> Self {
        let now = Time::ZERO;
        let listening = vec!["192.0.2.1:4000".parse().unwrap()];
        let mut hub = Hub::new(HubConfig { listening, ..HubConfig::new(Seed::from(7)) });
        while let Some(op) = hub.poll_socket() {
            let SocketOp::Bind { ticket, local } = op else { panic!("{op:?}") };
            hub.handle_socket(now, SocketReply::Bound { ticket, local });
        }
        let wire = Batches::new(1 << 26);
        Self { now, hub, guests: Vec::new(), seed, ids: Vec::new(), wire, opened: Vec::new() }
    }

    /// So many come, and everybody is told who the other is.
    fn come(&mut self, count: usize) {
        let now = self.now;
        for number in self.guests.len()..self.guests.len() + count {
            let [_, _, high, low] = (number as u32 + 1).to_be_bytes();
            let Self { guests, seed, .. } = self;
            let seed = *seed + 2 * number as u64;
            let mut guest = connection(now, seed, [198, 18, high, low]);
            guest.create_data_channel(now, "chat", DataChannelInit::default()).unwrap();
            guest.set_local_description(now, None).unwrap();
            while let Some(op) = guest.poll_socket() {
                let SocketOp::Bind { ticket, local } = op else { panic!("{op:?}") };
                let local = (local.ip(), 5000).into();
                guest.handle_socket(now, SocketReply::Bound { ticket, local });
            }
            let offer = guest.local_description().unwrap();
            guests.push(Box::new(guest));
            let id = self.hub.insert(now, connection(now, seed + 1, [192, 0, 2, 1])).ok().unwrap();
            self.ids.push(id);
            self.opened.push(None);
            let answer = self.hub.with(now, id, |here| {
                here.set_remote_description(now, offer).unwrap();
                here.set_local_description(now, None).unwrap();
            });
            answer.unwrap();
            let answer = self.hub.with(now, id, |here| here.local_description().unwrap()).unwrap();
            let guest = &mut guests[number];
            guest.set_remote_description(now, answer).unwrap();
        }
    }

    /// Everybody takes turns until nobody has anything to say.
    fn settle(&mut self) -> usize {
        let (now, mut packets) = (self.now, 0);
        loop {
            self.hub.handle_timeout(now);
            self.hub.poll_transmit(now, &mut self.wire);
            while let Some((id, event)) = self.hub.poll_event() {
                if let Event::ChannelOpened { id: channel, .. } = event {
                    let at = self.ids.iter().position(|other| *other == id).unwrap();
                    self.opened[at] = Some(channel);
                }
            }
            let Self { guests, wire, .. } = self;
            for guest in guests.iter_mut().filter(|guest| guest.poll_timeout().is_none_or(|at| at <= now)) {
                guest.handle_timeout(now);
                guest.poll_transmit(now, wire);
                while guest.poll_event().is_some() {}
            }
            let mut any = false;
            while let Some(batch) = self.wire.pop() {
                let from = batch.path.reversed();
                for datagram in batch.datagrams() {
                    (any, packets) = (true, packets + 1);
                    let mut payload = datagram.to_vec();
                    let datagram = Datagram { from, payload: &mut payload };
                    if from.local.port() == 4000 {
                        self.hub.handle_datagram(now, datagram, &mut self.wire);
                    } else {
                        let std::net::IpAddr::V4(ip) = from.local.ip() else { unreachable!() };
                        let [_, _, high, low] = ip.octets();
                        let guest = &mut self.guests[usize::from(high) * 256 + usize::from(low) - 1];
                        let wire = &mut self.wire;
                        guest.handle_datagram(now, datagram, wire);
                        guest.poll_transmit(now, wire);
                        while guest.poll_event().is_some() {}
                    }
                }
                self.wire.recycle(batch);
            }
            if !any {
                return packets;
            }
        }
    }

    /// The next moment at which somebody has something to do.
    fn next(&self) -> Option<Time> {
        let guests = self.guests.iter().filter_map(|guest| guest.poll_timeout());
        guests.chain(self.hub.poll_timeout()).min()
    }

    /// Lets time go on. Returns how many packets there were, and how often somebody was woken.
    fn run(&mut self, duration: Duration) -> (usize, usize) {
        let end = self.now + duration;
        let (mut packets, mut wakes) = (self.settle(), 0);
        while let Some(at) = self.next().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            packets += self.settle();
            wakes += 1;
        }
        self.now = end;
        (packets, wakes)
    }

    fn open(&mut self) {
        for _ in 0..100 {
            if self.opened.iter().all(Option::is_some) {
                return;
            }
            self.run(Duration::from_millis(50));
        }
        panic!("{} are not open", self.opened.iter().filter(|opened| opened.is_none()).count());
    }
}

#[test]
fn an_idle_connection_takes_less_than_40_kilobytes() {
    const COUNT: usize = 200;
    let mut crowd = Crowd::new(0);
    crowd.come(COUNT);
    crowd.open();
    crowd.run(Duration::from_secs(60));
    let channel = crowd.opened[7].unwrap();
    let (id, now) = (crowd.ids[7], crowd.now);
    crowd.hub.with(now, id, |here| here.send(now, channel, MessageKind::Text, b"awake").unwrap()).unwrap();
    assert!(crowd.settle() > 0);
    // What the hub has is what it gives back, its tables included.
    let Crowd { hub, .. } = crowd;
    let freed = allocation_counter::measure(|| drop(hub)).bytes_current;
    let each = usize::try_from(-freed).unwrap() / COUNT;
    println!("{each} bytes each, of them {} the machine itself", size_of::<Connection>());
    assert!(each < 40 * 1024, "{each} bytes");
}

#[test]
fn an_idle_connection_is_woken_for_consent_checks_alone() {
    const COUNT: usize = 20;
    const MINUTES: usize = 10;
    let mut crowd = Crowd::new(0);
    crowd.come(COUNT);
    crowd.open();
    crowd.run(Duration::from_secs(60));
    let (packets, wakes) = crowd.run(Duration::from_secs(60 * MINUTES as u64));
    let each = |count: usize| count as f64 / (COUNT * MINUTES) as f64;
    let (packets, wakes) = (each(packets), each(wakes));
    println!("{packets:.1} packets and {wakes:.1} wake-ups a connection and minute, both ends together");
    // A check every 5 seconds on average from either end (RFC 7675 §5.1), and its answer.
    assert!(packets <= 50.0, "{packets} packets");
    // For each check when it is due, and when it is forgotten if no answer comes; nothing else.
    assert!(wakes <= 50.0, "{wakes} wake-ups");
}

#[test]
fn opening_many_at_once_costs_each_what_it_costs_one() {
    // What is allocated, and what goes over the wire, is the same every time; what a machine's clock says is not.
    let cost = |seed: u64, count: usize| {
        let mut crowd = Crowd::new(seed);
        let mut packets = 0;
        let all = allocation_counter::measure(|| {
            crowd.come(count);
            packets = crowd.run(Duration::from_secs(2)).0;
        });
        assert!(crowd.opened.iter().all(Option::is_some));
        [all.count_total as f64, all.bytes_total as f64, packets as f64]
    };
    const ALONE: usize = 50;
    let mut alone = [0.0; 3];
    for seed in 0..ALONE {
        let one = cost(2 * seed as u64, 1);
        alone.iter_mut().zip(one).for_each(|(sum, one)| *sum += one / ALONE as f64);
    }
    let many = cost(0, 1000).map(|all| all / 1000.0);
    println!("allocations, bytes, packets: {alone:?} for one alone, {many:?} for each of 1000");
    // Bytes: all of their packets are on the wire at once, and the tables that they share grow by doubling.
    let most = [1.01, 1.05, 1.01];
    let costs_more = (0..3).any(|at| many[at] > alone[at] * most[at]);
    assert!(!costs_more, "{alone:?} {many:?}");
}
