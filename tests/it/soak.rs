//! Thousands of clients that come, work, and are killed at random points, over few backends: every answer is one's own, and
//! afterwards nothing is left.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::rig::Rig;
use crate::talk::*;

const POOL: usize = 4;
const THREADS: u64 = 16;

/// What a client asks, and the only right answer.
struct Task {
    messages: Vec<u8>,
    readies: usize,
    want: String,
}

/// A task whose every answer carries a tag of its own.
fn task(random: &mut StdRng, tag: u64) -> Task {
    let value = |readies, messages: Vec<Vec<u8>>, want: String| Task { messages: messages.concat(), readies, want };
    match random.random_range(0..12) {
        0 => value(1, vec![query(&format!("SELECT {tag}"))], format!("T(?column?) D({tag}) C(SELECT 1) Z(I)")),
        1 => {
            let text = tag.to_string();
            let messages = vec![
                parse("s", "SELECT $1::int8"),
                again("s", &[Some(&text)]),
                again("s", &[Some(&text)]),
                close_statement("s"),
                sync(),
            ];
            value(1, messages, format!("1 2 D({tag}) C(SELECT 1) 2 D({tag}) C(SELECT 1) 3 Z(I)"))
        }
        2 => {
            let messages = (0..10).map(|i| run(&format!("SELECT '{tag}-{i}'"), &[])).chain([sync()]).collect();
            let rows: Vec<_> = (0..10).map(|i| format!("1 2 D({tag}-{i}) C(SELECT 1)")).collect();
            value(1, messages, format!("{} Z(I)", rows.join(" ")))
        }
        3 => {
            let messages = [
                "BEGIN",
                &format!("INSERT INTO soak VALUES ({tag})"),
                &format!("SELECT i FROM soak WHERE i = {tag}"),
                "ROLLBACK",
            ]
            .map(query)
            .to_vec();
            value(
                4,
                messages,
                format!("C(BEGIN) Z(T) C(INSERT 0 1) Z(T) T(i) D({tag}) C(SELECT 1) Z(T) C(ROLLBACK) Z(I)"),
            )
        }
        4 => {
            let sql = format!("BEGIN; INSERT INTO soak VALUES ({tag}); COMMIT; SELECT i FROM soak WHERE i = {tag}");
            value(1, vec![query(&sql)], format!("C(BEGIN) C(INSERT 0 1) C(COMMIT) T(i) D({tag}) C(SELECT 1) Z(I)"))
        }
        5 => value(
            1,
            vec![query(&format!("COPY (SELECT {tag} FROM generate_series(1, 3)) TO STDOUT"))],
            format!("H d({tag}\n) d({tag}\n) d({tag}\n) c C(COPY 3) Z(I)"),
        ),
        6 => {
            let row = copy_data(format!("{tag}\n").as_bytes());
            value(1, vec![query("COPY soak FROM STDIN"), row.clone(), row, copy_done()], "G C(COPY 2) Z(I)".into())
        }
        7 => {
            value(1, vec![query("COPY soak FROM STDIN"), copy_data(b"1\n"), copy_fail("no")], "G E(57014) Z(I)".into())
        }
        8 => {
            let messages = vec![
                parse("", &format!("SELECT {tag} / i FROM generate_series(1, 0, -1) i")),
                bind("", "", &[]),
                execute("", 0),
                query("SELECT 1"),
                sync(),
                query(&format!("SELECT {tag}")),
            ];
            value(2, messages, format!("1 2 D({tag}) E(22012) Z(I) T(?column?) D({tag}) C(SELECT 1) Z(I)"))
        }
        9 => {
            let messages =
                vec![query(&format!("SET app.tag = '{tag}'")), query("SHOW app.tag"), query("RESET app.tag")];
            value(3, messages, format!("C(SET) Z(I) T(app.tag) D({tag}) C(SHOW) Z(I) C(RESET) Z(I)"))
        }
        10 => {
            let sql = format!("SELECT rpad('{tag}', 99, 'x') FROM generate_series(1, 500)");
            let row = format!(" D({tag:x<99})");
            value(1, vec![query(&sql)], format!("T(rpad){} C(SELECT 500) Z(I)", row.repeat(500)))
        }
        _ => {
            let messages = vec![
                parse("", &format!("SELECT {tag}, generate_series(1, 5)")),
                bind("", "", &[]),
                execute("", 2),
                execute("", 2),
                execute("", 2),
                sync(),
            ];
            let row = |n: u32| format!("D({tag},{n})");
            value(
                1,
                messages,
                format!("1 2 {} {} s {} {} s {} C(SELECT 1) Z(I)", row(1), row(2), row(3), row(4), row(5)),
            )
        }
    }
}

/// Sends a part of it and goes: by reset, by closing, by saying goodbye in the middle.
fn die(mut client: Talk, task: &Task, random: &mut StdRng) {
    let cut = random.random_range(0..=task.messages.len());
    let _ = client.try_send(&task.messages[..cut]);
    if random.random_bool(0.3) {
        client.patience = Duration::from_millis(random.random_range(1..20));
        let _ = client.try_reply();
    }
    match random.random_range(0..4) {
        0 | 1 => client.reset(),
        2 => drop(client),
        _ => {
            let _ = client.try_send(&terminate());
        }
    }
}

fn one_client(rig: &Rig, random: &mut StdRng, tags: &AtomicU64) {
    let user = if random.random_bool(0.5) { "alice" } else { "bob" };
    // Some don't even get through the login.
    if random.random_ratio(1, 20) {
        let mut client = Talk::open(rig.address());
        let hello = rig.hello(user);
        let _ = client.try_send(&hello[..random.random_range(0..=hello.len())]);
        return if random.random_bool(0.5) { client.reset() } else { drop(client) };
    }
    let mut client = rig.client(user);
    for _ in 0..random.random_range(0..6) {
        let task = task(random, tags.fetch_add(1, Ordering::Relaxed));
        if random.random_ratio(1, 6) {
            return die(client, &task, random);
        }
        client.send(&task.messages);
        assert_eq!(client.until_ready(task.readies), task.want, "another's answer, or none: {:?}", client.error);
    }
    if random.random_bool(0.5) {
        client.say(&[terminate()]);
    }
}

/// Nothing is left of the clients that were: no place in the pool, no transaction, no lock, no memory.
fn nothing_is_left(rig: &Rig, descriptors: usize, rss_kib: u64) {
    let mut admin = rig.superuser();
    let role = rig.role();
    rig.eventually("no backend is busy", || {
        admin.value(&format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}' AND state <> 'idle'"))
            == "0"
    });
    let backends: usize = admin
        .value(&format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}'"))
        .parse()
        .expect("a number");
    assert!(backends <= POOL, "{backends} backends for a pool of {POOL}");
    assert_eq!(admin.value("SELECT count(*) FROM pg_locks WHERE locktype IN ('advisory', 'relation') AND pid <> pg_backend_pid() AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"), "0");
    rig.eventually("the descriptors are closed", || rig.proxy().descriptors() <= descriptors + POOL + 2);
    let log = rig.proxy().log();
    assert!(!log.contains("panicked"), "{log}");
    let now = rig.proxy().rss_kib();
    assert!(now < rss_kib + 48 * 1024, "{rss_kib} KiB before, {now} KiB now");
    // Every backend of the pool can be had, at once, by either user.
    let mut clients: Vec<Talk> = (0..POOL).map(|i| rig.client(["alice", "bob"][i % 2])).collect();
    for client in &mut clients {
        assert_eq!(client.query("BEGIN"), "C(BEGIN) Z(T)");
    }
    for client in &mut clients {
        assert_eq!(client.query("SELECT 'here'; COMMIT"), "T(?column?) D(here) C(SELECT 1) C(COMMIT) Z(I)");
    }
    // The console agrees.
    drop(clients);
    let mut console = rig.console();
    rig.eventually("no client holds a backend", || {
        console
            .table("SHOW POOLS")
            .iter()
            .filter(|pool| pool["database"] == rig.database())
            .all(|pool| pool["cl_active"] == "0" && pool["cl_waiting"] == "0" && pool["sv_active"] == "0")
    });
}

fn soak(rig: &Rig, time: Duration, seed: u64, client: impl Fn(&Rig, &mut StdRng, &AtomicU64) + Sync) -> u64 {
    println!("seed {seed}");
    rig.superuser().query("CREATE UNLOGGED TABLE soak (i int8); GRANT ALL ON soak TO PUBLIC");
    for user in ["alice", "bob"] {
        rig.client(user).query("SELECT 1");
    }
    let (descriptors, rss) = (rig.proxy().descriptors(), rig.proxy().rss_kib());
    let (tags, clients) = (AtomicU64::new(1), AtomicU64::new(0));
    let deadline = Instant::now() + time;
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (client, tags, clients) = (&client, &tags, &clients);
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(seed + thread);
                while Instant::now() < deadline {
                    client(rig, &mut random, tags);
                    clients.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    nothing_is_left(rig, descriptors, rss);
    println!("{clients:?} clients, {tags:?} tasks");
    clients.into_inner()
}

#[test]
fn clients_that_die_at_random_leave_nothing_and_get_only_their_own_answers() {
    let rig = Rig::setup().pool(POOL).start();
    let clients = soak(&rig, Duration::from_secs(20), 100, one_client);
    assert!(clients > 500, "only {clients} clients in twenty seconds");
}

#[test]
fn cancels_at_random_hit_only_the_query_they_were_sent_for() {
    let rig = Rig::setup().pool(POOL).start();
    let clients = soak(&rig, Duration::from_secs(12), 200, |rig, random, tags| {
        let mut client = rig.client(if random.random_bool(0.5) { "alice" } else { "bob" });
        let tag = tags.fetch_add(1, Ordering::Relaxed);
        if random.random_bool(0.4) {
            // Undisturbed: must never see a cancel.
            for i in 0..5 {
                let sql = format!("SELECT '{tag}-{i}' FROM pg_sleep(0.005)");
                assert_eq!(client.query(&sql), format!("T(?column?) D({tag}-{i}) C(SELECT 1) Z(I)"));
            }
            return;
        }
        let mut killers = Vec::new();
        for i in 0..3 {
            let mut killer = Talk::open(rig.address());
            client.say(&[query(&format!("SELECT '{tag}-{i}' FROM pg_sleep(0.03)"))]);
            thread::sleep(Duration::from_millis(random.random_range(0..50)));
            killer.send(&client.cancel_request());
            if random.random_bool(0.1) {
                return client.reset();
            }
            let said = client.until_ready(1);
            let done = said == format!("T(?column?) D({tag}-{i}) C(SELECT 1) Z(I)");
            // PostgreSQL looks for a cancel before its row description, before its row, and once more before the statement's end.
            let cancelled = ["", "T(?column?) ", &format!("T(?column?) D({tag}-{i}) ")];
            let cancelled = cancelled.iter().any(|before| said == format!("{before}E(57014) Z(I)"));
            assert!(done || cancelled, "{said}");
            killers.push(killer);
            if random.random_bool(0.5) {
                // All of them settled: what comes next runs undisturbed.
                killers.drain(..).for_each(|mut killer: Talk| assert_eq!(killer.until_closed(), ""));
                assert_eq!(client.query(&format!("SELECT '{tag}'")), format!("T(?column?) D({tag}) C(SELECT 1) Z(I)"));
            }
        }
    });
    assert!(clients > 200, "only {clients} clients in twelve seconds");
}
