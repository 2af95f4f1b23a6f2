use crate::check::{Check, Purpose};
use crate::pair::PairId;
use crate::report::Padded;
use crate::session::{Context, Session};

/// Whether large packets arrive: checks that are filled up, on the pair that carries data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SizeProbe {
    pair: PairId,
    counts: Padded,
    /// Answers on the pair before the first of them.
    before: u32,
}

impl Session {
    /// Sends a check of `size` bytes on the pair that carries data, if there is one.
    pub(crate) fn check_size(&mut self, ctx: &mut Context<'_>, size: usize) {
        let Some(pair) = self.carrier(ctx.config.lite) else { return };
        let (id, before) = (pair.id, pair.evidence.responses_received);
        let probe = self.size_probe.take_if(|probe| probe.pair == id && probe.counts.size == size);
        let mut probe =
            probe.unwrap_or(SizeProbe { pair: id, counts: Padded { size, ..Padded::default() }, before });
        probe.counts.sent += 1;
        self.size_probe = Some(probe);
        let purpose = Purpose::Size(u16::try_from(size).unwrap_or(u16::MAX));
        self.queue_check(ctx, id, purpose, ctx.config.timings.rto);
    }

    /// An answer to a check came.
    pub(crate) fn size_answered(&mut self, check: &Check) {
        if let Some(probe) = self.size_probe.as_mut().filter(|probe| probe.pair == check.pair)
            && matches!(check.purpose, Purpose::Size(_))
        {
            probe.counts.answered += 1;
        }
    }

    /// For people.
    pub(crate) fn padded(&self) -> Option<Padded> {
        let SizeProbe { pair, counts, before } = self.size_probe?;
        let answered = self.list.get(pair).map_or(before, |pair| pair.evidence.responses_received);
        let plain_answered = answered.saturating_sub(before).saturating_sub(counts.answered);
        Some(Padded { plain_answered, ..counts })
    }
}
