//! The attributes of NAT behaviour discovery (RFC 5780 §7).

use std::net::SocketAddr;

use crate::{Message, MessageWriter, kind};

const CHANGE_IP: u32 = 4;
const CHANGE_PORT: u32 = 2;

/// CHANGE-REQUEST: from where a server shall answer (RFC 5780 §7.2).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ChangeRequest {
    /// From its other address.
    pub ip: bool,
    /// From its other port.
    pub port: bool,
}

impl ChangeRequest {
    /// From the other address and the other port.
    pub const BOTH: Self = Self { ip: true, port: true };
    /// From the same address and the other port.
    pub const PORT: Self = Self { ip: false, port: true };
}

impl Message<'_> {
    /// CHANGE-REQUEST: from where the sender wants its answer.
    pub fn change_request(&self) -> Option<ChangeRequest> {
        let flags = self.u32(kind::CHANGE_REQUEST)?;
        Some(ChangeRequest { ip: flags & CHANGE_IP != 0, port: flags & CHANGE_PORT != 0 })
    }

    /// RESPONSE-PORT: the port that the sender wants its answer at.
    pub fn response_port(&self) -> Option<u16> {
        // The port and two bytes of padding (RFC 5780 §7.5), which some count to the length and some do not.
        match *self.raw(kind::RESPONSE_PORT)? {
            [high, low] | [high, low, _, _] => Some(u16::from_be_bytes([high, low])),
            _ => None,
        }
    }

    /// PADDING: how many bytes of it there are.
    pub fn padding(&self) -> Option<usize> {
        self.raw(kind::PADDING).map(<[u8]>::len)
    }

    /// RESPONSE-ORIGIN: the address that the server says it answers from.
    pub fn response_origin(&self) -> Option<SocketAddr> {
        self.address(kind::RESPONSE_ORIGIN)
    }

    /// OTHER-ADDRESS: the server's other address and other port.
    pub fn other_address(&self) -> Option<SocketAddr> {
        self.address(kind::OTHER_ADDRESS)
    }
}

impl MessageWriter<'_> {
    /// Writes CHANGE-REQUEST (RFC 5780 §7.2).
    pub fn change_request(&mut self, change: ChangeRequest) -> &mut Self {
        let flags = if change.ip { CHANGE_IP } else { 0 } | if change.port { CHANGE_PORT } else { 0 };
        self.u32(kind::CHANGE_REQUEST, flags)
    }

    /// Writes RESPONSE-PORT (RFC 5780 §7.5).
    pub fn response_port(&mut self, port: u16) -> &mut Self {
        let [high, low] = port.to_be_bytes();
        self.raw(kind::RESPONSE_PORT, &[high, low, 0, 0])
    }

    /// Writes PADDING of so many bytes (RFC 5780 §7.6).
    pub fn padding(&mut self, bytes: usize) -> &mut Self {
        self.data_in_place(kind::PADDING, bytes, &mut |space| {
            space.fill(0);
            space.len()
        });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Class, Method, TransactionId};

    #[test]
    fn what_is_written_is_read() {
        let mut buffer = [0; 200];
        let mut writer =
            MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, TransactionId([1; 12]));
        writer.change_request(ChangeRequest::PORT).response_port(54321).padding(50);
        let length = writer.finish().unwrap();
        let message = Message::parse(&buffer[..length]).unwrap();
        assert_eq!(message.change_request(), Some(ChangeRequest::PORT));
        assert_eq!(message.response_port(), Some(54321));
        assert_eq!(message.padding(), Some(50));
        // The flags are bits 1 and 2 of the last byte (RFC 5780 §7.2).
        assert_eq!(message.raw(kind::CHANGE_REQUEST), Some(&[0, 0, 0, 2][..]));
    }

    #[test]
    fn malformed_values_are_absent() {
        let mut buffer = [0; 200];
        let mut writer =
            MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, TransactionId([1; 12]));
        writer.raw(kind::CHANGE_REQUEST, &[6]).raw(kind::RESPONSE_PORT, &[1, 2, 3]);
        let length = writer.finish().unwrap();
        let message = Message::parse(&buffer[..length]).unwrap();
        assert_eq!(
            (message.change_request(), message.response_port(), message.padding()),
            (None, None, None)
        );
    }
}
