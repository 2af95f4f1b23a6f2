use sansio::Outbox;

use crate::srtp::{MAX_OVERHEAD, Protect};

/// Where packets of RTP and RTCP are written: each is protected where it lies, on its way to the outbox below.
pub struct Lane<'a> {
    protect: &'a mut Protect,
    out: &'a mut dyn Outbox<()>,
}

impl<'a> Lane<'a> {
    pub(super) fn new(protect: &'a mut Protect, out: &'a mut dyn Outbox<()>) -> Self {
        Self { protect, out }
    }
}

impl Outbox<()> for Lane<'_> {
    fn room(&self) -> usize {
        self.out.room().saturating_sub(MAX_OVERHEAD)
    }

    /// A packet that may not be sent, since it is none or its number was used, is written and counted, and not sent:
    /// [`Protect::refused`].
    fn send(&mut self, to: (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        let protect = &mut *self.protect;
        self.out.send(to, max + MAX_OVERHEAD, &mut |buffer| {
            let length = fill(&mut buffer[..max]).min(max);
            if length == 0 {
                return 0;
            }
            let sealed = if is_rtcp(buffer) {
                protect.protect_rtcp(buffer, length)
            } else {
                protect.protect(buffer, length)
            };
            sealed.unwrap_or_else(|_| {
                protect.refused += 1;
                0
            })
        })
    }
}

/// RFC 5761 §4: by the byte in which RTP has its payload type and RTCP the packet's type.
fn is_rtcp(packet: &[u8]) -> bool {
    packet.get(1).is_some_and(|second| (192..=223).contains(second))
}
