//! What follows from the server's answers, and from their absence.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sansio::Time;
use stun::credential::{Challenged, Refusal};
use stun::transaction::{Cause, Dropped, Failed, Response};
use stun::{Class, Message, kind};

use super::relayed::{Relayed, Unusable};
use super::request::{Asked, Request};
use super::{Client, ClientEvent, Opened, State, Timer, hint};
use crate::attribute::Family;
use crate::error::{Stage, TurnError};

/// Lifetime of an allocation whose server does not tell (RFC 8656 §6).
const DEFAULT_LIFETIME: Duration = Duration::from_secs(600);
/// "It is suggested that the client refresh the allocation roughly 1 minute before it expires" (RFC 8656 §8).
const REFRESH_MARGIN: Duration = Duration::from_secs(60);
/// How long before a permission's 300 seconds are over it is asked for again: time enough for one more request to
/// be given up.
const PERMISSION_REFRESH: Duration = Duration::from_secs(240);
/// How often one request is asked, whatever the server says.
pub(super) const MAX_TIMES: u8 = 6;

impl Client {
    pub(super) fn handle_response(&mut self, now: Time, message: &Message<'_>) -> Opened {
        let from = self.path_of(message);
        let opened = match self.transactions.handle_response(now, message, from) {
            Ok(response) => {
                self.answered(now, message, response);
                Opened::Control
            }
            Err(Dropped::Unknown) => Opened::Other,
            Err(_) => Opened::Control,
        };
        self.settle(now);
        opened
    }

    /// Draws the consequences of requests that failed, and starts those that waited for a place.
    pub(super) fn settle(&mut self, now: Time) {
        while let Some(Failed { token, cause, .. }) = self.transactions.poll_failed() {
            self.unanswered(now, token.request, cause);
        }
        self.start_waiting(now);
    }

    fn answered(&mut self, now: Time, message: &Message<'_>, response: Response<Asked>) {
        let Asked { request, times } = response.token;
        if message.class() == Class::Success {
            self.long_term.handle_success();
            if request.presents_token() {
                self.long_term.handle_presented();
            }
            return self.granted(now, request, message);
        }
        let sent = Message::parse(&response.request).expect("what we wrote parses");
        match self.long_term.handle_error(&sent, message) {
            Challenged::OtherError => self.refused(now, request, message),
            // A username that is over is good for an allocation that it was good for, if the server knows whose it is.
            Challenged::Refused(Refusal::WrongCredentials) if request.is_upkeep() && self.may_return() => {
                self.come_back(now, request);
            }
            Challenged::Refused(refusal) => self.locked_out(now, request, message, refusal),
            Challenged::Retry if self.state == State::Leaving && request == Request::Allocate => {
                self.closed()
            }
            Challenged::Retry if times >= MAX_TIMES => {
                self.locked_out(now, request, message, Refusal::StaleLoop);
            }
            Challenged::Retry => self.ask(now, Asked { request, times: times + 1 }),
        }
    }

    fn granted(&mut self, now: Time, request: Request, message: &Message<'_>) {
        match request {
            Request::Allocate => self.allocated(now, message),
            Request::Refresh => {
                self.returns = 0;
                self.refresh_after(now, lifetime(message));
            }
            Request::Move => {
                self.refresh_after(now, lifetime(message));
                self.moved(now, message);
            }
            Request::Connect(peer) => self.events.push_back(match message.u32(kind::CONNECTION_ID) {
                Some(connection) => ClientEvent::PeerConnected { peer, connection },
                None => {
                    let reason = "incomplete answer".to_owned();
                    ClientEvent::PeerRefused { peer, code: None, reason }
                }
            }),
            Request::Delete => self.closed(),
            Request::Permission(address) => self.permitted(now, address),
            Request::Channel(peer, _) => {
                if self.peers.channel_bound(peer) && self.peers.wants(peer) {
                    self.events.push_back(ClientEvent::ChannelBound(peer));
                }
                self.permitted(now, peer.ip());
            }
        }
    }

    fn allocated(&mut self, now: Time, message: &Message<'_>) {
        if self.state == State::Leaving {
            return self.ask(now, Asked { request: Request::Delete, times: 1 });
        }
        let relayed = Relayed::read(message, self.config.families);
        if let Err(Unusable::Unasked(given)) = relayed {
            // "If these addresses are not part of an address family … that the client is prepared to handle, then
            // the client MUST delete the allocation" (RFC 8656 §7.3). The server may or may not hear of it.
            let reason = format!("asked for an {} address and got {given}", self.config.families);
            let hint = hint::for_code(440).to_owned();
            self.fail(TurnError { code: None, reason, stage: Stage::Allocate, hint });
            return self.ask(now, Asked { request: Request::Delete, times: 1 });
        }
        let (Ok(relayed), Some(mapped)) = (relayed, message.xor_mapped_address()) else {
            let hint = "Its answer lacks an address: it is broken, use another server.".to_owned();
            let reason = "incomplete answer".to_owned();
            return self.fail(TurnError { code: None, reason, stage: Stage::Allocate, hint });
        };
        let lifetime = lifetime(message);
        self.keep_ticket(message);
        self.state = State::Allocated { relayed };
        self.refresh_after(now, lifetime);
        if let Some(interval) = self.keepalive_interval() {
            self.timers.set(Timer::Keepalive, now + interval);
        }
        let Relayed { first, additional } = relayed;
        self.events.push_back(ClientEvent::Allocated { relayed: first, additional, mapped, lifetime });
        let addresses: Vec<IpAddr> = self.peers.addresses().collect();
        for address in addresses {
            match relayed.of(Family::of(address)) {
                Some(_) => self.want(Request::Permission(address)),
                // Both families were asked for, and one was to be had.
                None => self.peers.refused(address).into_iter().for_each(|peer| self.out_of_reach(peer)),
            }
        }
    }

    fn refresh_after(&mut self, now: Time, lifetime: Duration) {
        let wait = lifetime.saturating_sub(REFRESH_MARGIN).max(lifetime / 2).max(Duration::from_secs(1));
        self.timers.set(Timer::Refresh, now + wait);
    }

    /// The server lets packets of `address` pass for another five minutes.
    fn permitted(&mut self, now: Time, address: IpAddr) {
        if !self.peers.expects(address) {
            return;
        }
        self.timers.set(Timer::Permission(address), now + PERMISSION_REFRESH);
        for peer in self.peers.granted(address) {
            self.events.push_back(ClientEvent::PermissionGranted(peer));
            self.want_channel(now, peer);
        }
    }

    /// Asks for a channel to `peer`, if there shall be channels and one is to be had. Returns whether it does.
    pub(super) fn want_channel(&mut self, now: Time, peer: SocketAddr) -> bool {
        let channels = self.config.channels && !self.config.streams;
        let number = if channels { self.peers.channel_to_bind(now, peer) } else { None };
        if let Some(number) = number {
            self.want(Request::Channel(peer, number));
        }
        number.is_some()
    }

    /// The server said no, for a reason that is not about credentials.
    fn refused(&mut self, now: Time, request: Request, message: &Message<'_>) {
        let (code, reason) = reason(message);
        match (request, code) {
            (Request::Allocate, 300) if message.alternate_server().is_some() => {
                let server = message.alternate_server().expect("looked at just now");
                let domain = message.alternate_domain().map(str::to_owned);
                let leaving = self.state == State::Leaving;
                self.end();
                self.events.push_back(if leaving {
                    ClientEvent::Closed
                } else {
                    ClientEvent::Redirected { server, domain }
                });
            }
            // It cannot set the DF bit, and can relay (RFC 8656 §7.4).
            (Request::Allocate, 420) if self.config.dont_fragment && lists_dont_fragment(message) => {
                self.config.dont_fragment = false;
                self.ask(now, Asked { request, times: 1 });
            }
            // It forbids mobility, and not the allocation (RFC 8016 §3.1.4).
            (Request::Allocate, 405) if self.config.mobility => {
                self.config.mobility = false;
                self.ask(now, Asked { request, times: 1 });
            }
            (Request::Connect(peer), code) if code != 437 => {
                self.events.push_back(ClientEvent::PeerRefused { peer, code: Some(code), reason });
            }
            (Request::Move, code) if self.is_returning() => self.not_returned(Some(code), reason),
            (Request::Move, code) if code != 437 => self.not_moved(Some(code), reason),
            (_, 437) if request.is_upkeep() && self.may_return() => self.come_back(now, request),
            // "It should consider its request as having effectively succeeded" (RFC 8656 §8.3).
            (Request::Delete, _) => self.closed(),
            (Request::Permission(address), code) if code != 437 => {
                self.permission_refused(address, Some(code), &reason);
                self.consider_loss(now, code);
            }
            // Not the permission, only the shorter header. RFC 8656 §12.3 would start all over again after a 400; as
            // our numbers are never given to another peer, Send indications do.
            (Request::Channel(peer, _), code) if code != 437 && code != 403 => {
                self.peers.channel_refused(peer);
                self.consider_loss(now, code);
                if self.peers.expects(peer.ip()) {
                    self.want(Request::Permission(peer.ip()));
                }
            }
            (Request::Channel(peer, _), 403) => self.permission_refused(peer.ip(), Some(code), &reason),
            _ => {
                let hint = hint::for_code(code).to_owned();
                self.fail(TurnError { code: Some(code), reason, stage: request.stage(), hint });
            }
        }
        self.start_waiting(now);
    }

    /// Asks after the allocation when the server finds fault with a request that is in order: coturn says 400 to a
    /// CreatePermission request when it has no allocation (any more), and 437 to a Refresh only.
    fn consider_loss(&mut self, now: Time, code: u16) {
        if code == 400 {
            self.make_sure(now);
        }
    }

    /// The server does not accept our credentials.
    fn locked_out(&mut self, now: Time, request: Request, message: &Message<'_>, refusal: Refusal) {
        let (code, reason) = reason(message);
        let realm = message.realm().or(self.long_term.realm()).unwrap_or_default();
        let unix_time = self.config.unix_time_at_start.map(|start| start + now.elapsed());
        let hint = hint::for_refusal(refusal, &self.config.credentials.username, realm, unix_time);
        self.fail(TurnError { code: Some(code), reason, stage: request.stage(), hint });
    }

    /// Nothing came back, or nothing that could be believed.
    fn unanswered(&mut self, now: Time, request: Request, cause: Cause) {
        let over_udp = self.config.server.transport == sansio::Transport::Udp;
        match (request, self.state) {
            (_, State::Over) => {}
            (Request::Delete, _) | (Request::Allocate, State::Leaving) => self.closed(),
            (_, State::Leaving) => {}
            (Request::Move, _) if self.is_returning() => self.not_returned(None, cause.to_string()),
            (Request::Move, _) => self.not_moved(None, cause.to_string()),
            (Request::Connect(peer), _) => {
                let reason = cause.to_string();
                self.events.push_back(ClientEvent::PeerRefused { peer, code: None, reason });
            }
            (Request::Permission(address), _) => self.permission_refused(address, None, &cause.to_string()),
            (Request::Channel(peer, _), _) => {
                self.peers.channel_refused(peer);
                self.want(Request::Permission(peer.ip()));
                self.start_waiting(now);
            }
            (Request::Allocate | Request::Refresh, _) => {
                let hint = match cause {
                    Cause::IntegrityViolated { .. } => hint::for_integrity(),
                    _ => hint::for_silence(over_udp),
                };
                let (reason, hint) = (cause.to_string(), hint.to_owned());
                self.fail(TurnError { code: None, reason, stage: request.stage(), hint });
            }
        }
    }

    fn permission_refused(&mut self, address: IpAddr, code: Option<u16>, reason: &str) {
        self.timers.stop(Timer::Permission(address));
        for peer in self.peers.refused(address) {
            let reason = reason.to_owned();
            self.events.push_back(ClientEvent::PermissionRefused { peer, code, reason });
        }
    }
}

/// The lifetime that the server grants.
fn lifetime(message: &Message<'_>) -> Duration {
    message.u32(kind::LIFETIME).map_or(DEFAULT_LIFETIME, |seconds| Duration::from_secs(seconds.into()))
}

/// Whether the server does not know DONT-FRAGMENT.
fn lists_dont_fragment(message: &Message<'_>) -> bool {
    let unknown = message.unknown_attributes();
    unknown.is_some_and(|unknown| unknown.iter().any(|listed| listed == kind::DONT_FRAGMENT))
}

/// Code and words of an error response.
pub(super) fn reason(message: &Message<'_>) -> (u16, String) {
    match message.error_code() {
        Some(error) if !error.reason.is_empty() => (error.code, error.reason.to_owned()),
        Some(error) => (error.code, words(error.code).to_owned()),
        None => (500, "an error response without an error code".to_owned()),
    }
}

/// Our words for a code, for servers that save theirs.
pub(super) fn words(code: u16) -> &'static str {
    match code {
        300 => "Try Alternate",
        400 => "Bad Request",
        401 => "Unauthenticated",
        403 => "Forbidden",
        420 => "Unknown Attribute",
        437 => "Allocation Mismatch",
        438 => "Stale Nonce",
        440 => "Address Family not Supported",
        441 => "Wrong Credentials",
        442 => "Unsupported Transport Protocol",
        443 => "Peer Address Family Mismatch",
        446 => "Connection Already Exists",
        447 => "Connection Timeout or Failure",
        486 => "Allocation Quota Reached",
        500 => "Server Error",
        508 => "Insufficient Capacity",
        _ => "refused",
    }
}
