//! The twin of an ECDSA signature: if (r, s) verifies, so does (r, n − s), for anybody to compute.

/// The orders of P-256, P-384 and P-521 (FIPS 186-5).
const ORDERS: [&str; 3] = [
    "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
];

/// The twin, if these bytes are a DER signature of one of the three curves.
pub(super) fn twin(signature: &[u8]) -> Option<Vec<u8>> {
    let (r, s) = halves(signature)?;
    // The curve is the smallest whose order is as long as the longer half.
    let length = r.len().max(s.len());
    let order = ORDERS
        .iter()
        .filter_map(|order| hex::decode(order).ok())
        .find(|order| order.len() >= length && order.len() <= length + 2)?;
    let other = subtract(&order, s)?;
    let mut body = integer(r);
    body.extend(integer(&other));
    let mut der = vec![0x30];
    der.extend(super::der::length(body.len()));
    der.extend(body);
    Some(der)
}

/// The unsigned halves without leading zeros.
fn halves(signature: &[u8]) -> Option<(&[u8], &[u8])> {
    let [sequence] = super::der::elements(signature)?.try_into().ok()?;
    let [r, s] = super::der::elements(sequence.content)?.try_into().ok()?;
    if sequence.tag != 0x30 || r.tag != 2 || s.tag != 2 {
        return None;
    }
    let unsigned = |bytes: &'_ [u8]| bytes.iter().take_while(|byte| **byte == 0).count();
    let (r, s) = (
        r.content.get(unsigned(r.content)..)?,
        s.content.get(unsigned(s.content)..)?,
    );
    (r.len() >= 20 && s.len() >= 20).then_some((r, s))
}

fn subtract(order: &[u8], number: &[u8]) -> Option<Vec<u8>> {
    let mut difference = order.to_vec();
    let mut borrow = 0_i32;
    for (position, digit) in difference.iter_mut().rev().enumerate() {
        let subtracted = number
            .len()
            .checked_sub(position + 1)
            .map_or(0, |at| i32::from(number[at]));
        let value = i32::from(*digit) - subtracted - borrow;
        borrow = i32::from(value < 0);
        [*digit, ..] = value.rem_euclid(256).to_le_bytes();
    }
    (borrow == 0 && number.len() <= order.len()).then_some(difference)
}

fn integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let number = &number[zeros..];
    let sign = number.first().is_none_or(|byte| byte & 0x80 != 0);
    let mut der = vec![2];
    der.extend(super::der::length(number.len() + usize::from(sign)));
    der.extend(sign.then_some(0));
    der.extend(number);
    der
}
