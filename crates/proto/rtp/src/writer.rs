use crate::error::WriteError;
use crate::extension::{Extension, Form, ONE_BYTE, TWO_BYTE};
use crate::layout::FIXED;
use crate::packet::Header;

/// Writes an RTP packet into a buffer of the caller's, from front to back: header, contributing sources, header
/// extensions, payload, padding. What does not fit shows when it is finished.
#[derive(Debug)]
pub struct PacketWriter<'b> {
    buffer: &'b mut [u8],
    used: usize,
    form: Form,
    /// Where the header extension begins, if it was begun.
    extension: Option<usize>,
    error: Option<WriteError>,
}

impl<'b> PacketWriter<'b> {
    /// Begins a packet.
    pub fn new(buffer: &'b mut [u8], header: &Header) -> Self {
        let mut writer = Self { buffer, used: 0, form: Form::OneByte, extension: None, error: None };
        writer.put(&[0x80, u8::from(header.marker) << 7 | header.payload_type & 0x7f]);
        writer.put(&header.sequence_number.to_be_bytes());
        writer.put(&header.timestamp.to_be_bytes());
        writer.put(&header.ssrc.to_be_bytes());
        writer
    }

    /// Adds the contributing sources: at most 15, and before all else.
    pub fn contributing_sources(&mut self, sources: &[u32]) -> &mut Self {
        if sources.len() > 15 || self.used != FIXED && self.error.is_none() {
            self.fail(WriteError::TooMany);
        } else {
            sources.iter().for_each(|source| self.put(&source.to_be_bytes()));
            self.change_first(|first| first | sources.len() as u8);
        }
        self
    }

    /// Which form the header extensions have; to be said before the first one.
    pub fn form(&mut self, form: Form) -> &mut Self {
        self.form = form;
        self
    }

    /// Adds a header extension under the identifier that was negotiated for it.
    pub fn extension<'a, E: Extension<'a>>(&mut self, id: u8, value: &E) -> &mut Self {
        let mut place = [0; 255];
        let length = value.write(&mut place);
        self.extension_bytes(id, &place[..length])
    }

    /// Adds a header extension whose value is already in bytes.
    pub fn extension_bytes(&mut self, id: u8, value: &[u8]) -> &mut Self {
        let fits = match self.form {
            Form::OneByte => (1..=14).contains(&id) && (1..=16).contains(&value.len()),
            Form::TwoByte => id > 0 && value.len() <= 255,
        };
        if !fits {
            self.fail(WriteError::Extension);
            return self;
        }
        if self.extension.is_none() {
            self.extension = Some(self.used);
            let profile = if self.form == Form::OneByte { ONE_BYTE } else { TWO_BYTE };
            self.put(&profile.to_be_bytes());
            self.put(&[0, 0]);
            self.change_first(|first| first | 0x10);
        }
        match self.form {
            Form::OneByte => self.put(&[id << 4 | (value.len() - 1) as u8]),
            Form::TwoByte => self.put(&[id, value.len() as u8]),
        }
        self.put(value);
        self
    }

    /// Ends the packet with this payload. Returns how many bytes of the buffer it has.
    ///
    /// # Errors
    /// If the buffer is too small, or a part that was added before is impossible.
    pub fn payload(self, payload: &[u8]) -> Result<usize, WriteError> {
        let length = payload.len();
        self.payload_in_place(length, &mut |place| {
            place.copy_from_slice(payload);
            length
        })
    }

    /// Ends the packet with a payload of at most `max` bytes, which `fill` writes where it belongs and says the
    /// length of.
    ///
    /// # Errors
    /// As [`PacketWriter::payload`].
    pub fn payload_in_place(
        mut self,
        max: usize,
        fill: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> Result<usize, WriteError> {
        self.close_extension();
        if let Some(error) = self.error {
            return Err(error);
        }
        let place = self.buffer[self.used..].get_mut(..max).ok_or(WriteError::NoRoom)?;
        Ok(self.used + fill(place).min(max))
    }

    /// The same with padding behind the payload, of at most 255 bytes.
    ///
    /// # Errors
    /// As [`PacketWriter::payload`].
    pub fn padded_in_place(
        mut self,
        max: usize,
        padding: u8,
        fill: &mut dyn FnMut(&mut [u8]) -> usize,
    ) -> Result<usize, WriteError> {
        if padding > 0 {
            self.change_first(|first| first | 0x20);
        }
        let behind = usize::from(padding);
        self.payload_in_place(max + behind, &mut |place| {
            let used = fill(&mut place[..max]).min(max);
            let rest = &mut place[used..used + behind];
            rest.fill(0);
            rest.iter_mut().last().into_iter().for_each(|last| *last = padding);
            used + behind
        })
    }

    /// Ends the packet with nothing but padding: what probes for bandwidth, and what ends a retransmission of
    /// nothing. At least 1 byte, at most 255.
    ///
    /// # Errors
    /// As [`PacketWriter::payload`].
    pub fn padding(self, bytes: u8) -> Result<usize, WriteError> {
        self.padded_in_place(0, bytes.max(1), &mut |_| 0)
    }

    fn close_extension(&mut self) {
        let Some(start) = self.extension else { return };
        while !(self.used - start).is_multiple_of(4) && self.error.is_none() {
            self.put(&[0]);
        }
        let words = (self.used - start) / 4;
        if self.error.is_some() {
            return;
        }
        match u16::try_from(words - 1) {
            Ok(words) => self.buffer[start + 2..start + 4].copy_from_slice(&words.to_be_bytes()),
            Err(_) => self.fail(WriteError::TooMany),
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        if self.error.is_some() {
            return;
        }
        match self.buffer.get_mut(self.used..self.used + bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.used += bytes.len();
            }
            None => self.fail(WriteError::NoRoom),
        }
    }

    fn change_first(&mut self, change: impl Fn(u8) -> u8) {
        if let Some(first) = self.buffer.first_mut() {
            *first = change(*first);
        }
    }

    /// The first mistake is the one that is told.
    fn fail(&mut self, error: WriteError) {
        self.error.get_or_insert(error);
    }
}
