//! The proxy as a process of its own.

use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::client::{Answer, send};
use super::configuration::Configuration;
use super::ports::free_port;

/// How long a start may take here, on a machine that is busy with other tests.
const START_TIME_MAX: Duration = Duration::from_secs(30);
/// How long an orderly end may take.
const STOP_TIME_MAX: Duration = Duration::from_secs(40);

/// A running `countersign serve`. It is killed when dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    listen: u16,
    admin: u16,
    configuration: Mutex<Configuration>,
    child: Mutex<Option<Child>>,
    directory: TempDir,
    /// Variables of its environment that are not the test's own; an absent value removes one.
    variables: Mutex<Vec<(&'static str, Option<String>)>>,
    /// The command that starts it, if another one does. It takes the program and its arguments.
    starter: Mutex<Vec<String>>,
}

impl Proxy {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start(configuration: Configuration) -> Self {
        let proxy = Self::new(configuration);
        proxy.run().await;
        proxy
    }

    /// Everything for a start but the start.
    pub(crate) fn new(configuration: Configuration) -> Self {
        Self {
            listen: free_port(),
            admin: free_port(),
            configuration: Mutex::new(configuration),
            child: Mutex::new(None),
            directory: TempDir::with_prefix("countersign-it-").unwrap(),
            variables: Mutex::default(),
            starter: Mutex::default(),
        }
    }

    /// Sets a variable of its environment for the next start.
    pub(crate) fn set_variable(&self, name: &'static str, value: &str) {
        let value = Some(value.to_owned());
        self.variables.lock().unwrap().push((name, value));
    }

    /// Sets its umask for the next start.
    pub(crate) fn set_umask(&self, umask: &'static str) {
        let script = format!("umask {umask}; exec \"$0\" \"$@\"");
        self.start_by(&["sh", "-c", &script]);
    }

    /// Gives it a data directory on a disk of so many MiB for the next start, which only the superuser can do; returns false
    /// where that is not possible.
    pub(crate) fn set_small_disk(&self, mebibytes: u32) -> bool {
        let can = Command::new("unshare").args(["-m", "true"]).status();
        if !rustix::process::geteuid().is_root() || !can.is_ok_and(|status| status.success()) {
            return false;
        }
        std::fs::create_dir_all(self.data_dir()).unwrap();
        let place = self.data_dir().display().to_string();
        let script =
            format!("mount -t tmpfs -o size={mebibytes}m none '{place}' && exec \"$0\" \"$@\"");
        self.start_by(&["unshare", "-m", "sh", "-c", &script]);
        true
    }

    /// Its data directory as the process itself sees it.
    pub(crate) fn own_data_dir(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.pid()));
        root.join(self.data_dir().strip_prefix("/").unwrap())
    }

    fn start_by(&self, command: &[&str]) {
        *self.starter.lock().unwrap() = command.iter().map(ToString::to_string).collect();
    }

    /// Nothing in its environment says who we are to any cloud, from the next start on.
    pub(crate) fn without_credentials(&self) {
        let mut variables = self.variables.lock().unwrap();
        for name in [
            "GOOGLE_APPLICATION_CREDENTIALS",
            "GCE_METADATA_HOST",
            "AWS_PROFILE",
            "AWS_REGION",
            "AWS_DEFAULT_REGION",
            "AWS_SESSION_TOKEN",
            "AZURE_CLIENT_SECRET",
            "AZURE_FEDERATED_TOKEN_FILE",
            "IDENTITY_ENDPOINT",
            "MSI_ENDPOINT",
            "VAULT_ADDR",
            "VAULT_NAMESPACE",
            "VAULT_K8S_ROLE",
            "KUBERNETES_SERVICE_HOST",
        ] {
            variables.push((name, None));
        }
        let home = self.directory.path().to_string_lossy().into_owned();
        variables.push(("HOME", Some(home)));
    }

    /// Starts the process and waits until it is ready.
    pub(crate) async fn run(&self) {
        self.spawn();
        let started = Instant::now();
        while started.elapsed() < START_TIME_MAX {
            if let Some(status) = self.exited() {
                panic!("serve ended with {status}:\n{}", self.log());
            }
            if self.admin("/readyz").await.status == 200 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("not ready in {START_TIME_MAX:?}:\n{}", self.log());
    }

    /// Starts the process.
    pub(crate) fn spawn(&self) {
        self.write_configuration();
        let mut child = self.child.lock().unwrap();
        assert!(child.is_none(), "it is running");
        let program = env!("CARGO_BIN_EXE_countersign");
        let mut command = match self.starter.lock().unwrap().as_slice() {
            [] => Command::new(program),
            [starter, arguments @ ..] => {
                let mut command = Command::new(starter);
                command.args(arguments).arg(program);
                command
            }
        };
        for (name, value) in self.variables.lock().unwrap().iter() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        *child = Some(
            command
                .args(["serve", "--config"])
                .arg(self.config_path())
                .current_dir(self.directory.path())
                .stdin(Stdio::null())
                .stdout(self.open_log("stdout.log"))
                .stderr(self.open_log("stderr.log"))
                .spawn()
                .unwrap(),
        );
    }

    /// Writes the configuration file at one stroke.
    fn write_configuration(&self) {
        let mut configuration = self.configuration.lock().unwrap().0.clone();
        if configuration["server"].is_null() {
            configuration["server"] = json!({});
        }
        if configuration["server"]["listen"].is_null() {
            configuration["server"]["listen"] = json!(format!("127.0.0.1:{}", self.listen));
        }
        let admin = &configuration["server"]["admin_listen"];
        let host = admin.as_str().unwrap_or("127.0.0.1").to_owned();
        configuration["server"]["admin_listen"] = json!(format!("{host}:{}", self.admin));
        configuration["data_dir"] = json!(self.data_dir());
        let text = serde_json::to_string_pretty(&configuration).unwrap();
        let written = self.directory.path().join("config.new");
        std::fs::write(&written, text).unwrap();
        std::fs::rename(written, self.config_path()).unwrap();
    }

    fn open_log(&self, name: &str) -> File {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.path().join(name))
            .unwrap()
    }

    /// The configuration file, once it was started.
    pub(crate) fn config_path(&self) -> PathBuf {
        self.directory.path().join("config.yaml")
    }

    /// Where it keeps content and state.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A file beside the configuration, which relative paths in it refer to.
    pub(crate) fn write_file(&self, name: &str, text: &str) {
        std::fs::write(self.directory.path().join(name), text).unwrap();
    }

    /// What it wrote to standard output and standard error.
    pub(crate) fn log(&self) -> String {
        let read = |name| std::fs::read_to_string(self.directory.path().join(name)).unwrap();
        format!("{}{}", read("stdout.log"), read("stderr.log"))
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.lock().unwrap().as_ref().unwrap().id()
    }

    /// The most memory it had resident so far.
    pub(crate) fn peak_kib(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        kib.unwrap().parse().unwrap()
    }

    pub(crate) fn port(&self) -> u16 {
        self.listen
    }

    /// The port of the admin listener.
    pub(crate) fn admin_port(&self) -> u16 {
        self.admin
    }

    /// Changes the configuration for the next start.
    pub(crate) fn reconfigure(&self, change: impl FnOnce(&mut Value)) {
        change(&mut self.configuration.lock().unwrap().0);
    }

    /// The configuration as it was last written or is for the next start.
    pub(crate) fn configuration(&self) -> Value {
        self.configuration.lock().unwrap().0.clone()
    }

    /// Changes the configuration and its file, at one stroke, while the process runs.
    pub(crate) fn rewrite(&self, change: impl FnOnce(&mut Value)) {
        self.reconfigure(change);
        self.write_configuration();
    }

    /// Tells it to read its configuration anew.
    pub(crate) fn signal_hangup(&self) {
        let child = self.child.lock().unwrap();
        kill_process(Pid::from_child(child.as_ref().unwrap()), Signal::HUP).unwrap();
    }

    // Its end.

    #[expect(
        clippy::unwrap_in_result,
        reason = "a test ends where something cannot be"
    )]
    fn exited(&self) -> Option<ExitStatus> {
        let mut child = self.child.lock().unwrap();
        child.as_mut().unwrap().try_wait().unwrap()
    }

    /// Waits for the process to end by itself.
    pub(crate) async fn wait(&self) -> ExitStatus {
        let started = Instant::now();
        while started.elapsed() < STOP_TIME_MAX {
            if let Some(status) = self.exited() {
                *self.child.lock().unwrap() = None;
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("still running after {STOP_TIME_MAX:?}:\n{}", self.log());
    }

    /// Asks it to end, as Kubernetes does.
    pub(crate) fn signal_term(&self) {
        let child = self.child.lock().unwrap();
        kill_process(Pid::from_child(child.as_ref().unwrap()), Signal::TERM).unwrap();
    }

    /// Ends it in good order.
    pub(crate) async fn stop(&self) -> ExitStatus {
        self.signal_term();
        self.wait().await
    }

    /// Ends it as a power failure does.
    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Ends it in good order and starts it again.
    pub(crate) async fn restart(&self) {
        self.stop().await;
        self.run().await;
    }

    // Its answers.

    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        send(self.listen, method, path, headers).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[]).await
    }

    pub(crate) async fn head(&self, path: &str) -> Answer {
        self.request("HEAD", path, &[]).await
    }

    /// `GET` on the admin listener.
    pub(crate) async fn admin(&self, path: &str) -> Answer {
        send(self.admin, "GET", path, &[]).await
    }

    /// The decisions that the admin API has for this query, newest first.
    pub(crate) async fn decisions(&self, query: &str) -> Vec<Value> {
        let answer = self.admin(&format!("/api/v1/decisions?{query}")).await;
        assert_eq!(answer.status, 200, "{answer}");
        answer.json()["decisions"].as_array().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.len().saturating_sub(4000);
            let tail = (tail..log.len()).find(|at| log.is_char_boundary(*at));
            eprintln!("--- log of the proxy\n{}", &log[tail.unwrap_or(0)..]);
        }
        self.kill();
    }
}
