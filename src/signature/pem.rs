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

/// Returns the contents of the blocks with this label. Text around them, any kind of line break and white space within and
/// at the end of lines do not count.
///
/// Headers such as OpenSSL's `Proc-Type` (RFC 1421, 4.6) may open a block, up to a blank line. A colon anywhere else makes
/// the block unreadable (RFC 7468, 2).
pub(crate) fn blocks(text: &str, label: &str) -> Result<Vec<Vec<u8>>, PemError> {
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    let mut blocks = Vec::new();
    let mut lines = text.lines().map(str::trim_end);
    while lines.any(|line| line == begin) {
        let mut block = Vec::new();
        loop {
            let line = lines.next().ok_or(PemError::NoEnd)?;
            if line == end {
                break;
            }
            block.push(line);
        }
        let contents: String = without_headers(&block)
            .iter()
            .flat_map(|line| line.split_ascii_whitespace())
            .collect();
        blocks.push(base64::decode(&contents).map_err(|_error| PemError::NotBase64)?);
    }
    Ok(blocks)
}

/// Returns the lines after the headers. They end at the first blank line, and their first line has a colon, which no
/// base64 has.
fn without_headers<'a, 'b>(block: &'b [&'a str]) -> &'b [&'a str] {
    let has_headers = block.first().is_some_and(|line| line.contains(':'));
    let blank = block.iter().position(|line| line.is_empty());
    match blank.filter(|_| has_headers) {
        Some(blank) => block.get(blank..).unwrap_or_default(),
        None => block,
    }
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
            // A long header goes on in the next line (RFC 1421, 4.6).
            "-----BEGIN X-----\nProc-Type: 4,MIC-CLEAR\nNote: first\n second\n\nc2ln\n\nbmVk\n-----END X-----\n",
            "-----BEGIN X-----\r\nNote: x\r\n\r\nc2lnbmVk\r\n-----END X-----\r\n",
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
        // Only headers have colons, and only before the first blank line.
        for contents in [
            "Note: x\nc2lnbmVk",
            "c2ln\nNote: x\nbmVk",
            "c2ln\nNote: x\n\nbmVk",
            "c2lnbmVk\nNote: x",
            "\nNote: x\n\nc2lnbmVk",
            "Note: x\n\nc2ln\nNote: y\n\nbmVk",
            ":",
        ] {
            let text = format!("-----BEGIN X-----\n{contents}\n-----END X-----\n");
            assert_eq!(blocks(&text, "X"), Err(PemError::NotBase64), "{text:?}");
        }
        // A block begins at the start of a line.
        let indented = "  -----BEGIN X-----\nc2lnbmVk\n-----END X-----\n";
        assert_eq!(blocks(indented, "X"), Ok(Vec::new()));
    }
}
