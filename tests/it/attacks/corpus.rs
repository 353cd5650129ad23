//! Every known attack that can be run, before both walls and before each alone.
//!
//! `outcomes.txt` holds what became of each, so that a change is seen. `PGWARDEN_BLESS=1` writes it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::client::{Outcome, Way};
use super::lab::{Ground, Lab, State, Wall};
use super::rows::{Row, spoken};
use super::wire;
use crate::kit::{Config, say};

#[test]
fn both_walls_with_a_sealed_context_hold() {
    attack(Wall::BothSealed);
}

#[test]
fn both_walls_with_a_setting_hold() {
    attack(Wall::BothSetting);
}

#[test]
fn the_database_holds_alone() {
    attack(Wall::Database);
}

#[test]
fn the_policy_holds_alone() {
    attack(Wall::Policy);
}

#[test]
fn the_database_holds_without_a_proxy() {
    attack(Wall::Direct);
}

#[test]
fn rows_that_are_not_run_say_why() {
    let rows = Row::all();
    let idle = rows.iter().filter(|row| !row.not_run.is_empty()).count();
    let works = |row: &Row| {
        [!row.steps.is_empty(), !row.then.is_empty(), !row.hex.is_empty(), !row.wire.is_empty()]
            .into_iter()
            .filter(|x| *x)
            .count()
    };
    assert!(rows.iter().all(|row| works(row) + usize::from(!row.not_run.is_empty()) == 1), "a row is of one kind");
    assert_eq!((rows.len(), idle), (228, 7));
}

/// What is found where nothing stands between tenants: the same attacks, before the same tables.
#[test]
fn where_there_is_no_wall_the_attacks_do_harm() {
    let open = |config: Config| {
        config
            .set("databases.lab.tenancy.rewrite", "off")
            .set("databases.lab.tenancy.danger_open_policy", true)
            .set("databases.labc.tenancy.danger_open_policy", true)
    };
    let report = attacked(&Lab::with(Wall::Policy, open));
    let said = report.wrong.join("\n");
    let harmful: BTreeSet<_> = report.wrong.iter().filter_map(|what| what.split(' ').next()).collect();
    println!("without a wall {} of the attacks do harm", harmful.len());
    assert!(harmful.len() > 120, "{}: {said}", harmful.len());
    for sign in ["LEAK of", "another's rows changed", "schema, grants or roles changed"] {
        assert!(said.contains(sign), "nothing was found by its {sign:?}:\n{said}");
    }
}

/// What a wall cannot keep by itself, and why. An entry that no longer happens fails the test too.
const KNOWN: [(Wall, &str, &str); 5] = [
    (Wall::Database, "ctx-alter-role-self-scs", ALTERS_ITSELF),
    (Wall::Database, "ctx-alter-role-password", ALTERS_ITSELF),
    (Wall::Direct, "ctx-alter-role-self-scs", ALTERS_ITSELF),
    (Wall::Direct, "ctx-alter-role-password", ALTERS_ITSELF),
    (Wall::Policy, "sc-err-echo-functions", ERRORS_TELL),
];

const ERRORS_TELL: &str = "Without row security the planner may run the client's condition before the proxy's, and the errors of functions and \
                           casts hold the values that they were given.";

const ALTERS_ITSELF: &str = "PostgreSQL lets every role change its own password and defaults; no grant takes that away. The proxy's \
                             startup packet beats the defaults, and a certificate in place of the password the rest.";

fn attack(wall: Wall) {
    let report = attacked(&Lab::new(wall));
    report.judge();
}

/// Plays everything.
fn attacked(lab: &Lab) -> Report {
    let wall = lab.wall;
    let mut report =
        Report { wall, before: lab.state(), outcomes: BTreeMap::new(), wrong: Vec::new(), known: Vec::new() };
    for row in Row::all().iter().filter(|row| row.not_run.is_empty()) {
        for ground in [Ground::Row, Ground::Schema] {
            if ground == Ground::Row || row.is_of_schemas() {
                report.row(lab, row, ground);
            }
        }
    }
    report
}

struct Report {
    wall: Wall,
    /// The database as it is before each row.
    before: State,
    /// By group: what became of its rows.
    outcomes: BTreeMap<String, Vec<(String, Outcome)>>,
    wrong: Vec<String>,
    known: Vec<String>,
}

impl Report {
    /// Plays a row in every way, and then looks at the database and at the next session of tenant 2.
    fn row(&mut self, lab: &Lab, row: &Row, ground: Ground) {
        let played = play(lab, row, ground);
        let after = lab.state();
        let mut found = Vec::new();
        if after.others != self.before.others {
            found.push("another's rows changed".to_owned());
        }
        if after.shape != self.before.shape {
            found.push("schema, grants or roles changed".to_owned());
        }
        if after != self.before {
            lab.mend();
            let mended = lab.state();
            if mended != self.before {
                let [others, shape, own] = [
                    mended.others != self.before.others,
                    mended.shape != self.before.shape,
                    mended.own != self.before.own,
                ];
                found.push(format!("and cannot be put back: others {others}, shape {shape}, own {own}"));
                self.before = mended;
            }
        }
        found.extend(lab.victim_is_hurt(ground));
        for what in found {
            self.note(&row.id, &format!("{} [{ground:?}]: {what}", row.id));
        }
        let name = if ground == Ground::Row { row.id.clone() } else { format!("{} (schema)", row.id) };
        if let Some((_, outcome, _)) = played.first() {
            self.outcomes.entry(row.group.clone()).or_default().push((name, *outcome));
        }
        for (way, _, stolen) in played {
            for what in stolen {
                self.note(&row.id, &format!("{} [{way}, {ground:?}]: {what}", row.id));
            }
        }
    }

    fn note(&mut self, id: &str, what: &str) {
        let known = KNOWN.iter().any(|(wall, known, _)| *wall == self.wall && *known == id);
        if known {
            self.known.push(id.to_owned());
        } else {
            self.wrong.push(what.to_owned());
        }
    }

    fn judge(&self) {
        let mut table = format!("{:<58} refused failed harmless\n", self.wall.label());
        let mut lines = String::new();
        let mut total = [0; 3];
        for (group, outcomes) in &self.outcomes {
            let counts = [Outcome::Refused, Outcome::Failed, Outcome::Harmless]
                .map(|wanted| outcomes.iter().filter(|(_, outcome)| *outcome == wanted).count());
            let [refused, failed, harmless] = counts;
            let _ = writeln!(table, "  {group:<58} {refused:>5} {failed:>6} {harmless:>8}");
            total = [0, 1, 2].map(|at| total[at] + counts[at]);
            for (id, outcome) in outcomes {
                let _ = writeln!(lines, "{} | {id} | {outcome:?}", self.wall.label());
            }
        }
        let [refused, failed, harmless] = total;
        let (all, known) = (refused + failed + harmless, self.known.len());
        println!(
            "{table}  {:<58} {refused:>5} {failed:>6} {harmless:>8}",
            format!("{all} attacks, {known} known to do harm")
        );
        assert!(self.wrong.is_empty(), "{} attacks did harm:\n{}", self.wrong.len(), self.wrong.join("\n"));
        for (_, id, why) in KNOWN.iter().filter(|(wall, ..)| *wall == self.wall) {
            assert!(
                self.known.iter().any(|known| known == id),
                "{id} does no harm any more; it was known because {why}"
            );
        }
        compare(self.wall, &lines);
    }
}

/// Compares with what became of the attacks before.
fn compare(wall: Wall, lines: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/attacks/outcomes.txt");
    let of_wall = |line: &&str| line.split(" | ").next() == Some(wall.label());
    if std::env::var_os("PGWARDEN_BLESS").is_some() {
        static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _one = ONE.lock();
        let old = std::fs::read_to_string(path).unwrap_or_default();
        let mut all: Vec<&str> = old.lines().filter(|line| !of_wall(line)).chain(lines.lines()).collect();
        all.sort_by_key(|line| line.split(" | ").next().unwrap_or_default().to_owned());
        std::fs::write(path, all.join("\n") + "\n").expect("write the outcomes");
        return;
    }
    let expected: Vec<&str> = include_str!("outcomes.txt").lines().filter(of_wall).collect();
    let found: Vec<&str> = lines.lines().collect();
    let gone: Vec<_> = expected.iter().filter(|line| !found.contains(line)).collect();
    let new: Vec<_> = found.iter().filter(|line| !expected.contains(line)).collect();
    assert!(
        gone.is_empty() && new.is_empty(),
        "other outcomes (PGWARDEN_BLESS=1 takes them):\nbefore: {gone:#?}\nnow: {new:#?}"
    );
}

/// What was heard that must not be, after each way to say it.
type Played = Vec<(&'static str, Outcome, Vec<String>)>;

fn play(lab: &Lab, row: &Row, ground: Ground) -> Played {
    if !row.wire.is_empty() {
        return wire::play(lab, &row.wire, ground);
    }
    if !row.then.is_empty() {
        return if lab.proxy.is_some() { one_after_the_other(lab, row, ground) } else { Vec::new() };
    }
    if !row.hex.is_empty() {
        return vec![encoded(lab, row, ground)];
    }
    let steps: Vec<String> = spoken(&row.steps).iter().map(|step| lab.fill(step)).collect();
    let plain: Vec<String> = steps.iter().filter(|step| !sets_context(step)).cloned().collect();
    let mut scripts = vec![("simple", Way::Simple, &steps), ("extended", Way::Extended, &steps)];
    if steps.len() > 1 {
        scripts.push(("whole", Way::Whole, &steps));
    }
    if plain.len() < steps.len() {
        scripts.push(("without context", Way::Simple, &plain));
    }
    let mut played = Vec::new();
    for (at, (name, way, steps)) in scripts.into_iter().enumerate() {
        for entered in if lab.wall == Wall::Direct { vec![true, false] } else { vec![true] } {
            let mut client = if lab.wall == Wall::Direct { lab.direct(ground, entered) } else { lab.client(ground, 1) };
            let outcome = client.run(way, steps);
            client.settle();
            // Half of the attackers go without a word.
            if at % 2 == 0 {
                client.end()
            } else {
                client.drop_line()
            }
            played.push((name, outcome, stolen(&client, "1")));
        }
    }
    played
}

fn stolen(client: &super::client::Client, own: &str) -> Vec<String> {
    client.stolen(own).iter().map(|word| format!("LEAK of {word}")).collect()
}

/// The attack gives itself the context that an application would.
fn sets_context(step: &str) -> bool {
    let step = step.to_ascii_lowercase();
    (step.starts_with("set app.tenant_id") || step.starts_with("set local app.tenant_id")) && !step.contains("select")
}

/// One tenant's session, then another's on the same server connection: each of the two is the attacker once.
fn one_after_the_other(lab: &Lab, row: &Row, ground: Ground) -> Played {
    let mut played = Vec::new();
    for (first, then) in [(2, 1), (1, 2)] {
        let told = |steps: &[String]| -> Vec<String> {
            steps.iter().map(|step| lab.fill(&step.replace("{a}", &first.to_string()))).collect()
        };
        let mut one = lab.client(ground, first);
        let outcome = one.run(Way::Simple, &told(&row.first));
        one.settle();
        one.end();
        let mut other = lab.client(ground, then);
        let steps = told(&row.then);
        let second = other.run(Way::Simple, &steps);
        other.settle();
        other.end();
        // What the second says itself is not stolen; what the first left behind is.
        let mut found = stolen(&other, &then.to_string());
        found.extend(one.stolen(&first.to_string()).iter().map(|word| format!("LEAK to the first of {word}")));
        played.push((if first == 2 { "second attacks" } else { "first attacks" }, outcome.max(second), found));
    }
    played
}

/// Bytes of another encoding.
fn encoded(lab: &Lab, row: &Row, ground: Ground) -> (&'static str, Outcome, Vec<String>) {
    let bytes: Vec<u8> = (0..row.hex.len() / 2)
        .map(|at| u8::from_str_radix(&row.hex[2 * at..2 * at + 2], 16).expect("hexadecimal"))
        .collect();
    let mut client = if lab.wall == Wall::Direct { lab.direct(ground, true) } else { lab.client(ground, 1) };
    let set = client.ask(Way::Simple, &format!("SET client_encoding = '{}'", row.encoding));
    let query = say::message(b'Q', &[&bytes[..], &[0]].concat());
    let said = client.raw(&query);
    client.end();
    let outcome = super::client::outcome(&set).max(super::client::outcome(&said));
    ("bytes", outcome, stolen(&client, "1"))
}
