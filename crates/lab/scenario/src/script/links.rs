//! Reads what a file says about a link.

use netsim::Link;

use super::mistake::Mistake;
use super::tree::Item;

/// `{ delay = "20ms", loss = "1%", … }`; what is not said stays as it is in `base`.
pub(crate) fn link(item: Item<'_>, base: Link) -> Result<Link, Mistake> {
    let mut section = item.section("a link")?;
    let mut link = base;
    if let Some(item) = section.take("delay") {
        link.delay = item.duration()?;
    }
    if let Some(item) = section.take("jitter") {
        link.jitter = item.duration()?;
    }
    for (key, share) in [
        ("loss", &mut link.loss),
        ("duplicate", &mut link.duplicate),
        ("reorder", &mut link.reorder),
        ("tamper", &mut link.tamper),
    ] {
        if let Some(item) = section.take(key) {
            *share = item.share()?;
        }
    }
    if let Some(item) = section.take("rate") {
        link.rate = Some(item.rate()?);
    }
    if let Some(item) = section.take("queue") {
        link.queue = item.number(1500..=1 << 30)? as usize;
    }
    if let Some(item) = section.take("mtu") {
        link.mtu = item.number(68..=65535)? as usize;
    }
    section.finish()?;
    Ok(link)
}
