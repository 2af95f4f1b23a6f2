//! A relay that carries in steps, on one thread with its clients.

mod churn;
mod crowd;
#[path = "../../tests/rig/mod.rs"]
mod rig;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use super::{Aide, Relay, RelayConfig, Shard};

/// What carries.
struct Shards {
    chief: Shard,
    aides: Vec<Aide>,
}

impl Shards {
    fn step(&mut self) {
        self.chief.step();
        self.aides.iter_mut().for_each(Aide::step);
    }

    /// How much stands in each table, by the shard and what it is.
    fn tables(&self) -> BTreeMap<(usize, &'static str), usize> {
        let all = [self.chief.tables()].into_iter().chain(self.aides.iter().map(Aide::tables));
        let named = all
            .enumerate()
            .flat_map(|(of, tables)| tables.into_iter().map(move |(name, length)| ((of, name), length)));
        named.collect()
    }
}

async fn breathe() {
    tokio::time::sleep(Duration::from_micros(200)).await;
}

/// Carries for ever.
async fn carry(shards: &RefCell<Shards>) {
    loop {
        shards.borrow_mut().step();
        breathe().await;
    }
}
