//! Attributes of files, such as their content type, as names and values.

use object_store::{Attribute, AttributeValue, Attributes};

const METADATA: &str = "metadata:";

/// Returns attributes as pairs, sorted by name.
///
/// # Errors
/// `NotSupported` for an attribute that this program does not know.
pub(crate) fn to_pairs(attributes: &Attributes) -> object_store::Result<Vec<(String, String)>> {
    let mut pairs = attributes
        .iter()
        .map(|(attribute, value)| Ok((name(attribute)?, value.as_ref().to_owned())))
        .collect::<object_store::Result<Vec<_>>>()?;
    pairs.sort();
    Ok(pairs)
}

/// Returns pairs as attributes; a name of a newer program becomes metadata of that name.
pub(crate) fn from_pairs(pairs: &[(String, String)]) -> Attributes {
    let pair =
        |(name, value): &(String, String)| (attribute(name), AttributeValue::from(value.clone()));
    pairs.iter().map(pair).collect()
}

fn name(attribute: &Attribute) -> object_store::Result<String> {
    let name = match attribute {
        Attribute::ContentDisposition => "content-disposition",
        Attribute::ContentEncoding => "content-encoding",
        Attribute::ContentLanguage => "content-language",
        Attribute::ContentType => "content-type",
        Attribute::CacheControl => "cache-control",
        Attribute::StorageClass => "storage-class",
        Attribute::Metadata(key) => return Ok(format!("{METADATA}{key}")),
        other => {
            let source = format!("attribute {other:?} is not known").into();
            return Err(object_store::Error::NotSupported { source });
        }
    };
    Ok(name.to_owned())
}

fn attribute(name: &str) -> Attribute {
    match name {
        "content-disposition" => Attribute::ContentDisposition,
        "content-encoding" => Attribute::ContentEncoding,
        "content-language" => Attribute::ContentLanguage,
        "content-type" => Attribute::ContentType,
        "cache-control" => Attribute::CacheControl,
        "storage-class" => Attribute::StorageClass,
        other => {
            let key = other.strip_prefix(METADATA).unwrap_or(other);
            Attribute::Metadata(key.to_owned().into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_round_trip() {
        let all = Attributes::from_iter([
            (Attribute::ContentDisposition, "a"),
            (Attribute::ContentEncoding, "b"),
            (Attribute::ContentLanguage, "c"),
            (Attribute::ContentType, "d"),
            (Attribute::CacheControl, "e"),
            (Attribute::StorageClass, "f"),
            (Attribute::Metadata("key".into()), "g"),
        ]);
        assert_eq!(from_pairs(&to_pairs(&all).unwrap()), all);
    }
}
