//! Sizes: the files have MiB and KiB, the gateway has bytes.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

/// Bytes, written in MiB.
pub(crate) mod mib {
    use super::*;

    pub(crate) fn serialize<T: Copy + TryInto<u64>, S: Serializer>(
        bytes: &T,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        write(*bytes, 20, to)
    }

    pub(crate) fn deserialize<'de, T: TryFrom<u64>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<T, D::Error> {
        read(20, from)
    }
}

/// Bytes, written in KiB.
pub(crate) mod kib {
    use super::*;

    pub(crate) fn serialize<T: Copy + TryInto<u64>, S: Serializer>(
        bytes: &T,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        write(*bytes, 10, to)
    }

    pub(crate) fn deserialize<'de, T: TryFrom<u64>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<T, D::Error> {
        read(10, from)
    }
}

fn write<T: TryInto<u64>, S: Serializer>(bytes: T, shift: u32, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(bytes.try_into().unwrap_or(u64::MAX) >> shift)
}

fn read<'de, T: TryFrom<u64>, D: Deserializer<'de>>(shift: u32, from: D) -> Result<T, D::Error> {
    let bytes = u64::from(u32::deserialize(from)?) << shift;
    T::try_from(bytes).map_err(|_| D::Error::custom("more memory than this machine can address"))
}
