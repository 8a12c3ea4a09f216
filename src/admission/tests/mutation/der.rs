//! Just enough DER to see the parts of certificates and timestamps without the parsers under test.

/// One element: what its header says, and the whole of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    pub(super) whole: &'a [u8],
}

/// The elements that follow each other in `bytes`, if those are nothing else.
pub(super) fn elements(mut bytes: &[u8]) -> Option<Vec<Element<'_>>> {
    let mut found = Vec::new();
    while let [tag, first, ..] = bytes {
        let (header, length) = match usize::from(*first) {
            short @ 0..=0x7f => (2, short),
            long @ 0x81..=0x84 => {
                let count = long - 0x80;
                let digits = bytes.get(2..2 + count)?;
                let length = digits
                    .iter()
                    .fold(0_usize, |length, digit| length << 8 | usize::from(*digit));
                (2 + count, length)
            }
            _ => return None,
        };
        let whole = bytes.get(..header.checked_add(length)?)?;
        found.push(Element {
            tag: *tag,
            content: &whole[header..],
            whole,
        });
        bytes = &bytes[whole.len()..];
    }
    (bytes.is_empty() && !found.is_empty()).then_some(found)
}

/// The shortest form of a length.
pub(super) fn length(length: usize) -> Vec<u8> {
    match length {
        0..=0x7f => vec![u8::try_from(length).unwrap()],
        0x80..=0xff => vec![0x81, u8::try_from(length).unwrap()],
        _ => {
            let [.., high, low] = length.to_be_bytes();
            vec![0x82, high, low]
        }
    }
}

/// A certificate as what its issuer signed, the algorithm, and the signature without the count of unused bits.
pub(super) fn certificate(der: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let [outer] = elements(der)?.try_into().ok()?;
    let [body, algorithm, signature] = elements(outer.content)?.try_into().ok()?;
    let [0, signature @ ..] = signature.content else {
        return None;
    };
    (outer.tag == 0x30).then_some((body.whole, algorithm.whole, signature))
}
