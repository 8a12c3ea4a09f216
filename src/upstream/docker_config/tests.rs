use std::os::unix::fs::PermissionsExt;

use super::*;

fn with_password(username: &str, password: &str) -> Login {
    super::password(username, password)
}

async fn login(config: &str, host: &str) -> Result<Login, LookupError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    std::fs::write(&path, config).unwrap();
    DockerConfig::new(path).login(host).await
}

/// A folder with a `config.json` naming the helper `test`, and that helper.
fn with_helper(config: &str, script: &str) -> (tempfile::TempDir, DockerConfig) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    std::fs::write(&path, config).unwrap();
    let program = folder.path().join("docker-credential-test");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let search_path = format!("{}:/usr/bin:/bin", folder.path().display());
    let config = DockerConfig::with_search_path(path, search_path.into());
    (folder, config)
}

#[tokio::test]
async fn takes_user_and_password_from_auths() {
    // `user:pass:word` in base64.
    let config = r#"{"auths": {"ghcr.io": {"auth": "dXNlcjpwYXNzOndvcmQ="}, "quay.io": {"username": "u", "password": "p"}}, "HttpHeaders": {}}"#;
    assert_eq!(
        login(config, "ghcr.io").await,
        Ok(with_password("user", "pass:word"))
    );
    assert_eq!(login(config, "quay.io").await, Ok(with_password("u", "p")));
    assert_eq!(login(config, "gcr.io").await, Ok(Login::Anonymous));
    assert_eq!(login("{}", "gcr.io").await, Ok(Login::Anonymous));
}

#[tokio::test]
async fn knows_the_spellings_of_a_host() {
    for (key, host) in [
        ("https://index.docker.io/v1/", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("docker.io", "docker.io"),
        ("https://ghcr.io", "ghcr.io"),
        ("https://ghcr.io/v2/", "ghcr.io"),
        ("127.0.0.1:5000", "127.0.0.1:5000"),
    ] {
        let config = format!(r#"{{"auths": {{"{key}": {{"auth": "dTpw"}}}}}}"#);
        assert_eq!(
            login(&config, host).await,
            Ok(with_password("u", "p")),
            "{key}"
        );
    }
    for key in [
        "ghcr.io/org",
        "ghcr.io.evil.example",
        "https://ghcr.io/v2/org",
        "evil.example/ghcr.io",
    ] {
        let config = format!(r#"{{"auths": {{"{key}": {{"auth": "dTpw"}}}}}}"#);
        assert_eq!(
            login(&config, "ghcr.io").await,
            Ok(Login::Anonymous),
            "{key}"
        );
    }
}

#[tokio::test]
async fn an_identity_token_wins_over_a_password() {
    let config = r#"{"auths": {"ghcr.io": {"auth": "dTpw", "identitytoken": "t"}}}"#;
    assert_eq!(
        login(config, "ghcr.io").await,
        Ok(Login::IdentityToken(Secret::new("t".to_owned())))
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error() {
    for config in [
        "",
        "1",
        r#"{"auths": {"ghcr.io": {"auth": "%%%"}}}"#,
        r#"{"auths": {"ghcr.io": {"auth": "dQ=="}}}"#,
    ] {
        assert_eq!(
            login(config, "ghcr.io").await,
            Err(LookupError::Malformed),
            "{config}"
        );
    }
    let huge = format!(r#"{{"auths": {{}}, "x": "{}"}}"#, "x".repeat(1024 * 1024));
    assert_eq!(login(&huge, "ghcr.io").await, Err(LookupError::Malformed));
    let absent = DockerConfig::new(PathBuf::from("/nonexistent/config.json"));
    assert_eq!(absent.login("ghcr.io").await, Err(LookupError::Unreadable));
}

#[tokio::test]
async fn asks_the_helper_of_the_host_with_the_key_on_its_input() {
    let script = r#"read -r key; [ "$1" = get ] && echo "{\"ServerURL\":\"$key\",\"Username\":\"u\",\"Secret\":\"for $key\"}""#;
    let (_folder, config) = with_helper(
        r#"{"credHelpers": {"ghcr.io": "test"}, "auths": {"ghcr.io": {"auth": "dTpw"}, "quay.io": {"auth": "dTpw"}}, "credsStore": "test"}"#,
        script,
    );
    assert_eq!(
        config.login("ghcr.io").await,
        Ok(with_password("u", "for ghcr.io"))
    );
    assert_eq!(config.login("quay.io").await, Ok(with_password("u", "p")));
    assert_eq!(
        config.login("docker.io").await,
        Ok(with_password("u", "for https://index.docker.io/v1/"))
    );
    assert_eq!(
        config.login("127.0.0.1:5000").await,
        Ok(with_password("u", "for 127.0.0.1:5000"))
    );
}

#[tokio::test]
async fn a_helper_may_hand_out_an_identity_token_or_know_nothing() {
    let store = r#"{"credsStore": "test"}"#;
    let (_folder, config) = with_helper(store, r#"echo '{"Username":"<token>","Secret":"t"}'"#);
    assert_eq!(
        config.login("ghcr.io").await,
        Ok(Login::IdentityToken(Secret::new("t".to_owned())))
    );
    let (_folder, config) = with_helper(
        store,
        "echo credentials not found in native keychain; exit 1",
    );
    assert_eq!(config.login("ghcr.io").await, Ok(Login::Anonymous));
}

#[tokio::test]
async fn a_helper_that_fails_is_an_error() {
    let store = r#"{"credsStore": "test"}"#;
    for script in [
        "exit 1",
        "echo no JSON",
        "head -c 70000 /dev/zero | tr '\\0' ' '; echo '{\"Username\":\"u\",\"Secret\":\"p\"}'",
    ] {
        let (_folder, config) = with_helper(store, script);
        assert_eq!(
            config.login("ghcr.io").await,
            Err(LookupError::HelperFailed),
            "{script}"
        );
    }
    let (_folder, config) = with_helper(r#"{"credsStore": "absent"}"#, "");
    assert_eq!(
        config.login("ghcr.io").await,
        Err(LookupError::HelperNotRun)
    );
    let (_folder, config) = with_helper(r#"{"credsStore": "../test"}"#, "echo");
    assert_eq!(config.login("ghcr.io").await, Err(LookupError::Malformed));
}

#[tokio::test]
async fn a_helper_that_hangs_is_given_up() {
    let (_folder, config) = with_helper(r#"{"credsStore": "test"}"#, "exec sleep 60");
    let started = std::time::Instant::now();
    assert_eq!(config.login("ghcr.io").await, Err(LookupError::HelperTime));
    assert!(started.elapsed() < Duration::from_secs(30));
}
