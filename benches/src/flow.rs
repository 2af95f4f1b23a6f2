use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What passed from one end to the other.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    pub messages: u64,
    pub bytes: u64,
    pub time: Duration,
    /// Of the processor's, at both ends, user and system.
    pub processor: Duration,
}

impl Flow {
    pub fn megabytes_per_second(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.time.as_secs_f64()
    }

    pub fn messages_per_second(&self) -> f64 {
        self.messages as f64 / self.time.as_secs_f64()
    }

    pub fn seconds_per_gigabyte(&self) -> f64 {
        self.processor.as_secs_f64() / (self.bytes as f64 / 1e9)
    }
}

/// What this process has had of the processor's time.
#[derive(Clone, Copy)]
pub struct Processor(Duration);

impl Processor {
    pub fn now() -> Self {
        Self(clock(ClockId::ProcessCPUTime))
    }

    pub fn elapsed(self) -> Duration {
        Self::now().0 - self.0
    }
}

/// A time that all processes of this machine agree on.
pub fn monotonic() -> Duration {
    clock(ClockId::Monotonic)
}

fn clock(id: ClockId) -> Duration {
    let time = clock_gettime(id);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
