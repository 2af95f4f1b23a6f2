//! Channels are opened and closed by both ends at any time, in any weather; their numbers stay usable.

mod link;

use std::time::Duration;

use link::{Link, Weather};
use sansio::{Rng, Seed};
use sterna_sctp::{ChannelConfig, ChannelId, MessageKind};

#[test]
fn numbers_stay_usable_whatever_happens() {
    for seed in 0..150 {
        let mut dice = Rng::new(Seed::from(seed));
        // Now and then nothing arrives for a while; for half of the seeds, the rest of the time is stormy too.
        let (loss, jitter) =
            if seed % 2 == 0 { (0, Duration::ZERO) } else { (15, Duration::from_millis(30)) };
        let fine = Weather { delay: Duration::from_millis(1), jitter, loss, twice: loss };
        let mut link = Link::new(seed, fine);
        let mut clear = link.now;
        for _ in 0..80 {
            let end = dice.below(2) as usize;
            let now = link.now;
            let known: Vec<ChannelId> = link.ends[end].association.channels().map(|(id, _)| id).collect();
            let any = (!known.is_empty()).then(|| known[dice.below(known.len() as u64) as usize]);
            match (dice.below(8), any) {
                (0..=1, _) if known.len() < 3 => drop(link.open(end, ChannelConfig::default())),
                (2..=4, Some(id)) => {
                    let data = vec![7; dice.below(20_000) as usize];
                    let _ = link.ends[end].association.send(now, id, MessageKind::Binary, &data);
                }
                (5, Some(id)) => link.ends[end].association.close_channel(now, id),
                (6, _) => {
                    link.weather.loss = 100;
                    clear = link.now + Duration::from_millis(dice.below(3000));
                }
                _ => {}
            }
            let pause = Duration::from_millis(dice.below(120));
            link.rest(pause);
            if link.now >= clear {
                link.weather.loss = loss;
            }
        }
        link.weather.loss = 0;
        link.rest(Duration::from_secs(40));
        for end in [0, 1] {
            assert!(!link.ends[end].is_over(), "seed {seed}");
            let id = link.open(end, ChannelConfig::default());
            link.send(end, id, b"the last word");
            link.rest(Duration::from_secs(20));
            let heard = link.ends[1 - end].messages().iter().any(|it| it.2 == b"the last word");
            assert!(heard, "seed {seed}: channel {id} of end {end} was not heard");
        }
    }
}
