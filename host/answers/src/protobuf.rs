//! Splits a protobuf message into its fields, without its schema.

/// The value of a field. Its type in the schema says what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field<'m> {
    /// An integer or a boolean.
    Varint(u64),
    /// The bits of a `double` or of another type of eight bytes.
    Fixed64(u64),
    /// A string, bytes or a message.
    Bytes(&'m [u8]),
    /// The bits of a `float` or of another type of four bytes.
    Fixed32(u32),
}

/// The fields of a message with their numbers, in their order. Ends at the first fault.
pub(crate) fn fields(mut message: &[u8]) -> impl Iterator<Item = (u64, Field<'_>)> {
    std::iter::from_fn(move || {
        let tag = varint(&mut message)?;
        let field = match tag & 7 {
            0 => Field::Varint(varint(&mut message)?),
            1 => Field::Fixed64(u64::from_le_bytes(*take(&mut message)?)),
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                let (bytes, rest) = message.split_at_checked(length)?;
                message = rest;
                Field::Bytes(bytes)
            }
            5 => Field::Fixed32(u32::from_le_bytes(*take(&mut message)?)),
            _ => return None,
        };
        Some((tag >> 3, field))
    })
}

fn take<'m, const N: usize>(message: &mut &'m [u8]) -> Option<&'m [u8; N]> {
    let (taken, rest) = message.split_first_chunk()?;
    *message = rest;
    Some(taken)
}

/// Seven bits a byte, the lowest first. None: it does not end, or has more than 64 bits.
fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = *take::<1>(message)?;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(message: &[u8]) -> Vec<(u64, Field<'_>)> {
        fields(message).collect()
    }

    #[test]
    fn every_type_is_read() {
        let mut message = vec![0x08, 0xac, 0x02, 0x11];
        message.extend(0.5f64.to_le_bytes());
        message.extend([0x1a, 2, b'h', b'i', 0x25]);
        message.extend(7u32.to_le_bytes());
        message.extend([0xfa, 0x3f, 0]);
        assert_eq!(
            all(&message),
            [
                (1, Field::Varint(300)),
                (2, Field::Fixed64(0.5f64.to_bits())),
                (3, Field::Bytes(b"hi")),
                (4, Field::Fixed32(7)),
                (1023, Field::Bytes(b"")),
            ]
        );
    }

    #[test]
    fn a_fault_ends_the_fields() {
        let good = [0x08, 1];
        for fault in [
            &[0x0b][..],
            &[0x0c],
            &[0x11, 1, 2],
            &[0x1a, 5, 1],
            &[0x08, 0x80],
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
            &[0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        ] {
            assert_eq!(all(&[&good, fault].concat()), [(1, Field::Varint(1))], "{fault:?}");
        }
        let most = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(all(&most), [(1, Field::Varint(u64::MAX))]);
    }

    proptest! {
        #[test]
        fn any_bytes_end(message in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(all(&message).len() <= message.len());
        }
    }
}
