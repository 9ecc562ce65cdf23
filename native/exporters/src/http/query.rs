//! The query of an address: names and values in percent-encoding.

/// The last value of a name, as it was meant; `None` if it is not there, or no UTF-8.
pub fn value(query: Option<&str>, name: &str) -> Option<String> {
    let pairs = query
        .unwrap_or_default()
        .rsplit('&')
        .filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(key, _)| decoded(key).as_deref() == Some(name));
    values.next().and_then(|(_, value)| decoded(value))
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let (byte, left) = match (first, after) {
            (b'+', _) => (b' ', after),
            (b'%', [high, low, left @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => (high * 16 + low, left),
                _ => (b'%', after),
            },
            _ => (*first, after),
        };
        bytes.push(byte);
        rest = left;
    }
    String::from_utf8(bytes).ok()
}

fn digit(byte: u8) -> Option<u8> {
    (byte as char)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn values_are_found_as_they_were_meant() {
        let query = Some("a=1&b=two+words%21&b=last%2f%zz&c&=x&d=%ff&%61b=yes");
        assert_eq!(value(query, "a").as_deref(), Some("1"));
        assert_eq!(value(query, "b").as_deref(), Some("last/%zz"));
        assert_eq!(value(query, "ab").as_deref(), Some("yes"));
        for missing in ["c", "d", "e"] {
            assert_eq!(value(query, missing), None);
        }
        assert_eq!(value(None, "a"), None);
        assert_eq!(value(Some("a=%"), "a").as_deref(), Some("%"));
    }
}
