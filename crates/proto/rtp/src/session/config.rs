use std::time::Duration;

use sansio::Seed;

use crate::bandwidth::EstimatorConfig;
use crate::ntp::NtpClock;

/// How a [`Session`](super::Session) behaves.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// What its random numbers start from. Secret in production.
    pub seed: Seed,
    /// What all sources that we send have in common (`cname`, RFC 3550 §6.5.1): random, and new for each session
    /// (RFC 7022).
    pub cname: Box<str>,
    /// The clock of which sender reports tell the time.
    pub clock: NtpClock,
    /// Where the estimate of what the way can carry begins, and between what it stays.
    pub bandwidth: EstimatorConfig,
    /// How long a missing packet is waited for: 400 ms. What is played live has less time, what is recorded more.
    pub patience: Duration,
    /// Bytes of a protected packet at most: 1,200, which fits into every path of IPv6 with relays and tunnels.
    pub max_packet: usize,
}

impl SessionConfig {
    /// With the numbers that stand beside the fields, a random `cname`, and a clock that begins in 1900.
    pub fn new(seed: Seed) -> Self {
        let cname = sansio::Rng::new(seed).ice_chars(16).into();
        Self {
            seed,
            cname,
            clock: NtpClock::new(0),
            bandwidth: EstimatorConfig::default(),
            patience: Duration::from_millis(400),
            max_packet: 1200,
        }
    }
}
