use std::collections::VecDeque;

use crate::bandwidth::groups::Variation;

/// How steeply the time that packets take grows: a line through the last groups, as browsers do it in place of the
/// Kalman filter of draft-ietf-rmcat-gcc-02 §5.3.
#[derive(Debug, Default)]
pub(super) struct Trend {
    groups: u32,
    accumulated: f64,
    smoothed: f64,
    /// When each group arrived, and how much longer than the first it took.
    points: VecDeque<(f64, f64)>,
}

/// Groups that the line goes through.
const WINDOW: usize = 20;
/// How much of the past is in the smoothed value.
const SMOOTHING: f64 = 0.9;
/// Groups after which the slope counts fully.
const CONFIDENT: u32 = 60;
/// What makes a slope comparable with the detector's threshold.
const GAIN: f64 = 4.0;

impl Trend {
    /// Takes a group. Returns the slope, weighed by how sure it is; in milliseconds.
    pub(super) fn push(&mut self, variation: Variation) -> f64 {
        self.groups = (self.groups + 1).min(CONFIDENT);
        self.accumulated += variation.longer;
        self.smoothed = SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * self.accumulated;
        if self.points.len() == WINDOW {
            self.points.pop_front();
        }
        self.points.push_back((variation.arrived, self.smoothed));
        if self.points.len() < WINDOW {
            return 0.0;
        }
        self.slope() * f64::from(self.groups) * GAIN
    }

    /// Least squares.
    fn slope(&self) -> f64 {
        let count = self.points.len() as f64;
        let x = self.points.iter().map(|(x, _)| x).sum::<f64>() / count;
        let y = self.points.iter().map(|(_, y)| y).sum::<f64>() / count;
        let (mut above, mut below) = (0.0, 0.0);
        for point in &self.points {
            above += (point.0 - x) * (point.1 - y);
            below += (point.0 - x) * (point.0 - x);
        }
        if below > 0.0 { above / below } else { 0.0 }
    }
}
