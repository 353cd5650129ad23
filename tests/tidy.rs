//! The house rules that a compiler does not hold: floors, words that are not for production code, sizes of files.
//!
//! Reads the sources as text, with comments, strings and test code blanked out. The floors come from the table in
//! `src/lib.rs`, so that there is one place that says them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Longest source file, in lines without its tests.
const LINES_MAX: usize = 700;

/// How the first line of a generated file goes on; those may be longer.
const GENERATED: &str = " Made by `scripts/";

/// Resources that know nothing of each other.
const STRANGERS: [&str; 3] = ["auth", "pool", "audit"];

/// Not in production code, wherever it is.
const NEVER: [&str; 6] = [".unwrap()", "todo!", "unimplemented!", "dbg!", "anyhow::", "static mut"];

/// Not below floor 2: sockets, clocks, threads, chance.
const IMPURE: [&str; 13] = [
    "tokio",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "UnixDatagram",
    "Instant::now",
    "SystemTime::now",
    ".elapsed()",
    "thread::spawn",
    "thread::sleep",
    "rand::",
];

/// Not below floor 2 except in `config`, which reads what the configuration names.
const OUTSIDE: [&str; 4] = ["std::fs", "fs::", "File::", "std::env"];

/// Words of unfinished work, comments included.
const UNFINISHED: [&str; 4] = ["TODO", "FIXME", "XXX:", "HACK"];

/// A source file: its text without comments, strings and test code, and the top-level module that it belongs to.
struct Source {
    path: PathBuf,
    text: String,
    code: String,
    /// Lines without test code.
    lines: usize,
    module: String,
    /// `src/x.rs` or `src/x/mod.rs`, where `super` is the crate's root.
    is_root_of_module: bool,
}

#[test]
fn modules_import_only_from_their_own_floor_downwards() {
    let floors = floors(&fs::read_to_string(root().join("src/lib.rs")).expect("lib.rs"));
    let mut wrong = Vec::new();
    for source in sources() {
        for imported in imports(&source) {
            wrong.extend(wrong_import(&floors, &source.module, &imported).map(|why| told(&source, &why)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_has_a_floor() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).expect("lib.rs");
    let declared: BTreeSet<String> = lib
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect();
    let with_floor: BTreeSet<String> = floors(&lib).into_keys().collect();
    assert_eq!(declared, with_floor, "the modules of src/lib.rs and those of its table of floors");
    assert!(lib.contains("#![forbid(unsafe_code)]"));
}

#[test]
fn words_and_decisions_touch_no_socket_clock_or_file() {
    let floors = floors(&fs::read_to_string(root().join("src/lib.rs")).expect("lib.rs"));
    let mut wrong = Vec::new();
    for source in sources() {
        if floors.get(&source.module).is_none_or(|floor| *floor > 1) {
            continue;
        }
        let outside: &[&str] = if source.module == "config" { &[] } else { &OUTSIDE };
        wrong.extend(found(&source, IMPURE.iter().chain(outside)));
    }
    assert!(wrong.is_empty(), "not below floor 2:\n{}", wrong.join("\n"));
}

#[test]
fn production_code_is_finished_and_does_not_panic_by_habit() {
    let mut wrong = Vec::new();
    for source in sources() {
        wrong.extend(found(&source, NEVER.iter()));
        for (number, line) in source.text.lines().enumerate() {
            let words = UNFINISHED.iter().filter(|word| line.contains(**word));
            wrong.extend(words.map(|word| format!("{}:{}: {word}", source.path.display(), number + 1)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_one_idea_long_and_say_what_they_are() {
    let mut wrong = Vec::new();
    for source in sources() {
        if !source.text.starts_with("//! ") {
            wrong.push(told(&source, "begins without a //! comment that says what it is"));
        }
        let is_generated = source.text.lines().next().is_some_and(|first| first.contains(GENERATED));
        if source.lines > LINES_MAX && !is_generated {
            wrong.push(told(&source, &format!("{} lines, {LINES_MAX} at most", source.lines)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_test_is_ignored() {
    let mark = concat!("#[", "ignore");
    let all = rust_files(&root().join("src")).into_iter().chain(rust_files(&root().join("tests")));
    let ignored: Vec<PathBuf> =
        all.filter(|path| fs::read_to_string(path).expect("a source file").contains(mark)).collect();
    assert!(ignored.is_empty(), "{ignored:?}");
}

/// Why `module` must not import `imported`, if so.
fn wrong_import(floors: &BTreeMap<String, u8>, module: &str, imported: &str) -> Option<String> {
    let (own, other) = (floors.get(module)?, floors.get(imported)?);
    if other > own {
        return Some(format!("{module} is on floor {own} and imports {imported} of floor {other}"));
    }
    let strangers = module != imported && STRANGERS.contains(&module) && STRANGERS.contains(&imported);
    strangers.then(|| format!("{module} and {imported} do not import each other"))
}

fn told(source: &Source, why: &str) -> String {
    format!("{}: {why}", source.path.display())
}

/// The places where a source's code has one of these words, at the start of a word.
fn found<'a>(source: &Source, words: impl Iterator<Item = &'a &'a str> + Clone) -> Vec<String> {
    let mut places = Vec::new();
    for (number, line) in source.code.lines().enumerate() {
        for word in words.clone() {
            let starts = |at: usize| {
                let before = line[..at].chars().next_back();
                word.starts_with('.') || !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
            };
            if line.match_indices(word).any(|(at, _)| starts(at)) {
                places.push(format!("{}:{}: {word}", source.path.display(), number + 1));
            }
        }
    }
    places
}

/// Module to floor, from the table `| 2 resources | `net`, `auth` | … |`.
fn floors(lib: &str) -> BTreeMap<String, u8> {
    let rows = lib.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("//! |")?.split('|');
        let floor: u8 = cells.next()?.split_whitespace().next()?.parse().ok()?;
        Some((floor, cells.next()?))
    });
    rows.flat_map(|(floor, modules)| modules.split('`').skip(1).step_by(2).map(move |name| (name.to_owned(), floor)))
        .collect()
}

/// The top-level modules that a file's code names by `crate::` or, at the top of a module, by `super::`.
fn imports(source: &Source) -> BTreeSet<String> {
    let mut roots = vec!["crate::"];
    if source.is_root_of_module {
        roots.push("super::");
    }
    let mut names = BTreeSet::new();
    for root in roots {
        for (at, _) in source.code.match_indices(root) {
            let before = source.code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            names.extend(first_names(&source.code[at + root.len()..]));
        }
    }
    names
}

/// The first name of a path, or of each path in a group: `{a::b, c::{d, e}}` gives a and c.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let mut names = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                names.push(name(group[start..at].trim_start()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names
}

/// All production sources of the library and the binary.
fn sources() -> Vec<Source> {
    let base = root().join("src");
    let files: Vec<(PathBuf, String)> =
        rust_files(&base).into_iter().map(|path| (path.clone(), fs::read_to_string(path).expect("text"))).collect();
    let tests: Vec<PathBuf> = files.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    let of_tests = |path: &Path| tests.iter().any(|stem| path == stem.with_extension("rs") || path.starts_with(stem));
    let production = files.into_iter().filter(|(path, _)| !of_tests(path));
    let sources: Vec<Source> = production.map(|(path, text)| source(&base, path, text)).collect();
    assert!(sources.len() > 20, "the walk finds the sources");
    sources
}

fn source(base: &Path, path: PathBuf, text: String) -> Source {
    let inside = path.strip_prefix(base).expect("under src").with_extension("");
    let inside: Vec<_> = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let is_root_of_module = inside.len() == 1 || (inside.len() == 2 && inside[1] == "mod");
    let (code, test_lines) = without_tests(&blanked(&text));
    let lines = text.lines().count() - test_lines;
    Source { lines, code, module: inside[0].clone(), is_root_of_module, text, path }
}

/// Files of modules that exist only for tests, without their ending: `#[cfg(test)] mod name;`, with `#[path]` or without.
fn test_modules(path: &Path, text: &str) -> Vec<PathBuf> {
    let is_own_directory = path.file_stem().is_some_and(|stem| stem == "mod" || stem == "lib" || stem == "main");
    let beside = path.parent().expect("a directory");
    let below = if is_own_directory { beside.to_path_buf() } else { path.with_extension("") };
    let after = text.split(CFG_TEST).skip(1);
    after
        .filter_map(|rest| {
            let rest = rest.trim_start();
            if let Some(rest) = rest.strip_prefix("#[path = \"") {
                return rest.split_once(".rs\"]").map(|(file, _)| beside.join(file));
            }
            let (name, _) = rest.strip_prefix("mod ")?.split_once(';')?;
            (!name.contains('{')).then(|| below.join(name.trim()))
        })
        .collect()
}

const CFG_TEST: &str = "#[cfg(test)]";

/// The code with each item under `#[cfg(test)]` blanked out, and how many lines that were.
fn without_tests(code: &str) -> (String, usize) {
    let mut lines = 0;
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(CFG_TEST) {
        out.push_str(&rest[..at]);
        let item = &rest[at..];
        let end = end_of_item(item);
        out.extend(item[..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        lines += 1 + item[..end].matches('\n').count();
        rest = &item[end..];
    }
    (out + rest, lines)
}

/// Where an item ends: at its first `;` or the brace that closes its first `{`.
fn end_of_item(item: &str) -> usize {
    let mut depth = 0;
    for (at, c) in item.char_indices() {
        match c {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    item.len()
}

/// Rust text with comments and the insides of strings and characters replaced by spaces; lines stay where they are.
fn blanked(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = at + opaque(&text[at..], at.checked_sub(1).map(|before| bytes[before]));
        if end == at {
            let step = text[at..].chars().next().map_or(1, char::len_utf8);
            out.extend_from_slice(&bytes[at..at + step]);
            at += step;
        } else {
            out.extend(bytes[at..end].iter().map(|&b| if b == b'\n' { b'\n' } else { b' ' }));
            at = end;
        }
    }
    String::from_utf8(out).expect("whole characters were kept or blanked")
}

/// Length of the comment, string or character that `text` begins with; 0 for anything else.
fn opaque(text: &str, before: Option<u8>) -> usize {
    let to_end = |found: Option<usize>, length: usize| found.map_or(text.len(), |at| at + length);
    if text.starts_with("//") {
        return to_end(text.find('\n'), 0);
    }
    if text.starts_with("/*") {
        return nested_comment(text);
    }
    let in_word = before.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    let raw = text.strip_prefix("br").or_else(|| text.strip_prefix('r')).filter(|_| !in_word);
    if let Some(rest) = raw {
        let hashes = rest.bytes().take_while(|&b| b == b'#').count();
        if rest[hashes..].starts_with('"') {
            let open = text.len() - rest.len() + hashes + 1;
            let close = format!("\"{}", "#".repeat(hashes));
            return to_end(text[open..].find(&close).map(|at| at + open), close.len());
        }
    }
    if text.starts_with('"') {
        return quoted(text, '"');
    }
    if let Some(rest) = text.strip_prefix('\'') {
        let mut chars = rest.chars();
        let (first, second) = (chars.next(), chars.next());
        // 'a' and '\n' are characters; 'a alone is a lifetime.
        if first == Some('\\') || second == Some('\'') {
            return quoted(text, '\'');
        }
    }
    0
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn nested_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The rules themselves, on code that breaks them.
mod rules {
    use super::*;

    fn source(module: &str, text: &str) -> Source {
        super::source(Path::new("src"), Path::new("src").join(module).with_extension("rs"), text.to_owned())
    }

    #[test]
    fn imports_upwards_and_between_strangers_are_found() {
        let floors = floors("//! | 2 resources | `net`, `auth`, `pool` | x |\n//! | 0 words | `wire` | y |\n");
        assert_eq!(floors.len(), 4);
        let edges = |module: &str, text: &str| -> Vec<String> {
            let source = source(module, text);
            imports(&source).iter().filter_map(|imported| wrong_import(&floors, module, imported)).collect()
        };
        assert_eq!(edges("wire", "use crate::net::Stream;").len(), 1);
        assert_eq!(edges("wire", "use super::net::Stream;").len(), 1);
        assert_eq!(edges("wire", "use crate::{\n    wire::{A, B},\n    net,\n};").len(), 1);
        assert_eq!(edges("wire", "fn f() { crate::auth::login() }").len(), 1);
        assert_eq!(edges("pool", "use crate::{auth::x, net};").len(), 1);
        for fine in [
            "use crate::wire::Frame;",
            "// use crate::net;",
            "const X: &str = \"crate::net\";",
            "#[cfg(test)]\nmod tests { use crate::net; }",
            "use other_crate::net;",
        ] {
            assert_eq!(edges("wire", fine), Vec::<String>::new(), "{fine}");
        }
        assert!(edges("net", "use crate::wire; use crate::net;").is_empty());
    }

    #[test]
    fn words_are_found_in_code_only() {
        let lines = |text: &str| found(&source("wire", text), NEVER.iter().chain(&IMPURE)).len();
        assert_eq!(lines("fn f() { x.unwrap() }"), 1);
        assert_eq!(lines("fn f() -> char { let c = '\"'; x.unwrap(); '\"' }"), 1);
        assert_eq!(lines("use tokio::net;\nlet now = Instant::now();"), 2);
        assert_eq!(lines("let a = r#\"\"# ; todo!()"), 1);
        assert_eq!(lines("fn f<'a>(x: &'a str) { dbg!(x) }"), 1);
        for fine in [
            "x.unwrap_or(1)",
            "/// Instant::now is not for us.\nfn f() {}",
            "/* a /* b */ .unwrap() */ fn f() {}",
            "let s = \"a \\\" .unwrap()\";",
            "let s = r#\"a \" todo!\"#;",
            "#[cfg(test)]\nuse tokio::x;\n#[cfg(test)]\nfn t() { x.unwrap() }",
            "operand::x()",
        ] {
            assert_eq!(lines(fine), 0, "{fine}");
        }
        assert_eq!(lines("#[cfg(test)]\nmod tests { fn f() { x.unwrap() } }\nfn g() { y.unwrap() }"), 1);
    }

    #[test]
    fn lines_of_tests_do_not_count() {
        let text = "//! A.\nfn a() {}\n#[cfg(test)]\nmod tests {\n    fn t() {}\n}\nfn b() {}\n";
        assert_eq!(source("wire", text).lines, 3);
    }

    #[test]
    fn modules_for_tests_are_recognised_by_their_declaration() {
        let modules = |path: &str| test_modules(Path::new(path), "mod a;\n#[cfg(test)]\nmod tests;\nmod b;");
        assert_eq!(modules("src/x.rs"), [PathBuf::from("src/x/tests")]);
        assert_eq!(modules("src/x/mod.rs"), [PathBuf::from("src/x/tests")]);
        assert_eq!(modules("src/x/y.rs"), [PathBuf::from("src/x/y/tests")]);
        assert!(test_modules(Path::new("src/x.rs"), "#[cfg(test)]\nmod tests { }").is_empty());
        let elsewhere = "#[cfg(test)]\n#[path = \"x_tests.rs\"]\nmod tests;";
        assert_eq!(test_modules(Path::new("src/a/x.rs"), elsewhere), [PathBuf::from("src/a/x_tests")]);
    }
}
