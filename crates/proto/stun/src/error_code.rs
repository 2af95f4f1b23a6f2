use std::fmt;

/// The value of ERROR-CODE: why a request was refused (RFC 8489 §14.8).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode<'a> {
    /// 300 to 699.
    pub code: u16,
    /// For people. Empty if the sender gave none, or not in UTF-8.
    pub reason: &'a str,
}

impl<'a> ErrorCode<'a> {
    pub(crate) fn decode(value: &'a [u8]) -> Option<Self> {
        let &[_, _, class, number, ref reason @ ..] = value else { return None };
        // The upper bits of the class are reserved and must be ignored (RFC 8489 §14.8).
        let class = class & 7;
        if !(3..=6).contains(&class) || number > 99 {
            return None;
        }
        let code = u16::from(class) * 100 + u16::from(number);
        // coturn ends its phrases with a zero byte.
        Some(Self { code, reason: std::str::from_utf8(reason).unwrap_or_default().trim_end_matches('\0') })
    }
}

/// The phrase that goes with a code in the IANA registry, or nothing for a code that is not there.
pub(crate) fn default_reason(code: u16) -> &'static str {
    match code {
        300 => "Try Alternate",
        400 => "Bad Request",
        401 => "Unauthenticated",
        403 => "Forbidden",
        405 => "Mobility Forbidden",
        420 => "Unknown Attribute",
        437 => "Allocation Mismatch",
        438 => "Stale Nonce",
        440 => "Address Family not Supported",
        441 => "Wrong Credentials",
        442 => "Unsupported Transport Protocol",
        443 => "Peer Address Family Mismatch",
        446 => "Connection Already Exists",
        447 => "Connection Timeout or Failure",
        486 => "Allocation Quota Reached",
        487 => "Role Conflict",
        500 => "Server Error",
        508 => "Insufficient Capacity",
        _ => "",
    }
}

impl fmt::Display for ErrorCode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = if self.reason.is_empty() { default_reason(self.code) } else { self.reason };
        write!(f, "{} {reason}", self.code)
    }
}

impl fmt::Debug for ErrorCode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_outside_their_range_are_refused() {
        assert_eq!(
            ErrorCode::decode(&[0xff, 0xff, 0xfc, 38]).unwrap().code,
            438,
            "reserved bits are ignored"
        );
        for bad in [&[][..], &[0, 0, 4], &[0, 0, 2, 0], &[0, 0, 7, 0], &[0, 0, 4, 100]] {
            assert_eq!(ErrorCode::decode(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_reason_that_is_not_utf8_is_empty_and_the_code_stands() {
        assert_eq!(ErrorCode::decode(&[0, 0, 4, 1, 0xff]), Some(ErrorCode { code: 401, reason: "" }));
        assert_eq!(ErrorCode { code: 401, reason: "" }.to_string(), "401 Unauthenticated");
        let zero_ended = ErrorCode::decode(b"\0\0\x04\x00Bad Request\0").unwrap();
        assert_eq!(zero_ended.to_string(), "400 Bad Request");
    }
}
