//! The field `files` of a request: an object of paths, each with its text or its bytes as base64.
//!
//! Runs in the supervisor; pure. What the names may be and how much there may be is for [`crate::files`] to check.

use super::request::{Object, Wrong, parse_object, refused, text_of, wrong};
use crate::errors::Refused;
use crate::files::shown;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// The one field of a file that is given as an object.
pub(super) const BYTES: [&str; 1] = ["base64"];

/// With or without the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads them, named as they are.
pub(super) fn parse(given: Option<&RawValue>) -> Result<Vec<(String, Vec<u8>)>, Wrong> {
    let Some(given) = given else { return Ok(Vec::new()) };
    if !given.get().starts_with('{') {
        return refused(Refused::FilesNoObject);
    }
    // It is JSON, so only a name's escapes can be wrong.
    let Ok(Entries(entries)) = serde_json::from_str(given.get()) else {
        return refused(Refused::FilesNoCharacter);
    };
    entries.into_iter().map(|(name, value)| content(&name, value).map(|content| (name, content))).collect()
}

fn content(name: &str, value: &RawValue) -> Result<Vec<u8>, Wrong> {
    let field = || format!("files': {}", shown(name)).trim_end_matches('\'').to_owned();
    let neither = || {
        let sentence = format!("'files': {} must be a string, or an object with its bytes as 'base64'", shown(name));
        wrong(Refused::FileNoContent, sentence)
    };
    match value.get().as_bytes().first() {
        Some(b'"') => Ok(text_of(&field(), value)?.into_bytes()),
        Some(b'{') => {
            let fields: Object<'_, { BYTES.len() }> = parse_object(value.get())?;
            let [Some(literal)] = fields.values else { return neither() };
            fields.others.check("files.*.", &BYTES)?;
            if !literal.get().starts_with('"') {
                return neither();
            }
            let text = text_of(&field(), literal)?;
            BASE64.decode(text).or_else(|error| {
                wrong(Refused::FileNoBase64, format!("'files': {} is no base64: {error}", shown(name)))
            })
        }
        _ => neither(),
    }
}

/// All entries of an object, repeated ones too.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;

        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(EntriesVisitor)
    }
}
