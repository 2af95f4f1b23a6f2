use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use rustix::net::sockopt::set_tcp_congestion;

use crate::Failure;
use crate::contestant::{Count, Terms, rest, tell};

const BLOCK: usize = 256 * 1024;

pub(crate) fn give(to: &str, congestion: &str) -> Result<(), Failure> {
    let mut stream = TcpStream::connect(to)?;
    set_tcp_congestion(&stream, congestion)?;
    let block = vec![7; BLOCK];
    loop {
        stream.write_all(&block)?;
    }
}

pub(crate) fn take(terms: Terms) -> Result<(), Failure> {
    let listener = TcpListener::bind("0.0.0.0:0")?;
    tell(&listener.local_addr()?.port().to_string())?;
    let (mut stream, _) = listener.accept()?;
    let (mut block, mut count) = (vec![0; BLOCK], Count::new(terms));
    loop {
        let bytes = stream.read(&mut block)?;
        if bytes == 0 {
            return Err("it ended early".into());
        }
        if let Some(bits) = count.add(bytes) {
            tell(&bits.to_string())?;
            return rest();
        }
    }
}
