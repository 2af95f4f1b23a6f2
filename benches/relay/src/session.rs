//! A TURN client by hand: requests that wait for their answers, so that a run knows where it stands.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use stun::{Class, Key, Message, MessageWriter, Method, PasswordAlgorithm, TransactionId, kind};

use crate::place::{CLIENT, PASSWORD, REALM, USER, any};

const CHANNEL: u16 = 0x4000;
const UDP: [u8; 4] = [17, 0, 0, 0];
/// Allocation Mismatch: the server knows this port, and by another Allocate request.
const MISMATCH: u16 = 437;
/// Sockets that a session tries.
const SOCKETS: usize = 8;

/// The key that all sessions sign with.
pub(crate) fn key() -> Key {
    Key::long_term(PasswordAlgorithm::Md5, USER, REALM, PASSWORD)
}

/// A request. Without a nonce it is not signed.
pub(crate) fn request(
    buffer: &mut [u8],
    method: Method,
    id: u64,
    key: &Key,
    nonce: &[u8],
    write: impl FnOnce(&mut MessageWriter<'_>),
) -> usize {
    let mut transaction = [0x5a; 12];
    transaction[..8].copy_from_slice(&id.to_be_bytes());
    let mut writer = MessageWriter::new(buffer, Class::Request, method, TransactionId(transaction));
    write(&mut writer);
    if !nonce.is_empty() {
        writer.string(kind::USERNAME, USER).string(kind::REALM, REALM).raw(kind::NONCE, nonce).integrity(key);
    }
    writer.finish().expect("the buffer is large enough")
}

/// An Allocate request.
pub(crate) fn allocate(buffer: &mut [u8], id: u64, key: &Key, nonce: &[u8]) -> usize {
    request(buffer, Method::ALLOCATE, id, key, nonce, |writer| {
        writer.raw(kind::REQUESTED_TRANSPORT, &UDP);
    })
}

/// A Refresh request that ends the allocation.
pub(crate) fn release(buffer: &mut [u8], id: u64, key: &Key, nonce: &[u8]) -> usize {
    request(buffer, Method::REFRESH, id, key, nonce, |writer| {
        writer.u32(kind::LIFETIME, 0);
    })
}

/// A client with an allocation.
pub(crate) struct Session {
    pub(crate) socket: UdpSocket,
    pub(crate) relayed: SocketAddr,
    key: Key,
    nonce: Vec<u8>,
    next: u64,
}

impl Session {
    pub(crate) fn open(server: SocketAddr) -> io::Result<Self> {
        // Those that are tried in vain stay open, or the same port might come again.
        let mut tried = Vec::new();
        while tried.len() < SOCKETS {
            let mut session = Self::new(server)?;
            match session.ask(Method::ALLOCATE, |writer| {
                writer.raw(kind::REQUESTED_TRANSPORT, &UDP);
            })? {
                Ok(()) => return Ok(session),
                // Who had the port before has given his allocation up without a word, or the answer was late.
                Err(MISMATCH) => tried.push(session),
                Err(code) => return Err(refused(Method::ALLOCATE, code)),
            }
        }
        Err(refused(Method::ALLOCATE, MISMATCH))
    }

    fn new(server: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(any(CLIENT))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        Ok(Self { socket, relayed: any(CLIENT), key: key(), nonce: Vec::new(), next: 1 })
    }

    pub(crate) fn permit(&mut self, peer: SocketAddr) -> io::Result<()> {
        self.transact(Method::CREATE_PERMISSION, |writer| {
            writer.xor_address(kind::XOR_PEER_ADDRESS, peer);
        })
    }

    pub(crate) fn bind(&mut self, peer: SocketAddr) -> io::Result<()> {
        self.transact(Method::CHANNEL_BIND, |writer| {
            writer.raw(kind::CHANNEL_NUMBER, &[(CHANNEL >> 8) as u8, CHANNEL as u8, 0, 0]);
            writer.xor_address(kind::XOR_PEER_ADDRESS, peer);
        })
    }

    pub(crate) fn close(&mut self) -> io::Result<()> {
        // Its other handle does not wait, and this one with it.
        self.socket.set_nonblocking(false)?;
        self.transact(Method::REFRESH, |writer| {
            writer.u32(kind::LIFETIME, 0);
        })
    }

    fn transact(&mut self, method: Method, write: impl Fn(&mut MessageWriter<'_>)) -> io::Result<()> {
        self.ask(method, write)?.map_err(|code| refused(method, code))
    }

    /// Asks until there is an answer: success, or the code of an error.
    fn ask(&mut self, method: Method, write: impl Fn(&mut MessageWriter<'_>)) -> io::Result<Result<(), u16>> {
        let mut buffer = [0; 1500];
        for _ in 0..6 {
            self.next += 1;
            let length = request(&mut buffer, method, self.next, &self.key, &self.nonce, &write);
            let id: [u8; 12] = buffer[8..20].try_into().expect("12 bytes");
            self.socket.send(&buffer[..length])?;
            let mut answer = [0; 1500];
            let length = loop {
                match self.socket.recv(&mut answer) {
                    // What a run before has left.
                    Ok(length) if length < 20 || answer[8..20] != id => continue,
                    Ok(length) => break length,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break 0,
                    Err(error) => return Err(error),
                }
            };
            let Ok(message) = Message::parse(&answer[..length]) else { continue };
            if message.class() == Class::Success {
                if let Some(relayed) = message.xor_address(kind::XOR_RELAYED_ADDRESS) {
                    self.relayed = relayed;
                }
                return Ok(Ok(()));
            }
            match (message.error_code().map(|code| code.code), message.nonce()) {
                (Some(401 | 438), Some(nonce)) => self.nonce = nonce.to_vec(),
                (code, _) => return Ok(Err(code.unwrap_or(0))),
            }
        }
        Err(io::Error::other(format!("{method:?}: no answer")))
    }
}

fn refused(method: Method, code: u16) -> io::Error {
    io::Error::other(format!("{method:?} refused: {code}"))
}

/// `data` as ChannelData on the session's channel.
pub(crate) fn channel_data(data: &[u8]) -> Vec<u8> {
    let length = data.len() as u16;
    [&CHANNEL.to_be_bytes(), &length.to_be_bytes(), data].concat()
}

/// `data` in a Send indication.
pub(crate) fn send_indication(peer: SocketAddr, data: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; data.len() + 64];
    let mut writer = MessageWriter::new(&mut buffer, Class::Indication, Method::SEND, TransactionId([7; 12]));
    let length = writer.xor_address(kind::XOR_PEER_ADDRESS, peer).raw(kind::DATA, data).finish();
    buffer.truncate(length.expect("the buffer is large enough"));
    buffer
}

/// A Binding request.
pub(crate) fn binding() -> Vec<u8> {
    let mut buffer = vec![0; 20];
    let id = TransactionId([9; 12]);
    MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, id).finish().expect("20 bytes do");
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A port that came again, whose last allocation the server has not forgotten.
    #[test]
    fn a_port_that_is_known_by_another_allocation_is_left_for_another() {
        let server = UdpSocket::bind(any(CLIENT)).unwrap();
        let address = server.local_addr().unwrap();
        let answering = std::thread::spawn(move || {
            let mut known = Vec::new();
            while known.len() < 3 {
                let mut bytes = [0; 512];
                let (length, from) = server.recv_from(&mut bytes).unwrap();
                let id = Message::parse(&bytes[..length]).unwrap().transaction_id();
                known.push(from);
                let class = if known.len() < 3 { Class::Error } else { Class::Success };
                let mut answer = [0; 512];
                let mut writer = MessageWriter::new(&mut answer, class, Method::ALLOCATE, id);
                match class {
                    Class::Error => writer.error(MISMATCH),
                    _ => writer.xor_address(kind::XOR_RELAYED_ADDRESS, from),
                };
                let length = writer.finish().unwrap();
                server.send_to(&answer[..length], from).unwrap();
            }
            known
        });
        let session = Session::open(address).unwrap();
        let known = answering.join().unwrap();
        assert_eq!(session.relayed, known[2]);
        assert_eq!(session.socket.local_addr().unwrap(), known[2]);
        assert!(known[0] != known[1] && known[1] != known[2] && known[2] != known[0]);
    }
}
