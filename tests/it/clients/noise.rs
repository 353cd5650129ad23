//! Other sessions of the same user, which keep a pool's backends moving from client to client and would be seen if anything
//! of theirs stayed behind: settings that break most scripts, and the statement names that drivers use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::kit::{Login, Wire, say};

const SETTINGS: [&str; 5] = [
    "set search_path = pg_catalog",
    "set timezone = 'Pacific/Chatham'",
    "set default_transaction_read_only = on",
    "set application_name = 'noise'",
    "set bytea_output = 'escape'",
];

/// What psycopg, asyncpg, JDBC, pgbench, tokio-postgres, sqlx and postgres.js name their statements, or begin with.
const NAMES: [&str; 8] = ["", "_pg3_0", "_pg3_1", "__asyncpg_stmt_1__", "S_1", "P_0", "s0", "sqlx_s_1"];

pub struct Noise {
    stop: Arc<AtomicBool>,
    sessions: Vec<JoinHandle<()>>,
}

impl Noise {
    pub fn start(login: Login) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sessions = (0..2).map(|_| {
            let (login, stop) = (login.clone(), stop.clone());
            thread::spawn(move || disturb(&mut login.connect(), &stop))
        });
        Self { sessions: sessions.collect(), stop }
    }

    /// Ends the sessions; fails the test where one saw anything but its own.
    #[track_caller]
    pub fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        for session in self.sessions {
            session.join().expect("the noise saw what it should");
        }
    }
}

fn disturb(wire: &mut Wire, stop: &AtomicBool) {
    for setting in SETTINGS {
        wire.query(setting).ok();
    }
    for (number, name) in NAMES.iter().enumerate().skip(1) {
        wire.send_batch(&[say::parse(name, &format!("select 'noise {number}'"), &[]), say::sync()]);
        wire.reply().ok();
    }
    let mut turn = 0;
    while !stop.load(Ordering::SeqCst) {
        turn += 1;
        let number = turn % NAMES.len();
        if number == 0 {
            let reply = wire.query("begin; select current_setting('timezone'); commit").ok();
            assert_eq!(reply.value(), "Pacific/Chatham");
        } else {
            wire.send_batch(&[say::bind("", NAMES[number], &[]), say::execute("", 0), say::sync()]);
            assert_eq!(wire.reply().ok().value(), format!("noise {number}"));
        }
        thread::sleep(Duration::from_millis(2));
    }
}
