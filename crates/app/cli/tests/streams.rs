//! `sterna pipe` and `sterna forward`, through a real `sterna serve` on this machine.

mod program;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use program::{Program, Server};
use serde_json::Value;

/// `sterna pipe` says its events on standard error; without `--json` the code stands there in words.
struct Host {
    child: std::process::Child,
    code: String,
}

impl Host {
    fn pipe(server: &Server) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sterna"));
        command.args(["pipe", "--json", "--server", &server.url]);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        errors.read_line(&mut line).unwrap();
        let event: Value = serde_json::from_str(&line).unwrap();
        std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        Self { child, code: event["code"].as_str().unwrap().to_owned() }
    }
}

#[test]
fn a_pipe_carries_bytes_and_nothing_else_and_ends() {
    let server = Server::start();
    let mut host = Host::pipe(&server);
    let guest = Program::run(&["pipe", &host.code, "--server", &server.url], &[]);
    let mut input = host.child.stdin.take().unwrap();
    let lines: String = (0..20_000).map(|number| format!("line {number}\n")).collect();
    input.write_all(lines.as_bytes()).unwrap();
    drop(input);
    let mut arrived = String::new();
    while let Some(line) = guest.line() {
        arrived.push_str(&line);
        arrived.push('\n');
    }
    assert_eq!(arrived, lines);
    assert_eq!(guest.end().0, 0);
    assert!(host.child.wait().unwrap().success());
    let mut output = String::new();
    host.child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert_eq!(output, "", "standard output is for data");
}

#[test]
fn forward_carries_tcp_and_udp_to_what_is_allowed() {
    let server = Server::start();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (tcp_port, udp_port) = (tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in tcp.incoming().map_while(Result::ok) {
            let mut reader = stream.try_clone().unwrap();
            let mut writer = stream;
            std::thread::spawn(move || {
                std::io::copy(&mut reader, &mut writer).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
        }
    });
    std::thread::spawn(move || {
        let mut buffer = [0; 2000];
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            udp.send_to(&buffer[..length], from).unwrap();
        }
    });
    let host = Program::json(&["forward", "--server", &server.url]);
    let (code, _) = host.code();
    let specs = [
        format!("0:localhost:{tcp_port}"),
        format!("0:127.0.0.1:{udp_port}/udp"),
        "0:192.0.2.1:80".to_owned(),
    ];
    let guest = Program::json(&[
        "forward",
        "--server",
        &server.url,
        "-L",
        &specs[0],
        "-L",
        &specs[1],
        "-L",
        &specs[2],
        &code,
    ]);
    let listen = || guest.event("forwarding")["listen"].as_str().unwrap().to_owned();
    let (tcp, udp, forbidden) = (listen(), listen(), listen());

    // More than any buffer holds, both ways at once.
    let bytes: Vec<u8> = (0..5_000_000u32).map(|i| (i % 251) as u8).collect();
    let mut stream = TcpStream::connect(tcp).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let sent = bytes.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut echoed = Vec::new();
    stream.read_to_end(&mut echoed).unwrap();
    writing.join().unwrap();
    assert!(echoed == bytes);

    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.connect(udp).unwrap();
    socket.send(b"datagram").unwrap();
    let mut buffer = [0; 100];
    assert_eq!(socket.recv(&mut buffer).unwrap(), 8);

    let mut stream = TcpStream::connect(forbidden).unwrap();
    assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0, "the other side refuses");

    guest.signal("-INT");
    assert_eq!(guest.end().0, 130);
    assert_eq!(host.end().0, 0);
}
