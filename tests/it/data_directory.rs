//! The data directory is private, belongs to one process, and leads nowhere else.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::*;

/// All entries below a directory, itself included, with their modes.
fn modes(path: &Path) -> Vec<(PathBuf, bool, u32)> {
    let metadata = path.symlink_metadata().unwrap();
    let mode = metadata.permissions().mode() & 0o7777;
    let mut found = vec![(path.to_owned(), metadata.is_dir(), mode)];
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            found.extend(modes(&entry.unwrap().path()));
        }
    }
    found
}

fn assert_private(directory: &Path) {
    let found = modes(directory);
    for (path, is_directory, mode) in &found {
        let expected = if *is_directory { 0o700 } else { 0o600 };
        // Between its creation and the change of its mode, a file has what the umask leaves of it.
        assert_eq!(
            *mode | expected,
            expected,
            "{} has {mode:o}",
            path.display()
        );
    }
    let is_there = |name: &str| found.iter().any(|(path, ..)| path.ends_with(name));
    for name in ["state.sqlite3", "state.sqlite3-wal", "state.sqlite3-shm"] {
        assert!(is_there(name), "{name}");
    }
}

#[tokio::test]
async fn every_entry_is_private_whatever_the_umask() {
    for umask in ["0000", "0777"] {
        let scene = Scene::start().await;
        scene.proxy.stop().await;
        std::fs::remove_dir_all(scene.proxy.data_dir()).unwrap();
        scene.proxy.set_umask(umask);
        // Only the superuser gets past the directories above it under the stricter one.
        if umask == "0777" && !rustix::process::geteuid().is_root() {
            continue;
        }
        scene.proxy.run().await;
        let image = scene.signed("apps/web", "v1");
        assert_serves(&scene.manifest("apps/web", "v1").await, &image);
        assert_eq!(scene.blob("apps/web", &image.layer(0)).await.status, 200);
        assert_private(&scene.proxy.data_dir());
    }
}

#[tokio::test]
async fn a_wide_directory_is_tightened_once_and_that_is_said() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    assert_eq!(scene.blob("apps/web", &image.layer(0)).await.status, 200);
    scene.proxy.stop().await;
    for (path, is_directory, _) in modes(&scene.proxy.data_dir()) {
        let mode = if is_directory { 0o755 } else { 0o644 };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let said = "Other users had access to the data directory";
    assert!(!scene.proxy.log().contains(said), "{}", scene.proxy.log());
    scene.proxy.run().await;
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    assert_private(&scene.proxy.data_dir());
    scene.proxy.restart().await;
    assert_eq!(scene.proxy.log().matches(said).count(), 1);
}

#[tokio::test]
async fn a_link_in_place_of_a_folder_ends_the_start_and_deletes_nothing() {
    let scene = Scene::start().await;
    scene.proxy.stop().await;
    let theirs = tempfile::tempdir().unwrap();
    let file = theirs.path().join("0123456789abcdef-4");
    std::fs::write(&file, b"theirs").unwrap();
    let incoming = scene.proxy.data_dir().join("incoming");
    std::fs::remove_dir_all(&incoming).unwrap();
    symlink(theirs.path(), &incoming).unwrap();
    scene.proxy.spawn();
    let status = scene.proxy.wait().await;
    assert!(!status.success());
    let log = scene.proxy.log();
    assert!(log.contains("incoming"), "{log}");
    assert!(log.contains("symbolic link"), "{log}");
    assert_eq!(std::fs::read(&file).unwrap(), b"theirs");
}

#[tokio::test]
async fn a_pipe_or_link_in_place_of_content_is_fetched_again() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    let layer = image.layer(0);
    assert_eq!(scene.blob("apps/web", &layer).await.status, 200);
    let hex = layer.strip_prefix("sha256:").unwrap();
    let shard = scene
        .proxy
        .data_dir()
        .join("content/sha256")
        .join(&hex[..2]);
    let theirs = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(theirs.path(), b"theirs").unwrap();
    for is_pipe in [true, false] {
        scene.proxy.stop().await;
        std::fs::remove_file(shard.join(hex)).unwrap();
        if is_pipe {
            let made = Command::new("mkfifo").arg(shard.join(hex)).status();
            assert!(made.unwrap().success());
        } else {
            symlink(theirs.path(), shard.join(hex)).unwrap();
        }
        scene.proxy.run().await;
        let answer = scene.blob("apps/web", &layer).await;
        assert_eq!(answer.status, 200, "{answer}");
        assert_eq!(sha256(&answer.body), layer);
        assert_eq!(std::fs::read(theirs.path()).unwrap(), b"theirs");
    }
}

#[tokio::test]
async fn a_second_process_hears_of_the_first_and_commands_that_read_go_on() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    let second = Proxy::new(Configuration::new(&[&scene.registry]));
    symlink(scene.proxy.data_dir(), second.data_dir()).unwrap();
    second.spawn();
    assert!(!second.wait().await.success());
    let log = second.log();
    let process = format!("process {}", scene.proxy.pid());
    assert!(log.contains(&process), "{log}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command
        .args(["log", "--data-dir"])
        .arg(scene.proxy.data_dir());
    let read = command.output().unwrap();
    assert!(read.status.success(), "{read:?}");
    assert!(String::from_utf8_lossy(&read.stdout).contains("apps/web"));
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    // The number that a killed process leaves behind is no obstacle.
    scene.proxy.kill();
    scene.proxy.run().await;
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
}
