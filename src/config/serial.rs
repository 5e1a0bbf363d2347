//! How durations and limits are written in a file: `"50s"`, and `"off"` for a limit that is absent.

/// A duration such as `"50s"` or `"1m 30s"`.
pub(super) mod duration {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::time::Duration;

    pub(crate) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*value))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_duration(&text)
            .map_err(|e| D::Error::custom(format!("{text:?} is no duration such as \"50s\": {e}")))
    }
}

/// A duration, or `"off"`.
pub(super) mod duration_or_off {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::time::Duration;

    pub(crate) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::duration::serialize(value, to),
            None => to.serialize_str("off"),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        let text = String::deserialize(from)?;
        if text == "off" {
            return Ok(None);
        }
        humantime::parse_duration(&text).map(Some).map_err(|e| {
            D::Error::custom(format!(
                "{text:?} is neither \"off\" nor a duration such as \"50s\": {e}"
            ))
        })
    }
}

/// A count, or `"off"`.
pub(super) mod count_or_off {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Count(u64),
        Word(String),
    }

    pub(crate) fn serialize<N, S>(value: &Option<N>, to: S) -> Result<S::Ok, S::Error>
    where
        N: Copy + Into<u64>,
        S: Serializer,
    {
        match value {
            Some(count) => to.serialize_u64((*count).into()),
            None => to.serialize_str("off"),
        }
    }

    pub(crate) fn deserialize<'de, N, D>(from: D) -> Result<Option<N>, D::Error>
    where
        N: TryFrom<u64>,
        D: Deserializer<'de>,
    {
        match Written::deserialize(from)? {
            Written::Count(count) => N::try_from(count)
                .map(Some)
                .map_err(|_| D::Error::custom(format!("{count} is too large a count"))),
            Written::Word(word) if word == "off" => Ok(None),
            Written::Word(word) => Err(D::Error::custom(format!(
                "{word:?} is neither \"off\" nor a count"
            ))),
        }
    }
}
