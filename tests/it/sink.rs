//! A receiver of the log while the proxy is killed under load: it has every record of the files, each once it drops repeated
//! ones, and none that the files have not.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::audit::{Book, files, stop};
use crate::talk::*;

type Lines = Arc<Mutex<Vec<String>>>;

/// One connection: goes on where the last one ended, and drops what it has.
fn receive(stream: TcpStream, lines: &Lines) -> std::io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let greeting: Value = serde_json::from_str(&line)?;
    assert_eq!((&greeting["log"], &greeting["protocol"]), (&"test.example/audit".into(), &1.into()));
    let next = lines.lock().expect("no panic under the lock").len() as u64;
    assert!(greeting["next"].as_u64() >= Some(next), "the log has lost what was sent: {greeting}, {next}");
    writeln!(out, "from {next}")?;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 || !line.ends_with('\n') {
            return Ok(());
        }
        if line.starts_with("{\"checkpoint\":") {
            continue;
        }
        let record: Value = serde_json::from_str(&line)?;
        let mut lines = lines.lock().expect("no panic under the lock");
        let (seq, next) = (record["seq"].as_u64().expect("a number"), lines.len() as u64);
        assert!(seq <= next, "record {next} was left out");
        if seq == next {
            lines.push(line.trim_end().to_owned());
        }
        // Late, so that much is sent again.
        if seq % 50 == 0 || record["kind"] == "stop" || record["kind"] == "start" {
            writeln!(out, "ack {seq}")?;
        }
    }
}

#[test]
fn a_receiver_has_what_the_log_has_though_the_proxy_is_killed() {
    let book = Book::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = listener.local_addr().expect("an address");
    let lines = Lines::default();
    thread::spawn({
        let lines = lines.clone();
        move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // Killed proxies reset their connections.
                let _ = receive(stream, &lines);
            }
        }
    });
    for round in 0..3 {
        let rig = book.setup(&format!("sinks = [\"tcp:{to}\"]\ncheckpoint_interval = \"20ms\"")).pool(4).start();
        let ending = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..3 {
                let mut client = rig.client("alice");
                let ending = &ending;
                scope.spawn(move || {
                    while !ending.load(Ordering::Relaxed) && client.try_send(&query("SELECT 1")).is_ok() {
                        if !client.try_until_ready().ends_with("Z(I)") {
                            return;
                        }
                    }
                });
            }
            thread::sleep(Duration::from_millis(400 + 53 * round));
            if round < 2 {
                rig.proxy().signal(Signal::SIGKILL);
            }
            ending.store(true, Ordering::Relaxed);
        });
        if round == 2 {
            stop(&rig, &book);
            let written = files(&book.log(), "log").into_iter().map(|path| fs::read_to_string(path).expect("UTF-8"));
            let written: Vec<String> =
                written.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
            rig.eventually("it has everything", || lines.lock().expect("no panic").len() >= written.len());
            assert_eq!(*lines.lock().expect("no panic"), written);
            println!("{} records", written.len());
        }
    }
}
