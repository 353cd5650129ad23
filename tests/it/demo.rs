//! The demo that stays up: it ends in order on a signal, and leaves nothing behind when it is killed.
//! (The tour itself is run by `make test`: `pgwarden demo --once`.)

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::kit;

/// A demo after its tour, and everything that it printed.
struct Demo {
    child: Child,
    page: String,
    /// Where it keeps its files: nobody else's are there.
    scratch: TempDir,
}

impl Demo {
    fn start() -> Self {
        let scratch = TempDir::new().expect("make a directory");
        // Servers run under another account when this one is root.
        std::fs::set_permissions(scratch.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("open it");
        let mut child = Command::new(env!("CARGO_BIN_EXE_pgwarden"))
            .arg("demo")
            .env("TMPDIR", scratch.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("start the demo");
        let mut lines = BufReader::new(child.stdout.take().expect("it was asked for")).lines();
        let mut page = String::new();
        for line in lines.by_ref() {
            let line = line.expect("read its output");
            page.push_str(&line);
            page.push('\n');
            if line.starts_with("Everything stays up.") {
                break;
            }
        }
        assert!(page.contains("Everything stays up."), "the demo ended early:\n{page}");
        // It must be able to go on writing.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, page, scratch }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("signal the demo");
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.scratch.path()).expect("list its files");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    }

    /// Processes whose command line or working directory is in the demo's directory.
    fn processes(&self) -> Vec<String> {
        let scratch = self.scratch.path();
        let entries = std::fs::read_dir("/proc").expect("list processes").flatten();
        let ours = |process: &Path| {
            let command = std::fs::read(process.join("cmdline")).unwrap_or_default();
            let inside = std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(scratch));
            let named = String::from_utf8_lossy(&command).contains(&*scratch.to_string_lossy());
            (inside || named).then(|| String::from_utf8_lossy(&command).replace('\0', " "))
        };
        entries.filter_map(|entry| ours(&entry.path())).collect()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn its_commands_work_and_a_signal_ends_it_in_order() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut demo = Demo::start();
        let commands: Vec<&str> =
            demo.page.lines().filter_map(|line| line.split_once("psql '")).map(|(_, rest)| rest).collect();
        assert!(commands.len() >= 5, "{}", demo.page);
        for command in &commands[commands.len() - 5..] {
            let dsn = command.trim_end_matches('\'');
            let text = if dsn.ends_with("/pgwarden") { "SHOW VERSION" } else { "SELECT count(*) FROM customers" };
            let psql = Command::new(kit::cluster().program("psql"))
                .args(["-XAtq", dsn, "-c", text])
                .output()
                .expect("run psql");
            assert!(psql.status.success(), "{dsn}: {}", String::from_utf8_lossy(&psql.stderr));
            assert_ne!(psql.stdout, b"");
        }
        demo.signal(signal);
        let status = demo.child.wait().expect("wait for the demo");
        assert!(status.success(), "{signal}: {status}\n{}", demo.page);
        // The last guardian goes when the demo has gone.
        kit::eventually("no process and no file is left", || demo.processes().is_empty() && demo.files().is_empty());
    }
}

#[test]
fn killed_it_leaves_no_process_and_no_file() {
    let mut demo = Demo::start();
    assert!(demo.processes().len() > 3, "{:?}", demo.processes());
    demo.signal(Signal::SIGKILL);
    demo.child.wait().expect("reap the demo");
    kit::eventually("no process and no file is left", || demo.processes().is_empty() && demo.files().is_empty());
}
