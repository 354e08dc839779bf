//! How rules that hold plain numbers are written in a file: shares as `"80%"` or `0.8`, rates as `"900/s"`. For use with
//! `#[serde(with = "…")]`.

/// A share, read and written as [`crate::units::Ratio`].
pub(super) mod ratio {
    use crate::units::Ratio;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(share: &f64, to: S) -> Result<S::Ok, S::Error> {
        Ratio(*share).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        Ratio::deserialize(from).map(|ratio| ratio.0)
    }
}

/// Events per second, read and written as [`crate::units::Rate`].
pub(super) mod rate {
    use crate::units::Rate;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(rate: &f64, to: S) -> Result<S::Ok, S::Error> {
        Rate(*rate).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        Rate::deserialize(from).map(|rate| rate.0)
    }
}
