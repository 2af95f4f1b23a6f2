use std::time::Duration;

use serde_json::json;
use sterna::{Configuration, Direction, MediaKind, TransceiverInit};
use sterna_interop::Foreign;

use super::echo::Echo;
use super::{Seen, read};

/// Who offers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Offers {
    We,
    They,
}

/// A call with a library that does not trickle. It sends bars of eight colours and a tone.
pub(crate) struct Library {
    pub(crate) echo: Echo,
    foreign: Foreign,
}

impl Library {
    pub(crate) async fn call(mut foreign: Foreign, offers: Offers) -> Self {
        let echo =
            Echo::new(Configuration { trickle: false, include_loopback: true, ..Configuration::default() });
        let connection = &echo.connection;
        if offers == Offers::They {
            let offer = foreign.event("description").await;
            connection.set_remote_description(read(&offer)).await.unwrap();
            for transceiver in connection.transceivers() {
                transceiver.set_direction(Direction::Sendrecv).unwrap();
            }
        } else {
            for kind in [MediaKind::Audio, MediaKind::Video] {
                connection.add_transceiver(kind, TransceiverInit::default()).unwrap();
            }
        }
        let description = connection.set_local_description(None).await.unwrap();
        foreign.tell(&serde_json::to_value(description).unwrap()).await;
        if offers == Offers::We {
            let answer = foreign.event("description").await;
            connection.set_remote_description(read(&answer)).await.unwrap();
        }
        connection.connected().await.unwrap();
        Self { echo, foreign }
    }

    async fn look(&mut self) -> Seen {
        self.foreign.tell(&json!({ "look": true })).await;
        Seen(self.foreign.event("seen").await)
    }

    /// Waits until what it sends has come back to it: so many pictures, in their colours, and the tone.
    pub(crate) async fn sees_and_hears(&mut self, pictures: u64) {
        loop {
            let seen = self.look().await;
            let energy = seen.inbound("audio")["totalAudioEnergy"].as_f64().unwrap_or_default();
            let shown = seen.inbound("video")["framesDecoded"].as_u64().unwrap_or_default();
            if seen.is_bars() && energy > 1e-4 && shown >= pictures {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    pub(crate) async fn ends(mut self) {
        self.foreign.quit().await;
        self.foreign.event("closed").await;
        self.echo.connection.close().await;
    }
}
