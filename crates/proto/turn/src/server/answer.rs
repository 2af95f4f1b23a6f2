use sansio::{Outbox, Path};
use stun::credential::Authenticated;
use stun::{Class, Message, MessageWriter, Method, TransactionId};

/// Room for any answer.
pub(super) const ANSWER_ROOM: usize = 512;

/// What an answer needs to know of its request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub(super) client: Path,
    pub(super) method: Method,
    pub(super) id: TransactionId,
    /// Whether the request had a FINGERPRINT; then the answer has one too.
    pub(super) fingerprint: bool,
}

impl Asker {
    pub(super) fn new(client: Path, request: &Message<'_>) -> Self {
        Self {
            client,
            method: request.method(),
            id: request.transaction_id(),
            fingerprint: request.has_fingerprint(),
        }
    }

    /// Writes an answer, signed if `signer` is known. `false`: there was no room.
    pub(super) fn answer(
        &self,
        out: &mut dyn Outbox,
        class: Class,
        signer: Option<&Authenticated>,
        write: &dyn Fn(&mut MessageWriter<'_>),
    ) -> bool {
        out.send(self.client, ANSWER_ROOM, &mut |buffer| {
            let mut writer = MessageWriter::new(buffer, class, self.method, self.id);
            write(&mut writer);
            if let Some(signer) = signer {
                signer.sign(&mut writer);
            }
            if self.fingerprint {
                writer.fingerprint();
            }
            writer.finish().unwrap_or(0)
        })
    }
}
