//! What happens to a network while it runs: hosts that sleep, clocks that jump, interfaces that come and go.

mod lab;

use std::net::SocketAddr;
use std::time::Duration;

use lab::{PORT, ms, puppet, received, replies, send};
use sansio::{Datagram, Machine, Outbox, Path, SocketOp, SocketReply, Ticket, Time, Transport};
use sterna_netsim::{Cause, NatBehaviour, Net, Preset, Puppet};

/// Notes when it was woken, every second by its own clock.
struct Metronome {
    next: Time,
    beats: Vec<Time>,
}

impl Machine for Metronome {
    type Addr = Path;
    type Event = ();
    fn handle_datagram(&mut self, _: Time, _: Datagram<'_>, _: &mut dyn Outbox) {}
    fn handle_timeout(&mut self, now: Time) {
        if self.next <= now {
            self.beats.push(now);
            self.next = now + Duration::from_secs(1);
        }
    }
    fn poll_transmit(&mut self, _: Time, _: &mut dyn Outbox) {}
    fn poll_event(&mut self) -> Option<()> {
        None
    }
    fn poll_timeout(&self) -> Option<Time> {
        Some(self.next)
    }
}

fn seconds(beats: &[Time]) -> Vec<u64> {
    beats.iter().map(|beat| beat.elapsed().as_secs()).collect()
}

#[test]
fn a_sleeper_misses_what_happens_and_its_clock_stands_still() {
    let mut net = Net::new(1);
    let host = net.add_host("laptop", &[Net::INTERNET]);
    net.start(host, Metronome { next: Time::ZERO, beats: Vec::new() });
    net.run_for(ms(2500));
    net.suspend(host);
    net.run_for(Duration::from_secs(100));
    assert!(net.is_asleep(host));
    assert_eq!(net.machine::<Metronome>(host).beats.len(), 3);
    net.resume(host);
    net.run_for(ms(2600));
    assert_eq!(seconds(&net.machine::<Metronome>(host).beats), [0, 1, 2, 3, 4, 5]);
    assert_eq!((net.now().elapsed(), net.clock(host).elapsed()), (ms(105_100), ms(5100)));
}

#[test]
fn a_clock_that_jumps_makes_everything_due_that_would_have_been() {
    let mut net = Net::new(1);
    let host = net.add_host("machine", &[Net::INTERNET]);
    net.start(host, Metronome { next: Time::ZERO, beats: Vec::new() });
    net.run_for(ms(1500));
    net.jump_clock(host, Duration::from_secs(60));
    net.run_for(ms(1500));
    assert_eq!(seconds(&net.machine::<Metronome>(host).beats), [0, 1, 61, 62]);
    assert_eq!(net.with(host, |_: &mut Metronome, now| now), net.clock(host));
}

#[test]
fn nothing_reaches_a_sleeper_and_what_it_asked_for_is_answered_when_it_wakes() {
    let mut net = Net::new(1);
    let [laptop, friend] = ["laptop", "friend"].map(|name| puppet(&mut net, name, Net::INTERNET));
    net.set_name("relay.example", &[net.address(friend)]);
    let op = SocketOp::Resolve { ticket: Ticket(1), name: "relay.example".to_owned() };
    net.machine_mut::<Puppet>(laptop).ask(op);
    net.run_for(ms(1));
    net.suspend(laptop);
    let to = net.socket(laptop, PORT);
    send(&mut net, friend, to, "are you there?");
    assert_eq!(net.trace().drops().last().unwrap().1, Cause::Asleep);
    // A wish that somebody has for it waits too.
    let back = Path::udp(to, net.socket(friend, PORT));
    net.machine_mut::<Puppet>(laptop).send(back, b"good morning");
    net.run_for(Duration::from_secs(5));
    assert_eq!(received(&mut net, friend), []);
    assert_eq!(replies(&mut net, laptop), []);
    net.resume(laptop);
    net.run_for(ms(100));
    assert!(matches!(replies(&mut net, laptop)[..], [SocketReply::Resolved { .. }]));
    assert_eq!(received(&mut net, friend), [(to, "good morning".to_owned())]);
}

#[test]
fn a_stream_outlives_a_nap_and_a_quiet_night_but_not_what_nobody_takes() {
    for (sleeps, talks, survives) in [(5, true, true), (3600, false, true), (60, true, false)] {
        let mut net = Net::new(1);
        let [laptop, server] = ["laptop", "server"].map(|name| puppet(&mut net, name, Net::INTERNET));
        let remote = net.socket(server, 443);
        net.listen(server, Transport::Tcp, remote).unwrap();
        let (ticket, transport, server_name) = (Ticket(1), Transport::Tcp, String::new());
        let op = SocketOp::Connect { ticket, transport, local: None, remote, server_name };
        net.machine_mut::<Puppet>(laptop).ask(op);
        net.run_for(ms(100));
        let [SocketReply::Connected { path, .. }] = replies(&mut net, laptop)[..] else {
            panic!("no stream")
        };
        net.machine_mut::<Puppet>(laptop).send(path, b"hello");
        net.run_for(ms(100));
        net.suspend(laptop);
        if talks {
            net.machine_mut::<Puppet>(server).send(path.reversed(), b"are you there?");
        }
        net.run_for(Duration::from_secs(sleeps));
        net.resume(laptop);
        net.run_for(Duration::from_secs(30));
        assert_eq!(received(&mut net, laptop).len(), usize::from(talks && survives));
        net.machine_mut::<Puppet>(laptop).send(path, b"good morning");
        net.run_for(Duration::from_secs(30));
        let broken = matches!(replies(&mut net, laptop)[..], [SocketReply::Disconnected { .. }]);
        assert_eq!(broken, !survives, "after {sleeps} s");
    }
}

#[test]
fn a_host_goes_from_one_network_to_another() {
    let mut net = Net::new(1);
    let wifi = net.add_preset(Net::INTERNET, "wifi", Preset::HomeRouter);
    let mobile = net.add_preset(Net::INTERNET, "mobile", Preset::MobileCgn);
    let server = puppet(&mut net, "server", Net::INTERNET);
    let phone = puppet(&mut net, "phone", wifi);
    let to = net.socket(server, PORT);
    send(&mut net, phone, to, "by Wi-Fi");
    assert_eq!(received(&mut net, server)[0].0.ip(), net.external_address(wifi));
    net.leave(phone, wifi);
    assert!(net.addresses(phone).is_empty());
    net.join(phone, mobile);
    let local = net.socket(phone, PORT);
    net.bind(phone, local).unwrap();
    send(&mut net, phone, to, "by mobile");
    let from = received(&mut net, server)[0].0;
    assert!(net.external_addresses(mobile).contains(&from.ip()));
    // Back at home it has another address.
    net.join(phone, wifi);
    assert_eq!(net.addresses(phone).len(), 2);
}

#[test]
fn a_renumbered_pool_is_another_pool() {
    let mut net = Net::new(1);
    let behaviour = NatBehaviour { pool: 3, ..NatBehaviour::symmetric() };
    let home = net.add_network(Net::INTERNET, "home", behaviour);
    let old = net.external_addresses(home).to_vec();
    let first = net.renumber(home);
    let new = net.external_addresses(home).to_vec();
    assert_eq!((new[0], new.len()), (first, 3));
    assert!(new.iter().all(|address| !old.contains(address)));
    let (inner, server) = (puppet(&mut net, "inner", home), puppet(&mut net, "server", Net::INTERNET));
    let to = net.socket(server, PORT);
    send(&mut net, inner, to, "hello");
    let from = received(&mut net, server)[0].0;
    assert!(new.contains(&from.ip()));
    send(&mut net, server, from, "back");
    assert_eq!(received(&mut net, inner).len(), 1);
}

#[test]
fn nets_run_side_by_side_in_threads() {
    fn is_send<T: Send>(_: &T) {}
    let nets: Vec<Net> = (0..4)
        .map(|seed| {
            let mut net = Net::new(seed);
            let [a, b] = ["a", "b"].map(|name| puppet(&mut net, name, Net::INTERNET));
            let path = Path::udp(net.socket(a, PORT), net.socket(b, PORT));
            net.after(ms(10), move |net| net.machine_mut::<Puppet>(a).send(path, b"hello"));
            net
        })
        .collect();
    is_send(&nets[0]);
    let threads = nets.into_iter().map(|mut net| {
        std::thread::spawn(move || {
            net.run_for(Duration::from_secs(1));
            net
        })
    });
    let threads: Vec<_> = threads.collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap().trace().records().len(), 2);
    }
}

#[test]
fn a_latest_trace_keeps_its_end_and_a_trace_that_is_off_only_counts() {
    let run = |prepare: fn(&mut Net)| {
        let mut net = Net::new(1);
        prepare(&mut net);
        let [a, b] = ["a", "b"].map(|name| puppet(&mut net, name, Net::INTERNET));
        let to: SocketAddr = net.socket(b, PORT);
        for n in 0..500 {
            send(&mut net, a, to, &n.to_string());
        }
        net.trace().clone()
    };
    let all = run(|_| {});
    let latest = run(|net| {
        net.trace_mut().keep_latest(10);
        net.trace_mut().keep_payloads();
    });
    assert_eq!(latest.records(), &all.records()[990..]);
    assert_eq!((latest.digest(), latest.total()), (all.digest(), 1000));
    assert_eq!(latest.payload(9), Some(&b"499"[..]));
    assert!(latest.to_string().ends_with("… after 990 others\n"));
    let off = run(|net| net.trace_mut().off());
    assert_eq!((off.records().len(), off.total()), (0, 1000));
}
