//! A [`Trace`] as captures that Wireshark opens: what an interface of a host, or the two sides of a box, saw.
//!
//! The format is pcapng (draft-ietf-opsawg-pcapng): a section header, a description for each interface, and an
//! enhanced packet block for each packet. Headers are made up, since the simulation has none: addresses, ports,
//! lengths and checksums are right, and streams have sequence numbers that fit.

mod capture;
mod headers;

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::record::{Fate, Place, PlaceKind};
use crate::trace::Trace;
use capture::Capture;

/// LINKTYPE_RAW: an IPv4 or IPv6 header comes first.
const RAW_IP: u16 = 101;
/// Options of blocks, by what they belong to.
mod option {
    pub(super) const END: u16 = 0;
    pub(super) const COMMENT: u16 = 1;
    pub(super) const APPLICATION: u16 = 4;
    pub(super) const INTERFACE_NAME: u16 = 2;
    pub(super) const TIME_RESOLUTION: u16 = 9;
    pub(super) const FLAGS: u16 = 2;
}

/// Which way a captured packet went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    In = 1,
    Out = 2,
}

impl Trace {
    /// A capture in the format pcapng of what a host sent and received, or of what a box saw on its two sides
    /// (`inside` and `outside`). A box's capture tells in comments what became of each packet and why.
    ///
    /// Without [`Trace::keep_payloads`] the packets are cut off behind their headers. Times count from the start
    /// of the simulation, which Wireshark shows as 1970.
    pub fn pcapng(&self, place: Place) -> Vec<u8> {
        let mut out = Vec::new();
        block(&mut out, 0x0a0d_0d0a, |body| {
            body.extend_from_slice(&0x1a2b_3c4d_u32.to_le_bytes());
            body.extend_from_slice(&1_u16.to_le_bytes());
            body.extend_from_slice(&0_u16.to_le_bytes());
            body.extend_from_slice(&(-1_i64).to_le_bytes());
            add_option(body, option::APPLICATION, b"sterna-netsim");
            add_option(body, option::END, &[]);
        });
        let interfaces: &[&str] = match self.kind(place) {
            PlaceKind::Gateway => &["inside", "outside"],
            PlaceKind::Host | PlaceKind::Internet => &["eth0"],
        };
        for name in interfaces {
            block(&mut out, 1, |body| {
                body.extend_from_slice(&RAW_IP.to_le_bytes());
                body.extend_from_slice(&[0; 6]); // reserved; no limit on a packet's length
                add_option(body, option::INTERFACE_NAME, format!("{}-{name}", self.name(place)).as_bytes());
                add_option(body, option::TIME_RESOLUTION, &[9]);
                add_option(body, option::END, &[]);
            });
        }
        self.write_names(&mut out);
        let mut capture = Capture::new(self, place);
        for index in 0..self.records().len() {
            capture.record(index, &mut out);
        }
        out
    }

    /// A name resolution block with the hosts whose address nobody else has.
    fn write_names(&self, out: &mut Vec<u8>) {
        let mut names: BTreeMap<IpAddr, Option<Place>> = BTreeMap::new();
        for record in self.records().iter().filter(|record| record.fate == Fate::Sent) {
            let owner = names.entry(record.path.local.ip()).or_insert(Some(record.place));
            if *owner != Some(record.place) {
                *owner = None;
            }
        }
        block(out, 4, |body| {
            for (address, place) in names {
                let Some(place) = place else { continue };
                let (kind, bytes) = match address {
                    IpAddr::V4(v4) => (1_u16, v4.octets().to_vec()),
                    IpAddr::V6(v6) => (2, v6.octets().to_vec()),
                };
                let mut value = bytes;
                value.extend_from_slice(self.name(place).replace(char::is_whitespace, "-").as_bytes());
                value.push(0);
                add_option(body, kind, &value);
            }
            add_option(body, option::END, &[]);
        });
    }
}

/// Appends a block: its type, its length before and behind, and what `fill` puts between.
fn block(out: &mut Vec<u8>, kind: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    fill(out);
    pad(out, start);
    let length = (out.len() - start + 4) as u32;
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
}

/// Appends an option, or a record of a name resolution block, which looks the same.
fn add_option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    body.extend_from_slice(&code.to_le_bytes());
    body.extend_from_slice(&(value.len() as u16).to_le_bytes());
    body.extend_from_slice(value);
    body.extend_from_slice(&[0; 3][..value.len().wrapping_neg() % 4]);
}

/// Fills up to a multiple of four bytes.
fn pad(out: &mut Vec<u8>, start: usize) {
    let missing = (out.len() - start).wrapping_neg() % 4;
    out.extend_from_slice(&[0; 3][..missing]);
}

/// Appends a packet.
fn packet(
    out: &mut Vec<u8>,
    interface: u32,
    nanos: u64,
    way: Way,
    bytes: &[u8],
    length: usize,
    comment: Option<&str>,
) {
    block(out, 6, |body| {
        body.extend_from_slice(&interface.to_le_bytes());
        body.extend_from_slice(&((nanos >> 32) as u32).to_le_bytes());
        body.extend_from_slice(&(nanos as u32).to_le_bytes());
        body.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        body.extend_from_slice(&(length as u32).to_le_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(&[0; 3][..bytes.len().wrapping_neg() % 4]);
        if let Some(comment) = comment {
            add_option(body, option::COMMENT, comment.as_bytes());
        }
        add_option(body, option::FLAGS, &(way as u32).to_le_bytes());
        add_option(body, option::END, &[]);
    });
}
