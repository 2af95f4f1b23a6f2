//! A scenario from bytes: each byte decides the fate of a packet.

use std::collections::VecDeque;
use std::time::Duration;

use sansio::{Batches, Machine, Seed, Time};
use sctp::{Association, ChannelConfig, Config, Event, MessageKind, Role};

use crate::machines::Lane;

/// Two associations between which packets are lost, doubled, swapped and flipped as the bytes say. When they run
/// out the network is perfect, and everything that was sent arrives, once and in order.
pub(crate) fn association(data: &[u8]) {
    let mut fates = data.iter().copied().take(2000);
    // Without DTLS below only the checksum notices what was flipped.
    let config = |role| Config { zero_checksum: false, ..Config::new(role, Seed::from(1)) };
    let mut ends = [Role::Client, Role::Server].map(|role| Association::new(Time::ZERO, config(role)));
    let mut wires = [VecDeque::new(), VecDeque::new()];
    let channel = ends[0]
        .open_channel(Time::ZERO, ChannelConfig { label: "fuzz".into(), ..ChannelConfig::default() })
        .expect("the first channel opens");
    let messages: Vec<Vec<u8>> = (0..40u8).map(|number| vec![number; 1 + usize::from(number) * 97]).collect();
    let (mut unsent, mut arrived) = (messages.iter(), Vec::new());
    let mut now = Time::ZERO;
    let mut next = unsent.next();
    for _ in 0..20_000 {
        while let Some(message) = next {
            if ends[0].send(now, channel, MessageKind::Binary, message).is_err() {
                break;
            }
            next = unsent.next();
        }
        for end in 0..2 {
            let mut out = Lane(Batches::new(1 << 20));
            ends[end].poll_transmit(now, &mut out);
            while let Some(batch) = out.0.pop() {
                batch.datagrams().for_each(|packet| wires[end].push_back(packet.to_vec()));
            }
            while let Some(event) = ends[end].poll_event() {
                match event {
                    Event::MessageReceived { data, .. } => arrived.push(data.to_vec()),
                    // Giving up is allowed after so many losses in a row; delivering something else never is.
                    Event::Failed(_) => {
                        assert!(messages.starts_with(&arrived));
                        return;
                    }
                    _ => {}
                }
            }
        }
        if arrived.len() == messages.len() {
            break;
        }
        if wires.iter().all(VecDeque::is_empty) {
            let due = ends.iter().filter_map(Association::poll_timeout).min();
            let Some(due) = due else {
                panic!("nothing moves, and {} of {} arrived", arrived.len(), messages.len())
            };
            now = now.max(due);
            ends.iter_mut().for_each(|end| end.handle_timeout(now));
        }
        for end in 0..2 {
            let Some(mut packet) = wires[end].pop_front() else { continue };
            now += Duration::from_millis(1);
            match fates.next().unwrap_or(0) {
                200.. => continue,
                150..200 => wires[end].push_back(packet.clone()),
                100..150 => {
                    wires[end].push_back(packet);
                    continue;
                }
                fate @ 80..100 => {
                    let at = usize::from(fate) * 7 % packet.len().max(1);
                    packet[at] ^= 1;
                }
                _ => {}
            }
            ends[1 - end].handle_packet(now, &packet);
        }
    }
    assert!(
        arrived == messages,
        "{} of {} messages arrived as they were sent",
        arrived.len(),
        messages.len()
    );
}
