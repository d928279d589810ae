//! The boot loader's variables as they lie on the partition `ubootenv`: two copies in the format
//! of U-Boot's redundant environment, `fw_env.config` says where.

/// Bytes of one copy.
pub const SIZE: usize = 0x4000;

/// Where the copies begin.
pub const COPIES: [usize; 2] = [0, 0x10000];

/// Where the partition begins on the disk.
pub const PARTITION: u64 = 1 << 20;

/// One copy: the checksum of the data, a count that tells the later of two, the data.
#[must_use]
pub fn copy(count: u8, variables: &[(&str, &str)]) -> Vec<u8> {
    let mut data = Vec::with_capacity(SIZE);
    for (name, value) in variables {
        data.extend_from_slice(format!("{name}={value}\0").as_bytes());
    }
    data.resize(SIZE - HEAD, 0);
    let mut bytes = crc32(&data).to_le_bytes().to_vec();
    bytes.push(count);
    bytes.extend(data);
    bytes
}

/// Checksum and count.
const HEAD: usize = 5;

/// CRC-32 as U-Boot and zlib have it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_copy_is_what_u_boot_itself_writes() {
        // The beginning of a copy that U-Boot 2025.01 wrote.
        let written = [0xc0, 0x56, 0x67, 0xa4, 0x01];

        let ours = copy(
            1,
            &[
                ("BOOT_A_LEFT", "0"),
                ("BOOT_B_LEFT", "3"),
                ("BOOT_ORDER", "A B"),
            ],
        );

        assert_eq!(ours.len(), SIZE);
        assert_eq!(ours[..5], written);
        assert_eq!(&ours[5..19], b"BOOT_A_LEFT=0\0");
    }
}
