//! Certificates, and the proof that who shows one owns it.

use crypto::{Certificate, SignatureScheme};

use super::{Refusal, alert, malformed, refused};
use crate::Version;
use crate::codec::{Reader, vector};
use crate::hello::{add_schemes, list_schemes};

/// Kinds of certificates in DTLS 1.2 (RFC 5246 §7.4.4, RFC 8422 §5.5): ECDSA and RSA.
const KINDS: [u8; 2] = [64, 1];

/// The body of a Certificate (RFC 5246 §7.4.2, RFC 8446 §4.4.2): it and who vouches for it; without one, that there is none.
pub(super) fn certificate(version: Version, context: &[u8], own: Option<&Certificate>) -> Vec<u8> {
    let mut out = Vec::new();
    if version == Version::Dtls13 {
        vector(&mut out, 1, |out| out.extend(context));
    }
    vector(&mut out, 3, |out| {
        for der in own.into_iter().flat_map(|own| std::iter::once(&own.der).chain(&own.chain)) {
            vector(out, 3, |out| out.extend(der));
            if version == Version::Dtls13 {
                vector(out, 2, |_| {});
            }
        }
    });
    out
}

/// What the peer shows: its own certificate, and those that vouch for it; `None` if there is none.
pub(super) fn shown(version: Version, body: &[u8]) -> Result<Option<Shown<'_>>, Refusal> {
    let mut reader = Reader::new(body);
    if version == Version::Dtls13 {
        reader.vector(1).ok_or_else(malformed)?;
    }
    let mut list = Reader::new(reader.vector(3).ok_or_else(malformed)?);
    if !reader.is_empty() {
        return Err(malformed());
    }
    let mut all = Vec::new();
    while !list.is_empty() {
        all.push(list.vector(3).ok_or_else(malformed)?);
        if version == Version::Dtls13 {
            list.vector(2).ok_or_else(malformed)?;
        }
    }
    Ok((!all.is_empty()).then(|| Shown { own: all.remove(0), chain: all }))
}

/// The certificates of a peer.
pub(super) struct Shown<'a> {
    pub(super) own: &'a [u8],
    pub(super) chain: Vec<&'a [u8]>,
}

impl Shown<'_> {
    /// The chain, to be kept.
    pub(super) fn keep_chain(&self) -> Vec<Vec<u8>> {
        self.chain.iter().map(|der| der.to_vec()).collect()
    }
}

/// The body of a CertificateRequest (RFC 5246 §7.4.4, RFC 8446 §4.3.2).
pub(super) fn request(version: Version) -> Vec<u8> {
    let mut out = Vec::new();
    if version == Version::Dtls13 {
        out.push(0);
        vector(&mut out, 2, add_schemes);
    } else {
        vector(&mut out, 1, |out| out.extend(KINDS));
        list_schemes(&mut out);
        vector(&mut out, 2, |_| {});
    }
    out
}

/// What is signed in a CertificateVerify of DTLS 1.3 (RFC 8446 §4.4.3).
pub(super) fn content(signer: &str, transcript: &[u8]) -> Vec<u8> {
    let title = format!("TLS 1.3, {signer} CertificateVerify");
    [&[b' '; 64], title.as_bytes(), &[0], transcript].concat()
}

pub(super) const CLIENT: &str = "client";
pub(super) const SERVER: &str = "server";

/// Writes a signature as TLS does.
pub(super) fn signature(scheme: SignatureScheme, signature: &[u8]) -> Vec<u8> {
    let mut out = scheme.0.to_be_bytes().to_vec();
    vector(&mut out, 2, |out| out.extend(signature));
    out
}

/// Reads a signature, which is all that is left, and checks it.
pub(super) fn verify(
    version: Version,
    mut reader: Reader<'_>,
    certificate: &[u8],
    message: &[u8],
) -> Result<(), Refusal> {
    let scheme = SignatureScheme(reader.u16().ok_or_else(malformed)?);
    let signature = reader.vector(2).ok_or_else(malformed)?;
    if !reader.is_empty() {
        return Err(malformed());
    }
    // "RSA signatures MUST use an RSASSA-PSS algorithm" (RFC 8446 §4.4.3).
    if version == Version::Dtls13 && scheme == SignatureScheme::RSA_PKCS1_SHA256 {
        return Err(refused(alert::ILLEGAL_PARAMETER, "the peer signs in a manner of an older version"));
    }
    Ok(scheme.verify(certificate, message, signature)?)
}
