/// The datagrams in `data`: each with its length, in two bytes, in front.
pub(crate) fn datagrams(data: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let mut rest = data;
    std::iter::from_fn(move || {
        let (length, body) = rest.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length)).min(body.len());
        let (datagram, left) = body.split_at(length);
        rest = left;
        Some(datagram.to_vec())
    })
}
