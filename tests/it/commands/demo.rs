//! `demo`, which is also the first thing that anybody sees.

use tokio::process::Command;

use super::{ADMITTED, code, command, text};

/// Behind a company's HTTP proxy, too: it leads nowhere from this machine to itself.
#[tokio::test]
async fn demo_shows_every_outcome_and_ends_well() {
    let output = command(&["demo", "--once"])
        .env("HTTP_PROXY", "http://127.0.0.1:9")
        .env("http_proxy", "http://127.0.0.1:9")
        .output()
        .await
        .unwrap();
    assert_eq!(code(&output), ADMITTED, "{}", text(&output));
    let told = text(&output);
    for words in [
        "✓ served",
        "✓ refused: unsigned",
        "✓ refused: wrong_identity",
        "✓ refused: wrong_subject",
        "✓ refused: attestation_missing",
        "pulls ended as they should",
    ] {
        assert!(told.contains(words), "{words} is not in\n{told}");
    }
}

#[tokio::test]
async fn a_reader_that_leaves_is_no_failure() {
    let script = format!(
        "{} demo --once | head -n 1",
        env!("CARGO_BIN_EXE_countersign")
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .output()
        .await
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
