//! Every socket that is opened is closed, whatever becomes of the offer it was opened for.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use sansio::{Batches, Machine, Seed, SocketOp, SocketReply, Time};
use sterna_peer::{Configuration, Connection, DataChannelInit, SessionDescription};

/// Opens and closes sockets; `late` leaves answers for later.
#[derive(Default)]
struct Driver {
    open: BTreeSet<SocketAddr>,
    late: Vec<SocketReply>,
    opened: u16,
}

impl Driver {
    fn drive(&mut self, connection: &mut Connection, answers: bool) {
        let mut out = Batches::new(1 << 20);
        for _ in 0..4 {
            connection.poll_transmit(Time::ZERO, &mut out);
            while let Some(op) = connection.poll_socket() {
                match op {
                    SocketOp::Bind { ticket, local } => {
                        self.opened += 1;
                        let local = SocketAddr::new(local.ip(), 5000 + self.opened);
                        assert!(self.open.insert(local));
                        self.late.push(SocketReply::Bound { ticket, local });
                    }
                    SocketOp::Unbind { local } => assert!(self.open.remove(&local), "{local} is not open"),
                    _ => {}
                }
            }
            if answers {
                self.late.drain(..).for_each(|reply| connection.handle_socket(Time::ZERO, reply));
            }
            while connection.poll_event().is_some() {}
        }
    }
}

fn connection() -> Connection {
    let certificate = crypto::Certificate::generate().unwrap();
    let mut configuration = Configuration::new(Seed::from(1), certificate);
    let interface = |address: &str| ice::Interface::new("eth0", address.parse().unwrap());
    configuration.interfaces = vec![interface("192.0.2.1"), interface("2001:db8::1")];
    let mut connection = Connection::new(Time::ZERO, configuration);
    connection.create_data_channel(Time::ZERO, "x", DataChannelInit::default()).unwrap();
    connection
}

#[test]
fn closing_gives_all_sockets_back() {
    for answers in [true, false] {
        let (mut connection, mut driver) = (connection(), Driver::default());
        connection.set_local_description(Time::ZERO, None).unwrap();
        driver.drive(&mut connection, answers);
        assert_eq!(driver.open.len(), 2);
        connection.close(Time::ZERO);
        driver.drive(&mut connection, true);
        assert!(driver.open.is_empty(), "{:?}", driver.open);
        assert!(connection.is_finished());
    }
}

#[test]
fn an_offer_that_is_taken_back_gives_its_sockets_back() {
    for answers in [true, false] {
        let (mut connection, mut driver) = (connection(), Driver::default());
        for _ in 0..10 {
            connection.set_local_description(Time::ZERO, None).unwrap();
            driver.drive(&mut connection, answers);
            connection.set_local_description(Time::ZERO, Some(SessionDescription::rollback())).unwrap();
            if answers {
                driver.drive(&mut connection, true);
                assert!(driver.open.is_empty(), "{:?}", driver.open);
            }
        }
        driver.drive(&mut connection, true);
        assert!(driver.open.is_empty(), "{:?}", driver.open);
    }
}
