//! A socket that nobody may connect to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::ports::free_port;

/// Listens and counts who comes.
#[derive(Debug)]
pub(crate) struct Canary {
    port: u16,
    visits: Arc<AtomicUsize>,
    listening: JoinHandle<()>,
}

impl Canary {
    pub(crate) async fn listen() -> Self {
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let visits = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&visits);
        let listening = TaskTracker::new().spawn(async move {
            loop {
                if listener.accept().await.is_ok() {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self {
            port,
            visits,
            listening,
        }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/canary", self.port)
    }

    pub(crate) fn visits(&self) -> usize {
        self.visits.load(Ordering::Relaxed)
    }

    #[track_caller]
    pub(crate) fn assert_untouched(&self) {
        assert_eq!(self.visits(), 0, "somebody followed a URL");
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.listening.abort();
    }
}
