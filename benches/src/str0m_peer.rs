//! str0m 0.25.

use std::net::SocketAddr;
use std::time::Instant;

use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::channel::{ChannelConfig, ChannelId, Reliability};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};

use crate::contender::{BUFFER, Begun, Channel, Contender, Make, Received, Terms};

pub const MAKE: Make = Make {
    name: "str0m 0.25",
    offer: |terms| offer(terms, BUFFER),
    answer: |terms, it| answer(terms, it, BUFFER),
    note: "",
};
/// With the send buffer at which it does best.
pub const SMALL: Make = Make {
    name: "str0m 0.25, 128 KiB",
    offer: |terms| offer(terms, FEW),
    answer: |terms, it| answer(terms, it, FEW),
    note: "its default send buffer",
};
const FEW: usize = 128 << 10;

struct Str0m {
    rtc: Rtc,
    addresses: [SocketAddr; 2],
    pending: Option<SdpPendingOffer>,
    channel: Option<ChannelId>,
    timeout: Option<Instant>,
    received: Received,
    /// It must be polled after each datagram: its DTLS engine holds no more than a few.
    waiting: Vec<Vec<u8>>,
}

fn make(terms: Terms, buffer: usize) -> Str0m {
    // Once for the process.
    static CRYPTO: std::sync::Once = std::sync::Once::new();
    CRYPTO.call_once(|| str0m::crypto::from_feature_flags().install_process_default());
    let mut rtc = Rtc::builder()
        .set_sctp_max_buffered_amount(buffer)
        .set_dtls_version(str0m::config::DtlsVersion::Auto)
        .build(Instant::now());
    rtc.add_local_candidate(Candidate::host(terms.local, "udp").expect("a candidate"));
    Str0m {
        rtc,
        addresses: [terms.local, terms.remote],
        pending: None,
        channel: None,
        timeout: None,
        received: Received::default(),
        waiting: Vec::new(),
    }
}

fn offer(terms: Terms, buffer: usize) -> Begun {
    let mut end = make(terms, buffer);
    let mut config = ChannelConfig { label: "bench".into(), ..Default::default() };
    if terms.channel == Channel::Fleeting {
        (config.ordered, config.reliability) = (false, Reliability::MaxRetransmits { retransmits: 0 });
    }
    let mut change = end.rtc.sdp_api();
    change.add_channel_with_config(config);
    let (offer, pending) = change.apply().expect("an offer");
    end.pending = Some(pending);
    (Box::new(end), offer.to_sdp_string())
}

fn answer(terms: Terms, offer: &str, buffer: usize) -> Begun {
    let mut end = make(terms, buffer);
    let offer = SdpOffer::from_sdp_string(offer).expect("an offer");
    let answer = end.rtc.sdp_api().accept_offer(offer).expect("an answer");
    (Box::new(end), answer.to_sdp_string())
}

impl Str0m {
    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output().expect("an output") {
                Output::Transmit(transmit) => self.waiting.push(transmit.contents.into()),
                Output::Event(Event::ChannelOpen(id, _)) => self.channel = Some(id),
                Output::Event(Event::ChannelData(data)) => self.received.count(data.data.len()),
                Output::Event(_) => {}
                Output::Timeout(at) => {
                    self.timeout = Some(at);
                    return;
                }
            }
        }
    }
}

impl Contender for Str0m {
    fn accept(&mut self, answer: &str) {
        let answer = SdpAnswer::from_sdp_string(answer).expect("an answer");
        let pending = self.pending.take().expect("there is an offer");
        self.rtc.sdp_api().accept_answer(pending, answer).expect("it is taken");
    }

    fn handle(&mut self, now: Instant, datagram: &mut [u8]) {
        let [destination, source] = self.addresses;
        let contents = (&*datagram).try_into().expect("a datagram that it knows");
        let receive = Receive { proto: Protocol::Udp, source, destination, contents };
        self.rtc.handle_input(Input::Receive(now, receive)).expect("it is taken");
        self.drain();
    }

    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(&[u8])) {
        if self.timeout.is_none_or(|at| at <= now) {
            self.rtc.handle_input(Input::Timeout(now)).expect("time passes");
        }
        self.drain();
        self.waiting.drain(..).for_each(|datagram| send(&datagram));
    }

    fn timeout(&mut self) -> Option<Instant> {
        self.timeout
    }

    fn is_open(&self) -> bool {
        self.channel.is_some()
    }

    fn write(&mut self, _: Instant, message: &[u8]) -> bool {
        let Some(mut channel) = self.channel.and_then(|id| self.rtc.channel(id)) else { return false };
        channel.write(true, message).expect("it is taken or not")
    }

    fn received(&self) -> Received {
        self.received
    }
}
