//! What takes the network's time: connecting, looking names up, answering for them.

use std::task::{Context, Poll};

use sansio::{Path, SocketOp, SocketReply, Ticket};
use tokio::task::JoinSet;

use crate::connect::{Connector, Io};
use crate::names::Names;

/// How an engine opens streams and looks names up.
///
/// Each task that it needs on the way belongs to the engine and ends with it.
#[derive(Debug, Default)]
pub struct Network {
    connector: Connector,
    names: Names,
    tasks: JoinSet<Outcome>,
}

/// What a task came back with.
pub(crate) enum Outcome {
    /// The answer for the machine.
    Reply(SocketReply),
    /// A stream is open.
    Connected { ticket: Ticket, path: Path, io: Io },
}

impl Network {
    /// A network that opens streams by `connector`.
    pub fn new(connector: Connector) -> Self {
        Self { connector, ..Self::default() }
    }

    /// Starts what `op` asks for; its outcome comes from [`Network::poll`].
    pub(crate) fn start(&mut self, op: SocketOp) {
        match op {
            SocketOp::Connect { ticket, transport, local, remote, server_name } => {
                let connector = self.connector.clone();
                self.tasks.spawn(async move {
                    match connector.connect(transport, local, remote, &server_name).await {
                        Ok((path, io)) => Outcome::Connected { ticket, path, io },
                        Err(error) => Outcome::Reply(SocketReply::Failed { ticket, error }),
                    }
                });
            }
            SocketOp::Resolve { ticket, name } => {
                let names = self.names.clone();
                self.tasks.spawn(async move {
                    Outcome::Reply(match names.resolve(&name).await {
                        Ok(addresses) => SocketReply::Resolved { ticket, addresses },
                        Err(error) => SocketReply::Failed { ticket, error },
                    })
                });
            }
            SocketOp::Locate { ticket, service, name, port } => {
                let names = self.names.clone();
                self.tasks.spawn(async move {
                    Outcome::Reply(match names.locate(service, &name, port).await {
                        Ok(addresses) => SocketReply::Located { ticket, addresses },
                        Err(error) => SocketReply::Failed { ticket, error },
                    })
                });
            }
            SocketOp::Publish { name, address } => self.names.publish(name, address),
            SocketOp::Bind { .. } | SocketOp::Unbind { .. } | SocketOp::Disconnect { .. } => {}
        }
    }

    /// The next outcome.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        loop {
            match self.tasks.poll_join_next(cx) {
                Poll::Ready(Some(Ok(outcome))) => return Poll::Ready(outcome),
                Poll::Ready(Some(Err(error))) => tracing::error!(%error, "a network task failed"),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}
