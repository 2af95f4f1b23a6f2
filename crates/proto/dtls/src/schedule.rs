//! How keys are made: the schedule of TLS 1.3 under DTLS's label (RFC 8446 §7.1, RFC 9147 §5.9), and that of TLS 1.2.

use crypto::aead::{AeadKey, MaskKey};
use crypto::{Hash, Secret};

use crate::protection::{Keys, Numbering};
use crate::suite::Suite;

/// HKDF-Expand-Label, with the prefix that keeps DTLS 1.3 apart from TLS 1.3.
pub(crate) fn expand_label(hash: Hash, secret: &Secret, label: &[u8], context: &[u8], out: &mut [u8]) {
    const PREFIX: &[u8] = b"dtls13";
    let length = (out.len() as u16).to_be_bytes();
    let label_length = [(PREFIX.len() + label.len()) as u8];
    let context_length = [context.len() as u8];
    hash.expand(secret, &[&length, &label_length, PREFIX, label, &context_length, context], out);
}

/// Derive-Secret, of a transcript that is already hashed.
fn derive(hash: Hash, secret: &Secret, label: &[u8], transcript: &[u8]) -> Secret {
    let mut derived = [0; 64];
    let derived = &mut derived[..hash.bytes()];
    expand_label(hash, secret, label, transcript, derived);
    Secret::joined(&[derived])
}

/// The stages that a handshake of DTLS 1.3 goes through, after the early one, which we have no use for.
#[derive(Debug)]
pub(crate) struct Schedule {
    hash: Hash,
    secret: Secret,
}

impl Schedule {
    /// The handshake secret, from what the two sides agreed on.
    pub(crate) fn new(hash: Hash, shared: &Secret) -> Self {
        let zeros = Secret::zeros(hash);
        let early = hash.extract(zeros.as_ref(), zeros.as_ref());
        let salt = derive(hash, &early, b"derived", &hash.of(&[]));
        Self { hash, secret: hash.extract(salt.as_ref(), shared.as_ref()) }
    }

    /// The master secret.
    pub(crate) fn master(&self) -> Self {
        let salt = derive(self.hash, &self.secret, b"derived", &self.hash.of(&[]));
        let secret = self.hash.extract(salt.as_ref(), Secret::zeros(self.hash).as_ref());
        Self { hash: self.hash, secret }
    }

    /// A secret of this stage: `c hs traffic` and the like.
    pub(crate) fn secret(&self, label: &[u8], transcript: &[u8]) -> Secret {
        derive(self.hash, &self.secret, label, transcript)
    }
}

/// What a Finished says (RFC 8446 §4.4.4).
pub(crate) fn finished(hash: Hash, traffic: &Secret, transcript: &[u8]) -> Secret {
    let key = derive(hash, traffic, b"finished", &[]);
    hash.hmac(key.as_ref(), &[transcript])
}

/// The next secret of a direction (RFC 8446 §7.2).
pub(crate) fn updated(hash: Hash, traffic: &Secret) -> Secret {
    derive(hash, traffic, b"traffic upd", &[])
}

/// The keys of a direction (RFC 8446 §7.3, RFC 9147 §4.2.3).
pub(crate) fn keys(suite: Suite, traffic: &Secret) -> Keys {
    let mut key = [0; 32];
    let key = &mut key[..suite.aead.key_bytes()];
    let mut iv = [0; 12];
    expand_label(suite.hash, traffic, b"iv", &[], &mut iv);
    expand_label(suite.hash, traffic, b"sn", &[], key);
    let mask = MaskKey::new(suite.aead, key);
    expand_label(suite.hash, traffic, b"key", &[], key);
    Keys { aead: AeadKey::new(suite.aead, key), iv, numbering: Numbering::Masked(mask) }
}

/// TLS-Exporter (RFC 8446 §7.5) without a context.
pub(crate) fn export(hash: Hash, exporter: &Secret, label: &[u8], out: &mut [u8]) {
    let nothing = hash.of(&[]);
    let secret = derive(hash, exporter, label, &nothing);
    expand_label(hash, &secret, b"exporter", &nothing, out);
}

/// The secrets of DTLS 1.2.
#[derive(Debug)]
pub(crate) struct Master {
    suite: Suite,
    secret: Secret,
}

impl Master {
    /// The extended master secret (RFC 7627 §4).
    pub(crate) fn new(suite: Suite, shared: &Secret, session: &[u8]) -> Self {
        let mut secret = [0; 48];
        suite.hash.prf(shared.as_ref(), b"extended master secret", &[session], &mut secret);
        Self { suite, secret: Secret::joined(&[&secret]) }
    }

    /// The keys of the client and of the server (RFC 5246 §6.3).
    pub(crate) fn keys(&self, client_random: &[u8], server_random: &[u8]) -> [Keys; 2] {
        use crypto::aead::Aead::ChaCha20Poly1305;
        let key = self.suite.aead.key_bytes();
        let fixed = if self.suite.aead == ChaCha20Poly1305 { 12 } else { 4 };
        let mut block = vec![0; 2 * (key + fixed)];
        let seed = [server_random, client_random];
        self.suite.hash.prf(self.secret.as_ref(), b"key expansion", &seed, &mut block);
        [0, 1].map(|side| {
            let mut iv = [0; 12];
            iv[..fixed].copy_from_slice(&block[2 * key + side * fixed..][..fixed]);
            let numbering = if fixed == 12 { Numbering::Implicit } else { Numbering::Explicit };
            Keys { aead: AeadKey::new(self.suite.aead, &block[side * key..][..key]), iv, numbering }
        })
    }

    /// What a Finished says (RFC 5246 §7.4.9).
    pub(crate) fn finished(&self, label: &[u8], transcript: &[u8]) -> [u8; 12] {
        let mut data = [0; 12];
        self.suite.hash.prf(self.secret.as_ref(), label, &[transcript], &mut data);
        data
    }

    /// RFC 5705 §4, without a context.
    pub(crate) fn export(&self, label: &[u8], client_random: &[u8], server_random: &[u8], out: &mut [u8]) {
        self.suite.hash.prf(self.secret.as_ref(), label, &[client_random, server_random], out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Version;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn bytes(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    fn shared() -> Secret {
        Secret::joined(&[&(0..32).collect::<Vec<u8>>()])
    }

    /// What a key makes of nothing, which shows which key it is.
    fn sealed(key: &AeadKey) -> Vec<u8> {
        let mut record = vec![0; 16];
        key.seal([0; 12], &[], &mut record);
        record
    }

    // The answers were computed apart from this code, with Python's hmac, by the formulas of RFC 8446 §7 with the prefix of
    // RFC 9147 §5.9.
    #[test]
    fn the_schedule_of_1_3_gives_the_known_answers() {
        let suite = Suite::find(Version::Dtls13, 0x1301).unwrap();
        let transcript = crypto::sha256(&[b"hellos"]);
        let schedule = Schedule::new(suite.hash, &shared());
        let client = schedule.secret(b"c hs traffic", &transcript);
        assert_eq!(hex(client.as_ref()), "8b840661232ef8498f4e98ec60b32ffede97c8d86526ccf36e3b1d35fe0abc17");
        let made = keys(suite, &client);
        let expected = AeadKey::new(suite.aead, &bytes("4d3dbc3a4dcaf9d94174332638559166"));
        assert_eq!(sealed(&made.aead), sealed(&expected));
        assert_eq!(hex(&made.iv), "495ad4d02c21d336d46c00c9");
        let Numbering::Masked(mask) = made.numbering else { panic!("1.3 hides its numbers") };
        let expected = MaskKey::new(suite.aead, &bytes("89eae314a96e7bd81daaec2c5eddea3c"));
        assert_eq!(mask.mask(&[7; 16]), expected.mask(&[7; 16]));
        assert_eq!(
            hex(finished(suite.hash, &client, &transcript).as_ref()),
            "85e090c655ab097c8b55350e5f4272d23a7e665ca9f326b2686d33441fa55075"
        );
        let master = schedule.master();
        let server = master.secret(b"s ap traffic", &transcript);
        assert_eq!(hex(server.as_ref()), "523d0a47ed2fea03ed195f089a3b5245881c4923c9427992ae61b5d7369b7797");
        assert_eq!(
            hex(updated(suite.hash, &server).as_ref()),
            "3b9a52de8385acbf73b909ed69cfd86b74183d7a608f9753591bf8823d974a6c"
        );
        let mut exported = [0; 56];
        let exporter = master.secret(b"exp master", &transcript);
        export(suite.hash, &exporter, b"EXTRACTOR-dtls_srtp", &mut exported);
        assert_eq!(
            hex(&exported),
            "931dee9c39d9c45e17c3f35434f099bf122cf220dbf3b86da990fd101fc832ff7fc009f084662947a475606ff9ba26173d4503b778ab034e"
        );
    }

    // As above, by the formulas of RFC 5246 §5 and RFC 7627 §4.
    #[test]
    fn the_keys_of_1_2_are_the_known_answers() {
        let suite = Suite::find(Version::Dtls12, 0xc02b).unwrap();
        let transcript = crypto::sha256(&[b"hellos"]);
        let master = Master::new(suite, &shared(), &transcript);
        assert_eq!(
            hex(master.secret.as_ref()),
            "88ef0f9c31fd5a496f81be7dec7ae85b472f2a1a81cf40f27977f76c0783ba599ec68cf6fb540506b599729c471eae05"
        );
        let (client, server) = ([1; 32], [2; 32]);
        let block = bytes("0e518acb4a760b5cbef94d93cffd574489d8f10d8f971811193f609250f93cbcd25e6ec439021a29");
        let made = master.keys(&client, &server);
        for (side, made) in made.iter().enumerate() {
            let expected = AeadKey::new(suite.aead, &block[16 * side..][..16]);
            assert_eq!(sealed(&made.aead), sealed(&expected));
            assert_eq!(made.iv[..4], block[32 + 4 * side..][..4]);
        }
        assert_eq!(hex(&master.finished(b"client finished", &transcript)), "c091b9ea2d8b51ee9f371ffa");
        let mut exported = [0; 56];
        master.export(b"EXTRACTOR-dtls_srtp", &client, &server, &mut exported);
        assert_eq!(
            hex(&exported),
            "1ac8bbfb200f4d4a2d5a82fdd2aeeb84b4050bea7d597f1769b4778ab9fe648093e486a2a07d88eed8dd713b7a31a8ac4616db3be25c70e9"
        );
    }
}
