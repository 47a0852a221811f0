//! Vectors as files: compared with what the code gives, and written anew only when `SPEC_UPDATE` is set.

use std::{
    fs,
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use serde_json::{Value, json};

/// The directory of the pages.
pub(crate) fn pages() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap().join("proto-spec")
}

/// Compares vectors with their file.
#[track_caller]
pub(crate) fn golden(file: &str, vectors: &[Value]) {
    let path = pages().join("vectors").join(file);
    let text = serde_json::to_string_pretty(vectors).unwrap() + "\n";
    if std::env::var_os("SPEC_UPDATE").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let held = fs::read_to_string(&path).unwrap_or_default();
    let differs = held.lines().zip(text.lines()).find(|(a, b)| a != b);
    assert!(
        held == text,
        "{file} is not what the code gives; first difference: {differs:?}"
    );
}

/// The vectors of a file.
pub(crate) fn vectors(file: &str) -> Vec<Value> {
    let text = fs::read_to_string(pages().join("vectors").join(file)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Bytes as they stand in a vector.
pub(crate) fn hex(bytes: &[u8]) -> Value {
    HEXLOWER.encode(bytes).into()
}

/// The bytes of a hexadecimal text.
#[track_caller]
pub(crate) fn unhex(value: &Value) -> Vec<u8> {
    let text = value.as_str();
    let text = text.unwrap_or_else(|| panic!("{value} is not hexadecimal"));
    HEXLOWER.decode(text.as_bytes()).unwrap()
}

/// The bytes of a member of a vector.
#[track_caller]
pub(crate) fn bytes(vector: &Value, member: &str) -> Vec<u8> {
    unhex(&vector[member])
}

/// The bytes of a member that has a fixed length.
#[track_caller]
pub(crate) fn array<const N: usize>(vector: &Value, member: &str) -> [u8; N] {
    bytes(vector, member).try_into().unwrap()
}

/// A number of a vector.
#[track_caller]
pub(crate) fn number(vector: &Value, member: &str) -> u64 {
    let number = vector[member].as_u64();
    number.unwrap_or_else(|| panic!("no {member} in {vector}"))
}

/// A text of a vector.
#[track_caller]
pub(crate) fn text<'a>(vector: &'a Value, member: &str) -> &'a str {
    let text = vector[member].as_str();
    text.unwrap_or_else(|| panic!("no {member} in {vector}"))
}

/// `pattern` over and over, cut to a length; large bodies stand in vectors like this.
pub(crate) fn repeated(pattern: &[u8], len: usize) -> (Vec<u8>, Value) {
    let body = pattern.iter().copied().cycle().take(len).collect();
    (body, json!({"repeat": hex(pattern), "bytes": len}))
}

/// The body of a vector, by either way of writing it.
pub(crate) fn body(vector: &Value) -> Vec<u8> {
    let body = &vector["body"];
    if body.is_string() {
        return bytes(vector, "body");
    }
    let len = usize::try_from(number(body, "bytes")).unwrap();
    repeated(&bytes(body, "repeat"), len).0
}
