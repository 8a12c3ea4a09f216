use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::*;

fn record(number: u64) -> Record {
    let digest = Digest::sha256(b"x");
    let value = serde_json::json!({
        "id": Ulid::from_parts(number, 1), "time": "2026-11-23T14:00:00Z", "replica": "r",
        "repository": "ghcr.io/org/app", "reference": "v1", "digest": digest, "previous_digest": null,
        "media_type": null, "decision": "deny", "mode": "enforce", "basis": null, "stale": false, "sources": [],
        "denial": {"kind": "unsigned", "message": "a \"quoted\"\nmessage"}, "policies": [], "attempts": [],
        "endorsed_by": null, "trusted_root": null, "configuration": digest, "verifier": "0.1.0",
        "client": {"address": null, "user_agent": null, "identity": null},
        "timing_ms": {"upstream": 0.0, "discovery": 0.0, "keys": 0.0, "verification": 0.0, "total": 0.0}, "count": 1,
    });
    serde_json::from_value(value).unwrap()
}

fn access_line(number: u64) -> AccessLine {
    AccessLine {
        time: "2026-11-23T14:00:00Z".parse().unwrap(),
        client: AccessClient {
            address: Some("127.0.0.1".parse().unwrap()),
            identity: None,
        },
        method: "GET",
        repository: Some("ghcr.io/org/app".parse().unwrap()),
        reference: Some("v1".parse().unwrap()),
        digest: Some(Digest::sha256(b"x")),
        decision_id: None,
        status: 200,
        bytes: number,
        cache: "hit",
        duration: Duration::from_micros(1500),
    }
}

fn change() -> Change {
    Change {
        id: Ulid::from_parts(1, 1),
        time: "2026-11-23T14:00:00Z".parse().unwrap(),
        replica: "r".to_owned(),
        kind: ChangeKind::Key,
        name: None,
        from: None,
        to: Some(serde_json::json!({"usable": true, "versions": []})),
        configuration: Digest::sha256(b"x"),
    }
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn every_record_is_one_line() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("decisions.jsonl");
    for start in [0, 5000] {
        // Opened twice, the second time to append.
        let sink = JsonLines::open(&Destination::File(path.clone())).unwrap();
        for number in start..start + 5000 {
            sink.write(&record(number));
        }
        assert!(sink.flush(Duration::from_secs(30)).await);
        let lines = lines(&path);
        assert_eq!(lines.len() as u64, start + 5000);
    }
    for (number, line) in lines(&path).into_iter().enumerate() {
        assert_eq!(line["denial"]["message"], "a \"quoted\"\nmessage");
        assert!(line["previous_digest"].is_null() && line.get("previous_digest").is_some());
        let id: Ulid = serde_json::from_value(line["id"].clone()).unwrap();
        assert_eq!(id.timestamp_ms(), number as u64);
    }
}

#[tokio::test]
async fn lines_begin_with_the_sort_of_line() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("lines.jsonl");
    let destination = Destination::File(path.clone());
    let sink = JsonLines::open(&destination).unwrap();
    sink.write(&record(1));
    sink.write_change(&change());
    assert!(sink.flush(Duration::from_secs(30)).await);
    let log = AccessLog::open(&destination).unwrap();
    log.write(access_line(1));
    log.flush().await;
    let text = std::fs::read_to_string(path).unwrap();
    let sorts = ["decision", "change", "access"];
    assert_eq!(text.lines().count(), sorts.len());
    for (line, sort) in text.lines().zip(sorts) {
        let start = format!("{{\"log\":\"{sort}\",");
        assert!(line.starts_with(&start), "{line}");
    }
}

#[tokio::test]
async fn nothing_is_written_nowhere() {
    let sink = JsonLines::open(&Destination::Nowhere).unwrap();
    sink.write(&record(1));
    assert!(sink.flush(Duration::from_secs(30)).await);
    let log = AccessLog::open(&Destination::Nowhere).unwrap();
    assert!(!log.is_on());
    log.write(access_line(1));
    log.flush().await;
    assert_eq!(log.dropped(), 0);
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let path = std::path::PathBuf::from("/nonexistent/access.log");
    let destination = Destination::File(path.clone());
    let error = AccessLog::open(&destination).unwrap_err();
    assert_eq!(error.path, path);
    assert_eq!(JsonLines::open(&destination).unwrap_err().path, path);
}

#[tokio::test]
async fn every_pull_is_one_line() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("access.log");
    let log = AccessLog::open(&Destination::File(path.clone())).unwrap();
    assert!(log.is_on());
    log.write(AccessLine {
        repository: None,
        reference: None,
        decision_id: Some(Ulid::from_parts(1, 1)),
        ..access_line(7)
    });
    for number in 0..3000 {
        log.write(access_line(number));
    }
    log.flush().await;
    let lines = lines(&path);
    assert_eq!(lines.len(), 3001);
    assert_eq!(
        lines[0],
        serde_json::json!({
            "log": "access", "time": "2026-11-23T14:00:00Z", "client": {"address": "127.0.0.1", "identity": null},
            "method": "GET", "repository": null, "reference": null, "digest": Digest::sha256(b"x"),
            "decision_id": Ulid::from_parts(1, 1), "status": 200, "bytes": 7, "cache": "hit", "duration_ms": 1.5,
        })
    );
    assert_eq!(lines[3000]["reference"], "v1");
    assert_eq!(log.dropped(), 0);
}

#[tokio::test]
async fn lines_come_without_being_asked_for_and_at_the_end() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("access.log");
    let log = AccessLog::open(&Destination::File(path.clone())).unwrap();
    for expected in [1, 2] {
        log.write(access_line(1));
        if expected == 2 {
            break;
        }
        while lines(&path).len() < expected {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    drop(log);
    while lines(&path).len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_the_destination_refuses_is_counted() {
    let log = AccessLog::open(&Destination::File("/dev/full".into())).unwrap();
    for number in 0..100 {
        log.write(access_line(number));
    }
    log.flush().await;
    // One line stays: it may have been written in part and is tried again.
    assert_eq!(log.dropped(), 99);
}

#[tokio::test]
async fn a_full_queue_drops_and_counts_pulls_and_never_waits() {
    let directory = TempDir::new().unwrap();
    let pipe = directory.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    // A reader that never reads: the writing thread blocks when the pipe is full.
    let reader = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&pipe)
        .unwrap();
    let log = AccessLog::open(&Destination::File(pipe)).unwrap();
    for number in 0..100_000 {
        log.write(access_line(number));
    }
    assert!(log.dropped() > 50_000, "{}", log.dropped());
    drop(reader);
}

#[tokio::test]
async fn reader_that_stops_reading_holds_up_no_decision() {
    let directory = TempDir::new().unwrap();
    let pipe = directory.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let reader = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&pipe)
        .unwrap();
    let sink = JsonLines::open(&Destination::File(pipe)).unwrap();
    let started = std::time::Instant::now();
    for number in 0..30_000 {
        sink.write(&record(number));
    }
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(!sink.flush(Duration::from_millis(50)).await);
    let dropped = sink.dropped();
    assert!(dropped > 5000, "{dropped}");
    let kept = usize::try_from(30_000 - dropped).unwrap();
    let all = std::thread::spawn(move || {
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(reader));
        (0..kept).all(|_| lines.next().is_some_and(|line| line.is_ok()))
    });
    assert!(sink.flush(Duration::from_secs(30)).await);
    assert!(all.join().unwrap());
}
