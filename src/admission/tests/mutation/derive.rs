//! Bytes derived from bytes: whatever they are (JSON, base64, PEM, DER), or hold at any depth, is altered or spelled
//! another way.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE};
use serde_json::Value;

use super::random::Random;
use super::{der, ecdsa, json};

/// Others, and how they came about.
pub(super) fn derived(random: &mut Random, bytes: &[u8]) -> (Vec<u8>, String) {
    if random.chance(12) {
        return raw(random, bytes);
    }
    if let Ok(value @ (Value::Object(_) | Value::Array(_))) = serde_json::from_slice(bytes) {
        return json::derived(random, &value, bytes);
    }
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    if text.contains("-----BEGIN ") {
        return pem(random, text);
    }
    if let Some(decoded) = base64_of(text) {
        return base64(random, text, &decoded);
    }
    if bytes.first() == Some(&0x30) && der::elements(bytes).is_some() {
        return distinguished(random, bytes);
    }
    raw(random, bytes)
}

fn raw(random: &mut Random, bytes: &[u8]) -> (Vec<u8>, String) {
    let mut bytes = bytes.to_vec();
    let at = random.below(bytes.len().max(1));
    let how = match random.below(8) {
        0..=3 if !bytes.is_empty() => {
            let bit = random.below(8);
            bytes[at] ^= 1 << bit;
            format!("bit {bit} of byte {at} flipped")
        }
        4 => {
            bytes.truncate(at);
            format!("cut off after {at} bytes")
        }
        5 if !bytes.is_empty() => {
            bytes.remove(at);
            format!("byte {at} removed")
        }
        6 => {
            let twice = bytes[at.min(bytes.len())..].to_vec();
            bytes.extend(twice);
            format!("everything after byte {at} twice")
        }
        _ => {
            let extra = *random.one(&[b' ', b'\n', 0, b'}', b'A', 0xff]);
            bytes.push(extra);
            format!("byte {extra:#04x} appended")
        }
    };
    (bytes, how)
}

fn base64_of(text: &str) -> Option<Vec<u8>> {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (text.len() >= 16 && !is_hex)
        .then(|| BASE64_STANDARD.decode(text).ok())
        .flatten()
}

fn base64(random: &mut Random, text: &str, decoded: &[u8]) -> (Vec<u8>, String) {
    let half = text.len() / 2;
    let (spelled, how) = match random.below(18) {
        0 => (BASE64_URL_SAFE.encode(decoded), "URL-safe base64"),
        1 => (
            BASE64_STANDARD_NO_PAD.encode(decoded),
            "base64 without padding",
        ),
        2 => (format!("{text}="), "base64 with more padding"),
        3 => (format!(" {text}\n"), "base64 between white space"),
        4 => (
            format!("{}\n{}", &text[..half], &text[half..]),
            "base64 in two lines",
        ),
        5 => (
            format!("{}=={}", &text[..half], &text[half..]),
            "padding within base64",
        ),
        6 => (trailing_bits(text), "base64 with trailing bits"),
        _ => {
            let (inner, how) = derived(random, decoded);
            return (
                BASE64_STANDARD.encode(inner).into_bytes(),
                format!("base64: {how}"),
            );
        }
    };
    (spelled.into_bytes(), how.to_owned())
}

/// The last digit with bits set that mean nothing, where there are such.
fn trailing_bits(text: &str) -> String {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.trim_end_matches('=');
    let padding = &text[digits.len()..];
    let Some(value) = digits.chars().last().and_then(|last| DIGITS.find(last)) else {
        return text.to_owned();
    };
    let Some(other) = DIGITS
        .chars()
        .nth(value | 1)
        .filter(|_| !padding.is_empty())
    else {
        return format!("{text}A");
    };
    format!("{}{other}{padding}", &digits[..digits.len() - 1])
}

fn pem(random: &mut Random, text: &str) -> (Vec<u8>, String) {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----\n";
    let (spelled, how) = match random.below(14) {
        0 => (text.replace('\n', "\r\n"), "PEM with CRLF"),
        1 => (
            text.replacen('\n', "\nProc-Type: 4,CLEAR\n\n", 1),
            "PEM with a header",
        ),
        2 => (format!("{text}{text}"), "PEM twice"),
        3 => (format!("subject=/CN=somebody\n{text}"), "text before PEM"),
        4 => (format!("{text}\ntext after"), "text after PEM"),
        5 => (text.trim_end().to_owned(), "PEM without a last line break"),
        6 => (
            text.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
            "PEM with another label",
        ),
        7 => (
            text.replacen("-----BEGIN", "----BEGIN", 1),
            "PEM with a short dash",
        ),
        8 => (
            format!("{BEGIN}MIIB\n-----END CERTIFICATE-----\n{text}"),
            "a broken block before PEM",
        ),
        _ => return inside_pem(random, text),
    };
    (spelled.into_bytes(), how.to_owned())
}

fn inside_pem(random: &mut Random, text: &str) -> (Vec<u8>, String) {
    let block = text.split_once("-----\n").and_then(|(begin, rest)| {
        rest.split_once("-----END")
            .map(|(body, end)| (begin, body, end))
    });
    let Some((begin, body, end)) = block else {
        return raw(random, text.as_bytes());
    };
    let decoded = BASE64_STANDARD.decode(body.replace('\n', ""));
    let (inner, how) = derived(random, &decoded.unwrap_or_default());
    let body = BASE64_STANDARD.encode(inner);
    (
        format!("{begin}-----\n{body}\n-----END{end}").into_bytes(),
        format!("in PEM: {how}"),
    )
}

fn distinguished(random: &mut Random, bytes: &[u8]) -> (Vec<u8>, String) {
    let content = der::elements(bytes).unwrap()[0].content;
    let with = |header: &[u8], end: &[u8]| [header, content, end].concat();
    let (spelled, how) = match random.below(12) {
        0 => {
            let length = u32::try_from(content.len()).unwrap().to_be_bytes();
            (
                with(&[&[0x30, 0x84][..], &length].concat(), &[]),
                "DER with a long length",
            )
        }
        1 => (with(&[0x30, 0x80], &[0, 0]), "BER of indefinite length"),
        2 => (
            with(&[&[0x31][..], &der::length(content.len())].concat(), &[]),
            "a SET for a SEQUENCE",
        ),
        3 => ([bytes, &[5, 0]].concat(), "a NULL after DER"),
        4..=6 => match twin(bytes) {
            Some(twin) => (twin, "the twin of the signature"),
            None => return raw(random, bytes),
        },
        _ => return raw(random, bytes),
    };
    (spelled, how.to_owned())
}

/// The twin of a signature, or of the one at the end of a certificate.
fn twin(bytes: &[u8]) -> Option<Vec<u8>> {
    if let Some(twin) = ecdsa::twin(bytes) {
        return Some(twin);
    }
    let (body, algorithm, signature) = der::certificate(bytes)?;
    let twin = ecdsa::twin(signature)?;
    let mut content = [body, algorithm, &[3]].concat();
    content.extend(der::length(twin.len() + 1));
    content.push(0);
    content.extend(twin);
    let mut certificate = vec![0x30];
    certificate.extend(der::length(content.len()));
    certificate.extend(content);
    Some(certificate)
}
