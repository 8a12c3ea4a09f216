//! PEM as Go reads it, in which cosign is written (RFC 7468, RFC 1421).

use super::base64;

/// A block that begins and cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PemError {
    /// The line that ends it is missing.
    #[error("a PEM block has no end")]
    NoEnd,
    /// Something else than base64 is in it.
    #[error("a PEM block is not base64")]
    NotBase64,
}

/// Returns the contents of the blocks with this label. Text around them, headers within them (RFC 1421, 4.6), any kind of
/// line break and white space within and at the end of lines do not count.
pub(crate) fn blocks(text: &str, label: &str) -> Result<Vec<Vec<u8>>, PemError> {
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    let mut blocks = Vec::new();
    let mut lines = text.lines().map(str::trim_end);
    while lines.any(|line| line == begin) {
        let mut contents = String::new();
        loop {
            let line = lines.next().ok_or(PemError::NoEnd)?;
            if line == end {
                break;
            }
            if !line.contains(':') {
                contents.extend(line.split_ascii_whitespace());
            }
        }
        blocks.push(base64::decode(&contents).map_err(|_error| PemError::NotBase64)?);
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_among_other_text() {
        let rows = [
            "-----BEGIN X-----\nc2lnbmVk\n-----END X-----\n",
            "-----BEGIN X-----\r\nc2ln\r\nbmVk\r\n-----END X-----",
            "subject=CN = x\nissuer=CN = y\n-----BEGIN X-----\nc2lnbmVk\n-----END X-----\nafter",
            "-----BEGIN X-----\nProc-Type: 4\nNote: x\n\nc2lnbmVk\n-----END X-----\n",
            "-----BEGIN X----- \nc2ln bmVk \t\n-----END X----- \n",
            "-----BEGIN Y-----\n!\n-----END Y-----\n-----BEGIN X-----\nc2lnbmVk\n-----END X-----\n",
        ];
        for text in rows {
            assert_eq!(blocks(text, "X"), Ok(vec![b"signed".to_vec()]), "{text:?}");
        }
        assert_eq!(blocks("nothing", "X"), Ok(Vec::new()));
        let two = rows[0].repeat(2);
        assert_eq!(blocks(&two, "X").unwrap().len(), 2);
    }

    #[test]
    fn broken_blocks_are_refused() {
        for (text, error) in [
            ("-----BEGIN X-----\nc2lnbmVk\n", PemError::NoEnd),
            (
                "-----BEGIN X-----\nc2lnbmVk\n-----END Y-----\n",
                PemError::NoEnd,
            ),
            (
                "-----BEGIN X-----\nc2lnbmV\n-----END X-----\n",
                PemError::NotBase64,
            ),
            (
                "-----BEGIN X-----\nc2l*bmVk\n-----END X-----\n",
                PemError::NotBase64,
            ),
        ] {
            assert_eq!(blocks(text, "X"), Err(error), "{text:?}");
        }
        // A block begins at the start of a line.
        let indented = "  -----BEGIN X-----\nc2lnbmVk\n-----END X-----\n";
        assert_eq!(blocks(indented, "X"), Ok(Vec::new()));
    }
}
