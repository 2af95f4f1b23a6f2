//! A thousand hosts, each behind a box of its own: in seconds, and flat in memory. Alone in its process, since it
//! looks at that process's memory.

mod lab;

use std::time::{Duration, Instant};

use lab::PORT;
use sansio::{Datagram, Machine, Outbox, Path, Time};
use sterna_netsim::{HostId, Net, Preset, Puppet};

/// Asks a server every 100 ms, each time from the same port, and counts the answers.
struct Asker {
    path: Path,
    next: Time,
    due: bool,
    answers: u32,
}

impl Machine for Asker {
    type Addr = Path;
    type Event = ();
    fn handle_datagram(&mut self, _: Time, _: Datagram<'_>, _: &mut dyn Outbox) {
        self.answers += 1;
    }
    fn handle_timeout(&mut self, now: Time) {
        if self.next <= now {
            self.next = now + Duration::from_millis(100);
            self.due = true;
        }
    }
    fn poll_transmit(&mut self, _: Time, out: &mut dyn Outbox) {
        if self.due {
            self.due = !out.send_bytes(self.path, &[7; 200]);
        }
    }
    fn poll_event(&mut self) -> Option<()> {
        None
    }
    fn poll_timeout(&self) -> Option<Time> {
        Some(self.next)
    }
}

/// Kilobytes of memory in use.
fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn a_thousand_hosts_talk_and_memory_stays_flat() {
    let mut net = Net::new(1);
    net.trace_mut().keep_latest(1000);
    let servers: Vec<HostId> = (0..10)
        .map(|n| {
            let server = net.add_host(&format!("server {n}"), &[Net::INTERNET]);
            net.bind(server, net.socket(server, PORT)).unwrap();
            net.start(server, Puppet::echo());
            server
        })
        .collect();
    let presets: Vec<Preset> =
        Preset::ALL.into_iter().filter(|it| it.lets_udp_out() && *it != Preset::Nat64).collect();
    let hosts: Vec<HostId> = (0..1000)
        .map(|n| {
            let home = net.add_preset(Net::INTERNET, &format!("home {n}"), presets[n % presets.len()]);
            let host = net.add_host(&format!("host {n}"), &[home]);
            net.bind(host, net.socket(host, PORT)).unwrap();
            let path = Path::udp(net.socket(host, PORT), net.socket(servers[n % 10], PORT));
            let next = Time::ZERO + Duration::from_micros(n as u64 * 100);
            net.start(host, Asker { path, next, due: false, answers: 0 });
            host
        })
        .collect();
    let drain = |net: &mut Net| {
        for &server in &servers {
            net.events::<Puppet>(server);
        }
    };
    let start = Instant::now();
    let mut before = None;
    for second in 0..20 {
        net.run_for(Duration::from_secs(1));
        drain(&mut net);
        if second == 7 {
            before = memory();
        }
    }
    let elapsed = start.elapsed();
    let least = hosts.iter().map(|&host| net.machine::<Asker>(host).answers).min().unwrap();
    assert!(least >= 198, "{least} answers");
    if let (Some(before), Some(after)) = (before, memory()) {
        println!("{} steps in {elapsed:?}; {before} kB after 8 s, {after} kB after 20 s", net.steps());
        assert!(after < before + 4096, "{before} kB have become {after} kB");
    }
    assert!(elapsed < Duration::from_secs(60), "{elapsed:?}");
}
