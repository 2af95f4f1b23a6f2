//! The middle of several runs, and how far they lie apart.

/// Values of one thing, in the order of the runs.
#[derive(Clone, Default)]
pub(crate) struct Summary(Vec<f64>);

impl Summary {
    pub(crate) fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Run by run, how many times as much as `base` that was. What slows the machine down for a while slows down both.
    pub(crate) fn ratio_to(&self, base: &Self) -> Self {
        Self(self.0.iter().zip(&base.0).map(|(value, base)| value / base).collect())
    }

    pub(crate) fn median(&self) -> f64 {
        let values = self.sorted();
        let middle = values.len() / 2;
        match values[..] {
            [] => f64::NAN,
            ref values if values.len() % 2 == 0 => (values[middle - 1] + values[middle]) / 2.0,
            ref values => values[middle],
        }
    }

    pub(crate) fn least(&self) -> f64 {
        self.sorted().first().copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn most(&self) -> f64 {
        self.sorted().last().copied().unwrap_or(f64::NAN)
    }

    fn sorted(&self) -> Vec<f64> {
        let mut values = self.0.clone();
        values.sort_by(f64::total_cmp);
        values
    }
}
