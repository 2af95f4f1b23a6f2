//! Numbers with their units, as people write them.

use std::time::Duration;

/// The longest time that can be said: some thirty years.
const LONGEST: Duration = Duration::from_secs(1_000_000_000);

/// `20ms`, `1.5s`, `2min`, `1h`, `3days`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let seconds = scaled(
        text,
        &[("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("min", 60.0), ("h", 3600.0), ("days", 86_400.0)],
    )?;
    // Beyond that, clocks would overflow.
    let bounded = seconds <= LONGEST.as_secs_f64();
    bounded.then(|| Duration::from_secs_f64(seconds))
}

/// `1%`.
pub(crate) fn share(text: &str) -> Option<f64> {
    scaled(text, &[("%", 0.01)]).filter(|share| *share <= 1.0)
}

/// `512kbit/s`, `10Mbit/s`, `1Gbit/s`, in bits a second.
pub(crate) fn rate(text: &str) -> Option<u64> {
    let bits = scaled(text, &[("bit/s", 1.0), ("kbit/s", 1e3), ("Mbit/s", 1e6), ("Gbit/s", 1e9)])?;
    (1.0..1e12).contains(&bits).then_some(bits as u64)
}

fn scaled(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let text = text.trim();
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = (&text[..at], text[at..].trim());
    let number: f64 = number.parse().ok()?;
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    Some(number * scale)
}

/// A time as the book and the command print it: `1.204 s`.
pub(crate) fn seconds(time: Duration) -> String {
    let text = format!("{:.3}", time.as_secs_f64());
    format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_need_their_units() {
        assert_eq!(duration("20ms"), Some(Duration::from_millis(20)));
        assert_eq!(duration("1.5 s"), Some(Duration::from_millis(1500)));
        assert_eq!(duration("2min"), Some(Duration::from_secs(120)));
        assert_eq!(share("2.5%"), Some(0.025));
        assert_eq!(rate("10Mbit/s"), Some(10_000_000));
        for text in ["", "5", "99999999999999999h", "ms", "-1s", "1 parsec", "1e3s"] {
            assert_eq!(duration(text), None, "{text}");
        }
        assert_eq!((share("101%"), share("1"), rate("10M")), (None, None, None));
        assert_eq!(
            (seconds(Duration::from_millis(1200)), seconds(Duration::ZERO)),
            ("1.2 s".into(), "0 s".into())
        );
    }
}
