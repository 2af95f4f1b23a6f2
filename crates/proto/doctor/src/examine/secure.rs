//! A path, but no secure connection on it.

use dtls::DtlsError;

use crate::view::{View, plural};
use crate::{Code, Secure, Verdict};

/// IP and UDP headers, of the family that has more.
const HEADERS: usize = 48;

/// Why DTLS did not come about.
pub(super) fn examine(view: View<'_>) -> Vec<Verdict> {
    match &view.evidence.secure {
        Secure::Failed(DtlsError::Timeout) | Secure::Handshaking => {
            vec![path_mtu(view).or_else(|| large_lost(view)).unwrap_or_else(|| stalled(view))]
        }
        _ => refused(view).into_iter().collect(),
    }
}

/// The handshake was ended by one side.
pub(super) fn refused(view: View<'_>) -> Option<Verdict> {
    let Secure::Failed(error) = &view.evidence.secure else { return None };
    let code = match error {
        DtlsError::FingerprintMismatch { .. } => Code::CertificateMismatch,
        DtlsError::Timeout => return None,
        _ => Code::DtlsRefused,
    };
    Some(Verdict::new(code, error.advice()).shown(error.to_string()))
}

/// The path was measured, and is narrower than what we send.
pub(super) fn path_mtu(view: View<'_>) -> Option<Verdict> {
    let (measured, ours) = (view.evidence.path_mtu?, view.evidence.mtu);
    (ours > 0 && measured < ours).then(|| {
        Verdict::new(Code::Mtu, advice(measured))
            .shown(format!("packets of {measured} bytes pass, ours have up to {ours}"))
            .shown(traffic(view))
    })
}

/// Small packets pass, large ones do not: certain only with what the other side has seen, or by a probe.
fn large_lost(view: View<'_>) -> Option<Verdict> {
    let ours = view.evidence.traffic;
    if let Some(padded) = view.evidence.ice.padded.filter(|padded| padded.sent > 1 && padded.answered == 0) {
        return (padded.plain_answered > 0).then(|| {
            Verdict::new(Code::Mtu, advice(576))
                .shown(format!(
                    "{} of {} bytes on the selected path, 0 answered; of ordinary size {}",
                    plural(padded.sent as usize, "check", "checks"),
                    padded.size + HEADERS,
                    plural(padded.plain_answered as usize, "was answered", "were answered")
                ))
                .shown(traffic(view))
        });
    }
    let theirs = view.evidence.theirs.as_ref()?;
    let lost = theirs.packets_received > 0 && ours.largest_sent > theirs.largest_received;
    lost.then(|| {
        Verdict::new(Code::Mtu, advice(theirs.largest_received + HEADERS)).shown(traffic(view)).shown(
            format!(
                "the other side received {}, the largest of {} bytes, while we sent up to {}",
                plural(usize::try_from(theirs.packets_received).unwrap_or(usize::MAX), "packet", "packets"),
                theirs.largest_received,
                ours.largest_sent
            ),
        )
    })
}

fn advice(passes: usize) -> String {
    format!(
        "find the link with the small MTU (a tunnel, a VPN, PPPoE) and let it send ICMP “packet too big”, or set the MTU of the \
         connection to {passes} bytes or less"
    )
}

fn stalled(view: View<'_>) -> Verdict {
    let traffic = view.evidence.traffic;
    let advice = if traffic.packets_received == 0 {
        "look for a firewall that inspects packets and drops DTLS, and at the other side's log: it answers ICE's checks, but not \
         the handshake; a TURN server over TLS on port 443 gets round such a firewall"
    } else {
        "look at the other side's log: it takes part in the handshake, and does not end it; an MTU below 1280 bytes looks like \
         this, too"
    };
    Verdict::new(Code::DtlsStalled, advice)
        .shown(self::traffic(view))
        .shown("the path itself works: ICE's checks are answered on it")
}

fn traffic(view: View<'_>) -> String {
    let traffic = view.evidence.traffic;
    let largest = |bytes: usize| if bytes > 0 { format!(" of up to {bytes} bytes") } else { String::new() };
    format!(
        "{} sent on the path{}, {} received{}",
        plural(usize::try_from(traffic.packets_sent).unwrap_or(usize::MAX), "DTLS packet", "DTLS packets"),
        largest(traffic.largest_sent),
        traffic.packets_received,
        largest(traffic.largest_received)
    )
}
