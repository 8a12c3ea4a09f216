//! What is kept in the data directory.

use serde_json::Value;

use super::repository::*;
use crate::trust::mirror::SharedClient;
use crate::trust::repository::Repository as Client;

fn forge(repository: &Repository, change: impl FnOnce(&mut Value)) {
    let bytes = std::fs::read(repository.state_path()).unwrap();
    let mut state: Value = serde_json::from_slice(&bytes).unwrap();
    change(&mut state);
    std::fs::write(repository.state_path(), serde_json::to_vec(&state).unwrap()).unwrap();
}

async fn fetched() -> Repository {
    let repository = Repository::published().await;
    let roots = repository.open(start());
    roots.refresh(NAME, start()).await.unwrap();
    repository
}

#[tokio::test]
async fn restart_needs_no_network() {
    let repository = fetched().await;
    repository.clear();
    let asked = repository.asked().len();
    let roots = repository.open(after(20));
    assert_eq!(in_force(&roots), digest(FIRST));
    assert_eq!(roots.status(after(20))[0].refreshed, Some(start()));
    assert_eq!(repository.asked().len(), asked);
}

#[tokio::test]
async fn forged_content_is_not_believed() {
    let repository = fetched().await;
    forge(&repository, |state| {
        state["confirmed"]["files"]["targets/trusted_root.json"] = SECOND.into();
    });
    assert_eq!(in_force(&repository.open(start())), None);
}

#[tokio::test]
async fn forged_roots_are_not_believed() {
    let repository = fetched().await;
    // Everything signed by somebody else, consistently.
    let mut forged = Repository::start().await;
    forged.roles = Roles {
        root: vec![Key::new(31), Key::new(32)],
        timestamp: vec![Key::new(33)],
        snapshot: vec![Key::new(34)],
        targets: vec![Key::new(35)],
        ..Roles::default()
    };
    let root = forged.roles.root(1);
    std::fs::write(forged.data().join("root.json"), &root).unwrap();
    let second = forged.roles.root(2);
    forged.put("2.root.json", second.clone());
    forged.publish(&Publication::new(9, SECOND));
    let roots = forged.open(start());
    roots.refresh(NAME, start()).await.unwrap();
    assert_eq!(in_force(&roots), digest(SECOND));
    std::fs::copy(forged.state_path(), repository.state_path()).unwrap();
    let roots = repository.open(start());
    assert_eq!(in_force(&roots), None);
    // Nor do the forged versions bind us.
    roots.refresh(NAME, start()).await.unwrap();
    assert_eq!(in_force(&roots), digest(FIRST));
}

#[tokio::test]
async fn forged_time_of_confirmation_is_at_most_what_was_signed() {
    let repository = fetched().await;
    forge(&repository, |state| {
        state["confirmed"]["time"] = "2099-01-01T00:00:00Z".into();
    });
    let status = repository.open(start()).status(start()).remove(0);
    assert_eq!(status.refreshed, Some(after(7)));
}

#[tokio::test]
async fn unreadable_state_is_as_none() {
    let repository = fetched().await;
    for text in ["", "{}", "null", r#"{"format":2}"#] {
        std::fs::write(repository.state_path(), text).unwrap();
        let roots = repository.open(start());
        assert_eq!(in_force(&roots), None);
        roots.refresh(NAME, start()).await.unwrap();
        assert_eq!(in_force(&roots), digest(FIRST));
    }
}

#[tokio::test]
async fn roots_stay_known_though_the_rest_fails() {
    let mut repository = fetched().await;
    let old = repository.roles.clone();
    // The key of the timestamp was stolen and is replaced; the rest cannot be had.
    repository.roles.timestamp = vec![Key::new(41)];
    repository.put("2.root.json", repository.roles.root(2));
    repository.remove("timestamp.json");
    let roots = repository.open(start());
    assert!(roots.refresh(NAME, start()).await.is_err());
    // What was confirmed under the first root serves on, over a restart as well.
    let roots = repository.open(start());
    assert_eq!(in_force(&roots), digest(FIRST));
    // The thief hides the new root, to no avail.
    repository.remove("2.root.json");
    repository.roles = old;
    repository.publish(&Publication::new(2, SECOND));
    let error = roots.refresh(NAME, start()).await.unwrap_err();
    assert!(
        text(&error).contains("threshold not met"),
        "{}",
        text(&error)
    );
    assert_eq!(in_force(&roots), digest(FIRST));
}

#[tokio::test]
async fn what_one_process_fetched_binds_the_others() {
    let repository = fetched().await;
    let slow = repository.open(start());
    repository.publish(&Publication::new(2, SECOND));
    repository
        .open(start())
        .refresh(NAME, start())
        .await
        .unwrap();
    // Only the other process has seen version 2.
    repository.publish(&Publication::new(1, FIRST));
    let error = slow.refresh(NAME, start()).await.unwrap_err();
    assert!(text(&error).contains("rollback"), "{}", text(&error));
    assert_eq!(in_force(&slow), digest(SECOND));
}

#[tokio::test]
async fn older_never_replaces_newer() {
    let repository = fetched().await;
    let initial = repository.roles.root(1);
    let target = crate::trust::Source::TARGET;
    let client = || {
        Client::new(
            &repository.url,
            initial.clone(),
            target,
            SharedClient::default(),
        )
    };
    // A process that fetched version 1 and is about to keep it.
    let mut late = client().unwrap();
    let nothing = late.open(start()).unwrap();
    let (old, outcome) = late.fetch(&nothing, start()).await;
    outcome.unwrap();
    repository.publish(&Publication::new(2, SECOND));
    repository
        .open(start())
        .refresh(NAME, start())
        .await
        .unwrap();
    late.keep_in(&repository.data().join("trust"), NAME)
        .unwrap();
    let kept = late.keep(old).unwrap();
    assert_eq!(
        late.standing(&kept).root.unwrap().digest,
        digest(SECOND).unwrap()
    );
    assert_eq!(in_force(&repository.open(start())), digest(SECOND));
}

#[tokio::test]
async fn many_processes_keep_one_whole_state() {
    let repository = Repository::published().await;
    let all: Vec<_> = (0..8).map(|_| repository.open(start())).collect();
    let refreshes = all.iter().map(|roots| roots.refresh(NAME, start()));
    for outcome in futures::future::join_all(refreshes).await {
        outcome.unwrap();
    }
    let directory = repository.state_path().parent().unwrap().to_owned();
    let mut left: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["lock", "state.json"]);
    assert_eq!(in_force(&repository.open(start())), digest(FIRST));
}

#[tokio::test]
async fn ghsa_3633_5h82_39pq_one_key_under_two_names_in_a_kept_root() {
    let repository = fetched().await;
    let one = Key::new(1);
    let twice = Roles {
        root: vec![one.clone(), one.named("another")],
        ..Roles::default()
    };
    let mut signers = repository.roles.root.clone();
    signers.push(one.named("another"));
    let root = String::from_utf8(sign(&twice.root_json(2), &signers)).unwrap();
    forge(&repository, |state| state["roots"]["2"] = root.into());
    let roots = repository.open(start());
    roots.refresh(NAME, start()).await.unwrap();
    assert_eq!(roots.status(start())[0].metadata.unwrap().root, 1);
}

#[tokio::test]
async fn age_counts_anew_with_another_initial_root() {
    let repository = Repository::start().await;
    let parent = repository.data().join("trust");
    let first_used = |initial: Vec<u8>, now| {
        let client = SharedClient::default();
        let target = crate::trust::Source::TARGET;
        let mut client = Client::new(&repository.url, initial, target, client).unwrap();
        client.keep_in(&parent, NAME).unwrap();
        client.open(now).unwrap().stored.first_used
    };
    assert_eq!(first_used(repository.roles.root(1), start()), start());
    assert_eq!(first_used(repository.roles.root(1), after(9)), start());
    assert_eq!(first_used(repository.roles.root(2), after(9)), after(9));
}

#[tokio::test]
async fn a_lock_that_is_never_let_go_ends_the_start() {
    let repository = fetched().await;
    let path = repository.state_path().with_file_name("lock");
    let lock = std::fs::File::open(path).unwrap();
    lock.lock().unwrap();
    let error = repository.try_open(start()).unwrap_err();
    assert!(text(&error).contains("lock"), "{}", text(&error));
    lock.unlock().unwrap();
    repository.open(start());
}
