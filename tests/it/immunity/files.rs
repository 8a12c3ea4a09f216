//! Attacks on signatures of files, which `verify-bundle` judges.

#[tokio::test]
async fn cve_2022_36056_log_entry_of_another_blob_in_a_bundle_of_a_file() {
    let (status, _) = verify_bundle("bundle_v3.txt").await;
    assert_eq!(status, Some(0), "the control");
    let (status, said) = verify_bundle("bundle_cve_2022_36056.txt").await;
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("log entry does not match"), "{said}");
}

/// Verifies a file of sigstore-python with its bundle and the root of Sigstore's staging.
async fn verify_bundle(file: &str) -> (Option<i32>, String) {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = directory.join("tests/fixtures/sigstore-python");
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["verify-bundle", "--bundle"])
        .arg(directory.join(format!("{file}.sigstore")))
        .arg("--trusted-root")
        .arg(directory.join("trusted_root_staging.json"))
        .args(["--certificate-identity", "william@yossarian.net"])
        .args([
            "--certificate-oidc-issuer",
            "https://github.com/login/oauth",
        ])
        .arg(directory.join(file))
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}
