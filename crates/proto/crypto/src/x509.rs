//! What has to be read of a certificate (RFC 5280 §4.1).

use time::{Date, Month, Time};

/// From when until when a certificate is good, Unix time. `None`: it is none, or older than 1970.
///
/// ```
/// let made = sterna_crypto::Certificate::generate().unwrap();
/// let (from, until) = sterna_crypto::validity(&made.der).unwrap();
/// assert!(from < until);
/// ```
pub fn validity(certificate: &[u8]) -> Option<(u64, u64)> {
    // Serial number, algorithm, issuer.
    let fields = skip(fields(certificate)?, &[0x02, SEQUENCE, SEQUENCE])?;
    let times = Element::parse(fields, SEQUENCE)?.contents;
    let (from, rest) = moment(times)?;
    let (until, _) = moment(rest)?;
    Some((from, until))
}

/// The SubjectPublicKeyInfo of an X.509 certificate: the seventh field of what is signed, or the sixth where the version is
/// left out.
pub(crate) fn public_key(certificate: &[u8]) -> Option<&[u8]> {
    // Serial number, algorithm, issuer, validity, subject.
    let fields = skip(fields(certificate)?, &[0x02, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE])?;
    Some(Element::parse(fields, SEQUENCE)?.whole)
}

const SEQUENCE: u8 = 0x30;

/// What is signed, behind the version.
fn fields(certificate: &[u8]) -> Option<&[u8]> {
    const VERSION: u8 = 0xa0;
    let signed = Element::parse(certificate, SEQUENCE)?.contents;
    let fields = Element::parse(signed, SEQUENCE)?.contents;
    match fields.first() {
        Some(&VERSION) => Some(Element::parse(fields, VERSION)?.rest),
        _ => Some(fields),
    }
}

fn skip<'a>(fields: &'a [u8], kinds: &[u8]) -> Option<&'a [u8]> {
    kinds.iter().try_fold(fields, |fields, &kind| Some(Element::parse(fields, kind)?.rest))
}

/// A time, as UTCTime or GeneralizedTime (RFC 5280 §4.1.2.5), and what comes after it.
fn moment(bytes: &[u8]) -> Option<(u64, &[u8])> {
    const UTC: u8 = 0x17;
    const GENERALIZED: u8 = 0x18;
    let kind = *bytes.first().filter(|kind| [UTC, GENERALIZED].contains(kind))?;
    let Element { contents, rest, .. } = Element::parse(bytes, kind)?;
    let digits = contents.strip_suffix(b"Z").filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let (year, digits) = digits.split_at_checked(if kind == UTC { 2 } else { 4 })?;
    let number = |digits: &[u8]| digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    let year = match number(year) {
        // Of two digits, the later half is of the last century.
        year @ 0..50 if kind == UTC => 2000 + year,
        year if kind == UTC => 1900 + year,
        year => year,
    };
    let [month, day, hour, minute, second] = {
        let (pairs, []) = digits.as_chunks::<2>() else { return None };
        <[&[u8; 2]; 5]>::try_from(pairs.iter().collect::<Vec<_>>()).ok()?.map(|pair| number(pair) as u8)
    };
    let date = Date::from_calendar_date(year.into(), Month::try_from(month).ok()?, day).ok()?;
    let time = Time::from_hms(hour, minute, second).ok()?;
    Some((date.with_time(time).assume_utc().unix_timestamp().try_into().ok()?, rest))
}

/// An element of DER.
struct Element<'a> {
    whole: &'a [u8],
    contents: &'a [u8],
    /// What comes after it.
    rest: &'a [u8],
}

impl<'a> Element<'a> {
    fn parse(bytes: &'a [u8], kind: u8) -> Option<Self> {
        let (&[found, first], after) = bytes.split_first_chunk::<2>()?;
        let (length, header) = match first {
            0..=0x7f => (usize::from(first), 2),
            0x81..=0x83 => {
                let digits = after.get(..usize::from(first & 0x7f))?;
                (digits.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)), 2 + digits.len())
            }
            _ => return None,
        };
        let (whole, rest) = bytes.split_at_checked(header + length)?;
        (found == kind).then_some(Self { whole, contents: &whole[header..], rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Certificate;

    #[test]
    fn what_is_no_certificate_has_no_key() {
        let certificate = Certificate::generate().unwrap().der.clone();
        assert!(public_key(&certificate).is_some());
        for length in 0..certificate.len() {
            let cut = &certificate[..length];
            assert!(public_key(cut).is_none(), "{length} bytes");
        }
        assert!(public_key(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]).is_none());
    }

    #[test]
    fn a_certificate_says_how_long_it_is_good() {
        let key = rcgen::KeyPair::generate().unwrap();
        let made = |from: (i32, u8, u8), until: (i32, u8, u8)| {
            let mut wanted = rcgen::CertificateParams::default();
            wanted.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
            wanted.not_after = rcgen::date_time_ymd(until.0, until.1, until.2);
            validity(wanted.self_signed(&key).unwrap().der())
        };
        // Before 2050 as UTCTime, then as GeneralizedTime.
        assert_eq!(made((2026, 11, 23), (2027, 2, 21)), Some((1_795_392_000, 1_803_168_000)));
        assert_eq!(made((1999, 12, 31), (2050, 3, 1)), Some((946_598_400, 2_529_705_600)));
        let certificate = Certificate::generate().unwrap().der.clone();
        for length in 0..certificate.len() {
            assert_eq!(validity(&certificate[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        let at = |kind: u8, text: &str| {
            let element = [&[kind, text.len() as u8], text.as_bytes()].concat();
            moment(&element).map(|(at, _)| at)
        };
        assert_eq!(at(0x17, "700101000000Z"), Some(0));
        assert_eq!(at(0x18, "20240229235959Z"), Some(1_709_251_199));
        for bad in
            ["", "Z", "7001010000Z", "700101000000", "700101000000+0100", "701301000000Z", "69010100000xZ"]
        {
            assert_eq!(at(0x17, bad), None, "{bad}");
        }
        assert_eq!(at(0x17, "600101000000Z"), None, "before 1970");
    }
}
