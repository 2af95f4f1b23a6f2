/// What stands before each unit in a frame (H.264 annex B, H.265 annex B).
pub(super) const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// The units of a frame with start codes of 3 or 4 bytes, without those, and without zeros at their ends.
pub(super) fn units(frame: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(frame);
    std::iter::from_fn(move || {
        let bytes = rest?;
        let code = bytes.windows(3).position(|window| window == [0, 0, 1]);
        rest = code.map(|at| &bytes[at + 3..]);
        let unit = &bytes[..code.unwrap_or(bytes.len())];
        let end = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Some(&unit[..end])
    })
    .filter(|unit| !unit.is_empty())
}

fn after_start_code(frame: &[u8]) -> Option<&[u8]> {
    let at = frame.windows(3).position(|window| window == [0, 0, 1])?;
    Some(&frame[at + 3..])
}

/// The units of an aggregation: each behind its length, of 16 bits. `None` if they do not fit.
pub(super) fn aggregated(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut units = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk()?;
        let (unit, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        if unit.is_empty() {
            return None;
        }
        units.push(unit);
        bytes = rest;
    }
    (!units.is_empty()).then_some(units)
}

/// How many of the units, from the first on, an aggregation of at most `max` bytes with a header takes: 1 is none.
pub(super) fn fitting(units: &[&[u8]], header: usize, max: usize) -> usize {
    let mut used = header;
    let fitting = units.iter().take_while(|unit| {
        used += 2 + unit.len();
        used <= max
    });
    fitting.count().max(1)
}

/// The parts of an aggregation: its header, and each unit behind its length.
pub(super) fn aggregate(header: &[u8], units: &[&[u8]], last: bool, emit: &mut super::packetizer::Emit<'_>) {
    let lengths: Vec<[u8; 2]> = units.iter().map(|unit| (unit.len() as u16).to_be_bytes()).collect();
    let units = lengths.iter().zip(units).flat_map(|(length, unit)| [&length[..], unit]);
    let parts: Vec<&[u8]> = std::iter::once(header).chain(units).collect();
    emit(&parts, last);
}

/// Appends a unit to a frame.
pub(super) fn append(frame: &mut Vec<u8>, unit: &[u8]) {
    frame.extend_from_slice(&START_CODE);
    frame.extend_from_slice(unit);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_stand_between_start_codes() {
        let list = |frame: &[u8]| units(frame).map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(list(&[0, 0, 0, 1, 7, 0, 0, 1, 8, 0, 0, 0, 0, 1, 5, 9]), [vec![7], vec![8], vec![5, 9]]);
        assert_eq!(list(&[0, 0, 1, 0, 0, 1, 6]), [vec![6]]);
        assert_eq!(list(&[1, 2, 3]), Vec::<Vec<u8>>::new());
        assert_eq!(list(&[]), Vec::<Vec<u8>>::new());
    }
}
