use super::*;
use crate::decision_log::{CLIENTS_MAX, Client, Outcome, RefusedClient};

fn refused(address: &str, identity: Option<&str>, count: u64, at: i64) -> RefusedClient {
    RefusedClient {
        client: Client {
            address: Some(address.to_owned()),
            user_agent: Some("crane".to_owned()),
            identity: identity.map(str::to_owned),
        },
        count,
        last: time(at),
    }
}

/// A refusal that 192.0.2.1 was the first to get.
fn refusal(number: u64) -> Record {
    let mut record = record(number);
    record.decision = Outcome::Deny;
    record.client = refused("192.0.2.1", None, 0, 0).client;
    record.count = 0;
    record
}

async fn note(state: &State, number: u64, clients: Vec<RefusedClient>) {
    let batch = Batch {
        refused_clients: clients.into_iter().map(|it| (id(number), it)).collect(),
        ..Batch::default()
    };
    state.write(batch).await.unwrap();
}

async fn read(state: &State, number: u64) -> Record {
    state.record(id(number)).await.unwrap().unwrap()
}

#[tokio::test]
async fn clients_of_a_refusal_are_counted_and_found() {
    let (_directory, state) = new_state();
    write(&state, vec![refusal(1), record(2), refusal(3)]).await;
    note(
        &state,
        1,
        vec![
            refused("192.0.2.1", None, 1, 10),
            refused("192.0.2.2", Some("alice"), 2, 20),
        ],
    )
    .await;
    note(&state, 1, vec![refused("192.0.2.2", Some("alice"), 1, 15)]).await;
    let record = read(&state, 1).await;
    let expected = [
        refused("192.0.2.2", Some("alice"), 3, 20),
        refused("192.0.2.1", None, 1, 10),
    ];
    assert_eq!(record.clients.as_deref(), Some(&expected[..]));
    assert_eq!((record.count, record.pulls()), (3, 4));
    for (client, found) in [
        ("192.0.2.1", vec![3, 1]),
        ("192.0.2.2", vec![1]),
        ("alice", vec![1]),
        ("192.0.2", vec![]),
        ("", vec![]),
    ] {
        let query = Query {
            client: Some(client.to_owned()),
            ..Query::default()
        };
        let records = state.records(query).await.unwrap().decisions;
        let ids: Vec<_> = records.iter().map(|it| it.id).collect();
        let found: Vec<_> = found.into_iter().map(id).collect();
        assert_eq!(ids, found, "{client:?}");
    }
    assert_eq!(read(&state, 2).await.clients, None);
}

#[tokio::test]
async fn clients_beyond_the_bound_share_one_entry() {
    let (_directory, state) = new_state();
    write(&state, vec![refusal(1)]).await;
    let many = CLIENTS_MAX as u64 + 20;
    let clients = (1..=many).map(|number| refused(&format!("192.0.2.{number}"), None, 1, 1));
    note(&state, 1, clients.collect()).await;
    note(&state, 1, vec![refused("192.0.2.1", None, 5, 2)]).await;
    let record = read(&state, 1).await;
    let clients = record.clients.as_deref().unwrap();
    assert_eq!(clients.len(), CLIENTS_MAX + 1);
    assert_eq!(clients[0], refused("192.0.2.1", None, 6, 2));
    let others = clients.last().unwrap();
    assert_eq!((&others.client, others.count), (&Client::default(), 20));
    assert_eq!(record.pulls(), many + 5);
}

#[tokio::test]
async fn count_of_reuse_is_kept_where_it_is_higher() {
    let (_directory, state) = new_state();
    write(&state, vec![refusal(1)]).await;
    let batch = Batch {
        counts: vec![(id(1), 9)],
        refused_clients: vec![(id(1), refused("192.0.2.1", None, 2, 1))],
        ..Batch::default()
    };
    state.write(batch).await.unwrap();
    assert_eq!(read(&state, 1).await.count, 9);
}

#[tokio::test]
async fn database_of_an_earlier_version_is_read_without_clients() {
    let (directory, state) = new_state();
    write(&state, vec![refusal(1)]).await;
    drop(state);
    behind_our_back(&directory)
        .execute_batch("DROP TABLE decision_clients; PRAGMA user_version = 3;")
        .unwrap();
    let state = State::open_read_only(directory.path()).unwrap();
    assert_eq!(read(&state, 1).await.clients, None);
    assert_eq!(
        state
            .records(Query::default())
            .await
            .unwrap()
            .decisions
            .len(),
        1
    );
}
