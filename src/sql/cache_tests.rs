use proptest::prelude::*;

use super::super::lexer::{Lexer, TokenKind};
use super::*;

fn shared() -> Arc<SharedAnalyses> {
    Arc::new(SharedAnalyses::new(Limits { entries: 1_000, bytes: 1 << 20 }, 3))
}

fn analyses() -> Analyses {
    Analyses::new(shared(), Limits { entries: 100, bytes: 1 << 20 })
}

fn counts(analyses: &Analyses) -> (u64, u64) {
    (analyses.counters().hits, analyses.counters().misses)
}

#[test]
fn a_text_is_parsed_once() {
    let mut analyses = analyses();
    let first = analyses.read(b"set a = 1");
    let second = analyses.read(b"set a = 1");
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(*first, grammar::read(b"set a = 1"));
    assert_eq!(counts(&analyses), (1, 1));
}

#[test]
fn texts_of_one_shape_share_where_literals_do_not_matter() {
    let mut analyses = analyses();
    let first = analyses.read(b"SELECT abalance FROM pgbench_accounts WHERE aid = 1;");
    assert_eq!(first.spans, Spans::Exact);
    let second = analyses.read(b"SELECT abalance FROM pgbench_accounts /* x */ WHERE aid = 12345;");
    assert_eq!(second.spans, Spans::Shape);
    let third = analyses.read(b"SELECT abalance FROM pgbench_accounts WHERE aid = 99999;");
    assert!(Arc::ptr_eq(&second, &third));
    assert_eq!(second.statements[0].relations, first.statements[0].relations);
    assert_eq!(counts(&analyses), (2, 1));
    assert_eq!(analyses.read(b"SELECT abalance FROM pgbench_tellers WHERE aid = 1;").spans, Spans::Exact);
    assert_eq!(analyses.read(b"select f(1), 'x' from t").spans, Spans::Exact);
    assert_eq!(analyses.read(b"select f(2), 'y' from t").spans, Spans::Shape);
}

#[test]
fn texts_whose_literals_matter_share_nothing() {
    let pairs = [
        ("select set_config('a.b', 'c', false)", "select set_config('d.e', 'c', false)"),
        ("select nextval('a')", "select nextval('b')"),
        ("select 'a'::regclass", "select 'b'::regclass"),
        ("select cast('a' as pg_catalog.regclass)", "select cast('b' as pg_catalog.regclass)"),
        ("select regtype 'int'", "select regtype 'text'"),
        ("select pg_relation_size('a')", "select pg_relation_size('b')"),
        ("select has_table_privilege('a', 'select')", "select has_table_privilege('b', 'select')"),
        ("select query_to_xml('select 1', true, true, '')", "select query_to_xml('delete from t', true, true, '')"),
        ("set a = 1", "set a = 2"),
        ("notify a, 'x'", "notify a, 'y'"),
        ("copy t from '/a'", "copy t from '/b'"),
        ("execute a(1)", "execute a(2)"),
        ("begin; select 1", "begin; select 2"),
        ("select pg_advisory_lock(1)", "select pg_advisory_lock(2)"),
        ("do 'begin end'", "do 'begin null; end'"),
        ("select u&'!0061' uescape '!'", "select u&'!0061' uescape '?'"),
        ("select * from t where a = 'x", "select * from t where a = 'y"),
        ("create table t (a text default 'x')", "create table t (a text default 'y')"),
        ("select pg_terminate_backend(1)", "select pg_terminate_backend(2)"),
    ];
    for (one, other) in pairs {
        let mut analyses = analyses();
        analyses.read(one.as_bytes());
        assert_eq!(*analyses.read(other.as_bytes()), grammar::read(other.as_bytes()), "{other}");
        assert_eq!(counts(&analyses), (0, 2), "{other}");
    }
}

#[test]
fn workers_take_over_what_others_read() {
    let shared = shared();
    let limits = Limits { entries: 100, bytes: 1 << 20 };
    let (mut one, mut other) = (Analyses::new(shared.clone(), limits), Analyses::new(shared.clone(), limits));
    let first = one.read(b"select a from t where b = 1");
    let second = other.read(b"select a from t where b = 1");
    assert_eq!(first.statements, second.statements);
    assert!(!Arc::ptr_eq(&first, &second), "workers must not share a reference count");
    let (first, second) = (one.read(b"set a = 1"), other.read(b"set a = 1"));
    assert_eq!(first, second);
    assert!(!Arc::ptr_eq(&first, &second), "nor that of a text without a shape to share");
    assert_eq!(counts(&other), (2, 0));
    let mut third = Analyses::new(shared.clone(), limits);
    assert_eq!(third.read(b"select a from t where b = 2").spans, Spans::Shape);
    assert_eq!(counts(&third), (1, 0));
    let mut counters = shared.counters();
    assert_eq!((counters.hits, counters.misses, counters.entries), (0, 0, 2));
    [&one, &other, &third].iter().for_each(|worker| counters.add(&worker.counters()));
    // Its own: two texts and a shape; what it took over, of a text and of a shape; of a shape.
    assert_eq!((counters.hits, counters.misses, counters.entries), (3, 2, 2 + 3 + 2 + 1));
    assert!(counters.bytes > 0);
}

#[test]
fn a_worker_alone_shares_with_nobody() {
    let shared = Arc::new(SharedAnalyses::new(Limits { entries: 1_000, bytes: 1 << 20 }, 1));
    let mut analyses = Analyses::new(shared.clone(), Limits { entries: 100, bytes: 1 << 20 });
    for text in ["select a from t where b = 1", "select a from t where b = 2", "set a = 1", "set a = 1"] {
        analyses.read(text.as_bytes());
    }
    assert_eq!(counts(&analyses), (2, 2));
    assert_eq!(shared.counters().entries, 0);
}

#[test]
fn tables_stay_bounded_under_texts_that_never_repeat() {
    let shared = Arc::new(SharedAnalyses::new(Limits { entries: 64, bytes: 1 << 20 }, 3));
    let mut analyses = Analyses::new(shared.clone(), Limits { entries: 50, bytes: 1 << 20 });
    for i in 0..2_000 {
        analyses.read(format!("select a{i} from t").as_bytes());
    }
    assert_eq!(counts(&analyses), (0, 2_000));
    assert_eq!(analyses.counters().entries, 100);
    assert!(shared.counters().entries <= 128);
}

#[test]
fn texts_that_never_repeat_drive_out_none_that_do() {
    let limits = Limits { entries: 50, bytes: 1 << 20 };
    let shared = Arc::new(SharedAnalyses::new(Limits { entries: 1_600, bytes: 1 << 20 }, 3));
    let mut analyses = Analyses::new(shared, limits);
    let known: Vec<String> = (0..50).map(|i| format!("select b{i} from t")).collect();
    known.iter().for_each(|text| drop(analyses.read(text.as_bytes())));
    (0..5_000).for_each(|i| drop(analyses.read(format!("select a{i} from t where c = {i}").as_bytes())));
    let (_, misses) = counts(&analyses);
    known.iter().for_each(|text| drop(analyses.read(text.as_bytes())));
    assert_eq!(counts(&analyses), (50, misses));
    // One of the shape of another that came before takes a place; so does a text that has none to share.
    for (first, second, third) in [
        ("select x from u where d = 1", "select x from u where d = 2", "select x from u where d = 3"),
        ("set a = 1", "set a = 1", "set a = 1"),
    ] {
        let (hits, misses) = counts(&analyses);
        [first, second, third, third].iter().for_each(|text| drop(analyses.read(text.as_bytes())));
        assert_eq!(counts(&analyses), (hits + 2, misses + 2), "{first}");
    }
    assert_eq!(analyses.counters().entries, 100);
}

#[test]
fn large_texts_are_read_and_not_kept() {
    let mut analyses = analyses();
    let text = format!("select '{}'", "x".repeat(TEXT_MAX));
    assert!(analyses.read(text.as_bytes()).summary.is_plain());
    assert_eq!(analyses.counters().entries, 0);
}

/// Other literals of the same class, and other white space.
fn varied(text: &str, seed: &mut impl FnMut(usize) -> usize) -> String {
    let mut out = Vec::new();
    for token in Lexer::new(text.as_bytes()) {
        let pick = |choices: &[&str], seed: &mut dyn FnMut(usize) -> usize| choices[seed(choices.len())].to_string();
        let other = match token.kind {
            TokenKind::Space => pick(&[" ", "\n", "\t ", "/*'*/ ", " --x\n", " /*/**/*/"], seed),
            TokenKind::Integer => pick(&["0", "7", "2147483647", "007"], seed),
            TokenKind::Number => pick(&["1.5", "2147483648", ".5", "1e10", "9."], seed),
            TokenKind::String => pick(&["''", "'a''b'", "'; drop table x --'", "E'\\''", "$$'$$", "'a'\n 'b'"], seed),
            _ => String::from_utf8_lossy(token.of(text.as_bytes())).into_owned(),
        };
        out.push(other);
    }
    out.concat()
}

const QUERIES: [&str; 12] = [
    "select a , 1 from t where b = 'x' and c in ( 1 , 2 , 3 ) limit 5",
    "insert into t ( a , b ) values ( 1 , 'x' ) , ( 2 , 'y' ) on conflict ( a ) do update set b = 'z'",
    "update t set a = a + 1 , b = 'x' where c between 1.5 and 2.5",
    "delete from t where a = 1 or b like 'x' returning *",
    "with x as ( select 1 union all select 2 ) select * from x order by 1",
    "select interval '1' day , date '2020-01-01' , 'x' :: text , cast ( 1 as numeric ( 5 , 2 ) ) , now ( ) at time zone 'x'",
    "select extract ( 'year' from d ) , substring ( a from 1 for 2 ) , f ( 1 , 'x' ) , ( array [ 1 , 2 ] ) [ 1 ] from s.t",
    "select 'a' collate \"C\" , case when a = 1 then 'b' else 'c' end from t , lateral ( values ( 1 ) ) v",
    "select * from t where a -> 'b' ->> 'c' = 'd' and e @> '{}' and - 1 < - 2.5",
    "merge into t using s on t.a = s.a when matched then update set b = 1 when not matched then insert values ( 1 , 'x' )",
    "explain select 1 ; select 2",
    "select count ( * ) filter ( where a > 1 ) over ( order by b rows between 1 preceding and 2 following ) from t",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]
    /// What sharing rests on: whatever the literals, the grammar says the same of every text of one shape.
    #[test]
    fn texts_of_one_shape_have_one_analysis(
        query in prop::sample::select(&QUERIES[..]),
        picks in prop::collection::vec(any::<usize>(), 64),
    ) {
        let mut at = 0;
        let mut seed = |count: usize| {
            at += 1;
            picks[at % picks.len()] % count
        };
        let other = varied(query, &mut seed);
        let (mut shape, mut other_shape) = (Vec::new(), Vec::new());
        prop_assert!(shape::write(query.as_bytes(), &mut shape));
        prop_assert!(shape::write(other.as_bytes(), &mut other_shape));
        prop_assert_eq!(&shape, &other_shape, "{}", other);
        let (one, two) = (grammar::read(query.as_bytes()), grammar::read(other.as_bytes()));
        prop_assert!(one.failure.is_none(), "{:?}", one);
        prop_assert!(is_indifferent_to_literals(&one), "{:?}", one);
        prop_assert_eq!(one.summary, two.summary, "{}", other);
        prop_assert_eq!(one.statements.len(), two.statements.len());
        for (mut a, b) in one.statements.into_iter().zip(two.statements) {
            a.span = b.span.clone();
            prop_assert_eq!(a, b, "{}", other);
        }
    }
}
