//! Sizes and durations with units: `"2 MiB"`, `"30s"`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of bytes, written as an integer or as text with a unit (`B`, `KB`, `KiB`, … `EiB`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// `n` mebibytes.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().parse::<bytesize::ByteSize>() {
            // What a size cannot hold, the parser makes the largest one.
            Ok(size) if size.0 == u64::MAX => Err(format!("`{text}` is too large a size")),
            Ok(size) => Ok(Self(size.0)),
            Err(_) => Err(format!("`{text}` is not a size; write it like \"512 KiB\" or \"2 MiB\"")),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, size) in [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 >= size && self.0.is_multiple_of(size) {
                return write!(f, "{} {unit}", self.0 / size);
            }
        }
        write!(f, "{} B", self.0)
    }
}

/// A duration in whole milliseconds, written as text with units: `"500ms"`, `"2s"`, `"1h 30m"`, `"90 days"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HumanDuration(pub Duration);

impl FromStr for HumanDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Units have one case for people: `5M` is five minutes, not five months.
        let read = humantime::parse_duration(&text.trim().to_ascii_lowercase()).ok();
        let whole = read.filter(|duration| duration.subsec_nanos().is_multiple_of(1_000_000));
        whole.map(Self).ok_or_else(|| {
            format!("`{text}` is not a duration; write it like \"500ms\", \"2s\", \"5m\" or \"90 days\"")
        })
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        if millis >= 86_400_000 && millis.is_multiple_of(86_400_000) {
            let days = millis / 86_400_000;
            return write!(f, "{days} {}", if days == 1 { "day" } else { "days" });
        }
        for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
            if millis >= size && millis.is_multiple_of(size) {
                return write!(f, "{}{unit}", millis / size);
            }
        }
        write!(f, "{millis}ms")
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = ByteSize;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"2 MiB\" or a number of bytes")
            }
            fn visit_i64<E: de::Error>(self, n: i64) -> Result<ByteSize, E> {
                u64::try_from(n).map(ByteSize).map_err(|_| E::custom("a size cannot be negative"))
            }
            fn visit_u64<E: de::Error>(self, n: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(n))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ByteSize".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A size: a number of bytes, or text such as \"512 KiB\" or \"2 MiB\".",
            "anyOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": "^\\s*[0-9]+(\\.[0-9]+)?\\s*([KkMmGgTtPpEe]?[Ii]?[Bb]?)\\s*$" }
            ]
        })
    }
}

impl JsonSchema for HumanDuration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A duration with a unit: \"500ms\", \"2s\", \"5m\", \"1h\", \"90 days\".",
            "type": "string",
            "pattern": "^\\s*([0-9]+(\\.[0-9]+)?\\s*[A-Za-z]+\\s*)+$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, bytes, shown) in [
            ("1 MiB", 1 << 20, "1 MiB"),
            ("4gib", 4 << 30, "4 GiB"),
            ("1000", 1000, "1000 B"),
            ("1 KB", 1000, "1000 B"),
            ("1.5 MiB", 3 << 19, "1536 KiB"),
        ] {
            let size: ByteSize = text.parse().expect(text);
            assert_eq!((size.0, size.to_string().as_str()), (bytes, shown));
        }
        for bad in ["", "MiB", "-1", "1 XB", "99999999999 GiB"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn durations_are_read() {
        for (text, ms) in [("500ms", 500), ("2s", 2000), ("5 m", 300_000), ("1h", 3_600_000)] {
            let read: HumanDuration = text.parse().expect(text);
            assert_eq!(read, HumanDuration(Duration::from_millis(ms)));
            assert_eq!(read.to_string(), text.replace(' ', ""));
        }
        for (text, shown) in [("1H 30m", "90m"), ("1.5s", "1500ms"), ("2w", "14 days")] {
            let read: HumanDuration = text.parse().expect(text);
            assert_eq!(read.to_string(), shown);
        }
        for bad in ["", "2", "s", "day", "7 ns", "99999999999999999999s"] {
            assert!(bad.parse::<HumanDuration>().is_err(), "{bad:?}");
        }
    }
}
