//! The loads that pgbench cannot make, over blocking connections and plain threads.
//!
//! Every load sets itself up, calls `begin` (the caller reads the counters there), works, and returns what it did.
//! Each reply is checked for completeness; one wrong reply fails the run.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rand::Rng;
use rand::seq::{IndexedMutRandom, SliceRandom};

use crate::client::{Buffer, Client, Login, copy_data};
use crate::config::tenant;
use crate::pgbench::SCALE;
use crate::server::{OTHER_ACCOUNTS, SCANNED};
use crate::workload::{IDLE_CLIENTS, POOL_SIZE, ROTATING_CLIENTS, Unit};

/// Rows of the table `rows100`, each of 100 bytes.
pub const ROWS: u64 = 100_000;
/// Bytes of a row in COPY's text format.
const COPY_LINE: u64 = 101;
/// CopyData messages of COPY FROM STDIN carry so many lines (about 8 kB, as libpq's).
const COPY_LINES: usize = 80;
/// CopyData messages handed to the kernel at once.
const COPY_MESSAGES: usize = 8;
const LOGIN_THREADS: usize = 4;
const ROWS_CLIENTS: usize = 4;
const SETUP_THREADS: usize = 8;
/// Clients at work when tenants come in random order: half of the pool.
const SPREAD_THREADS: usize = POOL_SIZE / 2;
/// Clients of each tenant there, where the tenants are not too many.
const SPREAD_EACH: usize = 8;
const SPREAD_CLIENTS: usize = 800;
/// Bytes of rows that are kept, as a share of what `CopyIn` sends: these have to be written.
const KEPT_SHARE: u64 = 10;

/// What a load did between `begin` and its end.
pub struct Outcome {
    pub unit: Unit,
    pub units: f64,
    pub elapsed: Duration,
    /// One an operation (transaction, login, query, COPY), sorted.
    pub latencies_us: Vec<f64>,
    /// Connections still open; dropping them closes them.
    pub held: Vec<Client>,
}

impl Outcome {
    fn new(unit: Unit, units: f64, started: Instant, mut latencies_us: Vec<f64>) -> Self {
        latencies_us.sort_by(f64::total_cmp);
        Self { unit, units, elapsed: started.elapsed(), latencies_us, held: Vec::new() }
    }
}

/// `ROTATING_CLIENTS` logged-in clients, `POOL_SIZE` threads: each runs one query on the next of its clients.
pub fn rotate(login: &Login, time: Duration, begin: impl FnOnce() -> Result<()>) -> Result<Outcome> {
    let mut clients = logins(&[login], ROTATING_CLIENTS)?;
    let share = ROTATING_CLIENTS.div_ceil(POOL_SIZE);
    begin()?;
    let started = Instant::now();
    let deadline = started + time;
    let workers = clients.chunks_mut(share).enumerate().map(|(worker, mine)| {
        move || {
            let mut latencies = Vec::new();
            let mut account = worker * 7919;
            while Instant::now() < deadline {
                for client in &mut *mine {
                    account = (account + 104_729) % (SCALE * 100_000);
                    let sql = format!("SELECT abalance FROM pgbench_accounts WHERE aid = {}", account + 1);
                    let before = Instant::now();
                    let reply = client.query(&sql)?;
                    latencies.push(micros(before));
                    ensure!(reply.rows == 1, "{} rows for one account", reply.rows);
                }
            }
            Ok(latencies)
        }
    });
    let latencies = in_parallel(workers)?;
    let mut outcome = Outcome::new(Unit::Transaction, latencies.len() as f64, started, latencies);
    outcome.held = clients;
    Ok(outcome)
}

/// Logs in and out until `time` is over.
pub fn login(login: &Login, time: Duration, begin: impl FnOnce() -> Result<()>) -> Result<Outcome> {
    begin()?;
    let started = Instant::now();
    let deadline = started + time;
    let workers = (0..LOGIN_THREADS).map(|_| {
        move || {
            let mut latencies = Vec::new();
            while Instant::now() < deadline {
                let before = Instant::now();
                let client = Client::connect(login, Buffer::Small)?;
                latencies.push(micros(before));
                client.close()?;
            }
            Ok(latencies)
        }
    });
    let latencies = in_parallel(workers)?;
    Ok(Outcome::new(Unit::Login, latencies.len() as f64, started, latencies))
}

/// Reads the whole of `rows100` until `time` is over.
pub fn rows(login: &Login, time: Duration, begin: impl FnOnce() -> Result<()>) -> Result<Outcome> {
    let clients: Result<Vec<Client>> = (0..ROWS_CLIENTS).map(|_| Client::connect(login, Buffer::Large)).collect();
    let mut clients = clients?;
    begin()?;
    let started = Instant::now();
    let deadline = started + time;
    let workers = clients.iter_mut().map(|client| {
        move || {
            let mut queries = Vec::new();
            while Instant::now() < deadline {
                let before = Instant::now();
                let reply = client.query("SELECT pad FROM rows100")?;
                queries.push((micros(before), reply.bytes));
                ensure!(reply.rows == ROWS, "{} rows of {ROWS}", reply.rows);
            }
            Ok(queries)
        }
    });
    let queries = in_parallel(workers)?;
    let bytes: u64 = queries.iter().map(|(_, bytes)| bytes).sum();
    let latencies = queries.into_iter().map(|(latency, _)| latency).collect();
    Ok(Outcome::new(Unit::Megabyte, megabytes(bytes), started, latencies))
}

/// Copies at least `size` bytes out.
pub fn copy_out(login: &Login, size: u64, begin: impl FnOnce() -> Result<()>) -> Result<Outcome> {
    let mut client = Client::connect(login, Buffer::Large)?;
    let times = size.div_ceil(ROWS * COPY_LINE);
    let sql = format!("COPY (SELECT pad FROM generate_series(1, {times}), rows100) TO STDOUT");
    begin()?;
    let started = Instant::now();
    let reply = client.query(&sql)?;
    ensure!(reply.rows == times * ROWS, "{} rows of {}", reply.rows, times * ROWS);
    Ok(Outcome::new(Unit::Megabyte, megabytes(reply.bytes), started, vec![micros(started)]))
}

/// Copies at least `size` bytes in; the server parses the rows and keeps none.
pub fn copy_in(login: &Login, size: u64, begin: impl FnOnce() -> Result<()>) -> Result<Outcome> {
    let mut client = Client::connect(login, Buffer::Large)?;
    let line = [[b'x'; 100].as_slice(), b"\n"].concat();
    let block = copy_data(&line.repeat(COPY_LINES)).repeat(COPY_MESSAGES);
    let times = usize::try_from(size)?.div_ceil(block.len());
    begin()?;
    let started = Instant::now();
    client.copy_in("COPY rows100 FROM STDIN WHERE pad IS NULL", &block, times)?;
    Ok(Outcome::new(Unit::Megabyte, megabytes((block.len() * times) as u64), started, vec![micros(started)]))
}

/// Copies a tenth of `size` into a table that keeps the rows.
pub fn copy_rows(login: &Login, size: u64, begin: impl FnOnce() -> Result<()>) -> Result<Outcome> {
    let mut client = Client::connect(login, Buffer::Large)?;
    let line = [[b'x'; 100].as_slice(), b"\n"].concat();
    let block = copy_data(&line.repeat(COPY_LINES)).repeat(COPY_MESSAGES);
    let times = usize::try_from(size / KEPT_SHARE)?.div_ceil(block.len());
    begin()?;
    let started = Instant::now();
    client.copy_in("COPY copied (pad) FROM STDIN", &block, times)?;
    let rows = times * COPY_MESSAGES * COPY_LINES;
    Ok(Outcome::new(Unit::Rows, rows as f64 / 1000.0, started, vec![micros(started)]))
}

/// Two clients, of one tenant or of two, who ask by turns.
pub fn turns(login: &Login, tenants: usize, time: Duration, begin: impl FnOnce() -> Result<()>) -> Result<Outcome> {
    let users: Vec<Login> = (1..=tenants).map(|key| login.of(&tenant(key))).collect();
    let mut clients = logins(&users.iter().collect::<Vec<_>>(), 2)?;
    begin()?;
    let started = Instant::now();
    let deadline = started + time;
    let mut latencies = Vec::new();
    while Instant::now() < deadline {
        for client in &mut clients {
            latencies.push(look_up(client, 1)?);
        }
    }
    let mut outcome = Outcome::new(Unit::Transaction, latencies.len() as f64, started, latencies);
    outcome.held = clients;
    Ok(outcome)
}

/// Clients of so many tenants; each of `SPREAD_THREADS` threads has a share of them and asks through any of it.
pub fn spread(login: &Login, tenants: usize, time: Duration, begin: impl FnOnce() -> Result<()>) -> Result<Outcome> {
    let users: Vec<Login> = (1..=tenants).map(|key| login.of(&tenant(key))).collect();
    let count = (tenants * SPREAD_EACH).min(SPREAD_CLIENTS.max(tenants));
    let mut clients = logins(&users.iter().collect::<Vec<_>>(), count)?;
    clients.shuffle(&mut rand::rng());
    begin()?;
    let started = Instant::now();
    let deadline = started + time;
    let workers = clients.chunks_mut(count.div_ceil(SPREAD_THREADS)).map(|mine| {
        move || {
            let mut random = rand::rng();
            let mut latencies = Vec::new();
            while Instant::now() < deadline {
                let client = mine.choose_mut(&mut random).context("a thread without clients")?;
                latencies.push(look_up(client, random.random_range(1..=OTHER_ACCOUNTS))?);
            }
            Ok(latencies)
        }
    });
    let latencies = in_parallel(workers)?;
    let mut outcome = Outcome::new(Unit::Transaction, latencies.len() as f64, started, latencies);
    outcome.held = clients;
    Ok(outcome)
}

/// One row of a tenant's; how long it took (µs).
fn look_up(client: &mut Client, account: usize) -> Result<f64> {
    let before = Instant::now();
    let reply = client.query(&format!("SELECT abalance FROM pgbench_accounts WHERE aid = {account}"))?;
    ensure!(reply.rows == 1, "{} rows for one account", reply.rows);
    Ok(micros(before))
}

/// Aggregates a table until `time` is over. Row security must not have cost the plan its workers.
pub fn scan(login: &Login, time: Duration, begin: impl FnOnce() -> Result<()>) -> Result<Outcome> {
    let sql = "SELECT count(pad) FROM scanned";
    let mut client = Client::connect(login, Buffer::Small)?;
    let plan = client.text(&format!("EXPLAIN {sql}"))?;
    ensure!(plan.contains("Workers Planned"), "the plan is not parallel:\n{plan}");
    let rows = client.text(sql)?;
    ensure!(rows.trim() == SCANNED.to_string(), "{rows} rows of a tenant");
    begin()?;
    let started = Instant::now();
    let mut latencies = Vec::new();
    while started.elapsed() < time {
        let before = Instant::now();
        client.query(sql)?;
        latencies.push(micros(before));
    }
    Ok(Outcome::new(Unit::Transaction, latencies.len() as f64, started, latencies))
}

/// `IDLE_CLIENTS` clients that log in, run one query, and stay open in the outcome.
pub fn idle(login: &Login, begin: impl FnOnce() -> Result<()>) -> Result<Outcome> {
    begin()?;
    let started = Instant::now();
    let held = logins(&[login], IDLE_CLIENTS)?;
    let mut outcome = Outcome::new(Unit::Client, IDLE_CLIENTS as f64, started, Vec::new());
    outcome.held = held;
    Ok(outcome)
}

/// `count` clients, of these users by turns, each logged in and served one query.
fn logins(users: &[&Login], count: usize) -> Result<Vec<Client>> {
    let workers = (0..SETUP_THREADS).map(|worker| {
        move || {
            let mine = (worker..count).step_by(SETUP_THREADS);
            mine.map(|number| {
                served(users[number % users.len()]).with_context(|| format!("client {number} of {count}"))
            })
            .collect()
        }
    });
    in_parallel(workers)
}

/// A client, logged in and served one query.
pub fn served(login: &Login) -> Result<Client> {
    let mut client = Client::connect(login, Buffer::Small)?;
    let reply = client.query("SELECT 1")?;
    ensure!(reply.rows == 1, "{} rows for SELECT 1", reply.rows);
    Ok(client)
}

/// Runs every worker in a thread of its own and joins what they return; the first error wins.
fn in_parallel<T, W>(workers: impl Iterator<Item = W>) -> Result<Vec<T>>
where
    T: Send,
    W: FnOnce() -> Result<Vec<T>> + Send,
{
    thread::scope(|scope| {
        let threads: Vec<_> = workers.map(|worker| scope.spawn(worker)).collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().map_err(|_panic| anyhow!("a load thread panicked"))??);
        }
        Ok(all)
    })
}

fn micros(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
