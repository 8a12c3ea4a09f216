//! Tells the program which commit it is built from, for `--version`.

#![expect(
    clippy::disallowed_methods,
    reason = "cargo tells build scripts everything by their environment"
)]

use std::path::Path;
use std::process::Command;

/// Digits of the commit that are shown.
const COMMIT_DIGITS: usize = 12;

fn main() {
    for variable in ["COUNTERSIGN_COMMIT", "SOURCE_DATE_EPOCH"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    println!("cargo:rerun-if-changed=build.rs");
    // A development build would be compiled again after each commit, so it names the commit that it is at or after.
    let is_release = variable("PROFILE").as_deref() == Some("release");
    if is_release {
        for path in ["HEAD", "logs/HEAD"] {
            let path = git(&["rev-parse", "--git-path", path]);
            if let Some(path) = path.filter(|path| Path::new(path).exists()) {
                println!("cargo:rerun-if-changed={path}");
            }
        }
    }
    let is_checkout = git(&["rev-parse", "--show-prefix"]).is_some_and(|prefix| prefix.is_empty());
    let of_checkout = |arguments: &[&str]| is_checkout.then(|| git(arguments)).flatten();
    let commit = variable("COUNTERSIGN_COMMIT").or_else(|| of_checkout(&["rev-parse", "HEAD"]));
    let seconds = variable("SOURCE_DATE_EPOCH")
        .or_else(|| of_checkout(&["show", "--no-patch", "--format=%ct", "HEAD"]));
    let commit = commit.map(|commit| {
        let short: String = commit.chars().take(COMMIT_DIGITS).collect();
        let later = if is_release { "" } else { " or later" };
        format!("{short}{later}")
    });
    let date = seconds.and_then(|seconds| seconds.parse().ok()).map(date);
    let parts: Vec<_> = [commit, date].into_iter().flatten().collect();
    let build = match parts.as_slice() {
        [] => String::new(),
        parts => format!(" ({})", parts.join(", ")),
    };
    println!("cargo:rustc-env=COUNTERSIGN_BUILD={build}");
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name)
        .ok()
        .map(|value| value.trim().to_owned())
        .filter(|value| !value.is_empty())
}

/// The output of git in the folder of this package; nothing without git or a repository.
fn git(arguments: &[&str]) -> Option<String> {
    let folder = variable("CARGO_MANIFEST_DIR")?;
    let output = Command::new("git")
        .args(arguments)
        .current_dir(Path::new(&folder))
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// The day in UTC, by the days since 1970-01-01 (the algorithm of Howard Hinnant's `civil_from_days`).
fn date(seconds: i64) -> String {
    let days = seconds.div_euclid(86_400) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}
