//! rtc 0.21, the sans-IO webrtc-rs.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::BytesMut;
use rtc::data_channel::RTCDataChannelId;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::transport::{CandidateConfig, CandidateHostConfig, RTCIceCandidate};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};

use crate::contender::{BUFFER, Contender, Make, Received};

pub const MAKE: Make = Make { name: "rtc 0.21", pair, note: "" };

struct Rtc {
    connection: RTCPeerConnection,
    addresses: [SocketAddr; 2],
    channel: Option<RTCDataChannelId>,
    open: bool,
    received: Received,
}

fn pair(addresses: [SocketAddr; 2]) -> [Box<dyn Contender>; 2] {
    let mut ends = [0, 1].map(|end| {
        let mut connection = RTCPeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::new().build())
            .build(Instant::now())
            .expect("a connection");
        let candidate = CandidateHostConfig {
            base_config: CandidateConfig {
                network: "udp".to_owned(),
                address: addresses[end].ip().to_string(),
                port: addresses[end].port(),
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
            addresses: [addresses[end], addresses[1 - end]],
            channel: None,
            open: false,
            received: Received::default(),
        }
    });
    let channel = ends[0].connection.create_data_channel("bench", None).expect("a channel").id();
    ends[0].channel = Some(channel);
    let now = Instant::now();
    let offer = ends[0].connection.create_offer(None).expect("an offer");
    ends[0].connection.set_local_description(now, offer.clone()).expect("it is taken");
    ends[1].connection.set_remote_description(now, offer).expect("it is taken");
    let answer = ends[1].connection.create_answer(None).expect("an answer");
    ends[1].connection.set_local_description(now, answer.clone()).expect("it is taken");
    ends[0].connection.set_remote_description(now, answer).expect("it is taken");
    ends.map(|end| Box::new(end) as Box<dyn Contender>)
}

impl Contender for Rtc {
    fn handle(&mut self, now: Instant, datagram: &mut [u8]) {
        let [local_addr, peer_addr] = self.addresses;
        let transport = TransportContext {
            local_addr,
            peer_addr,
            ecn: None,
            transport_protocol: TransportProtocol::UDP,
        };
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
