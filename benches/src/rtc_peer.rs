//! rtc 0.21, the sans-IO webrtc-rs.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::BytesMut;
use rtc::data_channel::{RTCDataChannelId, RTCDataChannelInit};
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::{CandidateConfig, CandidateHostConfig, RTCIceCandidate};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};

use crate::contender::{BUFFER, Begun, Channel, Contender, Make, Received, Terms};

pub const MAKE: Make = Make { name: "rtc 0.21", offer, answer, note: "" };

struct Rtc {
    connection: RTCPeerConnection,
    addresses: [SocketAddr; 2],
    channel: Option<RTCDataChannelId>,
    open: bool,
    received: Received,
}

fn make(terms: Terms) -> Rtc {
    let mut connection = RTCPeerConnectionBuilder::new()
        .with_configuration(RTCConfigurationBuilder::new().build())
        .build(Instant::now())
        .expect("a connection");
    let candidate = CandidateHostConfig {
        base_config: CandidateConfig {
            network: "udp".to_owned(),
            address: terms.local.ip().to_string(),
            port: terms.local.port(),
            component: 1,
            ..Default::default()
        },
        ..Default::default()
    }
    .new_candidate_host()
    .expect("a candidate");
    let candidate = RTCIceCandidate::from(&candidate).to_json().expect("a candidate");
    connection.add_local_candidate(candidate).expect("it is taken");
    Rtc {
        connection,
        addresses: [terms.local, terms.remote],
        channel: None,
        open: false,
        received: Received::default(),
    }
}

fn offer(terms: Terms) -> Begun {
    let mut end = make(terms);
    let init = match terms.channel {
        Channel::Reliable => None,
        Channel::Fleeting => {
            Some(RTCDataChannelInit { ordered: false, max_retransmits: Some(0), ..Default::default() })
        }
    };
    end.channel = Some(end.connection.create_data_channel("bench", init).expect("a channel").id());
    let offer = end.connection.create_offer(None).expect("an offer");
    end.connection.set_local_description(Instant::now(), offer.clone()).expect("it is taken");
    (Box::new(end), offer.sdp)
}

fn answer(terms: Terms, offer: &str) -> Begun {
    let mut end = make(terms);
    let offer = RTCSessionDescription::offer(offer.to_owned()).expect("an offer");
    end.connection.set_remote_description(Instant::now(), offer).expect("it is taken");
    let answer = end.connection.create_answer(None).expect("an answer");
    end.connection.set_local_description(Instant::now(), answer.clone()).expect("it is taken");
    (Box::new(end), answer.sdp)
}

impl Contender for Rtc {
    fn accept(&mut self, answer: &str) {
        let answer = RTCSessionDescription::answer(answer.to_owned()).expect("an answer");
        self.connection.set_remote_description(Instant::now(), answer).expect("it is taken");
    }

    fn handle(&mut self, now: Instant, datagram: &mut [u8]) {
        let [local_addr, peer_addr] = self.addresses;
        let transport =
            TransportContext { local_addr, peer_addr, ecn: None, transport_protocol: TransportProtocol::UDP };
        let datagram = TaggedBytesMut { now, transport, message: BytesMut::from(&*datagram) };
        self.connection.handle_read(datagram).expect("it is taken");
    }

    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(&[u8])) {
        if self.connection.poll_timeout().is_some_and(|at| at <= now) {
            self.connection.handle_timeout(now).expect("time passes");
        }
        while let Some(event) = self.connection.poll_event() {
            if let RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnOpen(id)) = event {
                self.channel = Some(id);
                self.open = true;
            }
        }
        while let Some(message) = self.connection.poll_read() {
            if let RTCMessage::DataChannelMessage(_, message) = message.message {
                self.received.count(message.data.len());
            }
        }
        while let Some(datagram) = self.connection.poll_write() {
            send(&datagram.message);
        }
    }

    fn timeout(&mut self) -> Option<Instant> {
        self.connection.poll_timeout()
    }

    fn is_open(&self) -> bool {
        self.open
    }

    fn write(&mut self, now: Instant, message: &[u8]) -> bool {
        let Some(mut channel) = self.channel.and_then(|id| self.connection.data_channel(id)) else {
            return false;
        };
        if channel.outstanding_bytes() + message.len() > BUFFER {
            return false;
        }
        channel.send(now, BytesMut::from(message)).is_ok()
    }

    fn received(&self) -> Received {
        self.received
    }
}
