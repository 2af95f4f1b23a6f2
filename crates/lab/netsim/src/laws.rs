use std::fmt::Display;

use sansio::{Outbox, Time};

use crate::host::Node;
use crate::tray::Tray;

/// What every machine is held to after each step. A broken law panics and says which host broke it and when.
///
/// All are on by default. Two more cannot be switched off: after `handle_timeout`, `poll_timeout` is later than
/// now; and a machine comes to rest, so that time can go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Laws {
    /// A `handle_timeout` before `poll_timeout` changes nothing that can be seen.
    pub early_timeouts_do_nothing: bool,
    /// A second `poll_transmit` writes nothing if the first had room enough.
    pub drained_polls_stay_empty: bool,
    /// Datagrams fit into the MTU of the link they leave by. If off, those that do not are dropped there.
    pub datagrams_fit_the_mtu: bool,
    /// Machines send from sockets that are or were bound. If off, other packets are dropped.
    pub senders_are_bound: bool,
}

impl Laws {
    /// As few as possible, for measurements.
    pub const NONE: Self = Self {
        early_timeouts_do_nothing: false,
        drained_polls_stay_empty: false,
        datagrams_fit_the_mtu: false,
        senders_are_bound: false,
    };
}

impl Default for Laws {
    fn default() -> Self {
        Self {
            early_timeouts_do_nothing: true,
            drained_polls_stay_empty: true,
            datagrams_fit_the_mtu: true,
            senders_are_bound: true,
        }
    }
}

/// Who is before the court, for the message.
pub(crate) struct Accused<'a> {
    pub(crate) host: &'a str,
    pub(crate) now: Time,
}

impl Accused<'_> {
    #[track_caller]
    pub(crate) fn condemn(&self, node: &dyn Node, what: impl Display) -> ! {
        panic!("law broken by host `{}` ({}) at {:?}: {what}", self.host, node.type_name(), self.now)
    }

    /// Calls `handle_timeout` too early and looks whether anything happened. The machine is drained.
    pub(crate) fn check_early_timeout(&self, node: &mut dyn Node, tray: &mut Tray) {
        let before = node.next_timeout();
        if before.is_some_and(|due| due <= self.now) {
            return;
        }
        node.timeout(self.now);
        let after = node.next_timeout();
        if before != after {
            self.condemn(
                node,
                format_args!("an early handle_timeout moved poll_timeout from {before:?} to {after:?}"),
            );
        }
        node.transmit(self.now, tray);
        if !tray.is_empty() {
            self.condemn(node, format_args!("an early handle_timeout made it send {} datagrams", tray.len()));
        }
        if node.drain_events() > 0 {
            self.condemn(node, "an early handle_timeout made an event");
        }
        if let Some(op) = node.next_socket() {
            self.condemn(node, format_args!("an early handle_timeout made a socket operation: {op:?}"));
        }
    }

    /// Polls again what has just been polled with room to spare.
    pub(crate) fn check_drained(&self, node: &mut dyn Node, tray: &mut Tray) {
        let before = tray.len();
        node.transmit(self.now, tray);
        if tray.len() > before {
            self.condemn(
                node,
                format_args!(
                    "poll_transmit left {} datagrams for a second call, although there was room ({} bytes)",
                    tray.len() - before,
                    tray.room()
                ),
            );
        }
    }
}
