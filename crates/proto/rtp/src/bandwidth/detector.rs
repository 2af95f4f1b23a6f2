/// What the way does (draft-ietf-rmcat-gcc-02 §5.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Usage {
    /// A queue is getting shorter.
    Under,
    #[default]
    Normal,
    /// A queue grows.
    Over,
}

/// Compares the trend with a threshold that follows it, so that others' traffic does not starve us.
#[derive(Debug)]
pub(super) struct Detector {
    threshold: f64,
    /// When the last trend came, in milliseconds, and what it was.
    last: Option<(f64, f64)>,
    /// For how long it has been above the threshold.
    over: f64,
    times: u32,
    usage: Usage,
}

/// How long it has to be above, in milliseconds.
const OVER: f64 = 10.0;
/// By how much of the distance the threshold follows in a millisecond: up and down.
const UP: f64 = 0.0087;
const DOWN: f64 = 0.039;

impl Default for Detector {
    fn default() -> Self {
        Self { threshold: 12.5, last: None, over: 0.0, times: 0, usage: Usage::Normal }
    }
}

impl Detector {
    /// Takes a trend that was seen at a moment, in milliseconds.
    pub(super) fn push(&mut self, at: f64, trend: f64) -> Usage {
        let (then, before) = self.last.replace((at, trend)).unwrap_or((at, trend));
        let passed = (at - then).clamp(0.0, 100.0);
        if trend > self.threshold {
            self.over += passed;
            self.times += 1;
            // Only if it still grows.
            if self.over > OVER && self.times > 1 && trend >= before {
                (self.over, self.times) = (0.0, 0);
                self.usage = Usage::Over;
            }
        } else {
            (self.over, self.times) = (0.0, 0);
            self.usage = if trend < -self.threshold { Usage::Under } else { Usage::Normal };
        }
        let distance = trend.abs() - self.threshold;
        // A peak out of all measure is a route that changed: the threshold does not follow.
        if distance <= 15.0 {
            let speed = if distance < 0.0 { DOWN } else { UP };
            self.threshold = (self.threshold + speed * distance * passed).clamp(6.0, 600.0);
        }
        self.usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_for_a_while_is_overuse() {
        let mut detector = Detector::default();
        assert_eq!(detector.push(0.0, 20.0), Usage::Normal);
        assert_eq!(detector.push(5.0, 21.0), Usage::Normal);
        assert_eq!(detector.push(15.0, 22.0), Usage::Over);
        assert_eq!(detector.push(20.0, 0.0), Usage::Normal);
        assert_eq!(detector.push(25.0, -30.0), Usage::Under);
    }

    #[test]
    fn the_threshold_follows_what_stays_but_not_a_peak() {
        let mut detector = Detector::default();
        for step in 0..2000 {
            detector.push(f64::from(step) * 10.0, 20.0);
        }
        assert!((19.0..20.0).contains(&detector.threshold), "{}", detector.threshold);
        detector.push(20_010.0, 60.0);
        assert!((19.0..20.0).contains(&detector.threshold), "{}", detector.threshold);
        for step in 2002..4000 {
            detector.push(f64::from(step) * 10.0, 0.0);
        }
        assert_eq!(detector.threshold, 6.0);
    }
}
