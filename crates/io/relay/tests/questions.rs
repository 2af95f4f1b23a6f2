//! Users whom only somebody else knows are asked for while everything else goes on.

mod rig;

use rig::{PASSWORD, RELAY_ADDRESS, Server, USER, tls_config};
use sansio::{Seed, Transport};
use sterna_relay::{Question, RelayConfig};
use tokio::sync::mpsc;
use turn::{Auth, ClientEvent, LookupRules, ServerConfig, User, Verdict};

fn start() -> (Server, mpsc::Receiver<Question>) {
    let auth = Auth { lookup: Some(LookupRules::default()), ..Auth::default() };
    let machine = ServerConfig::new("example.org", RELAY_ADDRESS, auth, Seed(crypto::seed()));
    let (questions, asked) = mpsc::channel(16);
    let listening = "127.0.0.3:0".parse().unwrap();
    let (certificate, tls) = tls_config();
    let config = RelayConfig {
        udp: vec![listening],
        tcp: vec![listening],
        tls: vec![(listening, tls)],
        questions: Some(questions),
        shards: 2,
        ..RelayConfig::new(machine)
    };
    (Server::run(config, certificate), asked)
}

#[tokio::test]
async fn a_user_is_let_in_when_somebody_says_who_he_is() {
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        let (server, mut asked) = start();
        let answering = tokio::spawn(async move {
            let question = asked.recv().await.unwrap();
            assert_eq!((question.username(), question.client().transport), (USER, transport));
            question.answer(Verdict::Known(User::new(USER, PASSWORD)));
            asked
        });
        let mut client = server.client(transport).await;
        client.allocated().await;
        let mut asked = answering.await.unwrap();
        server.client(transport).await.allocated().await;
        assert!(asked.try_recv().is_err(), "it is remembered");
        server.stop().await;
    }
}

#[tokio::test]
async fn who_is_unknown_is_refused_and_a_question_that_is_dropped_is_asked_again() {
    let (server, mut asked) = start();
    let answering = tokio::spawn(async move {
        drop(asked.recv().await.unwrap());
        asked.recv().await.unwrap().answer(Verdict::Unknown);
    });
    let mut client = server.client(Transport::Udp).await;
    let ClientEvent::Failed(error) = client.event().await else { panic!() };
    assert_eq!(error.code, Some(401));
    answering.await.unwrap();
    server.stop().await;
}
