//! Header extensions (RFC 8285): small values that ride in the header of a packet, outside of its payload.
//!
//! Which identifier (1 to 14, or to 255 in the two-byte form) stands for which of them, two peers agree on in their
//! descriptions, by URI.

mod capture;
mod level;
mod name;
mod named;
mod orientation;
mod sequence;
mod timing;

pub use capture::AbsoluteCaptureTime;
pub use level::AudioLevel;
pub use name::{Mid, RepairedRid, Rid};
pub use named::Name;
pub use orientation::VideoOrientation;
pub use sequence::TransportSequenceNumber;
pub use timing::AbsoluteSendTime;

/// The first two bytes of an extension in the one-byte form (RFC 8285 §4.2).
pub(crate) const ONE_BYTE: u16 = 0xbede;
/// The first 12 bits of those in the two-byte form (RFC 8285 §4.3); 4 more are the application's.
pub(crate) const TWO_BYTE: u16 = 0x1000;

/// How the elements of a header extension are written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Form {
    /// Identifiers from 1 to 14 and values of 1 to 16 bytes (RFC 8285 §4.2). Everybody reads it.
    #[default]
    OneByte,
    /// Identifiers from 1 to 255 and values of up to 255 bytes (RFC 8285 §4.3). Only if the peer has agreed to it
    /// (`extmap-allow-mixed`).
    TwoByte,
}

/// A value that a header extension carries.
pub trait Extension<'a>: Sized {
    /// What descriptions call it.
    const URI: &'static str;

    /// Reads the value; `None` if the bytes are none.
    fn read(value: &'a [u8]) -> Option<Self>;

    /// Writes the value, and says how many bytes it has; at most 255.
    fn write(&self, place: &mut [u8; 255]) -> usize;
}

/// The elements of a header extension, in their order: identifier and value.
///
/// Elements that do not fit end the list: what stands before them counts (RFC 8285 §4.2 and §4.3 leave it open).
#[derive(Clone, Copy, Debug)]
pub struct Extensions<'a> {
    form: Form,
    rest: &'a [u8],
}

impl<'a> Extensions<'a> {
    /// Of the body that follows the two bytes "defined by profile" and the length.
    pub(crate) fn new(profile: u16, body: &'a [u8]) -> Self {
        match form(profile) {
            Some(form) => Self { form, rest: body },
            None => Self::none(),
        }
    }

    pub(crate) fn none() -> Self {
        Self { form: Form::OneByte, rest: &[] }
    }

    /// How they are written.
    pub fn form(&self) -> Form {
        self.form
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (id, start, length) = element(self.form, self.rest)?;
        let value = self.rest.get(start..start + length);
        self.rest = value.and(self.rest.get(start + length..)).unwrap_or_default();
        value.map(|value| (id, value))
    }
}

/// Which form the two bytes "defined by profile" announce.
pub(crate) fn form(profile: u16) -> Option<Form> {
    match profile {
        ONE_BYTE => Some(Form::OneByte),
        // RFC 8285 §4.3: the last 4 bits are "appbits", to be ignored.
        _ if profile & 0xfff0 == TWO_BYTE => Some(Form::TwoByte),
        _ => None,
    }
}

/// The next element: its identifier, where its value starts, and how long it claims to be.
pub(crate) fn element(form: Form, body: &[u8]) -> Option<(u8, usize, usize)> {
    // RFC 8285 §4.2: bytes of 0 are padding, anywhere between elements.
    let at = body.iter().position(|byte| *byte != 0)?;
    match form {
        Form::OneByte => {
            let (id, length) = (body[at] >> 4, usize::from(body[at] & 0x0f) + 1);
            match id {
                // RFC 8285 §4.2: 15 ends the list. 0 with a length is no padding; nothing after it can be trusted.
                0 | 15 => None,
                _ => Some((id, at + 1, length)),
            }
        }
        Form::TwoByte => Some((body[at], at + 2, usize::from(*body.get(at + 1)?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(profile: u16, body: &[u8]) -> Vec<(u8, Vec<u8>)> {
        Extensions::new(profile, body).map(|(id, value)| (id, value.to_vec())).collect()
    }

    /// RFC 8285 §4.2 and §4.3: the figures.
    #[test]
    fn both_forms_are_read() {
        let body = [0x10, 0xaa, 0x21, 0xbb, 0xbc, 0, 0, 0x33, 1, 2, 3, 4];
        assert_eq!(list(0xbede, &body), [(1, vec![0xaa]), (2, vec![0xbb, 0xbc]), (3, vec![1, 2, 3, 4])]);
        let body = [1, 0, 2, 1, 0xbb, 0, 200, 4, 1, 2, 3, 4];
        for appbits in 0..16 {
            assert_eq!(
                list(0x1000 | appbits, &body),
                [(1, vec![]), (2, vec![0xbb]), (200, vec![1, 2, 3, 4])]
            );
        }
        assert_eq!(list(0x1100, &body), []);
    }

    #[test]
    fn what_does_not_fit_ends_the_list() {
        assert_eq!(list(0xbede, &[0x10, 0xaa, 0x2f, 1, 2]), [(1, vec![0xaa])]);
        assert_eq!(list(0xbede, &[0x10, 0xaa, 0xf0, 0x10, 0xbb]), [(1, vec![0xaa])]);
        assert_eq!(list(0xbede, &[0x10]), []);
        assert_eq!(list(0x1000, &[7]), []);
        assert_eq!(list(0x1000, &[7, 200, 1]), []);
        assert_eq!(list(0xbede, &[0, 0, 0]), []);
    }
}
