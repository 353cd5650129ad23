//! Texts from a grammar, and a note of every name that was put into them.

use std::collections::HashMap;

use pgwarden::sql::{Analysis, Relation};

/// The rules of `grammar.txt`.
pub struct Grammar {
    rules: HashMap<&'static str, Vec<Vec<Part>>>,
}

enum Part {
    Text(&'static str),
    Rule(&'static str),
    /// Written by the generator.
    Name(&'static str),
}

impl Grammar {
    pub fn read() -> Self {
        let mut rules: HashMap<&'static str, Vec<Vec<Part>>> = HashMap::new();
        let mut current = "";
        for line in include_str!("grammar.txt").lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            match line.strip_prefix("  ") {
                None => current = line,
                Some(text) => rules.entry(current).or_default().push(parts(if text == "-" { "" } else { text })),
            }
        }
        for part in rules.values().flatten().flatten() {
            assert!(!matches!(part, Part::Rule(name) if !rules.contains_key(name)), "a rule that is not there");
        }
        Self { rules }
    }
}

fn parts(mut text: &'static str) -> Vec<Part> {
    let mut parts = Vec::new();
    while let Some((before, rest)) = text.split_once('{') {
        let (name, after) = rest.split_once('}').expect("a brace that closes");
        parts.push(Part::Text(before));
        parts.push(name.strip_prefix('$').map_or(Part::Rule(name), Part::Name));
        text = after;
    }
    parts.push(Part::Text(text));
    parts
}

/// Numbers from a seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds must not walk the same way one step apart.
        Self(mixed(seed ^ 0x5851_f42d_4c95_7f2d))
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (mixed(self.0) % bound as u64) as usize
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// splitmix64's finish.
fn mixed(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A text, and what is in it.
#[derive(Debug)]
pub struct Generated {
    pub text: String,
    statements: usize,
    relations: Vec<(&'static str, &'static str)>,
    functions: Vec<Vec<&'static str>>,
    settings: Vec<&'static str>,
    schemas: Vec<&'static str>,
}

impl Generated {
    /// What was put into it and is not told.
    pub fn hidden(&self, analysis: &Analysis) -> Option<String> {
        let told = &analysis.statements;
        let relation = |(schema, name): &&(&'static str, &'static str)| {
            let is = |told: &Relation| told.name == *name && told.schema.as_deref().unwrap_or("") == *schema;
            !told.iter().flat_map(|statement| &statement.relations).any(is)
        };
        let function = |name: &&Vec<&'static str>| {
            !told.iter().flat_map(|statement| &statement.functions).any(|told| told == *name)
        };
        let setting = |name: &&&'static str| {
            let settings = told.iter().flat_map(|statement| &statement.facts.settings);
            settings.filter_map(|setting| setting.name.as_deref()).all(|told| told != **name)
        };
        let schema = |name: &&&'static str| {
            !told.iter().flat_map(|statement| &statement.facts.schemas).any(|told| told == **name)
        };
        let what = if self.statements != told.len() {
            format!("{} statements, and tells {}", self.statements, told.len())
        } else if let Some(hidden) = self.relations.iter().find(relation) {
            format!("relation {hidden:?}")
        } else if let Some(hidden) = self.functions.iter().find(function) {
            format!("function {hidden:?}")
        } else if let Some(hidden) = self.settings.iter().find(setting) {
            format!("setting {hidden}")
        } else {
            format!("schema {}", self.schemas.iter().find(schema)?)
        };
        Some(format!("{}\nhides {what}", self.text))
    }
}

pub struct Generator<'g> {
    grammar: &'g Grammar,
    random: Random,
    depth: usize,
    aliases: usize,
    /// Whether `$1` may stand for a number.
    parameters: bool,
    made: Generated,
}

impl<'g> Generator<'g> {
    pub fn new(grammar: &'g Grammar, seed: u64) -> Self {
        let made = Generated {
            text: String::new(),
            statements: 1,
            relations: Vec::new(),
            functions: Vec::new(),
            settings: Vec::new(),
            schemas: Vec::new(),
        };
        Self { grammar, random: Random::new(seed), depth: 0, aliases: 0, parameters: true, made }
    }

    /// Without `$1`.
    pub fn without_parameters(mut self) -> Self {
        self.parameters = false;
        self
    }

    /// A whole text.
    pub fn text(self) -> Generated {
        self.of("script")
    }

    /// What a rule makes.
    pub fn of(mut self, rule: &'static str) -> Generated {
        self.rule(rule);
        self.made
    }

    fn rule(&mut self, rule: &'static str) {
        let alternatives = &self.grammar.rules[rule];
        // Deeper and longer texts end sooner.
        let room = DEPTH_MAX.saturating_sub(self.depth) * 60;
        let tired = self.depth >= DEPTH_MAX || self.made.text.len() > LENGTH_MAX || self.random.below(400) >= room + 60;
        let at = if tired { 0 } else { self.random.below(alternatives.len()) };
        self.depth += 1;
        for part in &alternatives[at] {
            match part {
                Part::Text(text) => self.made.text.push_str(text),
                Part::Rule(rule) => self.rule(rule),
                Part::Name(name) => self.name(name),
            }
        }
        self.depth -= 1;
    }

    fn name(&mut self, kind: &'static str) {
        let text = match kind {
            "next" => {
                self.made.statements += 1;
                self.random.pick(&[";", "; ", ";;", " ; -- ;\n", ";/* ; */"]).to_owned()
            }
            "relation" => self.relation(&RELATIONS),
            "plain" | "target" => self.relation(&RELATIONS[..PLAIN]),
            "column" => {
                let name = self.relation(&RELATIONS[..PLAIN]);
                format!("{name}.a")
            }
            "regclass" => {
                let (text, schema, name) = self.random.pick(&IN_LITERALS);
                self.made.relations.push((schema, name));
                text.to_owned()
            }
            // Tables that the name of a WITH may hide: what they are only the server tells.
            "maybe" | "cte" => self.random.pick(&["r7", "r8", "r9"]).to_owned(),
            "alias" => {
                self.aliases += 1;
                format!("t{}", self.aliases)
            }
            "function" => self.function(&FUNCTIONS),
            "variadic" => self.function(&[("v1", &["v1"]), ("public . v1", &["public", "v1"])]),
            "setfunction" => self.function(&[("g1", &["g1"]), ("s.g2", &["s", "g2"])]),
            "aggregate" => self.function(&[("agg", &["agg"]), ("\"public\".agg", &["public", "agg"])]),
            "trigger" => self.function(&[("trig", &["trig"]), ("s.trig", &["s", "trig"])]),
            "attribute" => self.function(&ATTRIBUTES),
            "number" => match self.random.below(4) {
                0 if self.parameters => format!("${}", 1 + self.random.below(3)),
                1 => self.random.pick(&["0", "17", "9223372036854775807", "1e3::int", "(-5)", "'7'::int"]).to_owned(),
                _ => self.random.below(9).to_string(),
            },
            "string" => self.random.pick(&STRINGS).to_owned(),
            "setting" => self.setting(&SETTINGS),
            "settingtext" => self.setting(&SETTING_TEXTS),
            "operator" => self.schema("OPERATOR(s.@+@)"),
            "domain" => {
                let text = self.random.pick(&["s.dom", "s . \"dom\"", "U&\"\\0073\".dom"]);
                self.schema(text)
            }
            "rowtype" => {
                self.made.schemas.push("public");
                "public.pair".to_owned()
            }
            other => panic!("no name {other}"),
        };
        self.made.text.push_str(&text);
    }

    fn relation(&mut self, of: &[(&'static str, &'static str, &'static str)]) -> String {
        let (text, schema, name) = self.random.pick(of);
        self.made.relations.push((schema, name));
        text.to_owned()
    }

    fn function(&mut self, of: &[(&'static str, &'static [&'static str])]) -> String {
        let (text, name) = self.random.pick(of);
        self.made.functions.push(name.to_vec());
        text.to_owned()
    }

    fn setting(&mut self, of: &[(&'static str, &'static str)]) -> String {
        let (text, name) = self.random.pick(of);
        self.made.settings.push(name);
        text.to_owned()
    }

    fn schema(&mut self, text: &'static str) -> String {
        self.made.schemas.push("s");
        text.to_owned()
    }
}

/// Rules within rules.
const DEPTH_MAX: usize = 7;

/// Bytes after which a text only ends what it began.
const LENGTH_MAX: usize = 70;

/// Spellings of tables, their schemas and their names; the first may stand anywhere.
const RELATIONS: [(&str, &str, &str); 14] = [
    ("r1", "", "r1"),
    ("R2", "", "r2"),
    ("\"r3\"", "", "r3"),
    ("U&\"\\0072\\0034\"", "", "r4"),
    ("public.r1", "public", "r1"),
    ("s.r5", "s", "r5"),
    ("S . \"R6\"", "s", "R6"),
    ("\"s\"/* . */./**/r5", "s", "r5"),
    ("d.public.r2", "public", "r2"),
    ("U&\"!0073\" UESCAPE '!' . r5", "s", "r5"),
    ("ONLY r1", "", "r1"),
    ("ONLY (s.r5)", "s", "r5"),
    ("r2 *", "", "r2"),
    ("public.r3 *", "public", "r3"),
];

/// Those that are nothing but a name.
const PLAIN: usize = 10;

const IN_LITERALS: [(&str, &str, &str); 6] = [
    ("'r1'::regclass", "", "r1"),
    ("' S.\"R6\" '::regclass", "s", "R6"),
    ("regclass 's.r5'", "s", "r5"),
    ("CAST(E'\\x72\\x32' AS pg_catalog.regclass)", "", "r2"),
    ("U&'\\0072\\0033'::regclass", "", "r3"),
    ("$q$public.r4$q$::regclass", "public", "r4"),
];

const FUNCTIONS: [(&str, &[&str]); 7] = [
    ("f1", &["f1"]),
    ("F2", &["f2"]),
    ("\"f1\"", &["f1"]),
    ("s.f3", &["s", "f3"]),
    ("U&\"\\0066\\0031\"", &["f1"]),
    ("d.s.f3", &["d", "s", "f3"]),
    ("public/**/.\n\"f2\"", &["public", "f2"]),
];

/// Calls without parentheses.
const ATTRIBUTES: [(&str, &[&str]); 8] = [
    ("('x'::text).pg_read_file", &["pg_read_file"]),
    ("(('x')::text).\"currval\"", &["currval"]),
    ("x.pg_ls_dir", &["pg_ls_dir"]),
    ("(x).PG_Advisory_Lock", &["pg_advisory_lock"]),
    ("(ARRAY['x'])[1].pg_stat_file", &["pg_stat_file"]),
    ("(x.a).U&\"lo\\005fget\"", &["lo_get"]),
    ("((SELECT 'x')).crosstab3", &["crosstab3"]),
    ("(x.c).dblink", &["dblink"]),
];

const STRINGS: [&str; 10] = [
    "'it''s; -- '",
    "E'\\'; x'",
    "$$ ; ' $$",
    "$q$ $$ ' $q$",
    "U&'\\0027 ; '",
    "'/* '",
    "' */'",
    "'a'\n'b'",
    "N'x'",
    "'\\'",
];

const SETTINGS: [(&str, &str); 7] = [
    ("work_mem", "work_mem"),
    ("WORK_MEM", "work_mem"),
    ("\"work_mem\"", "work_mem"),
    ("app.tenant_id", "app.tenant_id"),
    ("APP . Tenant_ID", "app.tenant_id"),
    ("U&\"app\".\"tenant\\005fid\"", "app.tenant\\005fid"),
    ("\"app.tenant_id\"", "app.tenant_id"),
];

const SETTING_TEXTS: [(&str, &str); 6] = [
    ("'app.tenant_id'", "app.tenant_id"),
    ("'APP.Tenant_Id'::text", "app.tenant_id"),
    ("E'app\\x2etenant_id'", "app.tenant_id"),
    ("$$work_mem$$", "work_mem"),
    ("U&'app\\002etenant_id'", "app.tenant_id"),
    ("'app'\n'.tenant_id'", "app.tenant_id"),
];
