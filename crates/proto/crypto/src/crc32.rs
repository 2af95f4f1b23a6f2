/// The polynomial of ISO-HDLC (ITU-T V.42), bits reversed.
const POLYNOMIAL: u32 = 0xEDB8_8320;

/// `TABLES[k][b]` is what byte `b` does to the checksum when `k` more bytes follow it: eight bytes a step.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        tables[0][byte] = value;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let previous: u32 = tables[table - 1][byte];
            tables[table][byte] = previous >> 8 ^ tables[0][(previous & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

/// CRC-32 (ISO-HDLC, as in ITU-T V.42, gzip and Ethernet) of the concatenated parts: the STUN FINGERPRINT.
pub fn crc32(parts: &[&[u8]]) -> u32 {
    let mut crc = u32::MAX;
    for part in parts {
        let (chunks, rest) = part.as_chunks::<8>();
        for chunk in chunks {
            let [a, b, c, d, e, f, g, h] = *chunk;
            let head = crc ^ u32::from_le_bytes([a, b, c, d]);
            crc = TABLES[7][(head & 0xff) as usize]
                ^ TABLES[6][(head >> 8 & 0xff) as usize]
                ^ TABLES[5][(head >> 16 & 0xff) as usize]
                ^ TABLES[4][(head >> 24) as usize]
                ^ TABLES[3][e as usize]
                ^ TABLES[2][f as usize]
                ^ TABLES[1][g as usize]
                ^ TABLES[0][h as usize];
        }
        for &byte in rest {
            crc = crc >> 8 ^ TABLES[0][((crc ^ u32::from(byte)) & 0xff) as usize];
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_standard_comes_out() {
        assert_eq!(crc32(&[b"123456789"]), 0xCBF4_3926);
        assert_eq!(crc32(&[]), 0);
    }

    #[test]
    fn every_split_gives_what_bit_by_bit_gives() {
        let bytes: Vec<u8> = (0..100u32).map(|i| (i * i + 7) as u8).collect();
        let slow = !bytes.iter().fold(u32::MAX, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |c, _| if c & 1 == 1 { c >> 1 ^ POLYNOMIAL } else { c >> 1 })
        });
        for at in 0..bytes.len() {
            let (head, tail) = bytes.split_at(at);
            assert_eq!(crc32(&[head, tail]), slow, "split at {at}");
        }
    }
}
