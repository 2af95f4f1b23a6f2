//! The middle of several runs, and how far they lie apart.

/// Values of one thing.
#[derive(Clone, Default)]
pub struct Summary(Vec<f64>);

impl Summary {
    pub fn add(&mut self, value: f64) {
        let at = self.0.partition_point(|other| *other < value);
        self.0.insert(at, value);
    }

    pub fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        match self.0[..] {
            [] => f64::NAN,
            ref values if values.len() % 2 == 0 => (values[middle - 1] + values[middle]) / 2.0,
            ref values => values[middle],
        }
    }

    pub fn least(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    pub fn most(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }
}
