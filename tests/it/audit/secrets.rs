//! Secrets that are planted on every way that leads through the proxy are found nowhere in what it writes down or shows.
//!
//! A word is a secret wherever a value can stand. A card's number and a stored verifier are secrets in names too, and where
//! values are recorded in clear.

use std::collections::BTreeMap;
use std::fs;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Book, close};
use crate::kit::{self, Config, Proxy, say};
use crate::talk::*;

/// The planted secrets, by the way that they were sent.
struct Plants {
    random: StdRng,
    planted: BTreeMap<String, Plant>,
    cards: usize,
}

enum Plant {
    Word(String),
    /// Digits.
    Card(String),
}

impl Plants {
    fn word(&mut self, way: &str) -> String {
        let word: String = (0..20).map(|_| char::from(b'g' + self.random.random_range(0..20u8))).collect();
        assert!(self.planted.insert(format!("word: {way}"), Plant::Word(word.clone())).is_none(), "{way}");
        word
    }

    /// Its groups are parted by something else each time.
    fn card(&mut self, way: &str) -> String {
        let mut digits = "4".to_owned();
        digits.extend((1..15).map(|_| char::from(b'0' + self.random.random_range(0..10u8))));
        let doubled = |(place, byte): (usize, u8)| {
            let value = u32::from(byte - b'0');
            if place % 2 == 0 { value * 2 - 9 * u32::from(value > 4) } else { value }
        };
        let sum: u32 = digits.bytes().enumerate().map(doubled).sum();
        digits.push_str(&((10 - sum % 10) % 10).to_string());
        assert!(self.planted.insert(format!("card: {way}"), Plant::Card(digits.clone())).is_none(), "{way}");
        self.cards += 1;
        let separator = ["", " ", "-", ".", " - "][self.cards % 5];
        [&digits[..4], &digits[4..8], &digits[8..12], &digits[12..]].join(separator)
    }

    /// As `pg_authid` has them.
    fn verifier(&mut self, way: &str) -> String {
        let [salt, stored, server] =
            ["salt", "stored key", "server key"].map(|part| self.word(&format!("{way}, {part}")));
        format!("SCRAM-SHA-256$4096:{salt}==${stored}=:{server}=")
    }

    /// Which of them a text has, in any letters.
    fn found_in(&self, place: &str, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        let lower = text.to_lowercase();
        for line in lower.lines() {
            let digits: String = line.chars().filter(char::is_ascii_digit).collect();
            for (way, plant) in &self.planted {
                let is_there = match plant {
                    Plant::Word(word) => {
                        let hex: String = word.bytes().map(|byte| format!("{byte:02x}")).collect();
                        line.contains(&**word) || line.contains(&hex)
                    }
                    Plant::Card(card) => digits.contains(&card[..12]) || digits.contains(&card[4..]),
                };
                if is_there {
                    found.push(format!("{way}, in {place}: {line}"));
                }
            }
        }
        found
    }
}

/// Everything that the proxy has written or shows, by place.
fn everything(proxy: &Proxy, book: &Book, admin: &mut Talk) -> Vec<(String, String)> {
    let mut places = vec![("the program's log".to_owned(), proxy.log())];
    for page in ["/", "/metrics", "/status.json"] {
        let (status, body) = proxy.get(page);
        assert_eq!(status, 200, "{page}: {body}");
        places.push((page.to_owned(), body));
    }
    for topic in [
        "HELP",
        "POOLS",
        "CLIENTS",
        "SERVERS",
        "STATS",
        "STATS_TOTALS",
        "STATS_AVERAGES",
        "TOTALS",
        "LISTS",
        "DATABASES",
        "USERS",
        "CLOSES",
        "CONFIG",
        "STATE",
        "VERSION",
    ] {
        places.push((format!("SHOW {topic}"), admin.full_answer(&format!("SHOW {topic}"))));
    }
    for entry in fs::read_dir(book.log()).expect("entries") {
        let path = entry.expect("an entry").path();
        let text = String::from_utf8_lossy(&fs::read(&path).expect("read it")).into_owned();
        places.push((path.file_name().expect("a name").to_string_lossy().into_owned(), text));
    }
    places
}

#[test]
fn planted_secrets_are_nowhere_in_what_the_proxy_writes_or_shows() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut problems = Vec::new();
    for parameters in ["omit", "clear"] {
        let plants = Plants { random: StdRng::seed_from_u64(random.random()), planted: BTreeMap::new(), cards: 0 };
        problems.extend(plant_and_look(plants, parameters));
    }
    assert!(problems.is_empty(), "{} are seen:\n{}", problems.len(), problems.join("\n"));
}

fn plant_and_look(mut plants: Plants, parameters: &str) -> Vec<String> {
    let book = Book::new();
    let database = kit::database();
    let owner = &database.owner;
    let config = Config::for_database(&database)
        .set("server.statement_size_max", "64KiB")
        .set("log.level", "debug")
        .set("log.format", "json")
        .set("admin.http", "127.0.0.1:0")
        .set("admin.admins", vec![owner.name.as_str()]);
    let proxy = Proxy::start(book.config(config, &format!("parameters = \"{parameters}\"")));
    let login = |pairs: &[(&str, &str)]| {
        let all = [&[("user", owner.name.as_str()), ("database", database.name.as_str())], pairs].concat();
        Talk::login(proxy.address(), &all, &owner.password)
    };
    let options = format!(
        "-c pgwarden.reason=password={}\\ and\\ {} -c search_path=public,\"{}\"",
        plants.word("a reason's password"),
        plants.card("a reason").replace(' ', "\\ "),
        plants.card("an option").replace(' ', "\\ "),
    );
    let name =
        format!("app password={} {}", plants.word("an application's name"), plants.card("an application's name"));
    let mut client = login(&[("application_name", &name), ("options", &options)]);
    by_text(&mut client, &mut plants);
    by_protocol(&mut client, &mut plants, parameters);
    for (user, base) in [
        (plants.card("a user's name"), database.name.clone()),
        (owner.name.clone(), plants.card("a database's name")),
        (format!("x password={}", plants.word("a user's name")), database.name.clone()),
    ] {
        let mut stranger = Talk::open(proxy.address());
        stranger.send(&startup(&[("user", &user), ("database", &base)]));
        let password = plants.word(&format!("a password for {}", plants.planted.len()));
        assert!(stranger.authenticate(&password).is_err());
    }
    let mut admin = Talk::login(proxy.address(), &[("user", &owner.name), ("database", "pgwarden")], &owner.password);
    for command in [
        format!("SHOW '{}'", plants.card("a command of the console")),
        format!("SET password = '{}'", plants.word("a command's password")),
    ] {
        assert!(admin.query(&command).contains("E("));
    }
    // A session that is there while others look.
    let mut resting = login(&[("application_name", &plants.card("the name of one that rests"))]);
    resting.query("BEGIN");
    resting.query(&format!("SELECT '{}'", plants.word("the last statement of one that rests")));
    let problems = |places: Vec<(String, String)>| {
        let found = places.iter().flat_map(|(place, text)| plants.found_in(place, text));
        found.map(|found| format!("parameters = {parameters}: {found}")).collect::<Vec<_>>()
    };
    let mut found = problems(everything(&proxy, &book, &mut admin));
    drop((client, resting, admin));
    let records = close(&proxy, &book);
    let text: String = records.iter().map(|record| format!("{record}\n")).collect();
    found.extend(problems(vec![
        ("the closed log".to_owned(), text),
        ("the program's last words".to_owned(), proxy.log()),
    ]));
    let statements = records.iter().filter(|record| record["kind"] == "statement").count();
    println!(
        "parameters = {parameters}: {} secrets in {statements} statements, {} seen",
        plants.planted.len(),
        found.len()
    );
    assert!(statements > 40);
    found
}

/// Ways through a Query.
fn by_text(client: &mut Talk, plants: &mut Plants) {
    client.query("CREATE TABLE kept (i int, t text)");
    type Way = (&'static str, fn(&str) -> String);
    let of_words: [Way; 27] = [
        ("a literal", |it| format!("SELECT '{it}'")),
        ("an escaped literal", |it| format!("SELECT E'{it}\\n'")),
        ("a unicode literal", |it| format!("SELECT U&'{it}\\0041'")),
        ("a dollar quote", |it| format!("SELECT $q${it}$q$")),
        ("a national literal", |it| format!("SELECT N'{it}'")),
        ("a comment", |it| format!("/* {it} */ SELECT 1 -- {it}")),
        ("an insert", |it| format!("INSERT INTO kept VALUES (1, '{it}')")),
        ("an error's text", |it| format!("SELECT '{it}'::int")),
        ("a notice", |it| format!("DO $$ BEGIN RAISE NOTICE '{it}'; END $$")),
        ("an exception", |it| {
            format!("DO $$ BEGIN RAISE EXCEPTION '{it}' USING HINT = '{it}', DETAIL = '{it}'; END $$")
        }),
        ("a function's body", |it| {
            format!("CREATE FUNCTION pg_temp.f() RETURNS text LANGUAGE sql AS 'SELECT ''{it}'''")
        }),
        ("a role's password", |it| format!("ALTER ROLE nobody_at_all PASSWORD '{it}'")),
        ("a new user's password", |it| format!("CREATE USER nobody_at_all PASSWORD '{it}'")),
        ("a role's password in quotes", |it| format!("ALTER ROLE nobody_at_all PASSWORD \"{it}\"")),
        ("a role's password without quotes", |it| format!("ALTER ROLE nobody_at_all PASSWORD {it}")),
        ("a word that is no SQL", |it| format!("SELEC {it} FROM '{it}'")),
        ("an open literal", |it| format!("SELECT '{it}")),
        ("an open comment", |it| format!("/* {it}")),
        ("an open identifier", |it| format!("SELECT \"{it}")),
        ("a setting", |it| format!("SET app.token TO '{it}'")),
        ("a setting without quotes", |it| format!("SET app.token TO {it}")),
        ("set_config", |it| format!("SELECT set_config('app.x', '{it}', false)")),
        ("a connection", |it| {
            format!("CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port=1 password={it}' PUBLICATION p")
        }),
        ("a prepared statement", |it| format!("PREPARE p{} AS SELECT '{it}'", it.len())),
        ("an argument of EXECUTE", |it| format!("EXECUTE p20('{it}')")),
        ("a notification", |it| format!("NOTIFY c, '{it}'")),
        ("a text that is too long", |it| format!("SELECT '{it}{}'", "z".repeat(70_000))),
    ];
    for (way, sql) in of_words {
        client.query(&sql(&plants.word(way)));
        client.query(&sql(&plants.card(way)));
    }
    let of_names: [Way; 8] = [
        ("a column's name", |it| format!("SELECT 1 AS \"{it}\"")),
        ("a table's name", |it| format!("CREATE TABLE \"{it}\" (i int)")),
        ("a table that is not there", |it| format!("SELECT * FROM \"{it}\"")),
        ("a function's name", |it| format!("SELECT \"{it}\"(1)")),
        ("a cursor's name", |it| format!("CLOSE \"{it}\"")),
        ("a role's name", |it| format!("ALTER ROLE \"{it}\" CONNECTION LIMIT 1")),
        ("a savepoint's name", |it| format!("BEGIN; SAVEPOINT \"{it}\"; ROLLBACK")),
        ("digits", |it| format!("SELECT {}", it.replace(|char: char| !char.is_ascii_digit(), ""))),
    ];
    for (way, sql) in of_names {
        client.query(&sql(&plants.card(way)));
    }
    for (way, sql) in [
        ("psql's password", "ALTER USER nobody_at_all PASSWORD '{}'"),
        ("a verifier as a literal", "SELECT '{}'"),
        ("a verifier as a name", "SELECT 1 AS \"{}\""),
        ("a verifier in a comment", "SELECT 1 /* {} */"),
        ("a verifier that is no SQL", "ALTER USER nobody_at_all PASSWORD {}"),
    ] {
        client.query(&sql.replace("{}", &plants.verifier(way)));
    }
    client.query(&format!("SET application_name TO '{}'", plants.card("an application's new name")));
    client.query(&format!("SET application_name TO 'password={}'", plants.word("an application's new password")));
    let slow = format!("SELECT pg_sleep(30), '{}'", plants.word("a statement that is cancelled"));
    client.say(&[query(&slow)]);
    let cancel = client.cancel_request();
    let mut ready = false;
    // The statement may not have begun when the request comes.
    for _ in 0..200 {
        let mut cancelling = Talk::try_open(client.writer().peer_addr().expect("an address")).expect("connect");
        cancelling.send(&cancel);
        if !client.is_quiet_for(std::time::Duration::from_millis(100)) {
            ready = true;
            break;
        }
    }
    assert!(ready, "it is cancelled");
    client.until_ready(1);
}

/// Ways through other messages.
fn by_protocol(client: &mut Talk, plants: &mut Plants, parameters: &str) {
    let mut values = vec![
        plants.card("a parameter"),
        format!("password={}", plants.word("a password in a parameter")),
        plants.verifier("a parameter"),
        format!("postgres://u:{}@h/d", plants.word("an address in a parameter")),
    ];
    if parameters == "omit" {
        values.push(plants.word("a parameter"));
    }
    for value in &values {
        client.ask(&[run("SELECT $1::text", &[Some(value)]), sync()]);
        client.ask(&[run("SELECT $1::int", &[Some(value)]), sync()]);
        client.ask(&[run("INSERT INTO kept VALUES (1, $1)", &[Some(value)]), sync()]);
        let binary = say::bind_formats("", "", &[1], &[Some(value.as_bytes())], &[]);
        client.ask(&[parse_typed("", "SELECT $1", &[25]), binary, execute("", 0), sync()]);
        let bytes = say::bind_formats("", "", &[1], &[Some(value.as_bytes())], &[]);
        client.ask(&[parse_typed("", "SELECT $1", &[17]), bytes, execute("", 0), sync()]);
    }
    let card = plants.card("a number in a parameter").replace(|char: char| !char.is_ascii_digit(), "");
    let number = card.parse::<i64>().expect("a number").to_be_bytes();
    let binary = say::bind_formats("", "", &[1], &[Some(&number)], &[]);
    client.ask(&[parse_typed("", "SELECT $1", &[20]), binary, execute("", 0), sync()]);
    client.ask(&[run("SELECT $1::bigint", &[Some(&card)]), sync()]);
    let in_text = plants.word("the text of a Parse");
    client.ask(&[run(&format!("SELECT '{in_text}', $1::int"), &[Some("1")]), sync()]);
    let statement = plants.card("a statement's name");
    client.ask(&[parse(&statement, "SELECT 1"), describe_statement(&statement), again(&statement, &[]), sync()]);
    client.ask(&[parse(&statement, "SELECT 2"), sync()]);
    let portal = plants.card("a portal's name");
    client.ask(&[parse("", "SELECT 1"), bind(&portal, "", &[]), execute(&portal, 0), sync()]);
    client.ask(&[describe_portal(&portal), sync()]);
    client.say(&[query("COPY kept FROM STDIN")]);
    client.until(b'G', 1);
    let row = format!("3\t{} {}\n", plants.word("COPY in"), plants.card("COPY in"));
    client.ask(&[copy_data(row.as_bytes()), copy_done()]);
    client.say(&[query("COPY kept FROM STDIN")]);
    client.until(b'G', 1);
    client.ask(&[copy_data(format!("{}\tx\n", plants.word("a COPY that fails")).as_bytes()), copy_done()]);
    client.say(&[query("COPY kept FROM STDIN")]);
    client.until(b'G', 1);
    client.ask(&[copy_fail(&plants.word("the reason of CopyFail"))]);
    client.query("COPY kept TO STDOUT");
    client.query("SELECT * FROM kept");
    client.ask(&[function_call(1598)]);
}
